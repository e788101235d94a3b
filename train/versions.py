"""Versions of the libraries that a result depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["library_versions"]

LIBRARIES = ("sqdr", "torch", "lava-dl", "lightning", "numpy", "pennylane")


def library_versions() -> dict[str, str]:
    """Return name to version of Python and of each installed library."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
