"""Samples streamed through a running Lava network, any number of them, one after another.

Only the worker imports this module: it needs lava-nc and lava-dl.
"""

import multiprocessing
import queue
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.lib.dl.netx.blocks.process import Conv, Dense
from lava.lib.dl.netx.hdf5 import Network
from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime
from lava.proc.conv.process import Conv as ConvSynapse
from numpy.typing import NDArray

from sqdr.deploy.encoders.lava.processes.sink import CountSink
from sqdr.deploy.encoders.lava.processes.source import SpikeSource
from sqdr.deploy.encoders.lava.processes.sparse_conv import SparseConvModel
from sqdr.errors import BackendCrashError, BundleError, ConfigError
from sqdr.timing import Timing

__all__ = ["LavaStream", "NetworkOptions"]

_N_QUEUED = 16
_POLL_S = 0.0005
# A model that raised tells the warden why within this time; after it we report without a reason.
_FAULT_GRACE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What the worker needs to know about a network.

    Args:
        net_path: a netx HDF5 file.
        input_shape: (C, H, W).
        n_outputs: neurons of the last layer, F.
        timing: how samples follow one another.
        message_bits: bits of an input value; 0 for plain spikes.
        graph: stock or fast.
    """

    net_path: str
    input_shape: tuple[int, int, int]
    n_outputs: int
    timing: Timing
    message_bits: int
    graph: str


class LavaStream:
    """A compiled network between a live-fed source and a counting sink, and its Lava runtime.

    Args:
        options: the network.
        models: process models to use in place of the stock ones, by process class.

    Raises:
        BundleError: the file is not a netx network.
        ConfigError: the network is not the one that ``options`` describes.
    """

    def __init__(self, options: NetworkOptions, models: Mapping[type, type]) -> None:
        self._timing = options.timing
        self._n_periods = 0
        self._frames: Any = multiprocessing.Queue(_N_QUEUED)
        self._counts: Any = multiprocessing.Queue()
        self._wants_trains = multiprocessing.Event()
        self._network = _load(options)
        self._input_shape = tuple(int(size) for size in self._network.inp.shape)
        self._source = SpikeSource(shape=self._input_shape, period=options.timing.period, frames=self._frames)
        self._sink = CountSink(
            n_outputs=options.n_outputs,
            timing=options.timing,
            counts=self._counts,
            wants_trains=self._wants_trains,
        )
        self._source.s_out.connect(self._network.inp)
        output = self._network.out
        if len(output.shape) > 1:
            output = output.transpose([2, 1, 0]).flatten()  # (W, H, C) -> (C * H * W,)
        output.connect(self._sink.s_in)
        own = {ConvSynapse: SparseConvModel} if options.graph == "fast" else {}
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={**own, **models} or None)
        executable = self._source.compile(config)
        self._runtime = Runtime(executable, ActorType.MultiProcessing)
        executable.assign_runtime_to_all_processes(self._runtime)
        layers = {
            part.id: f" of layer {index}"
            for index, layer in enumerate(self._network.layers)
            for part in (layer.synapse, layer.neuron)
        }
        self._layer_names = [
            f"layer {place} ({kind})" for place, kind in enumerate(_kinds(self._network)) if kind in ("conv", "dense")
        ]
        # In the order in which the runtime forks them; the runtime service comes last.
        self._names = [
            f"Lava process {type(process).__name__}{layers.get(process.id, '')}"
            for process, builder in executable.proc_builders.items()
            if isinstance(builder, PyProcessBuilder)
        ]

    @property
    def n_periods(self) -> int:
        """Periods run since the start, which is also the number of the next one."""
        return self._n_periods

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

    def run(
        self, samples: NDArray[np.uint8], n_blank: int, wants_trains: bool
    ) -> tuple[list[int], NDArray[np.int64], NDArray[np.uint8]]:
        """Run one period per sample, then ``n_blank`` blank periods.

        Args:
            samples: (N, C, H, W, T).
            n_blank: blank periods after the last sample.
            wants_trains: whether spikes are wanted besides counts.

        Returns:
            For every period whose output was complete by the last step, in order: its number since
            the start, counts (n, F), and spikes (n, F, T) if wanted, else none.
        """
        if wants_trains:
            self._wants_trains.set()
        else:
            self._wants_trains.clear()
        waiting: deque[NDArray[np.uint8] | None] = deque(self._to_lava(sample) for sample in samples)
        waiting.extend([None] * n_blank)
        n_before = self._n_complete(self._n_periods)
        n_run = len(waiting)
        self._n_periods += n_run
        n_wanted = self._n_complete(self._n_periods) - n_before
        self._runtime.start(RunSteps(num_steps=n_run * self._timing.period, blocking=False))
        posts: list[tuple[int, NDArray[np.int64], NDArray[np.uint8] | None]] = []
        while waiting or len(posts) < n_wanted or not self._is_answered():
            moved = self._feed(waiting) + self._drain(posts)
            if not moved:
                time.sleep(_POLL_S)
        self._finish()
        return (
            [number for number, _, _ in posts],
            np.array([counts for _, counts, _ in posts], np.int64),
            np.array([train for _, _, train in posts if train is not None], np.uint8),
        )

    def trace(self, sample: NDArray[np.uint8], n_blank: int) -> tuple[list[str], list[list[int]], NDArray[np.int64]]:
        """Run one sample a step at a time and read every neuron's states in between.

        Args:
            sample: (C, H, W, T).
            n_blank: blank periods after it, so that it leaves the network.

        Returns:
            Name and shape, (C, H, W) or (F,), of each layer; and u and v of all neurons after each of the
            sample's steps in their layer, (2, neurons, T), layer after layer.
        """
        shapes = [layer.neuron.u.shape[::-1] for layer in self._network.layers]
        states = np.zeros((2, sum(int(np.prod(shape)) for shape in shapes), self._timing.n_steps), np.int64)
        posts: list[Any] = []
        waiting: deque[NDArray[np.uint8] | None] = deque([self._to_lava(sample), *[None] * n_blank])
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
        return self._layer_names, [[int(size) for size in shape] for shape in shapes], states

    def _read_states(self, step: int, states: NDArray[np.int64]) -> None:
        """Copy the states of every layer in which the sample is at this step; layer k gets it k + 1 steps late."""
        start = 0
        for index, layer in enumerate(self._network.layers):
            neuron = layer.neuron
            end = start + int(np.prod(neuron.u.shape))
            t = step - index - 1
            if 0 <= t < self._timing.n_steps:
                for row, variable in enumerate((neuron.u, neuron.v)):
                    values = self._runtime.get_var(variable.id).reshape(variable.shape)
                    states[row, start:end, t] = values.transpose().reshape(-1)  # (W, H, C) -> (C, H, W)
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

    def _drain(self, posts: list[tuple[int, NDArray[np.int64], NDArray[np.uint8] | None]]) -> int:
        moved = 0
        while True:
            try:
                posts.append(self._counts.get_nowait())
            except queue.Empty:
                return moved
            moved += 1

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

    def _to_lava(self, sample: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if len(self._input_shape) == 1:
            flat = sample.reshape(-1, sample.shape[-1])  # (C, H, W, T) -> (C * H * W, T)
            return np.ascontiguousarray(flat.T)
        return np.ascontiguousarray(sample.transpose(3, 2, 1, 0))  # (C, H, W, T) -> (T, W, H, C)


def _kinds(network: Any) -> list[str]:
    blocks = network.net_config["layer"]
    return [str(blocks[index]["type"]) for index in range(len(blocks))]


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


def _load(options: NetworkOptions) -> Any:
    channels, height, width = options.input_shape
    try:
        network = Network(
            options.net_path,
            input_shape=(width, height, channels),
            reset_interval=options.timing.period,
            reset_offset=options.timing.reset_offset,
            input_message_bits=options.message_bits,
        )
    except Exception as error:  # netx has no errors of its own: KeyError, OSError, RuntimeError, ...
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BundleError(f"{options.net_path} is not a network that netx can load: {reason}") from error
    _check(network, options)
    return network


def _check(network: Any, options: NetworkOptions) -> None:
    kinds = [type(layer).__name__ for layer in network.layers if type(layer) not in (Conv, Dense)]
    if kinds:
        raise ConfigError(f"the network may only have Conv and Dense layers, got {kinds[0]}.")
    if len(network.layers) != options.timing.n_layers:
        raise ConfigError(
            f"`timing.n_layers` must be the network's {len(network.layers)}, got {options.timing.n_layers}."
        )
    channels, height, width = options.input_shape
    shape, n_values = tuple(network.inp.shape), channels * height * width
    if shape not in ((width, height, channels), (n_values,)):
        raise ConfigError(
            f"`input_shape` (C, H, W) must fit the network's input {shape} (W, H, C), got {options.input_shape}."
        )
    n_outputs = int(np.prod(network.out.shape))
    if n_outputs != options.n_outputs:
        raise ConfigError(f"`n_outputs` must be the network's {n_outputs}, got {options.n_outputs}.")
