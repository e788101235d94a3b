"""One batch of samples on its way through all layers, a time step at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.encoders.integer.neuron import CubaState
from sqdr.deploy.encoders.integer.synapse import MAX_SUM, ConvSynapse, DelayedDenseSynapse, DenseSynapse

__all__ = ["Lane"]

States = tuple[NDArray[np.float32] | NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
FLOAT32_BYTES = 4
# voltage, current, who spikes
STATE_BYTES = 8 + 8 + 1


class Lane:
    """Buffers for ``n_samples`` samples, used again for every batch.

    Args:
        layers: of the network.
        n_samples: B.
        n_steps: T; None for any number.
    """

    def __init__(self, layers: Sequence[IntegerLayer], n_samples: int, n_steps: int | None) -> None:
        self.n_samples = n_samples
        self._synapses = [_synapse(layer, n_samples) for layer in layers]
        self._neurons = [
            CubaState(
                layer.neuron,
                layer.shape,
                n_samples,
                float(layer.max_drive),
                n_steps,
            )
            for layer in layers
        ]
        self._drives: list[NDArray[np.float32]] = []

    @staticmethod
    def bytes_per_sample(layers: Sequence[IntegerLayer]) -> int:
        """Return about how many bytes of buffers one sample takes."""
        total = 0
        for layer in layers:
            n_out = int(np.prod(layer.shape))
            n_columns = int(np.prod(layer.weight.shape[2:])) * layer.in_shape[0] * n_out // layer.shape[0]
            n_columns = n_columns if layer.is_conv else 0
            total += FLOAT32_BYTES * (int(np.prod(layer.in_shape)) + n_columns + n_out) + STATE_BYTES * n_out
        return total

    def run(self, spikes: NDArray[np.uint8]) -> Iterator[NDArray[np.bool_]]:
        """Yield who spikes in the last layer, (F, B), after each step; valid until the next one.

        Args:
            spikes: (B, C, H, W, T).
        """
        self.reset()
        by_step = np.ascontiguousarray(spikes.transpose(4, 1, 2, 3, 0))  # (B, C, H, W, T) -> (T, C, H, W, B)
        for values in by_step:
            yield self.step(values)

    def reset(self) -> None:
        """Return every layer to rest, for the next batch."""
        for synapse, neuron in zip(self._synapses, self._neurons, strict=True):
            synapse.reset()
            neuron.reset()

    def step(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Advance every layer one step and return who spikes in the last, (F, B), valid until the next step.

        Args:
            values: (C, H, W, B), the input at this step.
        """
        fired = values
        self._drives = []
        for synapse, neuron in zip(self._synapses, self._neurons, strict=True):
            np.copyto(synapse.inputs, fired.reshape(synapse.inputs.shape))
            drive = synapse.drive()
            self._drives.append(drive)
            fired = neuron.step(drive)
        return fired.reshape(-1, self.n_samples)  # type: ignore[return-value]

    def states(self) -> list[States]:
        """Return (u, v, who spikes) of every layer after the last step."""
        return [
            (drive if neuron.u is None else neuron.u, neuron.v, neuron.spikes)
            for drive, neuron in zip(self._drives, self._neurons, strict=True)
        ]


def _synapse(layer: IntegerLayer, n_samples: int) -> ConvSynapse | DenseSynapse | DelayedDenseSynapse:
    if layer.is_conv:
        return ConvSynapse(
            layer.weight,
            layer.in_shape,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            n_samples=n_samples,
            may_wrap=layer.max_sum >= MAX_SUM // 2,
        )
    if layer.delay is not None:
        return DelayedDenseSynapse(layer.weight, layer.delay, n_samples)
    return DenseSynapse(layer.weight, n_samples)
