"""Find encoders and data sets by name through entry points, so that no folder imports another."""

import difflib
from importlib.metadata import entry_points
from typing import Any

from sqdr.errors import ConfigError, MissingDependencyError

__all__ = ["check_plugin", "load_plugin", "plugin_names"]

EXTRA_OF_MODULE = {
    "torch": "train",
    "torchvision": "train",
    "lightning": "train",
    "sklearn": "train",
    "matplotlib": "results",
    "scipy": "train",
    "pyarrow": "results",
    "lava": "lava",
    "h5py": "train",
    "braket": "braket",
    "boto3": "braket",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "nir": "nir",
    "pennylane": "braket",
    "qiskit": "plan",
    "jinja2": "report",
    "plotly": "report",
    "mitiq": "mitigation",
    "torchquantum": "bench",
    "tensorcircuit": "bench",
    "pyqtorch": "bench",
}


def plugin_names(group: str) -> list[str]:
    """Return the names registered under an entry-point group such as ``sqdr.encoders``."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any:
    """Return the object that ``name`` stands for.

    Raises:
        ConfigError: no such name; the nearest one is given.
        MissingDependencyError: it needs a package that is not installed; the extra is named.
    """
    for point in entry_points(group=group):
        if point.name == name:
            try:
                return point.load()
            except ImportError as error:
                raise missing(error, f"{group.removeprefix('sqdr.').rstrip('s')} '{name}'") from error
    raise _unknown(group, name)


def check_plugin(group: str, name: str) -> None:
    """Refuse a name that is not registered, without loading anything.

    Raises:
        ConfigError: no such name; the nearest one is given.
    """
    if name not in plugin_names(group):
        raise _unknown(group, name)


def _unknown(group: str, name: str) -> ConfigError:
    names = plugin_names(group)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return ConfigError(f"unknown {group.removeprefix('sqdr.').rstrip('s')} '{name}'. {hint}Known: {', '.join(names)}.")


def missing(error: ImportError, what: str) -> MissingDependencyError:
    """Return the error that names the extra to install for a failed import."""
    module = (error.name or "").split(".")[0]
    extra = EXTRA_OF_MODULE.get(module)
    reason = " ".join(str(error).split())
    fix = f"pip install 'sqdr[{extra}]'" if extra else "install it"
    return MissingDependencyError(
        f"{what} needs the package '{module or reason}', which cannot be imported: {fix}, then see `sqdr doctor`."
    )
