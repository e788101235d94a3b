"""What the exported encoder does on real samples: how far its states are from overflow, and who never spikes."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.calibration import Calibration, LayerRange, headroom_bits
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.encoders.integer.neuron import ACTIVATION_SHIFT, DECAY_UNITY
from sqdr.errors import ConfigError, DataError, ExportError

__all__ = ["Finding", "calibrate", "check_calibration", "findings"]

# A batch's traces and what is worked out from them: int64 states, their products, and spikes.
BATCH_BYTES = 64 << 20
BYTES_PER_STEP = 8 * 8
# The states of the integer encoder, as of Loihi: lava-nc 0.10.0, lava/proc/lif/models.py.
STATE_BITS = 24
# From this share of a layer's neurons on, silence or saturation is worth a warning.
MOST = 0.9
# On fewer samples, neurons that each do one thing may well do another on the next image.
MIN_SAMPLES = 32
WAKE = (
    "Lower encoder.neuron.threshold, raise encoder.weight_scale or encoder.initial_rate, or lower training.encoder_lr, "
    "and train again."
)
CALM = (
    "Raise encoder.neuron.threshold, lower encoder.weight_scale or encoder.initial_rate, or lower training.encoder_lr, "
    "and train again."
)
SMALLER_STATES = "Use fewer coding.bits, a smaller kernel, or lower encoder.weight_scale."


@dataclass(frozen=True)
class Finding:
    """Something that calibration shows to be wrong with a layer.

    Args:
        layer: position and kind.
        problem: what is wrong, with the number and the limit.
        fix: what to change.
        is_fatal: whether nothing that follows can depend on the image any more.
    """

    layer: str
    problem: str
    fix: str
    is_fatal: bool = False

    def __str__(self) -> str:
        return f"{self.layer}: {self.problem} {self.fix}"


class _Counter:
    """What is known of one layer after some batches."""

    def __init__(self, layer: IntegerLayer) -> None:
        self.layer = layer
        self.max_current = 0
        self.max_voltage = 0
        self.n_spikes = np.zeros(layer.shape, np.int64)

    def add(self, trace: LayerTrace) -> None:
        self.max_current = max(self.max_current, int(np.abs(trace.current).max()))
        self.max_voltage = max(self.max_voltage, _largest_voltage(self.layer, trace))
        spikes = cast(NDArray[np.uint8], trace.spikes)  # the integer encoder sees all of them
        self.n_spikes += spikes.sum(axis=(0, -1), dtype=np.int64)

    def range(self, n_steps: int, state_bits: int) -> LayerRange:
        """``n_steps``: of all samples together."""
        return LayerRange(
            layer=self.layer.name,
            max_abs_current=self.max_current,
            max_abs_voltage=self.max_voltage,
            bits_current=_headroom(self.max_current, state_bits),
            bits_voltage=_headroom(self.max_voltage, state_bits),
            spike_rate=int(self.n_spikes.sum()) / (self.n_spikes.size * n_steps),
            n_silent=int((self.n_spikes == 0).sum()),
            n_saturated=int((self.n_spikes == n_steps).sum()),
            n_neurons=self.n_spikes.size,
        )


def calibrate(encoder: IntegerEncoder, spikes: NDArray[np.uint8], state_bits: int = STATE_BITS) -> Calibration:
    """Return the ranges and spike rates of every layer over the calibration samples.

    The voltage is the one before a reset and before it is clipped: what a spiking neuron reached, too.
    The current is the one after it wraps around, which the rules on bounds exclude beforehand.

    Args:
        encoder: of the exported network.
        spikes: (N, C, H, W, T) coded images; run in batches of at most some 64 MiB of traces.
        state_bits: of the hardware's states, up to 24.

    Raises:
        DataError: there are no samples.
        ShapeError: they are not the encoder's.
        ConfigError: ``state_bits`` are not 1 to 24.
    """
    if not 1 <= state_bits <= STATE_BITS:
        raise ConfigError(f"`state_bits` must be 1 to {STATE_BITS}, as the integer encoder has them, got {state_bits}.")
    if not len(spikes):
        raise DataError("`spikes` holds no samples. Give at least one to calibrate with.")
    counters = [_Counter(layer) for layer in encoder.layers]
    per_sample = BYTES_PER_STEP * sum(math.prod(layer.shape) for layer in encoder.layers) * spikes.shape[-1]
    n_batch = max(1, BATCH_BYTES // max(1, per_sample))
    for start in range(0, len(spikes), n_batch):
        for counter, trace in zip(counters, encoder.trace(spikes[start : start + n_batch]), strict=True):
            counter.add(trace)
    n_steps = len(spikes) * spikes.shape[-1]
    return Calibration(n_samples=len(spikes), layers=tuple(counter.range(n_steps, state_bits) for counter in counters))


def findings(calibration: Calibration) -> list[Finding]:
    """Return what is wrong, layer by layer; the fatal ones are named only in the first layer that has one."""
    found: list[Finding] = []
    for layer in calibration.layers:
        activity = _activity(layer, calibration.n_samples)
        if not (activity and activity[0].is_fatal and any(finding.is_fatal for finding in found)):
            found += activity
        found += _ranges(layer)
    return found


def check_calibration(calibration: Calibration) -> tuple[str, ...]:
    """Return a warning for every finding that leaves the network usable.

    Raises:
        ExportError: a layer's output is the same for every sample; all findings are listed.
    """
    found = findings(calibration)
    if any(finding.is_fatal for finding in found):
        raise ExportError("the encoder cannot be exported. " + " ".join(str(finding) for finding in found))
    return tuple(str(finding) for finding in found)


def _largest_voltage(layer: IntegerLayer, trace: LayerTrace) -> int:
    """The trace has the voltage after a reset; the one before follows from the step before and the current."""
    axes = (1, -1) + (1,) * len(layer.shape)  # (C,) -> (N, C, ..., T)
    kept = (DECAY_UNITY - layer.neuron.voltage_decay).astype(np.int64).reshape(axes)
    before = np.zeros_like(trace.voltage)
    before[..., 1:] = trace.voltage[..., :-1]
    before *= kept
    reached = np.sign(before) * (np.abs(before) // DECAY_UNITY) + trace.current
    bias = layer.neuron.bias
    if bias is not None:
        scaled = bias.astype(np.int64) << ACTIVATION_SHIFT
        reached += scaled.reshape(axes if bias.ndim == 1 else (1, *layer.shape, 1))
    return int(np.abs(reached).max())


def _headroom(max_abs: int, state_bits: int) -> int:
    return min(headroom_bits(max_abs << (STATE_BITS - state_bits)), state_bits - 1)


def _activity(layer: LayerRange, n_samples: int) -> list[Finding]:
    n, silent, saturated = layer.n_neurons, layer.n_silent, layer.n_saturated
    span = f"over {n_samples} calibration samples."
    if silent == n:
        return [Finding(layer.layer, f"no neuron spiked {span}", WAKE, is_fatal=True)]
    if saturated == n:
        return [Finding(layer.layer, f"every neuron spiked at every step {span}", CALM, is_fatal=True)]
    if silent + saturated == n:
        problem = f"{silent} of {n} neurons never spiked and all others at every step {span}"
        fix = "Change encoder.weight_scale or training.encoder_lr, and train again."
        return [Finding(layer.layer, problem, fix, is_fatal=n_samples >= MIN_SAMPLES)]
    if silent >= MOST * n:
        return [Finding(layer.layer, f"{silent} of {n} neurons never spiked {span}", WAKE)]
    if saturated >= MOST * n:
        return [Finding(layer.layer, f"{saturated} of {n} neurons spiked at every step {span}", CALM)]
    return []


def _ranges(layer: LayerRange) -> list[Finding]:
    reached = (
        ("current", layer.max_abs_current, layer.bits_current),
        ("voltage", layer.max_abs_voltage, layer.bits_voltage),
    )
    return [
        Finding(
            layer.layer,
            f"its {name} reached {largest:,}, which leaves {bits} bits of headroom; another image may overflow.",
            SMALLER_STATES,
        )
        for name, largest, bits in reached
        if bits < 1
    ]
