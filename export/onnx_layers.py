"""The layers that ONNX is written from, and how far their states can go."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sqdr.deploy.encoders.integer.network import IntegerLayer, integer_layers
from sqdr.deploy.encoders.integer.neuron import ACTIVATION_SHIFT, DECAY_UNITY, STATE_LIMIT
from sqdr.errors import BundleError, ExportError
from sqdr.netx import NetxLayer
from sqdr.specification import CodingSpec

__all__ = ["STATE_SCALE", "StateRange", "numbered_layers", "state_range"]

# Lava shifts synaptic sums, biases and thresholds left by 6 bits.
STATE_SCALE = 1 << ACTIVATION_SHIFT


@dataclass(frozen=True, kw_only=True)
class StateRange:
    """Which limits a layer can reach within the T steps of a sample.

    Args:
        sum_wraps: a convolution's sum can leave 24 bits.
        current_wraps: u can leave 24 bits.
        voltage_clips: v can leave 24 bits.
    """

    sum_wraps: bool
    current_wraps: bool
    voltage_clips: bool


def numbered_layers(
    blocks: Sequence[NetxLayer], input_shape: tuple[int, int, int], coding: CodingSpec
) -> list[tuple[int, IntegerLayer]]:
    """Return the conv and dense layers with their positions in the network file.

    They are the integer runtime's own, so that ONNX takes and refuses what that takes and refuses.

    Raises:
        ExportError: a layer cannot be computed exactly; it is named.
    """
    max_payload = max(1, (1 << coding.message_bits) - 1)
    try:
        layers = integer_layers(blocks, input_shape, max_payload, coding.n_steps)
    except BundleError as error:
        raise ExportError(str(error)) from error
    positions = [index for index, block in enumerate(blocks) if block.kind in ("conv", "dense")]
    return list(zip(positions, layers, strict=True))


def state_range(layer: IntegerLayer, n_steps: int) -> StateRange:
    """Bound a layer's states, with every input at its largest at every step."""
    neuron = layer.neuron
    currents = list(_integrate(layer.max_drive, int(neuron.current_decay.min()), n_steps))
    push = max(currents) + (0 if neuron.bias is None else int(np.abs(neuron.bias).max()) * STATE_SCALE)
    voltages = _integrate(push, int(neuron.voltage_decay.min()), n_steps)
    return StateRange(
        sum_wraps=layer.is_conv and layer.max_sum >= STATE_LIMIT,
        current_wraps=max(currents) >= STATE_LIMIT,
        voltage_clips=max(voltages) >= STATE_LIMIT,
    )


def _integrate(push: int, decay: int, n_steps: int) -> Iterator[int]:
    """Yield a state's bound at every step, wraps and clips aside: they only make it smaller."""
    state = 0
    for _ in range(n_steps):
        state = state * (DECAY_UNITY - decay) // DECAY_UNITY + push
        yield state
