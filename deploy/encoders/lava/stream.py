"""Samples streamed through a running Lava network, any number of them, one after another.

Only the worker imports this module: it needs lava-nc.
"""

import contextlib
import multiprocessing
import queue
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime
from numpy.typing import NDArray

from sqdr.deploy.encoders.lava.direct_channels import DirectRuntime
from sqdr.deploy.encoders.lava.graph import Graph
from sqdr.deploy.encoders.lava.processes.sink import CountSink
from sqdr.deploy.encoders.lava.processes.source import SpikeSource
from sqdr.errors import BackendCrashError

__all__ = ["LavaStream"]

# What the sink posts: a period's number, its counts, and its spikes where they are wanted.
Post = tuple[int, NDArray[np.int64], NDArray[np.uint8] | None]

_N_QUEUED = 16
_POLL_S = 0.0005
# A post comes as often as the source takes a period off its queue: waiting for posts, the queue is refilled in time.
_LONGEST_WAIT_S = 0.02
# A model that raised tells the warden why within this time; after it we report without a reason.
_FAULT_GRACE_S = 2.0


class LavaStream:
    """A compiled network between a live-fed source and a counting sink, and its Lava runtime.

    Args:
        graph: the network.
        models: process models to use in place of the graph's, by process class.
    """

    def __init__(self, graph: Graph, models: Mapping[type, type]) -> None:
        self._graph = graph
        self._timing = graph.timing
        self._n_periods = 0
        self._frames: Any = multiprocessing.Queue(_N_QUEUED)
        self._counts: Any = multiprocessing.Queue()
        self._wants_trains = multiprocessing.Event()
        shape = tuple(int(size) for size in graph.inp.shape)
        self._source = SpikeSource(shape=shape, period=graph.timing.period, frames=self._frames)
        self._sink = CountSink(
            n_outputs=int(graph.out.shape[0]),
            timing=graph.timing,
            counts=self._counts,
            wants_trains=self._wants_trains,
        )
        self._source.s_out.connect(graph.inp)
        graph.out.connect(self._sink.s_in)
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={**graph.models, **models} or None)
        executable = self._source.compile(config)
        self._runtime: Any = (
            DirectRuntime(executable) if graph.has_direct_channels else Runtime(executable, ActorType.MultiProcessing)
        )
        executable.assign_runtime_to_all_processes(self._runtime)
        # In the order in which the runtime forks them; the runtime service comes last.
        self._names = [
            f"Lava process {type(process).__name__}{graph.places.get(process.id, '')}"
            for process, builder in executable.proc_builders.items()
            if isinstance(builder, PyProcessBuilder)
        ]

    @property
    def next_number(self) -> int:
        """The number of the next sample; blank ones count too."""
        return self._n_periods * self._graph.n_batch

    def start(self) -> None:
        """Fork the Lava processes; watch `find_fault` meanwhile, since this can hang."""
        self._runtime.initialize()

    def find_fault(self) -> str | None:
        """Return what befell the first Lava process that has raised or ended, or None."""
        infrastructure = self._runtime._messaging_infrastructure
        for index, actor in enumerate(list(infrastructure.actors) if infrastructure else []):
            name = self._names[index] if index < len(self._names) else "Lava's runtime service"
            exception = _exception_of(actor)
            if exception is not None:
                return f"{name} raised {exception}"
            if not actor.is_alive():
                return _exception_or_exit(name, actor)
        return None

    def warm_up(self) -> None:
        """Run one blank period: the first step of the models is slower, and a broken network shows here."""
        self._run_items([None])

    def run(
        self, samples: NDArray[np.uint8], is_last: bool, wants_trains: bool
    ) -> tuple[list[int], NDArray[np.int64], NDArray[np.uint8]]:
        """Run samples, a period for each B of them.

        Args:
            samples: (N, C, H, W, T); unless they are the last, N is a multiple of B.
            is_last: whether to wait for their output; without it, some of it may come with the next call.
            wants_trains: whether spikes are wanted besides counts.

        Returns:
            For every sample whose output was complete by the last step, in order: its number since
            the start, counts (n, F), and spikes (n, F, T) if wanted, else none.
        """
        graph, n_batch = self._graph, self._graph.n_batch
        items: list[NDArray[np.uint8] | None] = [
            graph.to_item(samples[start : start + n_batch]) for start in range(0, len(samples), n_batch)
        ]
        if wants_trains:
            self._wants_trains.set()
        else:
            self._wants_trains.clear()
        posts = self._run_items([*items, *[None] * (graph.n_flush if is_last else 0)])
        # (F * B,) -> (B, F) of each period
        counts = [values.reshape(-1, n_batch).T for _, values, _ in posts]
        trains = [
            train.reshape(-1, n_batch, train.shape[-1]).transpose(1, 0, 2) for _, _, train in posts if train is not None
        ]
        return (
            [period * n_batch + place for period, _, _ in posts for place in range(n_batch)],
            np.concatenate(counts) if counts else np.zeros((0, 0), np.int64),
            np.concatenate(trains) if trains else np.zeros((0, 0, 0), np.uint8),
        )

    def _run_items(self, items: list[NDArray[np.uint8] | None]) -> list[Post]:
        """Run a period for each item, and return what was complete by its end."""
        waiting = deque(items)
        n_before = self._n_complete(self._n_periods)
        n_run = len(waiting)
        self._n_periods += n_run
        n_wanted = self._n_complete(self._n_periods) - n_before
        self._runtime.start(RunSteps(num_steps=n_run * self._timing.period, blocking=False))
        posts: list[Post] = []
        while waiting or len(posts) < n_wanted or not self._is_answered():
            if self._feed(waiting) + self._drain(posts):
                continue
            if len(posts) < n_wanted:  # looking often would take the processor from the network
                self._await_post(posts)
            else:
                time.sleep(_POLL_S)
        self._finish()
        return posts

    def trace(self, sample: NDArray[np.uint8]) -> tuple[list[str], list[list[int]], NDArray[np.int64]]:
        """Run one sample a step at a time and read every neuron's states in between.

        Args:
            sample: (C, H, W, T).

        Returns:
            Name and shape, (C, H, W) or (F,), of each layer; and u and v of all neurons after each of the
            sample's steps in their layer, (2, neurons, T), layer after layer.
        """
        graph = self._graph
        states = np.zeros((2, sum(layer.n_neurons for layer in graph.layers), self._timing.n_steps), np.int64)
        posts: list[Post] = []
        waiting: deque[NDArray[np.uint8] | None] = deque([graph.to_item(sample[None]), *[None] * graph.n_flush])
        if graph.wants_states is not None:
            graph.wants_states.set()
        n_before = self._n_complete(self._n_periods)
        n_steps = len(waiting) * self._timing.period
        self._n_periods += len(waiting)
        n_wanted = self._n_complete(self._n_periods) - n_before
        for step in range(n_steps):
            self._runtime.start(RunSteps(num_steps=1, blocking=False))
            while not self._is_answered():
                if not self._feed(waiting) + self._drain(posts):
                    time.sleep(_POLL_S)
            self._finish()
            self._read_states(step, states)
        while len(posts) < n_wanted:  # nobody asked for them, but the next run must not find them
            if not self._drain(posts):
                time.sleep(_POLL_S)
        if graph.wants_states is not None:
            graph.wants_states.clear()
        return [layer.name for layer in graph.layers], [list(layer.shape) for layer in graph.layers], states

    def _read_states(self, step: int, states: NDArray[np.int64]) -> None:
        """Copy the states of every layer in which the sample is at this step."""
        found: dict[int, NDArray[Any]] = {}  # layers may share a variable
        start = 0
        for layer in self._graph.layers:
            end, t = start + layer.n_neurons, step - layer.delay
            if 0 <= t < self._timing.n_steps:
                for row, variable in enumerate(layer.variables):
                    if variable.id not in found:
                        found[variable.id] = self._runtime.get_var(variable.id)
                    states[row, start:end, t] = layer.take(found[variable.id])
            start = end

    def _feed(self, waiting: "deque[NDArray[np.uint8] | None]") -> int:
        moved = 0
        while waiting:
            try:
                self._frames.put_nowait(waiting[0])
            except queue.Full:
                break
            waiting.popleft()
            moved += 1
        return moved

    def _drain(self, posts: list[Post]) -> int:
        moved = 0
        while True:
            try:
                posts.append(self._counts.get_nowait())
            except queue.Empty:
                return moved
            moved += 1

    def _await_post(self, posts: list[Post]) -> None:
        with contextlib.suppress(queue.Empty):
            posts.append(self._counts.get(timeout=_LONGEST_WAIT_S))

    def _is_answered(self) -> bool:
        return all(port.probe() for port in self._runtime.service_to_runtime)

    def _finish(self) -> None:
        for port in self._runtime.service_to_runtime:
            if not enum_equal(port.peek(), MGMT_RESPONSE.DONE):
                time.sleep(_FAULT_GRACE_S)  # the warden reports the exception and ends the worker
                raise BackendCrashError("a Lava process reported an error without saying which")
        self._runtime.wait()

    def _n_complete(self, n_periods: int) -> int:
        """Return how many periods have their whole output before step ``n_periods * period``."""
        timing = self._timing
        spare = n_periods * timing.period - timing.n_layers - timing.n_steps
        return max(0, spare // timing.period + 1)


def _exception_of(actor: Any) -> str | None:
    try:
        pair = actor.exception
    except Exception as error:  # the exception itself could not be unpickled
        return f"an exception that could not be read ({type(error).__name__})"
    if pair is None:
        return None
    text = " ".join(str(pair[0]).split())
    return f"{type(pair[0]).__name__}: {text}" if text else type(pair[0]).__name__


def _exception_or_exit(name: str, actor: Any) -> str:
    exception = _exception_of(actor)  # it may have been on its way when we looked first
    if exception is not None:
        return f"{name} raised {exception}"
    code = actor.exitcode
    if code is not None and code < 0:
        return f"{name} was killed by signal {-code}"
    return f"{name} exited with code {code}"
