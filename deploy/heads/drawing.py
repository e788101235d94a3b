"""Draw shots from a circuit's joint distribution, and count them."""

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import ShotCounts
from sqdr.errors import DataError, ShapeError

__all__ = ["check_bits", "draw", "tally"]


def draw(rng: np.random.Generator, probabilities: NDArray[np.float64], shots: int) -> NDArray[np.int64]:
    """Return how often each outcome was drawn, (N, 2^n), circuit after circuit.

    Args:
        rng: where the randomness comes from.
        probabilities: (N, 2^n); rounding may leave -1e-17 here and there, and sums that are not quite 1.
        shots: of each circuit.
    """
    clipped = np.clip(probabilities, 0, None)
    return np.stack([rng.multinomial(shots, row / row.sum()) for row in clipped])


def tally(counts: NDArray[np.int64], n_qubits: int) -> ShotCounts:
    """Return the counts of qubits and pairs for drawn outcomes (N, 2^n), the first qubit the most significant bit."""
    rows = []
    for row in counts:
        drawn = np.flatnonzero(row)
        rows.append(ShotCounts.from_outcomes(drawn, row[drawn], n_qubits))
    return ShotCounts.concatenate(rows)


def check_bits(bits: NDArray[np.int64], n_qubits: int) -> NDArray[np.int64]:
    """Return the bits to prepare as (M, n_qubits) int64.

    Raises:
        ShapeError: the shape is another one.
        DataError: one is neither 0 nor 1.
    """
    array = np.asarray(bits)
    if array.ndim != 2 or array.shape[1] != n_qubits or len(array) == 0:
        raise ShapeError(f"`bits` must be (M, {n_qubits}), got {array.shape}.")
    if not np.isin(array, (0, 1)).all():
        raise DataError("`bits` must be 0 or 1.")
    return array.astype(np.int64)
