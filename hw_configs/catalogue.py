"""Every hardware file that a name reaches: those that come with sqdr, and those of the working folder, which win."""

from dataclasses import dataclass
from pathlib import Path

from sqdr.errors import ConfigError
from sqdr.hw_configs.loader import KINDS, list_hardware, load_hardware, own_file, packaged_hardware
from sqdr.hw_configs.schema import HardwareConfig
from sqdr.strict import MAX_YAML_BYTES, load_yaml

__all__ = ["PACKAGED", "CatalogueEntry", "catalogue", "origin_of"]

PACKAGED = "sqdr"
# Other YAML files of a folder are looked at, to find hardware files by their kind: not more than these.
MAX_OWN_FILES = 200


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One name.

    Args:
        name: that `sqdr.hw_configs.load_hardware` takes.
        origin: ``sqdr``, or the file in the working folder.
        hardware: None where the file breaks a rule.
        problem: which rule it breaks, in one line.
    """

    name: str
    origin: str
    hardware: HardwareConfig | None
    problem: str | None = None


def catalogue() -> list[CatalogueEntry]:
    """Return every name, sorted, with what it means here and now.

    A file of the working folder that breaks a rule is listed with its problem: it would win, and then fail.
    """
    own = {path.stem: path for path in sorted(Path().glob("*.yaml"))[:MAX_OWN_FILES] if _is_hardware(path)}
    entries = []
    for name in sorted({*list_hardware(), *own}):
        if name not in own:
            entries.append(CatalogueEntry(name=name, origin=PACKAGED, hardware=packaged_hardware(name)))
            continue
        try:
            entries.append(CatalogueEntry(name=name, origin=own[name].name, hardware=load_hardware(name)))
        except ConfigError as error:
            entries.append(CatalogueEntry(name=name, origin=own[name].name, hardware=None, problem=str(error)))
    return entries


def origin_of(name_or_path: str) -> str:
    """Return where `sqdr.hw_configs.load_hardware` reads a name or path: ``sqdr``, or the file."""
    if name_or_path.endswith((".yaml", ".yml")):
        return name_or_path
    own = own_file(name_or_path)
    return PACKAGED if own is None else own.name


def _is_hardware(path: Path) -> bool:
    """Whether a file is a hardware file, right or wrong; one with the name of a packaged file is in any case."""
    if own_file(path.stem) is None:
        return False
    if path.stem in list_hardware():
        return True
    try:
        # a look at the bytes first: parsing every YAML file of a large folder takes seconds
        if path.stat().st_size > MAX_YAML_BYTES or not any(kind.encode() in path.read_bytes() for kind in KINDS):
            return False
        data = load_yaml(path, "hardware file")
    except (OSError, ConfigError):
        return False
    return isinstance(data, dict) and data.get("kind") in KINDS
