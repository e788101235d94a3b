"""Read a network from netx HDF5, Lava's exchange format, as plain integers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError
from sqdr.hdf5 import Dataset, Group, open_hdf5

__all__ = ["MAX_NETWORK_BYTES", "MAX_NETWORK_VALUES", "NetxLayer", "read_network"]

# A quarter of the synapses of a Loihi 2 chip. Reading takes at most 0.6 GiB: the file, its values as int64
# (256 MiB at most), and one comparison.
MAX_NETWORK_VALUES = 1 << 25
MAX_NETWORK_BYTES = 256 << 20
# A specification has at most 64 layers; other files may have more.
MAX_LAYERS = 1024
# One value per neuron of the widest dense layer.
MAX_NEURON_VALUES = 1 << 16
# A number in a Python list takes 40 bytes, one in an array 8.
LIST_COST = 5
MAX_SIZES = 8
# Every integer of the hardware has at most 24 bits; 32 are more than any file needs.
MAX_MAGNITUDE = 1 << 31
NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
# Blocks whose fields are read; of any other kind only its name is.
KNOWN_KINDS = ("input", "conv", "dense", "flatten")
COMPLEX_DENSE = "dense_comp"


@dataclass(frozen=True, kw_only=True)
class NetxLayer:
    """One block of the file; values are the hardware's integers.

    Args:
        kind: ``conv``, ``dense``, ``flatten``, ``input``; ``dense_comp`` for a dense block with complex
            weights; or whatever else the file says, and then nothing but the kind is read.
        shape: (C, H, W) or (F,) of the output.
        weight: conv (C_out, C_in / groups, kH, kW), dense (F, inputs); or None.
        bias: or None.
        delay: or None.
        stride: (H, W), as are padding and dilation; conv only.
        groups: conv only.
        neuron: parameters by their name in the file (iDecay, vDecay, vThMant, ...); or None.
    """

    kind: str
    shape: tuple[int, ...]
    weight: NDArray[np.int64] | None = None
    bias: NDArray[np.int64] | None = None
    delay: NDArray[np.int64] | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    neuron: dict[str, Any] | None = None


def read_network(path: Path) -> list[NetxLayer]:
    """Return the blocks of a netx file in order.

    Raises:
        BundleError: not HDF5, not a network, or larger than what is read.
    """
    try:
        if path.stat().st_size > MAX_NETWORK_BYTES:
            raise ValueError(f"it is larger than {MAX_NETWORK_BYTES:,} bytes")
        data = path.read_bytes()
        # a value takes at least one byte in the file: parts that share values may not multiply them further
        return _layers(open_hdf5(data, min(MAX_NETWORK_VALUES, LIST_COST * len(data))))
    except OSError as error:
        raise BundleError(f"{path.name} is not a readable netx network. Export again.") from error
    except ValueError as error:  # names in the file may hold anything
        reason = str(error).encode("ascii", "backslashreplace").decode("ascii")
        reason = " ".join(reason.split()).rstrip(".")
        raise BundleError(f"{path.name} is not a readable netx network. Export again. Found: {reason}.") from error


def _layers(root: Group) -> list[NetxLayer]:
    blocks = _group(root, "layer")
    names = blocks.names()
    if len(names) > MAX_LAYERS:
        raise ValueError(f"it has {len(names):,} layers; at most {MAX_LAYERS:,} are read")
    strange = sorted(set(names) - {str(index) for index in range(len(names))})
    if strange or not names:
        raise ValueError(f"layers must be numbered from 0 without a gap, got {strange[:1] or 'none'}")
    return [_layer(_group(blocks, str(index))) for index in range(len(names))]


def _layer(group: Group) -> NetxLayer:
    kind = _text(group, "type")
    if not NAME.fullmatch(kind):
        raise ValueError(f"{group.path}/type must be a name, got {kind!r}")
    if "weight" in group and isinstance(group.get("weight"), Group):
        kind = COMPLEX_DENSE if kind == "dense" else kind
    if kind not in KNOWN_KINDS:
        return NetxLayer(kind=kind, shape=())
    groups = _sizes(group, "groups")
    if len(groups) > 1:
        raise ValueError(f"{group.path}/groups must be one number, got {groups}")
    return NetxLayer(
        kind=kind,
        shape=_sizes(group, "shape"),
        weight=_integers(group, "weight"),
        bias=_integers(group, "bias"),
        delay=_integers(group, "delay"),
        stride=_sizes(group, "stride"),
        padding=_sizes(group, "padding"),
        dilation=_sizes(group, "dilation"),
        groups=groups[0] if groups else 1,
        neuron=_neuron(_group(group, "neuron")) if "neuron" in group else None,
    )


def _neuron(group: Group) -> dict[str, Any]:
    strange = [name for name in group.names() if not NAME.fullmatch(name)]
    if strange:
        raise ValueError(f"{group.path} has a parameter of the name {strange[0]!r}")
    return {name: _neuron_value(group, name) for name in group.names()}


def _neuron_value(group: Group, name: str) -> Any:
    values = _read(group, name, MAX_NEURON_VALUES, LIST_COST)
    if isinstance(values, list):
        return _one_text(group, name, values)
    _check_magnitude(group, name, values)
    return values.tolist()


def _text(group: Group, name: str) -> str:
    values = _read(group, name, 1)
    if not isinstance(values, list):
        raise ValueError(f"{group.path}/{name} must be a text")
    return _one_text(group, name, values)


def _one_text(group: Group, name: str, values: list[bytes]) -> str:
    text = values[0].decode("ascii") if len(values) == 1 else ""
    if not text.isprintable() or not text:
        raise ValueError(f"{group.path}/{name} must be one printable text")
    return text


def _integers(group: Group, name: str, max_values: int = MAX_NETWORK_VALUES) -> NDArray[np.int64] | None:
    """The file stores integers as floats; anything else would be rounded silently by netx."""
    if name not in group:
        return None
    values = _read(group, name, max_values)
    if isinstance(values, list):
        raise ValueError(f"{group.path}/{name} must be numbers")
    _check_magnitude(group, name, values)
    rounded = values.astype(np.int64)
    if not np.array_equal(rounded, values):
        raise ValueError(f"{group.path}/{name} holds values that are not integers")
    return rounded


def _check_magnitude(group: Group, name: str, values: NDArray[Any]) -> None:
    if values.size and not (-MAX_MAGNITUDE < values.min() and values.max() < MAX_MAGNITUDE):  # NaN compares as False
        raise ValueError(f"{group.path}/{name} must hold finite numbers below 2^31")


def _sizes(group: Group, name: str) -> tuple[int, ...]:
    values = _integers(group, name, MAX_SIZES)
    return () if values is None else tuple(int(size) for size in values.reshape(-1))


def _group(parent: Group, name: str) -> Group:
    found = parent.get(name)
    if not isinstance(found, Group):
        raise ValueError(f"{found.path} must be a group")
    return found


def _read(group: Group, name: str, max_values: int, cost: int = 1) -> NDArray[Any] | list[bytes]:
    found = group.get(name)
    if not isinstance(found, Dataset):
        raise ValueError(f"{found.path} must be a dataset")
    return found.read(max_values, cost)
