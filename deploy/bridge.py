"""The bridge: encoder -> bounded queue of spike counts -> head, both sides at work at once.

The encoder runs in a thread of its own (its work is in another process, or in a library that
releases the interpreter), the head in the caller's. Order is kept: there is one queue.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend, HeadBackend
from sqdr.coding import encode_images
from sqdr.errors import ConfigError
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.specification import ModelSpec

__all__ = ["Bridge", "Passed", "StageTimes"]

# How long either side waits before it looks whether the other is still there.
POLL_S = 0.1
# How long leaving early waits for the chunk under way, or for the source's next image.
LEAVE_S = 5.0

Waiting: TypeAlias = "queue.Queue[NDArray[np.int64] | BaseException | None]"
"""Spike counts, then None at the end or the error that ended the encoder's side."""


@dataclass
class StageTimes:
    """Seconds that each stage was busy, over all chunks; ``total`` is wall-clock time."""

    coding: float = 0.0
    encoder: float = 0.0
    head: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Passed:
    """One chunk that has passed both sides.

    Args:
        counts: (n, F) spike counts, the message that crossed.
        expectations: (n, n_qubits).
        logits: (n, K).
    """

    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]


@dataclass
class Bridge:
    """Carries chunks of images through encoder and head.

    Args:
        encoder: a started encoder backend.
        head: a started head backend.
        spec: of the model.
        parameters: of the head.
        max_waiting: chunks that may wait in the queue; the encoder pauses when it is full.
        times: filled while running.
    """

    encoder: EncoderBackend
    head: HeadBackend
    spec: ModelSpec
    parameters: HeadParameters
    max_waiting: int = 4
    times: StageTimes = field(default_factory=StageTimes)
    _is_encoding: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_waiting < 1:  # a queue of size 0 has no bound
            raise ConfigError(f"`max_waiting` must be at least 1, got {self.max_waiting}.")

    def run(self, chunks: Iterable[NDArray[np.uint8]]) -> Iterator[Passed]:
        """Yield one `Passed` for each chunk (n, C, H, W) uint8, in order.

        Leaving the iteration early stops the encoder's side after the chunk that it is in; the encoder
        is closed only if that chunk takes too long, or after Ctrl-C.

        Raises:
            SqdrError: whatever either backend raises.
        """
        waiting: Waiting = queue.Queue(self.max_waiting)
        stopped = threading.Event()
        # daemon: a source that never gives its next image must not keep the process alive
        producer = threading.Thread(
            target=self._produce, args=(chunks, waiting, stopped), name="sqdr-encoder", daemon=True
        )
        start = time.perf_counter()
        producer.start()
        try:
            while True:
                item = _get(waiting, producer)
                if item is None:
                    producer.join()
                    return
                if isinstance(item, BaseException):
                    raise item
                yield self._head_side(item)
                self.times.total = time.perf_counter() - start
        except BaseException as error:
            stopped.set()
            producer.join(2 * POLL_S if isinstance(error, KeyboardInterrupt) else LEAVE_S)
            if producer.is_alive() and self._is_encoding:
                # the call under way would hold the caller up to its time-out
                self.encoder.close()
                producer.join(LEAVE_S)
            raise
        finally:
            self.times.total = time.perf_counter() - start

    def _produce(
        self,
        chunks: Iterable[NDArray[np.uint8]],
        waiting: Waiting,
        stopped: threading.Event,
    ) -> None:
        last: BaseException | None = None
        try:
            for images in chunks:
                if stopped.is_set() or not _put(waiting, self._encoder_side(images), stopped):
                    return
        except BaseException as error:  # handed to the caller's thread, which raises it
            last = error
        _put(waiting, last, stopped)

    def _encoder_side(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        start = time.perf_counter()
        spikes = encode_images(images, self.spec.coding)
        coded = time.perf_counter()
        self._is_encoding = True
        try:
            counts = self.encoder.encode(spikes)
        finally:
            self._is_encoding = False
        self.times.coding += coded - start
        self.times.encoder += time.perf_counter() - coded
        return counts

    def _head_side(self, counts: NDArray[np.int64]) -> Passed:
        start = time.perf_counter()
        angles = counts_to_angles(counts, self.spec.coding.n_steps, self.parameters.scale_rad, self.spec.head)
        expectations = self.head.expectations(angles)
        self.times.head += time.perf_counter() - start
        logits = readout(expectations, self.parameters, self.spec.head)
        return Passed(counts, expectations, logits)


def _put(waiting: Waiting, item: NDArray[np.int64] | BaseException | None, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=POLL_S)
        except queue.Full:
            continue
        return True
    return False


def _get(waiting: Waiting, producer: threading.Thread) -> NDArray[np.int64] | BaseException | None:
    while True:
        try:
            return waiting.get(timeout=POLL_S)
        except queue.Empty:
            if not producer.is_alive() and waiting.empty():
                return None
