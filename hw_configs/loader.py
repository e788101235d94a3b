"""Find a hardware file by name or path, and validate it."""

import difflib
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from sqdr.errors import ConfigError, DeviceError
from sqdr.hw_configs.schema import (
    SCHEMA_VERSION,
    BraketLocal,
    BraketQpu,
    BraketSimulator,
    HardwareConfig,
    Loihi2,
)
from sqdr.strict import load_yaml, parse

__all__ = ["list_hardware", "load_hardware", "own_file", "packaged_hardware"]

KINDS: dict[str, type[HardwareConfig]] = {
    "braket_local": BraketLocal,
    "braket_simulator": BraketSimulator,
    "braket_qpu": BraketQpu,
    "loihi2": Loihi2,
}
SUFFIXES = (".yaml", ".yml")


def list_hardware() -> list[str]:
    """Return the names of the hardware files that come with sqdr, sorted."""
    folder = files("sqdr.hw_configs")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_hardware(name_or_path: str | Path) -> HardwareConfig:
    """Return the hardware that a file describes.

    Args:
        name_or_path: a path that ends in ``.yaml`` or ``.yml``, taken as it is; or a name: the file
            ``<name>.yaml`` in the working folder if there is one, else the one that comes with sqdr.

    Raises:
        DeviceError: no file has this name.
        ConfigError: the file cannot be read, or breaks a rule; every offending key is named.
    """
    text = str(name_or_path)
    if text.endswith(SUFFIXES):
        return _read(Path(text))
    own = own_file(text)
    return packaged_hardware(text) if own is None else _read(own)


def packaged_hardware(name: str) -> HardwareConfig:
    """Return the hardware of this name that comes with sqdr, whatever lies in the working folder.

    Raises:
        DeviceError: sqdr has no hardware file of this name.
    """
    names = list_hardware()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise DeviceError(
            f"hardware '{name}' is unknown. {hint}Known: {', '.join(names)}; or give a path ending in .yaml."
        )
    with as_file(files("sqdr.hw_configs") / f"{name}.yaml") as path:
        return _read(path)


def own_file(name: str) -> Path | None:
    """Return the file of this name in the working folder, if there is one."""
    # Anything else is no name but a way out of the folder, or too long for a file.
    path = Path(f"{name}.yaml")
    return path if re.fullmatch(r"\w[\w.-]{0,99}", name) and path.is_file() else None


def _read(path: Path) -> HardwareConfig:
    data = load_yaml(path, "hardware file")
    if not isinstance(data, dict):
        raise ConfigError(f"hardware file {path.name} must be a mapping of keys, got {type(data).__name__}.")
    number = data.get("schema_version")
    if isinstance(number, int) and number > SCHEMA_VERSION:
        raise ConfigError(
            f"hardware file {path.name} has schema_version {number}; this sqdr reads up to {SCHEMA_VERSION}. "
            "Update sqdr."
        )
    return parse(_model(data.get("kind"), path), data, f"hardware file {path.name}")


def _model(kind: Any, path: Path) -> type[HardwareConfig]:
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    near = difflib.get_close_matches(str(kind), KINDS, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise ConfigError(
        f"hardware file {path.name}: `kind` must be one of {', '.join(KINDS)}, got {kind!r}. {hint}".rstrip()
    )
