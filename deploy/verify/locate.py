"""Look into two encoders that differ: the first layer, neuron and step, both states, and the likely cause."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.calibration import STATE_LIMIT
from sqdr.deploy.verify.report import Difference

__all__ = ["likely_cause", "locate"]

OVERFLOW = (
    "a state left 24 bits, where Lava wraps the current and clips the voltage and float arithmetic does neither. "
    "Use smaller weights, fewer coding bits or a larger decay."
)
CARRIED_OVER = (
    "alone the sample comes out equal: a sample leaves something behind for the next one. Check reset_interval and "
    "reset_offset, and that a multiple of the period is run."
)
SHIFTED = "the target's spikes are the source's a time step {direction}: the pipeline's delay is counted wrongly."
SUM = (
    "everything before agrees and the current does not: the synaptic sum differs. Check weights, the order of axes "
    "(C, H, W), padding and stride, or the current decay from the second step on."
)
VOLTAGE = "the current agrees and the voltage does not: check voltage_decay, bias, threshold and reset."
SPIKE = "both states agree and the spike does not: a voltage equal to the threshold must not spike."
UNKNOWN = "one of the two cannot be looked into; compare both with encoder 'integer'."


def locate(
    source: Any, target: Any, sample: NDArray[np.uint8], number: int, first: tuple[int, int, int, int, int]
) -> Difference:
    """Return where two started encoders part on one sample.

    Args:
        source: the encoder that is trusted.
        target: the one that differs.
        sample: (1, C, H, W, T), the first that differs.
        number: of the sample, for the report.
        first: of `sqdr.deploy.verify.compare.SpikeComparison`.
    """
    _, feature, step, _, _ = first
    if not (hasattr(source, "trace") and hasattr(target, "trace")):
        return Difference(sample=number, layer="", neuron=(feature,), step=step, cause=UNKNOWN)
    trains = source.spike_trains(sample)[0], target.spike_trains(sample)[0]
    traces = list(zip(source.trace(sample), target.trace(sample), strict=True))
    for expected, found in traces:
        place = _first_difference(expected, found)
        if place is None:
            continue
        *neuron, at = place
        return Difference(
            sample=number,
            layer=found.name,
            neuron=tuple(neuron),
            step=at,
            source_current=int(expected.current[0][place]),
            target_current=int(found.current[0][place]),
            source_voltage=int(expected.voltage[0][place]),
            target_voltage=int(found.voltage[0][place]),
            cause=likely_cause(expected, found, place, trains),
        )
    cause = CARRIED_OVER if np.array_equal(*trains) else SPIKE
    return Difference(sample=number, layer=traces[-1][1].name, neuron=(feature,), step=step, cause=cause)


def _first_difference(expected: LayerTrace, found: LayerTrace) -> tuple[int, ...] | None:
    """Return (..., step) of the earliest step at which a state or spike of sample 0 differs."""
    differs = (expected.current[0] != found.current[0]) | (expected.voltage[0] != found.voltage[0])
    if expected.spikes is not None and found.spikes is not None:
        differs |= expected.spikes[0] != found.spikes[0]
    if not differs.any():
        return None
    step = int(np.flatnonzero(differs.reshape(-1, differs.shape[-1]).any(axis=0))[0])
    neuron = np.argwhere(differs[..., step])[0]
    return (*(int(i) for i in neuron), step)


def likely_cause(
    expected: LayerTrace,
    found: LayerTrace,
    place: tuple[int, ...],
    trains: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> str:
    """Return what most likely made two layers part.

    Args:
        expected: of the source; sample 0 is looked at.
        found: of the target.
        place: (..., step) of the first difference in this layer; all layers before agree.
        trains: output spikes (F, T) of source and target for the same sample.
    """
    u = int(expected.current[0][place]), int(found.current[0][place])
    v = int(expected.voltage[0][place]), int(found.voltage[0][place])
    if max(abs(value) for value in (*u, *v)) >= STATE_LIMIT:
        return OVERFLOW
    before, after = trains
    if before.any() and before.shape[-1] > 1:
        if np.array_equal(before[:, :-1], after[:, 1:]) and not after[:, 0].any():
            return SHIFTED.format(direction="late")
        if np.array_equal(before[:, 1:], after[:, :-1]) and not after[:, -1].any():
            return SHIFTED.format(direction="early")
    if u[0] != u[1]:
        return SUM
    return VOLTAGE if v[0] != v[1] else SPIKE
