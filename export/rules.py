"""What netx and the hardware can hold, as named rules; all violations are reported at once.

Each rule looks at the layers that were written and yields what it finds wrong. The limits were read
in or measured on lava-nc 0.10.0 and lava-dl 0.6.0; most of them fail silently or far from the cause
there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sqdr.errors import ExportError
from sqdr.netx import NetxLayer

__all__ = ["RULES", "Network", "Violation", "check_rules", "violations"]

DENSE_WEIGHT_RANGE = (-256, 254)
CONV_WEIGHT_RANGE = (-256, 254)
MAX_THRESHOLD = 131071
MAX_BIAS = 4095
MAX_DELAY = 62
MAX_GROUPS = 127
MAX_DECAY = 4096
# Lava shifts weights left by 6 bits into a 24-bit signed state: 2^23 / 2^6.
STATE_LIMIT = 1 << 17
SMALLER_STATES = "Use fewer coding.bits, a smaller kernel, or lower encoder.weight_scale."
SUPPORTED = ("input", "conv", "dense", "flatten")


@dataclass(frozen=True)
class Network:
    """What is about to be deployed.

    Args:
        layers: as written.
        payloads: largest value of one input spike at each of the T steps, after which every state is
            reset.
        shapes: output shape that each conv and dense layer must have, (C, H, W) or (F,); None to
            accept any.
    """

    layers: list[NetxLayer]
    payloads: tuple[int, ...] = (1,)
    shapes: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Args:
        rule: the rule's name.
        layer: position and kind of the layer at fault.
        problem: what is wrong, with the number and the limit.
        fix: what to change.
    """

    rule: str
    layer: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.layer}: {self.problem} {self.fix}"


Found = Iterator[tuple[int, str, str]]
"""(layer position, problem, fix)"""


def layer_kind_is_supported(network: Network) -> Found:
    """Netx raises a bare NotImplementedError for pool, convT, unpool, average and concat."""
    for index, layer in enumerate(network.layers):
        if layer.kind not in SUPPORTED:
            yield index, f"netx cannot build a '{layer.kind}' layer.", "Use conv, dense and flatten only."


def layer_has_neuron(network: Network) -> Found:
    """Netx gives a layer without neurons a threshold that overflows 17 bits."""
    for index, layer in enumerate(network.layers):
        if layer.kind in ("conv", "dense") and layer.neuron is None:
            yield index, "it has no neuron.", "Give every conv and dense layer a CUBA neuron."


def neuron_is_cuba(network: Network) -> Found:
    """Only current-based leaky integrate-and-fire neurons are proved equal."""
    for index, layer in enumerate(network.layers):
        if layer.neuron is not None and layer.neuron.get("type") not in ("CUBA", "LOIHI"):
            yield index, f"its neuron is {layer.neuron.get('type')}.", "Use CUBA neurons."


def network_begins_with_conv(network: Network) -> Found:
    """Netx drops the axis order when a flatten comes before the first layer."""
    kinds = [layer.kind for layer in network.layers if layer.kind != "input"]
    if not kinds or kinds[0] != "conv":
        yield 0, "the network begins flat.", "Begin with a conv whose kernel covers the image."


def dense_weight_fits(network: Network) -> Found:
    """Netx turns dense weights beyond the range into zeros without a word."""
    yield from _outside(network, "dense", DENSE_WEIGHT_RANGE)


def conv_weight_fits(network: Network) -> Found:
    """Netx does not check conv weights at all; the hardware holds 8 bits with one exponent bit."""
    yield from _outside(network, "conv", CONV_WEIGHT_RANGE)


def _outside(network: Network, kind: str, limits: tuple[int, int]) -> Found:
    for index, layer in enumerate(network.layers):
        if layer.kind == kind and layer.weight is not None and layer.weight.size:
            low, high = int(layer.weight.min()), int(layer.weight.max())
            if low < limits[0] or high > limits[1]:
                yield (
                    index,
                    f"weights span [{low}, {high}], allowed is [{limits[0]}, {limits[1]}].",
                    "Lower encoder.weight_scale, or clip the weights.",
                )


def weight_is_even(network: Network) -> Found:
    """Weights are stored as 8 bits times 2: an odd one would be rounded."""
    for index, layer in enumerate(network.layers):
        if layer.weight is not None and (layer.weight % 2).any():
            yield (
                index,
                "a weight is odd, but 8 bits and one exponent bit hold even ones.",
                "Train with SLAYER's 8-bit quantisation on.",
            )


def weights_are_not_all_zero(network: Network) -> Found:
    """Netx raises an OverflowError for a layer of zeros."""
    for index, layer in enumerate(network.layers):
        if layer.weight is not None and not layer.weight.any():
            yield (
                index,
                "every weight is zero.",
                "Raise encoder.weight_scale, set encoder.initial_rate, or train longer.",
            )


def threshold_fits(network: Network) -> Found:
    """The threshold mantissa has 17 bits and must be positive."""
    for index, layer in enumerate(network.layers):
        if layer.neuron is not None:
            threshold = np.atleast_1d(layer.neuron.get("vThMant", 0))
            if threshold.max() > MAX_THRESHOLD or threshold.min() < 1:
                yield (
                    index,
                    f"the threshold mantissa {int(threshold.max())} must be 1 to {MAX_THRESHOLD}.",
                    f"Use a threshold of at most {MAX_THRESHOLD / 64:.0f}.",
                )


def decay_fits(network: Network) -> Found:
    """Decays have 12 bits; 4096 is a full decay."""
    for index, layer in enumerate(network.layers):
        for name in ("iDecay", "vDecay") if layer.neuron is not None else ():
            decay = np.atleast_1d((layer.neuron or {}).get(name, -1))
            # du is stored as iDecay - 1 in an unsigned field, so 0 underflows there
            low = 1 if name == "iDecay" else 0
            if decay.min() < low or decay.max() > MAX_DECAY:
                yield (
                    index,
                    f"{name} {int(decay.min())} must be {low} to {MAX_DECAY}.",
                    "Use decays between 0 and 1.",
                )


def bias_fits(network: Network) -> Found:
    """The bias mantissa has 13 bits."""
    for index, layer in enumerate(network.layers):
        if layer.bias is not None and np.abs(layer.bias).max(initial=0) > MAX_BIAS:
            yield (
                index,
                f"|bias| reaches {int(np.abs(layer.bias).max())}, allowed is {MAX_BIAS}.",
                "Lower the bias.",
            )


def delay_fits(network: Network) -> Found:
    """Netx ignores conv delays and clamps dense ones at 62."""
    for index, layer in enumerate(network.layers):
        if layer.delay is None or not layer.delay.any():
            continue
        if layer.kind == "conv":
            yield index, "netx ignores the delays of a conv.", "Build the block with delay=False."
        elif layer.delay.max() > MAX_DELAY:
            yield index, f"a delay of {int(layer.delay.max())} is beyond {MAX_DELAY}.", "Limit the delays."


def groups_fit(network: Network) -> Found:
    """Lava's convolution takes at most 127 groups."""
    for index, layer in enumerate(network.layers):
        if not 1 <= layer.groups <= MAX_GROUPS:
            yield index, f"{layer.groups} groups, allowed are 1 to {MAX_GROUPS}.", "Use fewer groups."


def shape_is_the_models(network: Network) -> Found:
    """Netx takes shapes as (W, H, C); a square image hides axes that were mixed up."""
    places = [index for index, layer in enumerate(network.layers) if layer.kind in ("conv", "dense")]
    for index, expected in zip(places, network.shapes or (), strict=False):
        found = network.layers[index].shape
        if tuple(found) != tuple(expected):
            yield index, f"its shape is {tuple(found)}, the model's is {tuple(expected)}.", "Give shapes as (C, H, W)."


def current_stays_in_24_bits(network: Network) -> Found:
    """Lava wraps the current at 24 bits (2^17 in units of weights), SLAYER does not.

    The bound takes every input at its largest, the positive and the negative weights of an output
    apart, and what the decay keeps of earlier steps.
    """
    for index, current, _ in _largest_states(network):
        if current >= STATE_LIMIT:
            yield index, f"its current can reach {current:,} and wraps at {STATE_LIMIT:,}.", SMALLER_STATES


def voltage_stays_in_24_bits(network: Network) -> Found:
    """Lava clips the voltage at 24 bits (2^17 in units of weights), SLAYER does not.

    Only downwards does it add up and matter: upwards it spikes and is reset, clipped or not.
    """
    for index, current, voltage in _largest_states(network):
        if current < STATE_LIMIT <= voltage:
            yield index, f"its voltage can fall to -{voltage:,} and clips at -{STATE_LIMIT:,}.", SMALLER_STATES


def _largest_states(network: Network) -> Iterator[tuple[int, int, int]]:
    """Yield (position, bound of |current|, bound of -voltage) in units of weights."""
    payloads = network.payloads
    for index, layer in enumerate(network.layers):
        if layer.weight is None or layer.neuron is None or not layer.weight.size:
            continue
        inputs = layer.weight.reshape(len(layer.weight), -1)
        bias = 0 if layer.bias is None else int(np.abs(layer.bias).max(initial=0))
        up = _integrate([int(inputs.clip(min=0).sum(axis=1).max()) * p for p in payloads], layer, "iDecay")
        down = _integrate([-int(inputs.clip(max=0).sum(axis=1).min()) * p for p in payloads], layer, "iDecay")
        voltage = max(_integrate([value + bias for value in down], layer, "vDecay"))
        yield index, int(max(*up, *down)), int(voltage)
        payloads = (1,) * len(payloads)  # the layers after the first receive binary spikes


def _integrate(drive: Sequence[float], layer: NetxLayer, decay_name: str) -> list[float]:
    """A leaky integrator's response at every step."""
    decay = float(np.atleast_1d((layer.neuron or {}).get(decay_name, MAX_DECAY)).min()) / MAX_DECAY
    kept, state, states = 1 - min(max(decay, 0.0), 1.0), 0.0, []
    for value in drive:
        state = state * kept + value
        states.append(state)
    return states


RULES: tuple[Callable[[Network], Found], ...] = (
    layer_kind_is_supported,
    layer_has_neuron,
    neuron_is_cuba,
    network_begins_with_conv,
    dense_weight_fits,
    conv_weight_fits,
    weight_is_even,
    weights_are_not_all_zero,
    threshold_fits,
    decay_fits,
    bias_fits,
    delay_fits,
    groups_fit,
    shape_is_the_models,
    current_stays_in_24_bits,
    voltage_stays_in_24_bits,
)


def violations(network: Network) -> list[Violation]:
    """Return every violation of every rule."""
    kinds = [layer.kind for layer in network.layers] or ["none"]
    return [
        Violation(rule.__name__, f"layer {index} ({kinds[index]})", problem, fix)
        for rule in RULES
        for index, problem, fix in rule(network)
    ]


def check_rules(network: Network) -> None:
    """Refuse a network that breaks any rule.

    Raises:
        ExportError: lists every violation.
    """
    found = violations(network)
    if found:
        raise ExportError("the encoder cannot be exported. " + " ".join(str(violation) for violation in found))
