"""Compare two stages' values: spikes exactly, exact <Z> to rounding, shots against their own spread."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.verify.report import Difference, VerifyRow
from sqdr.errors import NotEqualError

__all__ = ["FALSE_ALARM", "SpikeComparison", "compare_sampled", "compare_spikes", "compare_values"]

# Of two <Z>, each in [-1, 1]; also what is stated for one that is no number.
MAX_DIFFERENCE = 2.0
# The chance that a comparison of shots calls a true device different.
FALSE_ALARM = 1e-6

Floats = NDArray[np.float64]


@dataclass
class SpikeComparison:
    """Spikes of two encoders, compared in pieces.

    Args:
        source: name of the stage that is trusted.
        target: name of the stage that is checked.
        first: (sample, feature, step, source's spike, target's) of the first difference, or None.
    """

    source: str
    target: str
    seconds: float = 0.0
    n_samples: int = 0
    n_compared: int = 0
    n_different: int = 0
    max_abs_difference: int = 0
    first: tuple[int, int, int, int, int] | None = field(default=None)

    def add(self, expected: NDArray[np.uint8], found: NDArray[np.uint8], seconds: float) -> None:
        """Compare the next samples, (N, F, T) each.

        Raises:
            NotEqualError: the shapes differ.
        """
        _check_shapes(self.source, self.target, expected.shape, found.shape)
        differs = expected != found
        if differs.any() and self.first is None:
            place = tuple(int(i) for i in np.argwhere(differs)[0])
            self.first = (
                self.n_samples + place[0],
                place[1],
                place[2],
                int(expected[place]),
                int(found[place]),
            )
        self.seconds += seconds
        self.n_samples += len(differs)
        self.n_compared += differs.size
        self.n_different += int(differs.sum())
        largest = np.abs(expected.astype(int) - found.astype(int)).max(initial=0)
        self.max_abs_difference = max(self.max_abs_difference, int(largest))

    def row(self, difference: Difference | None = None) -> VerifyRow:
        """Return the outcome, with what looking into the first difference found."""
        where = ""
        if self.first is not None:
            sample, feature, step, expected, found = self.first
            where = (
                f"first at sample {sample}, feature {feature}, time step {step}: {self.source} {expected}, "
                f"{self.target} {found}"
            )
        return VerifyRow(
            source=self.source,
            target=self.target,
            n_samples=self.n_samples,
            n_compared=self.n_compared,
            n_different=self.n_different,
            max_abs_difference=float(self.max_abs_difference),
            criterion="exact",
            seconds=self.seconds,
            equal=self.n_different == 0,
            where=where,
            difference=difference,
        )


def compare_spikes(
    source: str, target: str, expected: NDArray[np.uint8], found: NDArray[np.uint8], seconds: float
) -> VerifyRow:
    """Compare two arrays of spikes (N, F, T): equal means not one differs."""
    comparison = SpikeComparison(source, target)
    comparison.add(expected, found, seconds)
    return comparison.row()


def compare_values(
    source: str, target: str, expected: Floats, found: Floats, seconds: float, *, what: str, tolerance: float
) -> VerifyRow:
    """Compare <Z> (N, n_qubits) or logits (N, K) of two exact simulations to a tolerance."""
    _check_shapes(source, target, expected.shape, found.shape)
    difference = np.abs(expected - found)
    differs = ~(difference <= tolerance)  # NaN is no agreement
    return _row(source, target, expected, found, differs, seconds, what, f"within {tolerance:g}")


def compare_sampled(source: str, target: str, expected: Floats, found: Floats, shots: int, seconds: float) -> VerifyRow:
    """Compare <Z> (N, n_qubits) estimated from shots with the exact ones.

    Two intervals hold at once, with a chance of at most `FALSE_ALARM` that a true device leaves any.
    Each single <Z>: the relative entropy of the estimated probability to the exact one is at most
    ln(2 / a) / shots, with a the chance shared over all values (Chernoff's bound; it is exact where <Z> is
    near 1 or -1, where a normal distribution is not). Each qubit's mean over the samples: within
    sqrt(2 ln(2 / a) / (shots N)) (Hoeffding's bound), which sees a bias that is too small for one sample.
    """
    _check_shapes(source, target, expected.shape, found.shape)
    n_samples, n_qubits = expected.shape
    chance = FALSE_ALARM / 2
    single = math.log(2 * max(expected.size, 1) / chance) / shots
    differs = ~(_relative_entropy((1 - found) / 2, (1 - expected) / 2) <= single)
    pooled = math.sqrt(2 * math.log(2 * max(n_qubits, 1) / chance) / (shots * max(n_samples, 1)))
    bias = np.abs(found.mean(axis=0) - expected.mean(axis=0)) if n_samples else np.zeros(n_qubits)
    differs |= ~(bias <= pooled)[None, :]
    criterion = f"{shots} shots: confidence 1 - {FALSE_ALARM:g}, each qubit's mean within {pooled:.3f}"
    return _row(source, target, expected, found, differs, seconds, "expectations", criterion)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    """Of two coins, in nats; very large where q excludes what p shows."""
    p, q = np.clip(p, 0, 1), np.clip(q, 0, 1)
    total = np.zeros_like(p)
    # rounding makes an exact probability of 0 or 1 a little more or less
    floor = 1e-12
    for a, b in ((p, q), (1 - p, 1 - q)):
        shown = a > 0
        total[shown] += a[shown] * np.log(a[shown] / np.maximum(b[shown], floor))
    total[np.isnan(p) | np.isnan(q)] = np.inf
    return total


def _row(
    source: str,
    target: str,
    expected: Floats,
    found: Floats,
    differs: NDArray[np.bool_],
    seconds: float,
    what: str,
    criterion: str,
) -> VerifyRow:
    where = ""
    if differs.any():
        sample, place = (int(i) for i in np.argwhere(differs)[0])
        axis = "qubit" if what == "expectations" else "class"
        where = (
            f"first at sample {sample}, {axis} {place}: {source} {expected[sample, place]:.12f}, {target} "
            f"{found[sample, place]:.12f}"
        )
    largest = np.nan_to_num(np.abs(expected - found), nan=MAX_DIFFERENCE).max(initial=0)
    return VerifyRow(
        source=source,
        target=target,
        what=what,
        n_samples=len(differs),
        n_compared=differs.size,
        n_different=int(differs.sum()),
        max_abs_difference=float(largest),
        criterion=criterion,
        seconds=seconds,
        equal=not differs.any(),
        where=where,
    )


def _check_shapes(source: str, target: str, expected: tuple[int, ...], found: tuple[int, ...]) -> None:
    if expected != found:  # arrays of other shapes might broadcast, or not compare at all
        raise NotEqualError(f"{source} gives an array {expected} and {target} one {found}. Check the backend.")
