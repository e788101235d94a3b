"""What netx and the hardware can hold, as named rules; all violations are reported at once.

Each rule looks at the layers that were written and yields what it finds wrong. The limits were read
in or measured on lava-nc 0.10.0 and lava-dl 0.6.0; most of them fail silently or far from the cause
there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sqdr.errors import ExportError
from sqdr.netx import NetxLayer

__all__ = ["RULES", "Violation", "check_rules", "violations"]

DENSE_WEIGHT_RANGE = (-256, 254)
CONV_WEIGHT_RANGE = (-256, 254)
MAX_THRESHOLD = 131071
MAX_BIAS = 4095
MAX_DELAY = 62
MAX_GROUPS = 127
MAX_DECAY = 4096
UNSUPPORTED = ("pool", "convT", "unpool", "average", "concat")
SUPPORTED = ("input", "conv", "dense", "flatten")


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


def layer_kind_is_supported(layers: list[NetxLayer]) -> Found:
    """Netx raises a bare NotImplementedError for pool, convT, unpool, average and concat."""
    for index, layer in enumerate(layers):
        if layer.kind in UNSUPPORTED or layer.kind not in SUPPORTED:
            yield index, f"netx cannot build a '{layer.kind}' layer.", "Use conv, dense and flatten only."


def layer_has_neuron(layers: list[NetxLayer]) -> Found:
    """Netx gives a layer without neurons a threshold that overflows 17 bits."""
    for index, layer in enumerate(layers):
        if layer.kind in ("conv", "dense") and layer.neuron is None:
            yield index, "it has no neuron.", "Give every conv and dense layer a CUBA neuron."


def neuron_is_cuba(layers: list[NetxLayer]) -> Found:
    """Only current-based leaky integrate-and-fire neurons are proved equal."""
    for index, layer in enumerate(layers):
        if layer.neuron is not None and layer.neuron.get("type") not in ("CUBA", "LOIHI"):
            yield index, f"its neuron is {layer.neuron.get('type')}.", "Use CUBA neurons."


def network_begins_with_conv(layers: list[NetxLayer]) -> Found:
    """Netx drops the axis order when a flatten comes before the first layer."""
    kinds = [layer.kind for layer in layers if layer.kind != "input"]
    if not kinds or kinds[0] != "conv":
        yield 0, "the network begins flat.", "Begin with a conv whose kernel covers the image."


def dense_weight_fits(layers: list[NetxLayer]) -> Found:
    """Netx turns dense weights beyond the range into zeros without a word."""
    yield from _outside(layers, "dense", DENSE_WEIGHT_RANGE)


def conv_weight_fits(layers: list[NetxLayer]) -> Found:
    """Netx does not check conv weights at all; the hardware holds 8 bits with one exponent bit."""
    yield from _outside(layers, "conv", CONV_WEIGHT_RANGE)


def _outside(layers: list[NetxLayer], kind: str, limits: tuple[int, int]) -> Found:
    for index, layer in enumerate(layers):
        if layer.kind == kind and layer.weight is not None and layer.weight.size:
            low, high = int(layer.weight.min()), int(layer.weight.max())
            if low < limits[0] or high > limits[1]:
                yield (
                    index,
                    f"weights span [{low}, {high}], allowed is [{limits[0]}, {limits[1]}].",
                    "Lower encoder.weight_scale, or clip the weights.",
                )


def weight_is_even(layers: list[NetxLayer]) -> Found:
    """Weights are stored as 8 bits times 2: an odd one would be rounded."""
    for index, layer in enumerate(layers):
        if layer.weight is not None and (layer.weight % 2).any():
            yield (
                index,
                "a weight is odd, but 8 bits and one exponent bit hold even ones.",
                "Train with SLAYER's 8-bit quantisation on.",
            )


def weights_are_not_all_zero(layers: list[NetxLayer]) -> Found:
    """Netx raises an OverflowError for a layer of zeros."""
    for index, layer in enumerate(layers):
        if layer.weight is not None and not layer.weight.any():
            yield (
                index,
                "every weight is zero.",
                "Raise encoder.weight_scale, set encoder.initial_rate, or train longer.",
            )


def threshold_fits(layers: list[NetxLayer]) -> Found:
    """The threshold mantissa has 17 bits and must be positive."""
    for index, layer in enumerate(layers):
        if layer.neuron is not None:
            threshold = np.atleast_1d(layer.neuron.get("vThMant", 0))
            if threshold.max() > MAX_THRESHOLD or threshold.min() < 1:
                yield (
                    index,
                    f"the threshold mantissa {int(threshold.max())} must be 1 to {MAX_THRESHOLD}.",
                    f"Use a threshold of at most {MAX_THRESHOLD / 64:.0f}.",
                )


def decay_fits(layers: list[NetxLayer]) -> Found:
    """Decays have 12 bits; 4096 is a full decay."""
    for index, layer in enumerate(layers):
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


def bias_fits(layers: list[NetxLayer]) -> Found:
    """The bias mantissa has 13 bits."""
    for index, layer in enumerate(layers):
        if layer.bias is not None and np.abs(layer.bias).max(initial=0) > MAX_BIAS:
            yield (
                index,
                f"|bias| reaches {int(np.abs(layer.bias).max())}, allowed is {MAX_BIAS}.",
                "Lower the bias.",
            )


def delay_fits(layers: list[NetxLayer]) -> Found:
    """Netx ignores conv delays and clamps dense ones at 62."""
    for index, layer in enumerate(layers):
        if layer.delay is None or not layer.delay.any():
            continue
        if layer.kind == "conv":
            yield index, "netx ignores the delays of a conv.", "Build the block with delay=False."
        elif layer.delay.max() > MAX_DELAY:
            yield index, f"a delay of {int(layer.delay.max())} is beyond {MAX_DELAY}.", "Limit the delays."


def groups_fit(layers: list[NetxLayer]) -> Found:
    """Lava's convolution takes at most 127 groups."""
    for index, layer in enumerate(layers):
        if not 1 <= layer.groups <= MAX_GROUPS:
            yield index, f"{layer.groups} groups, allowed are 1 to {MAX_GROUPS}.", "Use fewer groups."


RULES: tuple[Callable[[list[NetxLayer]], Found], ...] = (
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
)


def violations(layers: list[NetxLayer]) -> list[Violation]:
    """Return every violation of every rule."""
    return [
        Violation(rule.__name__, f"layer {index} ({layers[index].kind if layers else 'none'})", problem, fix)
        for rule in RULES
        for index, problem, fix in rule(layers)
    ]


def check_rules(layers: list[NetxLayer]) -> None:
    """Refuse a network that breaks any rule.

    Raises:
        ExportError: lists every violation.
    """
    found = violations(layers)
    if found:
        raise ExportError("the encoder cannot be exported. " + " ".join(str(violation) for violation in found))
