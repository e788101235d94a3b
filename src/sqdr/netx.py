"""Read a network from netx HDF5, Lava's exchange format, as plain integers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError
from sqdr.plugins import missing

__all__ = ["NetxLayer", "read_network"]


@dataclass(frozen=True, kw_only=True)
class NetxLayer:
    """One block of the file; values are the hardware's integers.

    Args:
        kind: ``conv``, ``dense``, ``flatten``, ``input`` or whatever the file says.
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
        BundleError: not HDF5, or not a network.
        MissingDependencyError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing(error, "reading encoder.net") from error
    try:
        with h5py.File(path, "r") as file:
            groups = file["layer"]
            return [_layer(groups[str(index)]) for index in range(len(groups))]
    except Exception as error:  # h5py raises nearly every kind on a damaged file
        raise BundleError(f"{path.name} is not a readable netx network. Export again.") from error


def _layer(group: Any) -> NetxLayer:
    kind = _text(group["type"])
    neuron = None
    if "neuron" in group:
        neuron = {name: _neuron_value(value) for name, value in group["neuron"].items()}
    return NetxLayer(
        kind=kind,
        shape=_sizes(group, "shape"),
        weight=_integers(group, "weight"),
        bias=_integers(group, "bias"),
        delay=_integers(group, "delay"),
        stride=_sizes(group, "stride"),
        padding=_sizes(group, "padding"),
        dilation=_sizes(group, "dilation"),
        groups=int(group["groups"][()]) if "groups" in group else 1,
        neuron=neuron,
    )


def _text(data: Any) -> str:
    value = data[()]
    value = value[0] if isinstance(value, np.ndarray) else value
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _neuron_value(data: Any) -> Any:
    value = data[()]
    if isinstance(value, bytes):
        return value.decode("ascii")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _integers(group: Any, name: str) -> NDArray[np.int64] | None:
    """The file stores integers as floats; anything else would be rounded silently by netx."""
    if name not in group:
        return None
    values = np.asarray(group[name][()])
    with np.errstate(invalid="ignore"):  # NaN and infinity are refused below
        rounded = values.astype(np.int64)
    if not np.array_equal(rounded, values):
        raise ValueError(f"{name} holds values that are not integers")
    return rounded


def _sizes(group: Any, name: str) -> tuple[int, ...]:
    if name not in group:
        return ()
    return tuple(int(size) for size in np.atleast_1d(group[name][()]))
