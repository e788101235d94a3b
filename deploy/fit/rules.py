"""What a chip can hold, as named rules; every rule is asked, and all violations are reported at once.

`sqdr.export.rules` holds a network to netx and Lava before it is exported. These rules hold an exported one to the
figures of any hardware file.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.fit.activity import LayerActivity
from sqdr.deploy.fit.placement import Placement, known, place
from sqdr.deploy.fit.report import Violation
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.figures import OptionalFigure

__all__ = ["RULES", "Deployment", "state_bits", "violations_of", "weight_bits"]

# A signed weight of b bits counts twice, so that it spans [-2^b, 2^b - 2]: lava-nc 0.10.0, lava/proc/dense/process.py.
WEIGHT_STEP = 2
UNROLLED = " Kernels are taken as unrolled, for how it stores them is unknown; shared, it would fit here."
SAY_STORAGE = " Or say `convolution_storage` in a file of your own."
SMALLER = "Train with fewer channels or features, larger strides, or more layers of less fan-in."


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A network on its way to a chip: what the rules look at."""

    hardware: Loihi2
    layers: Sequence[IntegerLayer]
    placement: Placement
    activity: Sequence[LayerActivity]


Found = Iterator[tuple[str, float, float, str, str]]
"""(where, number, limit, unit, fix)"""


def cores_fit(deployment: Deployment) -> Found:
    """Every core of the placement exists."""
    hardware, placement = deployment.hardware, deployment.placement
    limit = hardware.n_chips * hardware.n_cores_per_chip.value
    if len(placement.cores) > limit:
        sizes = [len(placement.of_layer(index)) for index in range(len(deployment.layers))]
        largest = int(np.argmax(sizes))
        where = f"{deployment.layers[largest].name}, which takes {sizes[largest]:,} of them"
        yield where, len(placement.cores), limit, "cores", f"{SMALLER} Or take a system of more chips."


def chips_fit(deployment: Deployment) -> Found:
    """Every chip that cores were put on exists; a chip is full by its cores or by its synapses."""
    hardware, placement = deployment.hardware, deployment.placement
    if placement.n_chips > hardware.n_chips and len(placement.cores) <= hardware.n_chips * (
        hardware.n_cores_per_chip.value
    ):
        first = next(core for core in placement.cores if core.chip >= hardware.n_chips)
        where = f"{deployment.layers[first.layer].name}, from neuron {first.first_neuron:,} on"
        fix = f"{SMALLER} Or take a system of more chips."
        yield where, placement.n_chips, hardware.n_chips, "chips, each full of synapses", fix


def neuron_fits_a_core(deployment: Deployment) -> Found:
    """Each neuron, with its synapses and axons, fits an empty core."""
    for layer, neuron, resource, need, limit in deployment.placement.oversized:
        yield f"{deployment.layers[layer].name}, neuron {neuron:,}", need, limit, f"{resource} for it alone", SMALLER


def weights_fit(deployment: Deployment) -> Found:
    """Weights are stored in the chip's bits."""
    limit = deployment.hardware.weight_bits.value
    for layer in deployment.layers:
        need = weight_bits(layer.weight)
        if need > limit:
            yield layer.name, need, limit, "bits of weight", "Lower encoder.weight_scale, or clip the weights."


def states_fit(deployment: Deployment) -> Found:
    """Currents and voltages that occurred on the samples do not leave the chip's bits."""
    limit = deployment.hardware.state_bits.value
    for activity in deployment.activity:
        need = state_bits(activity.max_state)
        if need > limit:
            fix = "Lower encoder.weight_scale or coding.bits, or use smaller kernels."
            yield activity.name, need, limit, "bits of current or voltage on the samples", fix


def thresholds_fit(deployment: Deployment) -> Found:
    """Threshold mantissas are unsigned."""
    limit = deployment.hardware.threshold_bits.value
    for layer in deployment.layers:
        need = int(layer.neuron.threshold.max()).bit_length()
        if need > limit:
            yield layer.name, need, limit, "bits of threshold", "Lower encoder.neuron.threshold, or coding.bits."


def decays_fit(deployment: Deployment) -> Found:
    """A current's decay is stored less 1, a voltage's as it is; Lava's simulation also holds 4096."""
    hardware = deployment.hardware
    largest = 1 << hardware.decay_bits.value
    limits = {"current_decay": largest, "voltage_decay": largest if hardware.is_simulated else largest - 1}
    for layer in deployment.layers:
        for name, limit in limits.items():
            need = int(getattr(layer.neuron, name).max())
            if need > limit:
                yield layer.name, need, limit, f"4096ths of {name}", f"Use a smaller encoder.neuron.{name}."


def biases_fit(deployment: Deployment) -> Found:
    """Bias mantissas are signed."""
    limit = deployment.hardware.bias_mantissa_bits.value
    for layer in deployment.layers:
        need = 0 if layer.neuron.bias is None else _signed_bits(layer.neuron.bias)
        if need > limit:
            yield layer.name, need, limit, "bits of bias", "Lower the biases, or train without them."


def delays_fit(deployment: Deployment) -> Found:
    """Delays are unsigned steps."""
    limit = (1 << deployment.hardware.delay_bits.value) - 1
    for layer in deployment.layers:
        need = 0 if layer.delay is None else int(layer.delay.max())
        if need > limit:
            yield layer.name, need, limit, "steps of delay", "Limit the delays, or train without them."


RULES: tuple[Callable[[Deployment], Found], ...] = (
    cores_fit,
    chips_fit,
    neuron_fits_a_core,
    weights_fit,
    states_fit,
    thresholds_fit,
    decays_fit,
    biases_fit,
    delays_fit,
)
"""In the order in which their violations are listed."""

BY_STORAGE = (cores_fit, chips_fit, neuron_fits_a_core)
"""Those that depend on how kernels are stored."""


def violations_of(deployment: Deployment) -> tuple[Violation, ...]:
    """Return every violation of every rule.

    Where the hardware file does not know how kernels are stored they are taken as unrolled; a violation that shared
    kernels would not have says so.
    """
    name = deployment.hardware.name
    found = [(rule, each) for rule in RULES for each in rule(deployment)]
    doubtful = _only_unrolled(deployment) if any(rule in BY_STORAGE for rule, _ in found) else set()
    made = []
    for rule, (where, number, limit, unit, fix) in found:
        is_doubtful = _key(rule, where) in doubtful
        made.append(
            Violation(
                rule=rule.__name__,
                hardware=name,
                where=where,
                number=number,
                limit=limit,
                problem=f"{where}: needs {number:,} {unit}, {name} has {limit:,}.{UNROLLED if is_doubtful else ''}",
                fix=f"{fix}{SAY_STORAGE if is_doubtful else ''}",
            )
        )
    return tuple(made)


def _only_unrolled(deployment: Deployment) -> set[tuple[str, str]]:
    """Return the violations that would not be there if kernels were shared."""
    hardware = deployment.hardware
    if known(hardware.convolution_storage) is not None:
        return set()
    shared = OptionalFigure[Literal["shared", "unrolled"]](value="shared", source="an assumption", as_of="2026-11")
    placement = place(deployment.layers, hardware.model_copy(update={"convolution_storage": shared}))
    as_shared = replace(deployment, placement=placement)
    unrolled, kept = (
        {_key(rule, where) for rule in BY_STORAGE for where, *_ in rule(each)} for each in (deployment, as_shared)
    )
    return unrolled - kept


def _key(rule: Callable[[Deployment], Found], where: str) -> tuple[str, str]:
    """Cores and chips are one violation of the whole network, a neuron that is too large is one of its layer."""
    return rule.__name__, where.partition(",")[0] if rule is neuron_fits_a_core else ""


def weight_bits(weight: NDArray[np.int64]) -> int:
    """Return the bits that hold the weights, the sign included."""
    low, high = int(weight.min()), int(weight.max())
    bits = 1
    while low < -(1 << bits) or high > (1 << bits) - WEIGHT_STEP:
        bits += 1
    return bits


def state_bits(largest: int) -> int:
    """Return the bits that hold numbers from ``-largest`` to ``largest``, the sign included."""
    return largest.bit_length() + 1


def _signed_bits(values: NDArray[np.float64]) -> int:
    low, high = int(values.min()), int(values.max())
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
