"""Layers on cores: how many neurons each core takes, with the memory and the axons that they need.

A core holds neurons of one layer only, in the order of (C, H, W), as many as fit: the partition of Intel's published
compiler of convolutional networks (NxTF, arXiv 2101.04261). Memory is what weights, delays and the two states u and v
need at least: what a compiler adds for addresses, parameters and routing tables is not public. So a network
that does not fit here does not fit the chip, and one that fits here may still be refused by Intel's compiler. One
exception: where a file does not know how kernels are stored they are taken as unrolled, which needs the most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.fit.connectivity import Connectivity
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.figures import OptionalFigure

__all__ = ["Core", "Placement", "is_shared", "known", "place"]

# Current and voltage.
N_STATES = 2
BITS_PER_BYTE = 8

Value = TypeVar("Value")


def known(figure: OptionalFigure[Value] | None) -> Value | None:
    """Return the value of a figure; None where it is unknown, or left out of the file."""
    return None if figure is None else figure.value


def is_shared(hardware: Loihi2) -> bool:
    """Whether a core stores a kernel once. Where that is unknown every synapse is taken as stored by itself."""
    return known(hardware.convolution_storage) == "shared"


@dataclass(frozen=True, kw_only=True)
class Core:
    """What one core holds.

    Args:
        layer: position among the layers that have neurons.
        first_neuron: of the layer, in the order of (C, H, W).
        n_neurons: from the first on.
        chip: from 0; a number beyond the system's chips has no place.
        n_synapses: of its neurons, each by itself.
        n_stored: weights that the core stores.
        synaptic_bytes: of the stored weights and their delays.
        memory_bytes: of those and the neurons' states.
        fan_in_axons: inputs that reach any of its neurons.
        fan_out_axons: pairs of one of its neurons and a core of the next layer that it reaches; 0 for the last layer.
    """

    layer: int
    first_neuron: int
    n_neurons: int
    chip: int
    n_synapses: int
    n_stored: int
    synaptic_bytes: int
    memory_bytes: int
    fan_in_axons: int
    fan_out_axons: int


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Every neuron on a core.

    Args:
        cores: layer after layer; each neuron is on one of them, on its own where it exceeds a limit by itself.
        oversized: (layer, neuron, resource, need, limit) of the first neuron of a layer that no core can hold.
    """

    cores: tuple[Core, ...]
    oversized: tuple[tuple[int, int, str, int, int], ...]

    @property
    def n_chips(self) -> int:
        """Chips that hold at least one core."""
        return self.cores[-1].chip + 1

    def of_layer(self, layer: int) -> list[Core]:
        """Return the cores of one layer."""
        return [core for core in self.cores if core.layer == layer]


def place(layers: Sequence[IntegerLayer], hardware: Loihi2) -> Placement:
    """Return a placement of the layers.

    Args:
        layers: of the network, first to last.
        hardware: whose limits hold; unknown ones hold nothing back.
    """
    parts: list[list[Core]] = []
    oversized: list[tuple[int, int, str, int, int]] = []
    # from the last layer to the first: a neuron's fan-out is known once the next layer has its cores
    targets: NDArray[np.int64] | None = None
    for index in range(len(layers) - 1, -1, -1):
        planner = _LayerPlanner(index, layers[index], hardware, targets)
        cores = planner.cores()
        parts.insert(0, cores)
        oversized = planner.oversized + oversized
        targets = planner.targets_of(cores)
    return Placement(cores=_on_chips([core for part in parts for core in part], hardware), oversized=tuple(oversized))


class _LayerPlanner:
    """Cut one layer into cores.

    Args:
        index: of the layer.
        layer: to cut.
        hardware: with its limits.
        targets: cores of the next layer that each neuron reaches; None for the last layer.
    """

    def __init__(self, index: int, layer: IntegerLayer, hardware: Loihi2, targets: NDArray[np.int64] | None) -> None:
        self._index, self._hardware = index, hardware
        self._connectivity = Connectivity(layer)
        self._is_shared = is_shared(hardware) and layer.is_conv
        n_neurons = self._connectivity.n_neurons
        delay_bits = 0 if layer.delay is None else hardware.delay_bits.value
        self._synapse_bits = hardware.weight_bits.value + delay_bits
        self._synapses = np.concatenate([[0], np.cumsum(self._connectivity.fan_in)])
        out = np.zeros(n_neurons, np.int64) if targets is None else targets
        self._fan_out = np.concatenate([[0], np.cumsum(out)])
        self.oversized: list[tuple[int, int, str, int, int]] = []
        measures: list[tuple[str, Callable[[int, int], int], int | None]] = [
            ("neurons", lambda start, stop: stop - start, hardware.n_neurons_per_core.value),
            ("stored synapses", self._n_stored, hardware.n_synapses_per_chip.value),
            ("bytes of synaptic memory", self._synaptic_bytes, known(hardware.synaptic_memory_bytes_per_core)),
            ("bytes of core memory", self._memory_bytes, known(hardware.core_memory_bytes)),
            ("fan-out axons", self._n_fan_out, known(hardware.n_fan_out_axons_per_core)),
            ("fan-in axons", self._n_fan_in, known(hardware.n_fan_in_axons_per_core)),
        ]
        # each grows with the number of neurons, which is what lets them be searched by halves
        self._limits = [(name, measure, limit) for name, measure, limit in measures if limit is not None]

    def cores(self) -> list[Core]:
        """Return the layer's cores, each with as many neurons as fit."""
        n_neurons, made, start = self._connectivity.n_neurons, [], 0
        while start < n_neurons:
            stop = self._last_that_fits(start, n_neurons)
            made.append(self._core(start, stop))
            start = stop
        return made

    def targets_of(self, cores: list[Core]) -> NDArray[np.int64]:
        """Return how many of the cores each input of this layer reaches, (n_inputs,)."""
        reached = np.zeros(self._connectivity.n_inputs, np.int64)
        for core in cores:
            reached += self._connectivity.sources(core.first_neuron, core.first_neuron + core.n_neurons)
        return reached

    def _last_that_fits(self, start: int, n_neurons: int) -> int:
        broken = next(
            ((name, m(start, start + 1), limit) for name, m, limit in self._limits if m(start, start + 1) > limit), None
        )
        if broken is not None:
            if not self.oversized:
                self.oversized.append((self._index, start, *broken))
            return start + 1
        low, high = start + 1, n_neurons
        while low < high:
            middle = (low + high + 1) // 2
            if all(measure(start, middle) <= limit for _, measure, limit in self._limits):
                low = middle
            else:
                high = middle - 1
        return low

    def _core(self, start: int, stop: int) -> Core:
        return Core(
            layer=self._index,
            first_neuron=start,
            n_neurons=stop - start,
            chip=0,
            n_synapses=int(self._synapses[stop] - self._synapses[start]),
            n_stored=self._n_stored(start, stop),
            synaptic_bytes=self._synaptic_bytes(start, stop),
            memory_bytes=self._memory_bytes(start, stop),
            fan_in_axons=self._n_fan_in(start, stop),
            fan_out_axons=self._n_fan_out(start, stop),
        )

    def _n_stored(self, start: int, stop: int) -> int:
        if self._is_shared:
            return self._connectivity.n_weights_of(start, stop)
        return int(self._synapses[stop] - self._synapses[start])

    def _synaptic_bytes(self, start: int, stop: int) -> int:
        return -(-self._n_stored(start, stop) * self._synapse_bits // BITS_PER_BYTE)

    def _memory_bytes(self, start: int, stop: int) -> int:
        state_bits = (stop - start) * N_STATES * self._hardware.state_bits.value
        return self._synaptic_bytes(start, stop) + -(-state_bits // BITS_PER_BYTE)

    def _n_fan_in(self, start: int, stop: int) -> int:
        return int(self._connectivity.sources(start, stop).sum())

    def _n_fan_out(self, start: int, stop: int) -> int:
        return int(self._fan_out[stop] - self._fan_out[start])


def _on_chips(cores: list[Core], hardware: Loihi2) -> tuple[Core, ...]:
    """Fill one chip after another, up to its cores and its synapses."""
    placed: list[Core] = []
    chip, n_cores, n_stored = 0, 0, 0
    for core in cores:
        is_full = n_cores == hardware.n_cores_per_chip.value
        if is_full or (n_cores and n_stored + core.n_stored > hardware.n_synapses_per_chip.value):
            chip, n_cores, n_stored = chip + 1, 0, 0
        n_cores, n_stored = n_cores + 1, n_stored + core.n_stored
        placed.append(replace(core, chip=chip))
    return tuple(placed)
