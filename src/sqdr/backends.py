"""The contracts between the stages: what an encoder backend and a head backend promise."""

from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sqdr.shot_counts import ShotCounts

__all__ = [
    "Accuracy",
    "EncoderBackend",
    "HeadBackend",
    "HeadReport",
    "LayerTrace",
    "PreparingHead",
    "SamplingHead",
    "ShotCounts",
]

Accuracy = Literal["exact", "sampled", "noisy", "hardware"]
"""exact: analytic <Z>; sampled: shots of the noiseless circuit; noisy: a simulated noise model,
analytic or sampled; hardware: a quantum processor."""


@dataclass(frozen=True, kw_only=True)
class LayerTrace:
    """What one layer did at every step, for finding where two backends part.

    A backend that can look inside itself has ``trace(spikes) -> list[LayerTrace]``, one per conv or
    dense layer, first to last; ``spikes`` as for ``encode``.

    Args:
        name: for example ``layer 0 (conv)``, with the position in the network file.
        current: (N, ..., T) int64, u after the step, in the 24-bit units of Loihi.
        voltage: (N, ..., T) int64, v after the step: 0 where the neuron spiked.
        spikes: (N, ..., T) uint8, each 0 or 1; the axes between are (C, H, W) or (F,). None where the
            backend cannot see them.
    """

    name: str
    current: NDArray[np.int64]
    voltage: NDArray[np.int64]
    spikes: NDArray[np.uint8] | None


@runtime_checkable
class EncoderBackend(Protocol):
    """A spiking encoder that turns coded images into spike counts. Used as a context manager."""

    name: str

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F), each 0..T, for coded images (N, C, H, W, T).

        Raises:
            ShapeError: the sample shape is not the encoder's.
            BackendTimeoutError: no answer within the backend's time-out.
            BackendCrashError: the backend raised, exited or was killed.
        """
        ...

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the output spikes (N, F, T), each 0 or 1, for verification."""
        ...

    def close(self) -> None:
        """Release processes and memory; safe to call twice."""
        ...

    def __enter__(self) -> "EncoderBackend":
        """Start the backend and return it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the backend, whatever happened inside."""
        ...


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """What a head backend did so far.

    Args:
        n_circuits: circuits run.
        n_shots: shots taken over all circuits; 0 when analytic.
        cost_usd: an estimate of what the service charges; 0 for local devices, None if unknown.
    """

    n_circuits: int
    n_shots: int
    cost_usd: Decimal | None


@runtime_checkable
class HeadBackend(Protocol):
    """A quantum head that turns rotation angles into expectations. Used as a context manager."""

    name: str
    accuracy: Accuracy
    is_paid: bool
    """Whether running a circuit may cost money; nothing is run on such a head unasked."""

    def expectations(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return <Z> (N, n_qubits), each in [-1, 1], for angles (N, n_qubits, 3) in radians.

        Raises:
            ShapeError: the angles are not (N, n_qubits, 3).
            DeviceError: the device cannot run this circuit.
            TaskError: a quantum task ended without a result.
        """
        ...

    def report(self) -> HeadReport:
        """Return circuits, shots and cost so far."""
        ...

    def close(self) -> None:
        """Release what the backend holds; safe to call twice."""
        ...

    def __enter__(self) -> "HeadBackend":
        """Start the backend and return it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the backend, whatever happened inside."""
        ...


@runtime_checkable
class SamplingHead(HeadBackend, Protocol):
    """A head that takes as many shots as it is asked for, and says what they measured."""

    def sample(self, angles: NDArray[np.float64], shots: int, part: int = 0) -> ShotCounts:
        """Return the counts of N circuits, whatever number of shots the head was opened with.

        Args:
            angles: (N, n_qubits, 3) radians.
            shots: of each circuit.
            part: which round of shots of these circuits this is, from 0. A head that keeps results by what was
                asked must not answer a later round with the shots of an earlier one; a head that draws
                shots itself draws further ones in any case.

        Raises:
            ShapeError: the angles are not (N, n_qubits, 3).
            DeviceError: the device cannot run this circuit or this number of shots.
            TaskError: a quantum task ended without a result.
        """
        ...


@runtime_checkable
class PreparingHead(HeadBackend, Protocol):
    """A head that can prepare bits and measure them at once: what its readout gets wrong."""

    n_qubits: int

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Return the counts of M circuits that only turn over the qubits whose bit is 1.

        Args:
            bits: (M, n_qubits) of 0 and 1.
            shots: of each circuit.

        Raises:
            ShapeError: the bits are not (M, n_qubits).
            DeviceError: the device cannot run this number of shots.
            TaskError: a quantum task ended without a result.
        """
        ...
