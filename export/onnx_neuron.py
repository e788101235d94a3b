"""The CUBA neuron as the body of an ONNX Scan over time, in 32-bit integers.

Each step, with kept = 4096 minus the decay, trunc towards zero, a the synaptic sum and b the bias:

    u = wrap(trunc(u kept_u / 4096) + 64 a)         24 bits, wraps around
    v = clip(trunc(v kept_v / 4096) + u + 64 b)     24 bits, clips
    s = v > 64 threshold,  v = 0 where s

No negative number is ever divided, since runtimes need not agree on how: trunc works on the absolute
value. Products stay below 2^31 because a state is split at 12 bits: with a = |v|, h = a div 4096,

    trunc(a kept / 4096) = h kept + (a - 4096 h) kept div 4096.

Wraps and clips are left out where a layer's weights exclude them.

Source: lava-nc 0.10.0, lava/proc/lif/models.py, PyLifResetModelBitAcc.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.encoders.integer.neuron import DECAY_UNITY, STATE_LIMIT
from sqdr.export.onnx_graph import OnnxGraph, TensorSpec
from sqdr.export.onnx_layers import STATE_SCALE, StateRange

__all__ = ["scan_body"]

Integers = NDArray[np.int64]


def scan_body(layer: IntegerLayer, prefix: str, scale: int, limits: StateRange) -> Any:
    """Return one time step of a layer's neurons for a batch of n samples.

    Its inputs are u, v and the synaptic sums, int32 (n, *shape); its outputs u and v after the step,
    and the spikes, uint8.

    Args:
        layer: whose neurons.
        prefix: of all names inside.
        scale: what 1 in a synaptic sum is in units of the state.
        limits: what the layer's states can reach.
    """
    step, neuron = _Step(prefix), layer.neuron
    drive = step.add("Mul", f"{prefix}sum", step.int32(scale))
    if limits.sum_wraps:  # into -2^23 .. 2^23 - 1, here in units of the state
        drive = step.wrapped(drive, STATE_SCALE * STATE_LIMIT - 1, -STATE_SCALE * STATE_LIMIT - 1)
    current = step.integrated(f"{prefix}u", DECAY_UNITY - _spread(neuron.current_decay, layer), drive)
    if limits.current_wraps:
        current = step.wrapped(current, STATE_LIMIT, -STATE_LIMIT)
    current = step.add("Identity", current, output=f"{prefix}current")
    voltage = step.integrated(f"{prefix}v", DECAY_UNITY - _spread(neuron.voltage_decay, layer), current)
    if neuron.bias is not None:
        voltage = step.add("Add", voltage, step.int32(_spread(neuron.bias, layer) * STATE_SCALE))
    if limits.voltage_clips:
        voltage = step.add("Clip", voltage, step.int32(1 - STATE_LIMIT), step.int32(STATE_LIMIT - 1))
    fires = step.add("Greater", voltage, step.int32(_spread(neuron.threshold, layer) * STATE_SCALE))
    step.add("Where", fires, step.int32(0), voltage, output=f"{prefix}voltage")
    step.cast(fires, np.uint8, output=f"{prefix}spikes")
    shape: tuple[int | str, ...] = ("n", *layer.shape)
    states: list[TensorSpec] = [(f"{prefix}{name}", np.int32, shape) for name in ("current", "voltage")]
    return step.proto(
        f"{prefix}graph",
        [(f"{prefix}{name}", np.int32, shape) for name in ("u", "v", "sum")],
        [*states, (f"{prefix}spikes", np.uint8, shape)],
    )


def _spread(values: NDArray[np.float64], layer: IntegerLayer) -> Integers:
    """One number, or one per channel or neuron, as integers of a shape that broadcasts over the layer's."""
    integers = values.astype(np.int64)
    if (integers == integers.flat[0]).all():
        return integers.reshape(-1)[:1].reshape(())
    return integers if integers.ndim > 1 else integers.reshape(-1, *(1 for _ in layer.shape[1:]))


class _Step(OnnxGraph):
    """What one time step needs beyond plain operators."""

    def int32(self, value: int | Integers) -> str:
        return self.constant(np.asarray(value).astype(np.int32))

    def integrated(self, state: str, kept: Integers, push: str) -> str:
        """trunc(state * kept / 4096) + push."""
        if not kept.any():
            return push
        if not (kept == DECAY_UNITY).all():
            state = self._decayed(state, kept)
        return self.add("Add", state, push)

    def _decayed(self, state: str, kept: Integers) -> str:
        factor, unity = self.int32(kept), self.int32(DECAY_UNITY)
        size = self.add("Abs", state)
        high = self.add("Div", size, unity)
        low = self.add("Sub", size, self.add("Mul", high, unity))
        low = self.add("Div", self.add("Mul", low, factor), unity)
        size = self.add("Add", self.add("Mul", high, factor), low)
        return self.add("Mul", size, self.add("Sign", state))

    def wrapped(self, value: str, highest: int, too_low: int) -> str:
        """Go round once, as Lava does, above ``highest`` and at or below ``too_low``."""
        period = self.int32(highest - too_low)
        above = self.add("Greater", value, self.int32(highest))
        below = self.add("LessOrEqual", value, self.int32(too_low))
        raised = self.add("Where", below, self.add("Add", value, period), value)
        return self.add("Where", above, self.add("Sub", value, period), raised)
