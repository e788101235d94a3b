"""A Lava process that holds a whole fixed-point network for many samples side by side."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from sqdr.deploy.encoders.integer.lane import Lane

__all__ = ["BatchedNetwork", "BatchedNetworkModel"]


class BatchedNetwork(AbstractProcess):  # type: ignore[misc]  # lava ships no types
    """Takes a step of B samples and sends their output spikes one step later.

    Args:
        layers: of the network (`sqdr.deploy.encoders.integer.network.IntegerLayer`).
        input_shape: (C, H, W).
        n_samples: B.
        timing: how batches follow one another (`sqdr.timing.Timing`); every layer returns to rest for each.
        wants_states: a multiprocessing event, set while `u` and `v` are to be kept up to date.
    """

    def __init__(
        self, *, layers: Any, input_shape: tuple[int, ...], n_samples: int, timing: Any, wants_states: Any
    ) -> None:
        super().__init__(layers=layers, n_samples=n_samples, timing=timing, wants_states=wants_states)
        sizes = [int(np.prod(layer.shape)) for layer in layers]
        self.s_in = InPort(shape=(*input_shape, n_samples))
        self.s_out = OutPort(shape=(sizes[-1] * n_samples,))
        # of all layers, for the first sample
        self.u = Var(shape=(sum(sizes),), init=0)
        self.v = Var(shape=(sum(sizes),), init=0)


@implements(proc=BatchedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BatchedNetworkModel(PyLoihiProcessModel):  # type: ignore[misc]  # lava ships no types
    """Computes with the integer runtime, whose arithmetic is that of Lava's own models."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: Any = LavaPyType(np.ndarray, np.int32, precision=24)
    v: Any = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.timing = proc_params["timing"]
        self.wants_states = proc_params["wants_states"]
        layers = proc_params["layers"]
        self.lane = Lane(layers, proc_params["n_samples"], self.timing.n_steps)
        self.silence = np.zeros(int(np.prod(layers[-1].shape)) * proc_params["n_samples"], bool)
        self.spikes = self.silence

    def run_spk(self) -> None:
        """Send the spikes of the step before, and take this one; Lava counts steps from 1."""
        self.s_out.send(self.spikes)
        values = self.s_in.recv()
        t = (self.time_step - 1) % self.timing.period
        if t == 0:
            self.lane.reset()
        if t >= self.timing.n_steps:
            self.spikes = self.silence
            return
        self.spikes = self.lane.step(values).reshape(-1)
        if self.wants_states.is_set():
            states = self.lane.states()
            self.u[:] = np.concatenate([u[..., 0].reshape(-1) for u, _, _ in states])
            self.v[:] = np.concatenate([v[..., 0].reshape(-1) for _, v, _ in states])
