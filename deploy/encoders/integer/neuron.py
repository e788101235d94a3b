"""The current-based leaky integrate-and-fire neuron (CUBA) in Loihi's 24-bit arithmetic.

With d the decays over 4096, trunc towards zero, a the synaptic sum and b the bias, each step is

    u = wrap(trunc(u (1 - d_u)) + 64 a)        24 bits, wraps around
    v = clip(trunc(v (1 - d_v)) + u + 64 b)    24 bits, clips
    s = v > 64 threshold,  v = 0 where s

The states are integers held in float64: below 2^53 every product and sum here is exact, and
NumPy's float64 trunc is several times as fast as the shifts and signs of the same step in int64.

Source: lava-nc 0.10.0, lava/proc/lif/models.py, PyLifResetModelBitAcc.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATION_SHIFT", "DECAY_UNITY", "STATE_LIMIT", "CubaParameters", "CubaState", "leaky_bound"]

DECAY_UNITY = 1 << 12
STATE_LIMIT = 1 << 23
# Lava shifts synaptic sums, biases and thresholds left by this many bits.
ACTIVATION_SHIFT = 6
SCALE = 1 << ACTIVATION_SHIFT

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CubaParameters:
    """Parameters of a layer's neurons, each (C,) or (1,), or for the bias (C, H, W), integers in float64.

    Args:
        current_decay: 1..4096, the part of 4096 that is lost per step.
        voltage_decay: 0..4096.
        threshold: mantissa.
        bias: mantissa, or None.
    """

    current_decay: Floats
    voltage_decay: Floats
    threshold: Floats
    bias: Floats | None


def leaky_bound(drive: float, decay: float, n_steps: int | None) -> float:
    """Return the largest |state| of a leaky integrator that receives at most ``drive`` a step.

    Args:
        drive: at least 0.
        decay: 0..4096.
        n_steps: steps from rest; None for any number.
    """
    kept = 1 - decay / DECAY_UNITY
    if n_steps is None:
        return drive / (1 - kept) if kept < 1 else (float("inf") if drive else 0.0)
    return drive * n_steps if kept == 1 else drive * (1 - kept**n_steps) / (1 - kept)


class CubaState:
    """The states of one layer for a batch of samples, batch last.

    Args:
        parameters: of the neurons.
        shape: (C, H, W), or (F,).
        n_samples: B.
        max_drive: bound of |64 a|, to leave out the wrap and the clip where they cannot occur.
        n_steps: T; None for any number.
    """

    def __init__(
        self,
        parameters: CubaParameters,
        shape: tuple[int, ...],
        n_samples: int,
        max_drive: float,
        n_steps: int | None,
    ) -> None:
        axes = (-1,) + (1,) * len(shape)  # (C,) -> (C, 1, 1, 1)
        current_decay = float(parameters.current_decay.min())
        self._keeps_current = current_decay < DECAY_UNITY
        self._kept_u = (1 - parameters.current_decay / DECAY_UNITY).reshape(axes)
        self._kept_v = (1 - parameters.voltage_decay / DECAY_UNITY).reshape(axes)
        self._threshold = (parameters.threshold * SCALE).reshape(axes)
        bias = parameters.bias
        self._bias = None if bias is None else (bias * SCALE).reshape(axes if bias.ndim == 1 else (*shape, 1))
        largest_u = leaky_bound(max_drive, current_decay, n_steps)
        self._may_wrap = largest_u >= STATE_LIMIT
        push = largest_u + (0 if bias is None else float(abs(bias).max()) * SCALE)
        largest_v = leaky_bound(push, float(parameters.voltage_decay.min()), n_steps)
        self._may_clip = max(largest_v, push + float(self._threshold.max())) >= STATE_LIMIT - 1
        full = (*shape, n_samples)
        self.u: Floats | None = np.zeros(full) if self._keeps_current or self._may_wrap else None
        self.v: Floats = np.zeros(full)
        self.spikes: NDArray[np.bool_] = np.zeros(full, dtype=bool)

    def reset(self) -> None:
        """Return to rest."""
        self.v.fill(0)
        if self.u is not None:
            self.u.fill(0)

    def step(self, drive: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Advance one step and return who spikes, (..., B), valid until the next step.

        Args:
            drive: 64 a, (..., B), integers; float32 holds them too.
        """
        v, u = self.v, self.u
        if u is not None:
            if self._keeps_current:
                np.multiply(u, self._kept_u, out=u)
                np.trunc(u, out=u)
                np.add(u, drive, out=u)
            else:
                u[...] = drive
            if self._may_wrap:
                _wrap(u)
        np.multiply(v, self._kept_v, out=v)
        np.trunc(v, out=v)
        np.add(v, drive if u is None else u, out=v)
        if self._bias is not None:
            np.add(v, self._bias, out=v)
        if self._may_clip:
            np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=v)
        np.greater(v, self._threshold, out=self.spikes)
        np.putmask(v, self.spikes, 0.0)
        return self.spikes


def _wrap(u: Floats) -> None:
    """Wrap around 24 bits as Lava does: once, and 2^23 itself stays."""
    above, below = u > STATE_LIMIT, u <= -STATE_LIMIT
    u[above] -= 2 * STATE_LIMIT
    u[below] += 2 * STATE_LIMIT
