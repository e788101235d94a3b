"""A Lava process that feeds samples into a network while it runs."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

__all__ = ["SpikeSource", "SpikeSourceModel"]


class SpikeSource(AbstractProcess):  # type: ignore[misc]  # lava ships no types
    """Sends one sample per period, then blanks until the period ends.

    Args:
        shape: of one time step, in Lava's order.
        period: steps from the start of one sample to the start of the next.
        frames: a multiprocessing queue with one item per period: (T, *shape), or None for a blank
            period.
    """

    def __init__(self, *, shape: tuple[int, ...], period: int, frames: Any) -> None:
        super().__init__(shape=shape, period=period, frames=frames)
        self.s_out = OutPort(shape=shape)


@implements(proc=SpikeSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SpikeSourceModel(PyLoihiProcessModel):  # type: ignore[misc]  # lava ships no types
    """Takes an item from the queue at the first step of every period."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.frames = proc_params["frames"]
        self.period = proc_params["period"]
        self.blank = np.zeros(proc_params["shape"], np.int32)
        self.sample: Any = None

    def run_spk(self) -> None:
        """Send the current time step of the sample; Lava counts steps from 1."""
        t = (self.time_step - 1) % self.period
        if t == 0:
            self.sample = self.frames.get()
        has_spikes = self.sample is not None and t < len(self.sample)
        self.s_out.send(self.sample[t].astype(np.int32) if has_spikes else self.blank)
