"""The exported encoder in ONNX Runtime, on the CPU."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.bundle import Bundle
from sqdr.coding import check_spikes
from sqdr.deploy.encoders.onnx_model import read_onnx_encoder
from sqdr.errors import BackendError, BackendTimeoutError, BundleError, ConfigError
from sqdr.golden_check import check_golden_spikes
from sqdr.plugins import missing

__all__ = ["OnnxEncoder", "open_session", "run_session"]

# Larger batches fall out of the CPU's caches and are slower.
MAX_BATCH = 64
# Of the largest value inside, for one batch; several such values live at a time.
MAX_BATCH_ELEMENTS = 1 << 23
# ONNX Runtime's number for messages on what is fatal only; errors reach us as exceptions.
FATAL = 4


class OnnxEncoder:
    """An `EncoderBackend` that runs ``encoder.onnx``.

    Args:
        path: the model.
        input_shape: (C, H, W) of a sample.
        n_features: F.
        n_steps: T.
        message_bits: bits of an input value; 0 for plain spikes.
        n_threads: that ONNX Runtime may use; 0 and None for as many as this process has CPUs.
        timeout_s: longest wait for one batch of at most 64 samples.

    Raises:
        BundleError: the file is damaged, foreign, or another encoder's.
        ConfigError: an option breaks its rule.
        MissingDependencyError: onnx is not installed.
    """

    name = "onnx"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        input_shape: tuple[int, int, int],
        n_features: int,
        n_steps: int,
        message_bits: int = 0,
        n_threads: int | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        if n_threads is not None and n_threads < 0:
            raise ConfigError(f"`n_threads` must be at least 0, got {n_threads}. 0 uses all cores.")
        if not 0 < timeout_s < float("inf"):
            raise ConfigError(f"`timeout_s` must be above 0 and finite, got {timeout_s}.")
        self._path = Path(path)
        self._network = read_onnx_encoder(self._path, input_shape, n_features, n_steps)
        self._sample_shape = (*input_shape, n_steps)
        self._n_features = n_features
        self._message_bits = message_bits
        self._n_threads = n_threads or len(os.sched_getaffinity(0))
        self._timeout_s = timeout_s
        self._batch = max(1, min(MAX_BATCH, MAX_BATCH_ELEMENTS // self._network.n_elements))
        self._session: Any = None
        self._tracer: Any = None

    @property
    def batch_size(self) -> int:
        """How many samples run at once; fewer the wider the layers are, so that memory stays bounded."""
        return self._batch

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, *, n_threads: int | None = None, timeout_s: float = 120.0, check_golden: bool = True
    ) -> "OnnxEncoder":
        """Return the encoder of an opened bundle, once it reproduces the golden samples.

        Args:
            bundle: that has an ``encoder.onnx``.
            n_threads: see the class.
            timeout_s: see the class.
            check_golden: refuse to serve where a golden spike differs.

        Raises:
            BundleError: the file is missing, damaged, foreign, or another encoder's.
            NotEqualError: a golden spike differs.
        """
        model = bundle.manifest.model
        encoder = cls(
            bundle.path_of("encoder.onnx"),
            input_shape=model.encoder.input_shape,
            n_features=model.encoder.n_features,
            n_steps=model.coding.n_steps,
            message_bits=model.coding.message_bits,
            n_threads=n_threads,
            timeout_s=timeout_s,
        )
        if check_golden:
            with encoder:
                check_golden_spikes(encoder, bundle)
        return encoder

    def __enter__(self) -> "OnnxEncoder":
        """Load the model.

        Raises:
            BackendError: it is loaded already.
            BundleError: ONNX Runtime cannot run it.
            MissingDependencyError: onnxruntime is not installed.
        """
        if self._session is not None:
            raise BackendError("the ONNX encoder is already started. Enter it once.")
        self._session = self._load(self._network.model)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()

    def close(self) -> None:
        """Release the model; safe to call twice."""
        self._session = self._tracer = None

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F), each 0..T.

        Args:
            spikes: (N, C, H, W, T) uint8; 0 or 1, or with `message_bits` b, below 2**b.

        Raises:
            ShapeError: the axes, sizes or type are others.
            DataError: a value is too large.
            BackendTimeoutError: a batch took longer than the time-out.
            BackendError: not started, or ONNX Runtime failed.
        """
        session = self._check(spikes)
        counts = np.zeros((len(spikes), self._n_features), np.int64)
        self._stream(session, spikes, ["counts"], [counts])
        return counts

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return output spikes (N, F, T), each 0 or 1; arguments and errors as `encode`."""
        session = self._check(spikes)
        trains = np.zeros((len(spikes), self._n_features, self._sample_shape[-1]), np.uint8)
        self._stream(session, spikes, ["spike_trains"], [trains])
        return trains

    def trace(self, spikes: NDArray[np.uint8]) -> list[LayerTrace]:
        """Return what every layer did at every step; arguments and errors as `encode`.

        The model is loaded a second time, with its inner values as outputs.
        """
        self._check(spikes)
        if self._tracer is None:
            self._tracer = self._load(self._network.traced())
        traces, names = [], list[str]()
        places: list[NDArray[Any]] = []
        for layer in self._network.layers:
            shape = (len(spikes), *layer.shape, self._sample_shape[-1])
            current, voltage = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            trains = np.zeros(shape, np.uint8)
            traces.append(LayerTrace(name=layer.name, current=current, voltage=voltage, spikes=trains))
            names += layer.traced
            places += [current, voltage, trains]
        self._stream(self._tracer, spikes, names, places)
        return traces

    def _check(self, spikes: NDArray[np.uint8]) -> Any:
        """Return the session, if the spikes are what it takes."""
        check_spikes(spikes, self._sample_shape[:-1], self._sample_shape[-1], self._message_bits)
        if self._session is None:
            raise BackendError("the ONNX encoder is not started. Use it in a `with` statement.")
        return self._session

    def _stream(self, session: Any, spikes: NDArray[np.uint8], names: list[str], places: list[NDArray[Any]]) -> None:
        """Run in batches and put the values called ``names`` into ``places``, whose first axis is N."""
        for start in range(0, len(spikes), self._batch):
            found = self._run(session, spikes[start : start + self._batch], names)
            for place, value in zip(places, found, strict=True):
                place[start : start + self._batch] = value

    def _load(self, model: Any) -> Any:
        return open_session(model, self._path.name, self._n_threads)

    def _run(self, session: Any, batch: NDArray[np.uint8], names: list[str]) -> list[NDArray[Any]]:
        return run_session(session, names, {"spikes": np.ascontiguousarray(batch)}, self._timeout_s)


def open_session(model: Any, name: str, n_threads: int) -> Any:
    """Return an ONNX Runtime session on the CPU of a model that `sqdr.deploy.encoders.onnx_model` has checked.

    Raises:
        BundleError: ONNX Runtime cannot run it.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(error, name) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the CPU
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise BundleError(f"{name} cannot be run by ONNX Runtime ({_one_line(error)}). Export again.") from error


def run_session(session: Any, names: list[str], fed: dict[str, NDArray[Any]], timeout_s: float) -> list[NDArray[Any]]:
    """Run a session with a deadline.

    Raises:
        BackendTimeoutError: it took longer.
        BackendError: ONNX Runtime failed.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = FATAL
    timer = threading.Timer(timeout_s, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        found: list[NDArray[Any]] = session.run(names, fed, options)
    except Exception as error:  # its exceptions have no common base
        if options.terminate:
            n_samples = max(len(values) for values in fed.values())
            raise BackendTimeoutError(
                f"the ONNX encoder did not finish {n_samples} samples within {timeout_s:g} s. Raise timeout_s."
            ) from error
        raise BackendError(f"ONNX Runtime failed: {_one_line(error)}. Export the bundle again.") from error
    finally:
        timer.cancel()
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
