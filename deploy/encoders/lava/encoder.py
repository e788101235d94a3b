"""The Lava encoder as the rest of sqdr sees it."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.bundle import Bundle
from sqdr.coding import check_spikes
from sqdr.deploy.encoders.lava.frames import PROTOCOL, Frame
from sqdr.deploy.encoders.lava.supervisor import Supervisor
from sqdr.errors import (
    BackendCrashError,
    BackendError,
    BundleError,
    ConfigError,
    MissingDependencyError,
    SqdrError,
)
from sqdr.golden_check import check_golden_spikes
from sqdr.netx import read_network
from sqdr.timing import Timing

__all__ = ["LavaEncoder", "LavaGraph"]

LavaGraph = Literal["stock", "fast", "batched"]
"""Which Lava processes carry the network; all give the same spikes."""

_WORKER_MODULE = "sqdr.deploy.encoders.lava.worker"
_SAMPLES_PER_REQUEST = 16
_BATCH_SAMPLES = 16
_MAX_MESSAGE_BITS = 8  # samples are uint8
_HOW_TO_INSTALL = "Lava runs on Python 3.10 only: install `sqdr[lava]` in a Python 3.10 and set SQDR_LAVA_PYTHON to it."


class LavaEncoder:
    """Runs an exported network as Lava processes, in a supervised worker process.

    Compiled and warmed up when entered; then every call streams its samples through the same
    running network. A fault of any kind ends the worker and everything it started; the encoder
    then refuses calls until it is entered again.

    Args:
        net_path: a netx HDF5 file.
        input_shape: (C, H, W) of a sample.
        n_outputs: neurons of the last layer, F.
        timing: how samples follow one another.
        message_bits: bits of an input value, up to 8; 0 for plain spikes.
        graph: ``stock``, netx's processes with Lava's own models and channels; ``fast``, the same processes with
            models of our own for convolutions and neurons, and channels without threads; ``batched``, one
            process with the integer runtime in it for 16 samples at once, the fastest for many samples.
        timeout_s: longest wait for each batch of up to 16 samples.
        start_timeout_s: longest wait for the start; by default ``timeout_s``.
        python: the worker's Python; by default the environment variable SQDR_LAVA_PYTHON, and
            without it this Python.
        worker_command: a worker of one's own, as a command line, in place of sqdr's.
        golden: an opened bundle whose golden samples it must reproduce once started, or None.

    Raises:
        BundleError: there is no file ``net_path``.
        ConfigError: an option breaks its rule.
    """

    name = "lava"

    def __init__(
        self,
        net_path: str | os.PathLike[str],
        *,
        input_shape: tuple[int, int, int],
        n_outputs: int,
        timing: Timing,
        message_bits: int = 0,
        graph: LavaGraph = "fast",
        timeout_s: float = 120.0,
        start_timeout_s: float | None = None,
        python: str | None = None,
        worker_command: Sequence[str] | None = None,
        golden: Bundle | None = None,
    ) -> None:
        self._net_path = Path(net_path).absolute()
        if not self._net_path.is_file():
            raise BundleError(f"there is no network file {self._net_path}. Check the path.")
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ConfigError(f"`input_shape` must be (C, H, W), each at least 1, got {input_shape}.")
        if n_outputs < 1:
            raise ConfigError(f"`n_outputs` must be at least 1, got {n_outputs}.")
        if not 0 <= message_bits <= _MAX_MESSAGE_BITS:
            raise ConfigError(f"`message_bits` must be 0 to {_MAX_MESSAGE_BITS}, got {message_bits}.")
        if graph not in get_args(LavaGraph):
            raise ConfigError(f"`graph` must be {' or '.join(get_args(LavaGraph))}, got {graph!r}.")
        start_timeout_s = timeout_s if start_timeout_s is None else start_timeout_s
        for option, value in (("timeout_s", timeout_s), ("start_timeout_s", start_timeout_s)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"`{option}` must be above 0 and finite, got {value}.")
        self._input_shape = tuple(int(size) for size in input_shape)
        self._n_outputs = int(n_outputs)
        self._timing = timing
        self._message_bits = int(message_bits)
        self._graph = graph
        self._timeout_s = float(timeout_s)
        self._start_timeout_s = float(start_timeout_s)
        self._python = python
        self._worker_command = worker_command
        self._golden = golden
        self._worker: Supervisor | None = None
        self._ending: Supervisor | None = None  # killed, but perhaps interrupted at it
        self._failure: SqdrError | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, *, check_golden: bool = True, graph: LavaGraph = "fast", **options: Any
    ) -> "LavaEncoder":
        """Return the encoder of a bundle; entering it checks the golden samples.

        Args:
            bundle: an opened bundle, open still when the encoder is entered.
            check_golden: refuse to serve where a golden spike differs.
            graph: as for `LavaEncoder`.
            options: `timeout_s`, `start_timeout_s`, `python`, `worker_command`.
        """
        manifest = bundle.manifest
        read_network(bundle.path_of("encoder.net"))  # a damaged file could hang libhdf5, which netx reads it with
        return cls(
            bundle.path_of("encoder.net"),
            input_shape=manifest.model.encoder.input_shape,
            n_outputs=manifest.model.head.n_features,
            timing=manifest.timing,
            message_bits=manifest.model.coding.message_bits,
            golden=bundle if check_golden else None,
            graph=graph,
            **options,
        )

    @property
    def worker_pid(self) -> int | None:
        """Process number of the worker, which is also its session and group; None if not started."""
        return self._worker.pid if self._worker is not None else None

    def __enter__(self) -> "LavaEncoder":
        """Start the worker, compile the network and run it for one blank period.

        Raises:
            BackendTimeoutError: not ready within the time-out.
            BackendCrashError: the worker or a Lava process failed.
            BundleError: the file is not a netx network.
            ConfigError: the network is not the one described.
            MissingDependencyError: the worker's Python cannot run Lava.
            NotEqualError: a golden spike differs.
        """
        if self._worker is not None:
            raise BackendError("the Lava encoder is already started. Enter it once.")
        self._finish_ending()
        self._failure = None
        try:
            self._worker = Supervisor(self._command(), _environment())
            self._prepare(self._worker)
            if self._golden is not None:
                check_golden_spikes(self, self._golden)
        except BaseException as error:
            self._fail(self._worker, error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the encoder, whatever happened inside."""
        self.close()

    def close(self) -> None:
        """End the worker and everything it started; safe to call twice, and from another thread."""
        self._finish_ending()
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if self._lock.acquire(blocking=False):
            try:
                worker.close()
            finally:
                self._lock.release()
        else:  # a call is under way in another thread, and ends with an error
            worker.kill()

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F), each 0..T.

        Args:
            spikes: (N, C, H, W, T) uint8; 0 or 1, or with `message_bits` b, below 2**b.

        Raises:
            ShapeError: the axes, sizes or type are others.
            DataError: a value is too large.
            BackendTimeoutError: a batch took longer than the time-out.
            BackendCrashError: the worker or a Lava process raised, exited or was killed.
            BackendError: the encoder is not started, or has failed before.
        """
        return self._stream(spikes, wants_trains=False)

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the output spikes (N, F, T), each 0 or 1.

        Args:
            spikes: as for `encode`.

        Raises:
            SqdrError: as `encode`.
        """
        return self._stream(spikes, wants_trains=True)

    def trace(self, spikes: NDArray[np.uint8]) -> list[LayerTrace]:
        """Return every layer's states, read from the Lava processes after each step; slow.

        Args:
            spikes: as for `encode`.

        Raises:
            SqdrError: as `encode`.
        """
        self._check(spikes)
        with self._lock:
            worker = self._ready_worker()
            try:
                samples = [self._trace_one(worker, sample[None]) for sample in spikes]
            except BaseException as error:
                self._fail(worker, error)
                raise
        return [
            LayerTrace(
                name=parts[0].name,
                current=np.concatenate([part.current for part in parts]),
                voltage=np.concatenate([part.voltage for part in parts]),
                spikes=None,
            )
            for parts in zip(*samples, strict=True)
        ]

    def _trace_one(self, worker: Supervisor, sample: NDArray[np.uint8]) -> list[LayerTrace]:
        request = Frame({"wants_states": True}, sample)
        reply = self._exchange(worker, request, time.monotonic() + self._timeout_s, "traced a sample")
        if reply.array is None:
            raise BackendCrashError("the Lava worker answered without states")
        traces, start = [], 0
        for name, shape in zip(reply.header["names"], reply.header["shapes"], strict=True):
            n_neurons = int(np.prod(shape))
            # (2, neurons, T), neurons in the order (C, H, W)
            u, v = (
                states[start : start + n_neurons].reshape(1, *shape, self._timing.n_steps) for states in reply.array
            )
            traces.append(LayerTrace(name=name, current=u, voltage=v, spikes=None))
            start += n_neurons
        return traces

    def _prepare(self, worker: Supervisor) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        try:
            hello = self._exchange(worker, None, deadline, "started").header.get("protocol")
        except BackendCrashError as error:
            if "No module named" in str(error):
                raise MissingDependencyError(f"{error}. {_HOW_TO_INSTALL}") from error
            raise
        if hello != PROTOCOL:
            raise MissingDependencyError(
                f"the Lava worker speaks protocol {hello}, this sqdr {PROTOCOL}. "
                "Install the same sqdr in the worker's Python."
            )
        self._exchange(worker, self._start_request(), deadline, "compiled the network")

    def _stream(self, spikes: NDArray[np.uint8], wants_trains: bool) -> NDArray[Any]:
        self._check(spikes)
        shape = (len(spikes), self._n_outputs)
        if not wants_trains:
            results: NDArray[Any] = np.zeros(shape, np.int64)
        else:
            results = np.zeros((*shape, self._timing.n_steps), np.uint8)
        with self._lock:
            worker = self._ready_worker()
            try:
                self._run(worker, spikes, results)
            except BaseException as error:
                was_closed = self._worker is not worker
                self._fail(worker, error)
                if was_closed and isinstance(error, Exception):
                    raise BackendCrashError("the Lava encoder was closed during a call") from error
                raise
        return results

    def _run(self, worker: Supervisor, spikes: NDArray[np.uint8], results: NDArray[Any]) -> None:
        first = None
        for request in self._requests(spikes, wants_trains=results.ndim == 3):
            deadline = time.monotonic() + self._timeout_s
            reply = self._exchange(worker, request, deadline, "ran the network")
            first = reply.header["first"] if first is None else first
            _place(reply, first, results)

    def _requests(self, spikes: NDArray[np.uint8], wants_trains: bool) -> Iterator[Frame]:
        for start in range(0, len(spikes), _SAMPLES_PER_REQUEST):
            batch = spikes[start : start + _SAMPLES_PER_REQUEST]
            is_last = start + len(batch) == len(spikes)
            yield Frame({"is_last": is_last, "wants_trains": wants_trains}, batch)

    def _exchange(self, worker: Supervisor, request: Frame | None, deadline: float, doing: str) -> Frame:
        reply = worker.send_and_receive(request, deadline, doing)
        error, message = reply.header.get("error"), reply.header.get("message")
        if error == "missing":
            raise MissingDependencyError(f"the worker's Python cannot import Lava ({message}). {_HOW_TO_INSTALL}")
        if error == "bundle":
            raise BundleError(str(message))
        if error == "config":
            raise ConfigError(str(message))
        if error is not None:
            raise BackendCrashError(f"the Lava worker failed while it {doing}: {message}")
        return reply

    def _fail(self, worker: Supervisor | None, error: BaseException) -> None:
        """End ``worker`` after ``error``; a closed encoder fails without being marked as failed."""
        if self._worker is worker:
            self._worker = None
            self._failure = error if isinstance(error, SqdrError) else BackendError(type(error).__name__)
        self._ending = worker
        self._finish_ending()

    def _finish_ending(self) -> None:
        if self._ending is not None:
            self._ending.kill()
            self._ending = None

    def _ready_worker(self) -> Supervisor:
        if self._worker is not None:
            return self._worker
        if self._failure is not None:
            raise BackendError(
                f"the Lava encoder ended after an error ({self._failure}). Enter it again to restart it."
            ) from self._failure
        raise BackendError("the Lava encoder is not started. Use it in a `with` statement.")

    def _check(self, spikes: NDArray[np.uint8]) -> None:
        check_spikes(spikes, self._input_shape, self._timing.n_steps, self._message_bits)

    def _start_request(self) -> Frame:
        network = {
            "net_path": str(self._net_path),
            "input_shape": list(self._input_shape),
            "n_outputs": self._n_outputs,
            "timing": self._timing.model_dump(),
            "message_bits": self._message_bits,
            "graph": self._graph,
            "n_batch": _BATCH_SAMPLES if self._graph == "batched" else 1,
        }
        return Frame({"network": network})

    def _command(self) -> list[str]:
        if self._worker_command is not None:
            return list(self._worker_command)
        python = self._python or os.environ.get("SQDR_LAVA_PYTHON") or sys.executable
        # The worker runs in a folder of its own, so a relative path must not reach it.
        found = shutil.which(python)
        return [os.path.abspath(found) if found else python, "-m", _WORKER_MODULE]


def _place(reply: Frame, first: int, results: NDArray[Any]) -> None:
    """Put each period's result at its sample; blank periods fall outside."""
    if reply.array is None:
        raise BackendCrashError("the Lava worker answered without results")
    for number, value in zip(reply.header["numbers"], reply.array, strict=True):
        if 0 <= number - first < len(results):
            results[number - first] = value


def _environment() -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONWARNINGS", "PYTHONSTARTUP")}
    for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env.setdefault(key, "1")  # every layer is a process of its own already
    env["HDF5_USE_FILE_LOCKING"] = "FALSE"  # a bundle may lie on a read-only file system
    return env
