"""Rules on numbers: weights, thresholds, decays, biases, delays and sizes against the hardware file's limits.

A limit is worked out from the bits that the file gives; what Lava's software adds to it is a constant
here, with its source in lava-nc 0.10.0 or lava-dl 0.6.0.
"""

import math
from collections.abc import Callable

import numpy as np

from sqdr.deploy.encoders.integer.network import MAX_DELAY, dense_weight_in_lava
from sqdr.export.network import Found, Network, parameter, with_weights

__all__ = ["PARAMETER_RULES"]

# A signed weight of b bits counts twice, so that it spans [-2^b, 2^b - 2]: lava/proc/dense/process.py, sign_mode.
# SLAYER quantises to the same step, 2/64 with 1/64 as its unit.
WEIGHT_STEP = 2
# netx scales every bias by 2 to this power: lava/lib/dl/netx/hdf5.py get_neuron_params.
BIAS_EXPONENT = 6
# SLAYER holds thresholds as multiples of 1/64.
THRESHOLD_SCALE = 64


def _weight_range(network: Network) -> tuple[int, int]:
    largest = 1 << network.hardware.weight_bits.value
    return -largest, largest - WEIGHT_STEP


def dense_weight_fits(network: Network) -> Found:
    """Netx turns dense weights beyond the range into zeros without a word."""
    yield from _outside(network, "dense")


def conv_weight_fits(network: Network) -> Found:
    """Netx does not check conv weights at all."""
    yield from _outside(network, "conv")


def _outside(network: Network, kind: str) -> Found:
    lowest, highest = _weight_range(network)
    for index, layer, weight in with_weights(network):
        low, high = int(weight.min()), int(weight.max())
        if layer.kind == kind and (low < lowest or high > highest):
            yield (
                index,
                f"weights span [{low}, {high}], {network.hardware.name} holds [{lowest}, {highest}].",
                "Lower encoder.weight_scale, or clip the weights.",
            )


def weight_is_even(network: Network) -> Found:
    """A signed weight counts in steps of 2, in SLAYER's quantisation as on the hardware."""
    for index, _, weight in with_weights(network):
        if (weight % WEIGHT_STEP).any():
            yield (
                index,
                f"{int((weight % WEIGHT_STEP != 0).sum())} weights are odd, but signed ones count in steps of 2.",
                "Train with SLAYER's 8-bit quantisation on.",
            )


def dense_weight_is_exact(network: Network) -> Found:
    """Lava clips and truncates what its 8 bits cannot hold, and so computes with other weights.

    Within the range that is where no weight is positive and the smallest is a power of two: Lava then
    stores magnitudes, up to 255, and scales that one to 256.
    """
    lowest, highest = _weight_range(network)
    for index, layer, weight in with_weights(network):
        if layer.kind != "dense" or weight.min() < lowest or weight.max() > highest:
            continue
        held = dense_weight_in_lava(weight)
        changed = np.flatnonzero(held != weight)
        if changed.size:
            yield (
                index,
                f"Lava would round {changed.size} of its {weight.size} weights, the first from "
                f"{int(weight.flat[changed[0]])} to {int(held.flat[changed[0]])}.",
                "Keep the smallest off powers of two where no weight is positive, and all in 8 bits.",
            )


def weights_are_not_all_zero(network: Network) -> Found:
    """Netx raises an OverflowError for a dense layer of zeros, and a conv of zeros passes nothing on."""
    for index, _, weight in with_weights(network):
        if not weight.any():
            yield (
                index,
                "every weight is zero.",
                "Raise encoder.weight_scale, set encoder.initial_rate, or train longer.",
            )


def threshold_fits(network: Network) -> Found:
    """Lava checks no threshold; 0 is one below 1/64 that SLAYER has rounded down."""
    limit = (1 << network.hardware.threshold_bits.value) - 1
    for index, layer in enumerate(network.layers):
        threshold = parameter(layer, "vThMant")
        if threshold is not None and (threshold.min() < 1 or threshold.max() > limit):
            yield (
                index,
                f"threshold mantissas span [{threshold.min()}, {threshold.max()}], {network.hardware.name} holds "
                f"[1, {limit}].",
                f"Use thresholds (encoder.neuron.threshold times the largest payload) of 1/64 to "
                f"{limit / THRESHOLD_SCALE:.0f}.",
            )


def decay_fits(network: Network) -> Found:
    """Decays are unsigned; a current's is stored less 1, so that 4096, a full decay, fits and 0 does not.

    A voltage's is stored as it is. Lava's simulation keeps it in 16 bits and so can hold 4096, too.
    """
    largest = 1 << network.hardware.decay_bits.value
    ranges = {"iDecay": (1, largest), "vDecay": (0, largest if network.hardware.is_simulated else largest - 1)}
    settings = {"iDecay": "encoder.neuron.current_decay", "vDecay": "encoder.neuron.voltage_decay"}
    for index, layer in enumerate(network.layers):
        for name, (low, high) in ranges.items():
            decay = parameter(layer, name)
            if decay is not None and (decay.min() < low or decay.max() > high):
                yield (
                    index,
                    f"{name} spans [{decay.min()}, {decay.max()}], {network.hardware.name} holds [{low}, {high}].",
                    f"Use {settings[name]} between {low / largest:.4f} and {high / largest:.4f}.",
                )


def bias_fits(network: Network) -> Found:
    """Lava keeps biases in 16 bits and checks nothing; netx scales them by 2^6; SLAYER writes one a channel."""
    half = 1 << (network.hardware.bias_mantissa_bits.value - 1)
    largest_exponent = (1 << network.hardware.bias_exponent_bits.value) - 1
    name = network.hardware.name
    for index, layer in enumerate(network.layers):
        if layer.bias is None or not layer.bias.any():
            continue
        low, high = int(layer.bias.min()), int(layer.bias.max())
        if low < -half or high >= half:
            yield index, f"biases span [{low}, {high}], {name} holds [{-half}, {half - 1}].", "Lower the biases."
        if largest_exponent < BIAS_EXPONENT:
            problem = f"biases have the exponent {BIAS_EXPONENT}, {name} holds 0 to {largest_exponent}."
            yield index, problem, "Train without biases."
        if layer.weight is not None and layer.bias.shape != (len(layer.weight),):
            problem = f"biases of the shape {layer.bias.shape} are not one for each of {len(layer.weight)} channels."
            yield index, problem, "Give one a channel."


def delay_fits(network: Network) -> Found:
    """Netx ignores conv delays and clamps dense ones at 62; Lava refuses negative ones when it is built."""
    limit = min((1 << network.hardware.delay_bits.value) - 1, MAX_DELAY)
    for index, layer in enumerate(network.layers):
        if layer.delay is None or not layer.delay.any():
            continue
        low, high = int(layer.delay.min()), int(layer.delay.max())
        if layer.kind == "conv":
            yield index, "netx ignores the delays of a conv.", "Build the block with delay=False."
        elif low < 0 or high > limit:
            problem = f"delays span [{low}, {high}], netx and {network.hardware.name} hold [0, {limit}]."
            yield index, problem, "Limit the delays."


def neurons_fit(network: Network) -> Found:
    """Every neuron takes a place on a core."""
    sizes = {i: math.prod(x.shape) for i, x in enumerate(network.layers) if x.kind in ("conv", "dense") and x.shape}
    hardware = network.hardware
    limit = hardware.n_chips * hardware.n_cores_per_chip.value * hardware.n_neurons_per_core.value
    if sum(sizes.values()) > limit:
        yield (
            max(sizes, key=sizes.__getitem__),
            f"the network has {sum(sizes.values()):,} neurons, most of them here; {hardware.name} has {limit:,}.",
            "Use fewer channels or larger strides, or name more chips in the hardware file.",
        )


def synapses_fit(network: Network) -> Found:
    """Every weight is stored at least once, however a convolution's are shared."""
    sizes = {index: weight.size for index, _, weight in with_weights(network)}
    limit = network.hardware.n_chips * network.hardware.n_synapses_per_chip.value
    if sum(sizes.values()) > limit:
        yield (
            max(sizes, key=sizes.__getitem__),
            f"the network has {sum(sizes.values()):,} weights, most of them here; {network.hardware.name} holds "
            f"{limit:,}.",
            "Use fewer features or channels, or name more chips in the hardware file.",
        )


PARAMETER_RULES: tuple[Callable[[Network], Found], ...] = (
    dense_weight_fits,
    conv_weight_fits,
    weight_is_even,
    dense_weight_is_exact,
    weights_are_not_all_zero,
    threshold_fits,
    decay_fits,
    bias_fits,
    delay_fits,
    neurons_fit,
    synapses_fit,
)
"""In the order in which their violations are listed."""
