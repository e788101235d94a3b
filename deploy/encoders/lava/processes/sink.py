"""A Lava process that counts the spikes of each sample while the network runs."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

__all__ = ["CountSink", "CountSinkModel"]


class CountSink(AbstractProcess):  # type: ignore[misc]  # lava ships no types
    """Posts one item per period: its number, its spike counts and, when asked, its spikes.

    Args:
        n_outputs: neurons of the last layer, F.
        timing: where a sample's output lies (`sqdr.timing.Timing`).
        counts: a multiprocessing queue that receives (period number, (F,) int64, (F, T) uint8 or
            None).
        wants_trains: a multiprocessing event, set while spikes are asked for.
    """

    def __init__(self, *, n_outputs: int, timing: Any, counts: Any, wants_trains: Any) -> None:
        super().__init__(n_outputs=n_outputs, timing=timing, counts=counts, wants_trains=wants_trains)
        self.s_in = InPort(shape=(n_outputs,))


@implements(proc=CountSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class CountSinkModel(PyLoihiProcessModel):  # type: ignore[misc]  # lava ships no types
    """Keeps the spikes of one sample's window and posts them at its last step."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.timing = proc_params["timing"]
        self.counts = proc_params["counts"]
        self.wants_trains = proc_params["wants_trains"]
        self.spikes = np.zeros((proc_params["n_outputs"], self.timing.n_steps), np.uint8)

    def run_spk(self) -> None:
        """Record one time step; Lava counts steps from 1."""
        spikes = self.s_in.recv() != 0
        position = self.timing.output_position(self.time_step - 1)
        if position is None:
            return
        sample, t = position
        self.spikes[:, t] = spikes
        if t == self.timing.n_steps - 1:
            train = self.spikes.copy() if self.wants_trains.is_set() else None
            self.counts.put((sample, self.spikes.sum(axis=1, dtype=np.int64), train))
