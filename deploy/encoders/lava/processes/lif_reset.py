"""Lava's fixed-point neuron in fewer passes over its states; everything else is Lava's own."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from numpy.typing import NDArray

__all__ = ["LifResetModel"]


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class LifResetModel(PyLifResetModelBitAcc):  # type: ignore[misc]  # lava ships no types
    """Takes the place of PyLifResetModelBitAcc, whose some forty NumPy calls a step cost more than the numbers in them.

    A product of a state and a decay has at most 48 bits, so float64 holds it exactly. Sums come back to int32
    through int64, and so wrap where Lava's, taken in int32, do.
    """

    u: Any
    v: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.kept_u: Any = None
        self.kept_v: Any = None
        self.wide: Any = None
        self.exact: Any = None

    def scale_bias(self) -> None:
        """Do it once; Lava's own does it at every step."""
        if not self.isbiasscaled:
            super().scale_bias()

    def on_var_update(self) -> None:
        """Scale anew what may have been set."""
        self.isbiasscaled = self.isthrscaled = False
        self.wide = None

    def subthr_dynamics(self, activation_in: NDArray[np.int32]) -> None:
        """Advance `u` and `v` by one step, before the spikes."""
        if self.wide is None:  # the parameters are not there yet when the model is made
            self._prepare()
        u, v, exact, wide = self.u, self.v, self.exact, self.wide
        drive = np.left_shift(activation_in, self.act_shift)
        if self.kept_u is None:
            u[...] = drive
        else:
            np.multiply(u, self.kept_u, out=exact)
            np.trunc(exact, out=exact)
            np.add(exact, drive, out=exact)
            wide[...] = exact
            u[...] = wide
        if u.max() > self.max_uv_val:
            u[u > self.max_uv_val] -= 2 * self.max_uv_val
        if u.min() <= -self.max_uv_val:
            u[u <= -self.max_uv_val] += 2 * self.max_uv_val
        np.multiply(v, self.kept_v, out=exact)
        np.trunc(exact, out=exact)
        np.add(exact, u, out=exact)
        np.add(exact, self.effective_bias, out=exact)
        wide[...] = exact
        v[...] = wide
        np.clip(v, 1 - self.max_uv_val, self.max_uv_val - 1, out=v)

    def _prepare(self) -> None:
        self.exact, self.wide = np.empty(self.u.shape), np.empty(self.u.shape, np.int64)
        kept_u, kept_v = (
            (self.decay_unity - (np.asarray(decay).astype(np.int64, casting="same_kind") + offset)) / self.decay_unity
            for decay, offset in ((self.du, self.ds_offset), (self.dv, self.dm_offset))
        )
        self.kept_u = kept_u if kept_u.any() else None
        self.kept_v = kept_v
