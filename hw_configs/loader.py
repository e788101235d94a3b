"""Find a hardware file by name or path, and validate it."""

import difflib
import re
from functools import cache
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
from sqdr.strict import MAX_YAML_BYTES, load_yaml, parse

__all__ = [
    "list_hardware",
    "load_hardware",
    "own_by_arn",
    "own_file",
    "packaged_by_arn",
    "packaged_by_device",
    "packaged_hardware",
]

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
    return _packaged(name)


def packaged_by_arn(arn: str) -> BraketSimulator | BraketQpu | None:
    """Return the hardware of this ARN that comes with sqdr, if there is one."""
    return _packaged_ending_in(f'"{arn}"', arn)


def packaged_by_device(device: str) -> BraketSimulator | BraketQpu | None:
    """Return the hardware that comes with sqdr for a device such as ``qpu/iqm/Garnet``, in whatever region."""
    ending = f":device/{device}"
    return _packaged_ending_in(f'{ending}"', ending)


def _packaged_ending_in(text: str, ending: str) -> BraketSimulator | BraketQpu | None:
    for name in list_hardware():
        # a look at the text first, which is a hundred times quicker than parsing it
        if text in (files("sqdr.hw_configs") / f"{name}.yaml").read_text(encoding="utf-8"):
            hardware = _packaged(name)
            if isinstance(hardware, BraketSimulator | BraketQpu) and hardware.arn.endswith(ending):
                return hardware
    return None


@cache
def _packaged(name: str) -> HardwareConfig:
    """Read once: the files do not change, and neither does what is read, which is frozen."""
    with as_file(files("sqdr.hw_configs") / f"{name}.yaml") as path:
        return _read(path)


def own_file(name: str) -> Path | None:
    """Return the file of this name in the working folder, if there is one."""
    # Anything else is no name but a way out of the folder, or too long for a file.
    path = Path(f"{name}.yaml")
    return path if re.fullmatch(r"\w[\w.-]{0,99}", name) and path.is_file() else None


def own_by_arn(arn: str) -> BraketSimulator | BraketQpu | None:
    """Return the hardware of this ARN that a file in the working folder describes, if there is one.

    Only files that name the ARN are read: other YAML there is none of sqdr's business.

    Raises:
        ConfigError: the file breaks a rule, or two files describe the device.
    """
    found = [(path, _read(path)) for path in sorted(Path().glob("*.yaml")) if _names_arn(path, arn)]
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise ConfigError(f"one file of the working folder may describe a device, got {names}. Remove all but one.")
    hardware = found[0][1] if found else None
    return hardware if isinstance(hardware, BraketSimulator | BraketQpu) else None


def _names_arn(path: Path, arn: str) -> bool:
    """Whether a file is a hardware file of the device, right or wrong."""
    try:
        # a look at the bytes first: parsing every YAML file of a large folder takes seconds
        if not path.is_file() or path.stat().st_size > MAX_YAML_BYTES or arn.encode() not in path.read_bytes():
            return False
        data = load_yaml(path, "hardware file")
    except (OSError, ConfigError):
        return False
    return isinstance(data, dict) and "kind" in data and data.get("arn") == arn


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
