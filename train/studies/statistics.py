"""What paired seeds allow to be said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "MIN_PAIRS", "PairedDifference", "paired_difference"]

CONFIDENCE = 0.95
# Leads at four seeds vanished at eight: nothing is claimed from fewer than this.
MIN_PAIRS = 10


@dataclass(frozen=True)
class PairedDifference:
    """The mean of a - b over seeds.

    Args:
        n_pairs: seeds with both values.
        mean: of the differences.
        low: lower end of the interval; NaN below two pairs.
        high: upper end.
    """

    n_pairs: int
    mean: float
    low: float
    high: float

    @property
    def statement(self) -> str:
        """``higher``, ``lower``, ``no difference shown``, or ``too few seeds for a claim``."""
        if self.n_pairs < MIN_PAIRS:
            return "too few seeds for a claim"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "no difference shown"


def paired_difference(a: Sequence[float], b: Sequence[float], n_comparisons: int = 1) -> PairedDifference:
    """Return the mean difference a - b with its Student interval.

    Args:
        a: one value a seed.
        b: the other side's values with the same seeds, in the same order.
        n_comparisons: made side by side; the intervals hold all together with `CONFIDENCE` (Bonferroni).

    Source: Student's paired t interval, mean +- t(1 - alpha / 2m, n - 1) s / sqrt(n).
    """
    from scipy.stats import t

    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n_pairs = len(differences)
    if n_pairs < 2:
        mean = float(differences[0]) if n_pairs else math.nan
        return PairedDifference(n_pairs, mean, math.nan, math.nan)
    alpha = (1 - CONFIDENCE) / n_comparisons
    half = float(t.ppf(1 - alpha / 2, n_pairs - 1) * differences.std(ddof=1) / math.sqrt(n_pairs))
    mean = float(differences.mean())
    return PairedDifference(n_pairs, mean, mean - half, mean + half)
