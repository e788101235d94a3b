"""The integer encoder as the rest of sqdr sees it: batches in, spikes out, in bounded memory."""

import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.bundle import Bundle
from sqdr.coding import check_spikes
from sqdr.deploy.encoders.integer.blas import ONE_BLAS_THREAD
from sqdr.deploy.encoders.integer.lane import Lane
from sqdr.deploy.encoders.integer.network import IntegerLayer, integer_layers
from sqdr.errors import ConfigError
from sqdr.golden_check import check_golden_spikes
from sqdr.netx import read_network

__all__ = ["IntegerEncoder"]

# What one lane's buffers may take: measured, 30 to 130 samples of a 28x28 network are the fastest.
LANE_BYTES = 6 << 20
MAX_LANE_SAMPLES = 128


class IntegerEncoder:
    """An `EncoderBackend` of NumPy alone that computes what Lava's fixed-point models compute.

    Samples pass in small batches, each a time step at a time through all layers, so that memory does
    not grow with the number of samples, and hardly with T.

    Args:
        layers: of the network.
        input_shape: (C, H, W) of a sample; by default what the first layer takes.
        n_steps: T; None takes whatever comes.
        message_bits: bits of an input value; 0 for plain spikes.
        n_threads: cores to use; 0 for all.

    Raises:
        ConfigError: an option breaks its rule.
    """

    name = "integer"

    def __init__(
        self,
        layers: list[IntegerLayer],
        *,
        input_shape: tuple[int, ...] | None = None,
        n_steps: int | None = None,
        message_bits: int = 0,
        n_threads: int = 1,
    ) -> None:
        if isinstance(n_threads, bool) or not isinstance(n_threads, int) or n_threads < 0:
            raise ConfigError(f"`n_threads` must be a whole number of at least 0, got {n_threads!r}. 0 uses all cores.")
        self._layers = layers
        self._n_steps = n_steps
        self._message_bits = message_bits
        self._n_threads = n_threads or len(os.sched_getaffinity(0))
        self._n_features = int(np.prod(layers[-1].shape))
        self._input_shape = tuple(input_shape or layers[0].in_shape)
        per_sample = Lane.bytes_per_sample(layers)
        self._lane_samples = max(1, min(MAX_LANE_SAMPLES, LANE_BYTES // per_sample))
        self._lanes: dict[int, queue.SimpleQueue[Lane]] = {}

    @classmethod
    def from_bundle(
        cls, bundle: Bundle | str | os.PathLike[str], *, n_threads: int = 1, check_golden: bool = True
    ) -> "IntegerEncoder":
        """Return the encoder of a bundle, opened or by path, once it reproduces the golden samples.

        Args:
            bundle: a `sqdr.bundle.Bundle`, a bundle folder or a ``.sqdr`` file.
            n_threads: cores to use; 0 for all.
            check_golden: refuse to serve where a golden spike differs.

        Raises:
            BundleError: unreadable, or a part of the network is not supported.
            NotEqualError: a golden spike differs.
        """
        if not isinstance(bundle, Bundle):
            with Bundle.open(Path(bundle)) as opened:
                return cls.from_bundle(opened, n_threads=n_threads, check_golden=check_golden)
        model = bundle.manifest.model
        encoder = cls(
            integer_layers(
                read_network(bundle.path_of("encoder.net")),
                model.encoder.input_shape,
                _max_payload(model.coding.message_bits),
                model.coding.n_steps,
            ),
            input_shape=model.encoder.input_shape,
            n_steps=model.coding.n_steps,
            message_bits=model.coding.message_bits,
            n_threads=n_threads,
        )
        if check_golden:
            check_golden_spikes(encoder, bundle)
        return encoder

    @classmethod
    def from_netx(
        cls,
        path: str | os.PathLike[str],
        *,
        input_shape: tuple[int, int, int] | None = None,
        n_steps: int | None = None,
        message_bits: int = 0,
        n_threads: int = 1,
    ) -> "IntegerEncoder":
        """Return the encoder of any netx HDF5 file.

        Args:
            path: the file.
            input_shape: (C, H, W); by default what the file's input block says.
            n_steps: T; None takes whatever comes.
            message_bits: bits of an input value, up to 8; 0 for plain spikes.
            n_threads: cores to use; 0 for all.

        Raises:
            BundleError: unreadable, or a part of it is not supported; the part is named.
        """
        if not 0 <= message_bits <= 8:
            raise ConfigError(f"`message_bits` must be 0 to 8, got {message_bits}.")
        blocks = read_network(Path(path))
        layers = integer_layers(blocks, input_shape, _max_payload(message_bits), n_steps)
        shape = blocks[0].shape if blocks[0].kind == "input" else input_shape
        return cls(layers, input_shape=shape, n_steps=n_steps, message_bits=message_bits, n_threads=n_threads)

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """The layers that have neurons, first to last."""
        return tuple(self._layers)

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F), each 0..T, for coded images (N, C, H, W, T).

        Raises:
            ShapeError: the axes, sizes or type are others.
            DataError: a value is too large.
        """
        counts = np.zeros((len(self._checked(spikes)), self._n_features), np.int64)

        def run(lane: Lane, part: slice) -> None:
            total = np.zeros((self._n_features, len(spikes[part])), np.int64)
            for fired in lane.run(spikes[part]):
                total += fired
            counts[part] = total.T

        self._each(len(spikes), run)
        return counts

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return output spikes (N, F, T), each 0 or 1; arguments and errors as `encode`."""
        trains = np.zeros((len(self._checked(spikes)), self._n_features, spikes.shape[-1]), np.uint8)

        def run(lane: Lane, part: slice) -> None:
            for t, fired in enumerate(lane.run(spikes[part])):
                trains[part, :, t] = fired.T

        self._each(len(spikes), run)
        return trains

    def trace(self, spikes: NDArray[np.uint8]) -> list[LayerTrace]:
        """Return every layer's states and spikes; arguments and errors as `encode`."""
        n_samples, n_steps = len(self._checked(spikes)), spikes.shape[-1]
        shapes = [(n_samples, *layer.shape, n_steps) for layer in self._layers]
        currents, voltages = ([np.zeros(shape, np.int64) for shape in shapes] for _ in range(2))
        fires = [np.zeros(shape, np.uint8) for shape in shapes]

        def run(lane: Lane, part: slice) -> None:
            for t, _ in enumerate(lane.run(spikes[part])):
                for index, (u, v, fired) in enumerate(lane.states()):
                    currents[index][part, ..., t] = np.moveaxis(u, -1, 0)
                    voltages[index][part, ..., t] = np.moveaxis(v, -1, 0)
                    fires[index][part, ..., t] = np.moveaxis(fired, -1, 0)

        self._each(n_samples, run)
        return [
            LayerTrace(name=layer.name, current=current, voltage=voltage, spikes=fired)
            for layer, current, voltage, fired in zip(self._layers, currents, voltages, fires, strict=True)
        ]

    def close(self) -> None:
        """Release the buffers; safe to call twice. A later call makes new ones."""
        self._lanes = {}

    def __enter__(self) -> "IntegerEncoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _each(self, n_samples: int, run: Any) -> None:
        """Call ``run(lane, part)`` for every batch of samples, on as many threads as asked."""
        parts = list(self._parts(n_samples))
        if not parts:
            return

        def work(part: slice) -> None:
            waiting = lanes[part.stop - part.start]
            try:
                lane = waiting.get_nowait()
            except queue.Empty:
                lane = Lane(self._layers, part.stop - part.start, self._n_steps)
            run(lane, part)
            waiting.put(lane)

        lanes = self._lanes_for({part.stop - part.start for part in parts})
        with ONE_BLAS_THREAD:
            if self._n_threads == 1 or len(parts) == 1:
                for part in parts:
                    work(part)
            else:
                with ThreadPoolExecutor(min(self._n_threads, len(parts))) as pool:
                    list(pool.map(work, parts))

    def _parts(self, n_samples: int) -> Iterator[slice]:
        size = self._lane_samples
        if self._n_threads > 1:  # share a small batch out, too
            size = max(1, min(size, -(-n_samples // self._n_threads)))
        for start in range(0, n_samples, size):
            yield slice(start, min(start + size, n_samples))

    def _lanes_for(self, sizes: set[int]) -> dict[int, "queue.SimpleQueue[Lane]"]:
        """Return the lanes that wait to be used again, for batches of these sizes; others are let go."""
        full = self._lane_samples
        kept = {size: waiting for size, waiting in self._lanes.items() if size in sizes or size == full}
        self._lanes = {size: queue.SimpleQueue() for size in sizes} | kept
        return self._lanes

    def _checked(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shape = self._input_shape
        found = getattr(spikes, "shape", ())[1:-1]
        if len(shape) == 1 and len(found) > 1 and int(np.prod(found)) == shape[0]:
            shape = found  # a network that begins flat does not say how its inputs lie in the image
        check_spikes(spikes, shape, self._n_steps, self._message_bits)
        return spikes


def _max_payload(message_bits: int) -> int:
    """The largest value that `IntegerEncoder` lets in, whatever part of it a coding sends."""
    return max(1, (1 << message_bits) - 1)
