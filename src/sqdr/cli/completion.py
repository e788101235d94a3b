"""What a shell completes: names of configurations, hardware files, data sets, encoders and devices.

A completion runs at every press of the key, so that names come from file names and entry points: no model is read, and
nothing heavy is imported.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "completing",
    "config_names",
    "data_names",
    "device_names",
    "encoder_names",
    "hardware_names",
    "image_names",
    "preset_names",
    "stage_names",
]

DEVICES = ("local:sv", "local:dm", "local:braket-sv", "local:braket-dm", "pennylane:default.qubit")
PARTS = ("train", "validation", "test")
# Those of `sqdr.train.encoder.presets`, which a test holds equal.
PRESETS = ("tiny", "small", "base", "digits_tiny", "digits_small", "digits_base")
SUFFIX = ".yaml"
HARDWARE_KIND = re.compile(rb"^kind:\s*[\"']?(braket_\w+|loihi2)\b", re.MULTILINE)
CHIP_KIND = b"loihi2"
# A look at the working folder may not keep anybody waiting.
MAX_OWN_FILES, MAX_BYTES = 200, 1 << 16
MODE = "_SQDR_COMPLETE"


def config_names(incomplete: str) -> list[str]:
    """Return the packaged configurations, and YAML files of the working folder that are no hardware files."""
    own = [path.name for path in _own_files() if _kind(path) is None]
    return _starting([*(path.stem for path in _packaged("sqdr.train.configs")), *own], incomplete)


def hardware_names(incomplete: str) -> list[str]:
    """Return the names of hardware files."""
    return _starting(_hardware(), incomplete)


def device_names(incomplete: str) -> list[str]:
    """Return the simulators, and the hardware files that run circuits."""
    quantum = [name for name, kind in _hardware().items() if kind != CHIP_KIND]
    return _starting([*DEVICES, *quantum], incomplete)


def data_names(incomplete: str) -> list[str]:
    """Return the data sets."""
    return _starting(_plugins("sqdr.datasets"), incomplete)


def image_names(incomplete: str) -> list[str]:
    """Return ``<data set>:<part>`` of every data set."""
    return _starting([f"{name}:{part}" for name in _plugins("sqdr.datasets") for part in PARTS], incomplete)


def encoder_names(incomplete: str) -> list[str]:
    """Return the encoders."""
    return _starting(_plugins("sqdr.encoders"), incomplete)


def stage_names(incomplete: str) -> list[str]:
    """Return what a bundle is verified with."""
    return _starting([*_plugins("sqdr.encoders"), "classifier.onnx", *DEVICES], incomplete)


def preset_names(incomplete: str) -> list[str]:
    """Return the encoder's presets."""
    return _starting(PRESETS, incomplete)


@contextlib.contextmanager
def completing() -> Iterator[None]:
    """Let bash complete names with a colon, which it takes for three words, and of which it wants the last part."""
    if os.environ.get(MODE) != "complete_bash":
        yield
        return
    started = _join_colons()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        lines = printed.getvalue().splitlines()
        sys.stdout.write("".join(f"{line.removeprefix(started)}\n" for line in lines))


def _join_colons() -> str:
    """Join what bash parted in COMP_WORDS; return what stands before the part that it completes."""
    text = os.environ.get("COMP_WORDS", "")
    words = text.split("\n" if "\n" in text else " ")
    at = int(os.environ.get("COMP_CWORD") or 0)
    joined: list[str] = []
    before, new_at = "", at
    for place, word in enumerate(words):
        is_part = bool(joined) and (word == ":" or words[place - 1] == ":")
        start = joined[-1] if is_part else ""
        joined[len(joined) - is_part :] = [start + word]
        if place == at:
            new_at = len(joined) - 1
            before = f"{start}:" if word == ":" else start
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(new_at)
    return before


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _plugins(group: str) -> list[str]:
    from sqdr.plugins import plugin_names

    return plugin_names(group)


def _packaged(package: str) -> list[Path]:
    """The YAML files that come with sqdr, found without importing what reads them."""
    spec = find_spec(package)
    folders = () if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    return [path for folder in folders for path in sorted(Path(folder).glob(f"*{SUFFIX}"))]


def _own_files() -> list[Path]:
    try:
        return [path for path in sorted(Path().glob(f"*{SUFFIX}"))[:MAX_OWN_FILES] if path.is_file()]
    except OSError:
        return []


def _hardware() -> dict[str, bytes]:
    """Every hardware file's name and kind; those of the working folder win."""
    found = {path: _kind(path) for path in (*_packaged("sqdr.hw_configs"), *_own_files())}
    return {path.stem: kind for path, kind in found.items() if kind is not None}


def _kind(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            match = HARDWARE_KIND.search(file.read(MAX_BYTES))
    except OSError:
        return None
    return None if match is None else match[1]
