"""What a stream needs to know about a network as Lava processes, whichever they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import ConfigError
from sqdr.timing import Timing

__all__ = ["Graph", "LayerStates", "NetworkOptions", "check_described"]


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What the worker needs to know about a network.

    Args:
        net_path: a netx HDF5 file.
        input_shape: (C, H, W).
        n_outputs: neurons of the last layer, F.
        timing: how samples follow one another.
        message_bits: bits of an input value; 0 for plain spikes.
        graph: stock, fast or batched.
        n_batch: samples that pass side by side, B; 1 unless the graph is batched.
    """

    net_path: str
    input_shape: tuple[int, int, int]
    n_outputs: int
    timing: Timing
    message_bits: int
    graph: str
    n_batch: int


@dataclass(frozen=True, kw_only=True)
class LayerStates:
    """Where the states of one layer lie.

    Args:
        name: for example ``layer 0 (conv)``, with the position in the file.
        shape: (C, H, W) or (F,).
        delay: steps from a sample's step at the source to the same one in this layer.
        variables: the Lava variables that hold u and v.
        take: from such a variable's values to this layer's, flat in the order of ``shape``.
    """

    name: str
    shape: tuple[int, ...]
    delay: int
    variables: tuple[Any, Any]
    take: Callable[[NDArray[Any]], NDArray[Any]]

    @property
    def n_neurons(self) -> int:
        """Of the layer."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Connected Lava processes between a source and a sink.

    Args:
        inp: the port that takes the input.
        out: the port that gives the output spikes of B samples, (F * B,), samples last.
        n_batch: B.
        timing: of the periods, each of which carries B samples.
        n_flush: blank periods after the last sample until its output is complete.
        to_item: from up to B samples (b, C, H, W, T) to what the source sends in a period, (T, *inp.shape).
        layers: first to last.
        has_direct_channels: whether messages go by `sqdr.deploy.encoders.lava.direct_channels`, not by Lava's own.
        models: process models in place of the stock ones, by process class.
        places: what to add to a process's name, by its id.
        wants_states: a multiprocessing event to set while states are read, or None.
    """

    inp: Any
    out: Any
    n_batch: int
    timing: Timing
    n_flush: int
    to_item: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    layers: list[LayerStates]
    has_direct_channels: bool
    models: Mapping[type, type] = field(default_factory=dict)
    places: Mapping[int, str] = field(default_factory=dict)
    wants_states: Any = None


def check_described(options: NetworkOptions, n_layers: int, n_outputs: int) -> None:
    """Refuse a network that is not the one described.

    Raises:
        ConfigError: its number of layers or outputs is another.
    """
    if n_layers != options.timing.n_layers:
        raise ConfigError(f"`timing.n_layers` must be the network's {n_layers}, got {options.timing.n_layers}.")
    if n_outputs != options.n_outputs:
        raise ConfigError(f"`n_outputs` must be the network's {n_outputs}, got {options.n_outputs}.")
