"""Export a trained model as a bundle.

The package is callable: ``sqdr.export(run, bundle)`` is `sqdr.export.api.export`.
"""

import sys
from types import ModuleType
from typing import Any

__all__ = ["export"]


def export(*arguments: Any, **options: Any) -> Any:
    """Export a model; see `sqdr.export.api.export`."""
    from sqdr.export.api import export as run

    return run(*arguments, **options)


class _CallablePackage(ModuleType):
    """Lets the package be called like the function it is named after, and stay light to import."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return export(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
