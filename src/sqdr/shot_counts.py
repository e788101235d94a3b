"""What shots of a circuit measured: enough of it for every <Z>, every covariance, and more shots on top."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import DataError, ShapeError

__all__ = ["ShotCounts"]


@dataclass(frozen=True, kw_only=True)
class ShotCounts:
    """How often each qubit, and each pair of qubits, was measured as 1, for N circuits.

    Further shots of the same circuits add up: ``first_round + second_round``.

    Args:
        ones: (N, n_qubits) int64, shots in which the qubit was 1.
        both: (N, n_qubits, n_qubits) int64, shots in which both qubits were 1; the diagonal is ``ones``.
        shots: (N,) int64, shots of each circuit.

    Raises:
        ShapeError: the shapes do not go together.
    """

    ones: NDArray[np.int64]
    both: NDArray[np.int64]
    shots: NDArray[np.int64]

    def __post_init__(self) -> None:
        n_samples, n_qubits = self.ones.shape if self.ones.ndim == 2 else (-1, -1)
        if self.both.shape != (n_samples, n_qubits, n_qubits) or self.shots.shape != (n_samples,):
            raise ShapeError(
                "`ones`, `both` and `shots` must be (N, Q), (N, Q, Q) and (N,), got "
                f"{self.ones.shape}, {self.both.shape} and {self.shots.shape}."
            )

    @classmethod
    def from_outcomes(cls, outcomes: NDArray[np.int64], times: NDArray[np.int64], n_qubits: int) -> "ShotCounts":
        """Return the counts of one circuit.

        Args:
            outcomes: (M,) integers, the first qubit the most significant bit.
            times: (M,) how often each was measured.
            n_qubits: of the circuit, at most 52.
        """
        return cls.from_rows((outcomes[:, None] >> np.arange(n_qubits - 1, -1, -1)) & 1, times)

    @classmethod
    def from_rows(cls, bits: NDArray[np.int64], times: NDArray[np.int64]) -> "ShotCounts":
        """Return the counts of one circuit from rows of bits (M, n_qubits), and how often each was measured (M,)."""
        # float64, for BLAS: exact below 2^53
        rows = np.asarray(bits, dtype=np.float64)
        both = (rows.T @ (rows * times[:, None])).astype(np.int64)
        return cls(ones=both.diagonal()[None].copy(), both=both[None], shots=np.array([times.sum()], dtype=np.int64))

    @classmethod
    def from_measurements(cls, bits: NDArray[np.int64]) -> "ShotCounts":
        """Return the counts of one circuit from its single shots, (shots, n_qubits) of 0 and 1."""
        return cls.from_rows(bits, np.ones(len(bits), dtype=np.int64))

    @classmethod
    def empty(cls, n_samples: int, n_qubits: int) -> "ShotCounts":
        """Return the counts of circuits that have not been run."""
        return cls(
            ones=np.zeros((n_samples, n_qubits), dtype=np.int64),
            both=np.zeros((n_samples, n_qubits, n_qubits), dtype=np.int64),
            shots=np.zeros(n_samples, dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["ShotCounts"]) -> "ShotCounts":
        """Return the counts of all circuits of the parts, in order; at least one part."""
        return cls(
            ones=np.concatenate([part.ones for part in parts]),
            both=np.concatenate([part.both for part in parts]),
            shots=np.concatenate([part.shots for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "ShotCounts":
        """Return the counts of some of the circuits."""
        return ShotCounts(ones=self.ones[rows], both=self.both[rows], shots=self.shots[rows])

    def __add__(self, other: "ShotCounts") -> "ShotCounts":
        """Return the counts of both rounds of the same circuits."""
        if self.ones.shape != other.ones.shape:
            raise ShapeError(f"rounds must be of the same circuits, got {self.ones.shape} and {other.ones.shape}.")
        return ShotCounts(ones=self.ones + other.ones, both=self.both + other.both, shots=self.shots + other.shots)

    def add_at(self, rows: NDArray[np.int64], other: "ShotCounts") -> "ShotCounts":
        """Return these counts with a further round of the circuits ``rows``, each named once."""
        ones, both, shots = self.ones.copy(), self.both.copy(), self.shots.copy()
        ones[rows] += other.ones
        both[rows] += other.both
        shots[rows] += other.shots
        return ShotCounts(ones=ones, both=both, shots=shots)

    @property
    def expectations(self) -> NDArray[np.float64]:
        """<Z> (N, n_qubits).

        Raises:
            DataError: a circuit has no shots.
        """
        shots = self._taken()[:, None]
        return np.asarray((shots - 2 * self.ones) / shots)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (N, n_qubits, n_qubits) of the Z of single shots, as measured (divided by shots, not shots - 1).

        That of <Z> is this over the number of shots. Z = 1 - 2 b for a bit b: 4 (mean of b b' - mean of b mean of b').

        Raises:
            DataError: a circuit has no shots.
        """
        shots = self._taken()[:, None]
        rate = self.ones / shots
        return np.asarray(4 * (self.both / shots[..., None] - rate[:, :, None] * rate[:, None, :]))

    def _taken(self) -> NDArray[np.int64]:
        if (self.shots < 1).any():
            raise DataError("a circuit without shots has no expectations. Take at least one shot.")
        return self.shots
