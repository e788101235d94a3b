"""Rules on states: whatever the images, no current and no voltage may leave the hardware's bits."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.neuron import ACTIVATION_SHIFT, DECAY_UNITY
from sqdr.export.network import Found, Network, parameter, with_weights
from sqdr.netx import NetxLayer

__all__ = ["STATE_RULES", "state_bounds"]

# Bounds stop growing here, far beyond any state, so that int64 never overflows.
MAX_SUM = 1 << 30
MAX_BOUND = 1 << 45
SMALLER_STATES = "Use fewer coding.bits, a smaller kernel, or lower encoder.weight_scale."

Bounds = NDArray[np.int64]
"""One for each channel, (C,), in the states' units."""


def current_stays_in_24_bits(network: Network) -> Found:
    """Lava wraps the current around, SLAYER does not.

    The bound takes every input at its largest, the positive and the negative weights of an output
    apart, and what the decay keeps of earlier steps. It is tight, and far below the 2^24 at which a sum
    would be rounded in float32, in which SLAYER and the integer runtime convolve.
    """
    limit = _limit(network)
    for index, current, _ in state_bounds(network):
        if current >= limit:
            problem = f"its current can reach {current:,}, {network.hardware.name} wraps it at {limit:,}."
            yield index, problem, SMALLER_STATES


def voltage_stays_in_24_bits(network: Network) -> Found:
    """Lava clips the voltage, SLAYER does not.

    Only downwards does it add up and matter: upwards it spikes and is reset, clipped or not.
    """
    limit = _limit(network)
    for index, current, voltage in state_bounds(network):
        if current < limit <= voltage:
            problem = f"its voltage can fall to -{voltage:,}, {network.hardware.name} clips it at -{limit:,}."
            yield index, problem, SMALLER_STATES


def _limit(network: Network) -> int:
    return 1 << (network.hardware.state_bits.value - 1)


def state_bounds(network: Network) -> Iterator[tuple[int, int, int]]:
    """Yield (position, bound of |current|, bound of -voltage) of every layer, in the states' units."""
    payloads = network.payloads
    for index, layer, weight in with_weights(network):
        if layer.neuron is None:
            continue
        inputs = weight.reshape(len(weight), -1)
        up = _integrate(_drives(inputs.clip(min=0), payloads), layer, "iDecay")
        down = _integrate(_drives(-inputs.clip(max=0), payloads), layer, "iDecay")
        pull = _bias_downwards(layer, len(weight))
        voltage = _integrate([current + pull for current in down], layer, "vDecay")
        yield index, int(np.max([up, down])), int(np.max(voltage))
        payloads = (1,) * len(payloads)  # the layers after the first receive binary spikes


def _drives(weight: NDArray[np.int64], payloads: Sequence[int]) -> list[Bounds]:
    """What all inputs together bring at each step, with weights (C, inputs) of one sign."""
    sums = np.minimum(weight.sum(axis=1), MAX_SUM)
    return [(sums * payload) << ACTIVATION_SHIFT for payload in payloads]


def _bias_downwards(layer: NetxLayer, n_channels: int) -> Bounds:
    if layer.bias is None or not layer.bias.size:
        return np.zeros(n_channels, np.int64)
    bias = layer.bias if layer.bias.shape == (n_channels,) else layer.bias.min()
    return np.broadcast_to((-bias).clip(min=0) << ACTIVATION_SHIFT, n_channels)


def _integrate(drives: Sequence[Bounds], layer: NetxLayer, decay_name: str) -> list[Bounds]:
    """A leaky integrator's response at every step, truncated as Lava does."""
    decay = parameter(layer, decay_name)
    kept = DECAY_UNITY - (np.full(1, DECAY_UNITY) if decay is None else decay.clip(0, DECAY_UNITY))
    state, states = np.zeros_like(drives[0]), []
    for drive in drives:
        state = np.minimum(state * kept // DECAY_UNITY + drive, MAX_BOUND)
        states.append(state)
    return states


STATE_RULES: tuple[Callable[[Network], Found], ...] = (current_stays_in_24_bits, voltage_stays_in_24_bits)
"""In the order in which their violations are listed."""
