"""The chance that the mean of S independent shots falls below a threshold, from the distribution of one shot.

The sum of S shots has the characteristic function of one, to the power of S: on a lattice of spacing h that is one
FFT there and one back. Values between two lattice points are split over both, which keeps the mean exactly and adds
at most h^2 / 4 to the variance of a shot; with h a 32nd of the standard deviation that is a 4,000th of it. Values
that are integers, as without a readout, need no splitting: the result is then exact to rounding.

The lattice is wrapped around at the distance t from the mean that Bernstein's inequality gives for a chance of
2e-9 (with R the range of the deviations): exp(-t^2 / (2 (S sigma^2 + R t / 3))).
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["chance_below"]

LOG_NEGLIGIBLE = math.log(1e9)
POINTS_PER_DEVIATION = 32
MAX_POINTS_PER_RANGE = 1 << 12
ROUNDING = 1e-9

Floats = NDArray[np.float64]


def chance_below(values: Floats, probabilities: Floats, shots: int, *, includes_tie: bool) -> float:
    """Return P(sum of S values < 0), or <= 0.

    Args:
        values: (M,) of one shot.
        probabilities: (M,) of the values; they sum to 1.
        shots: S, at least 1.
        includes_tie: count a sum of exactly 0; matters only where values are integers.
    """
    mean = float(values @ probabilities)
    deviations = values - mean
    used = probabilities > 0
    reach = float(abs(deviations[used]).max())
    scale = float(abs(values).max()) or 1.0
    if reach <= ROUNDING * scale:  # every shot gives the same
        is_zero = abs(mean) <= ROUNDING * scale
        return float(includes_tie if is_zero else mean < 0)
    sigma = math.sqrt(float(deviations**2 @ probabilities))
    spread = min(_bernstein(sigma, reach, shots), shots * reach)
    if abs(shots * mean) > spread * (1 + ROUNDING):
        return float(mean < 0)
    if np.array_equal(values, np.rint(values)):
        return _chance_on_integers(values, probabilities, shots, spread, includes_tie)
    spacing = max(sigma / POINTS_PER_DEVIATION, 2 * reach / MAX_POINTS_PER_RANGE)
    pmf = _sum_pmf(deviations / spacing, probabilities, shots, spread / spacing)
    # each lattice point stands for the cell around it
    place = -shots * mean / spacing + len(pmf) // 2 + 0.5
    whole = min(max(math.floor(place), 0), len(pmf) - 1)
    return _clipped(float(pmf[:whole].sum() + (place - whole) * pmf[whole]))


def _chance_on_integers(values: Floats, probabilities: Floats, shots: int, spread: float, includes_tie: bool) -> float:
    centre = round(float(values @ probabilities))
    # deviations from an integer near the mean: the sum is their sum and S times it
    moved = abs(shots * (float(values @ probabilities) - centre))
    pmf = _sum_pmf(values - centre, probabilities, shots, spread + moved)
    zero = -shots * centre + len(pmf) // 2
    return _clipped(float(pmf[: max(zero + int(includes_tie), 0)].sum()))


def _sum_pmf(places: Floats, probabilities: Floats, shots: int, spread: float) -> Floats:
    """Return the distribution of the sum on a lattice of spacing 1; index len // 2 is 0."""
    size = 1 << math.ceil(math.log2(2 * spread + 4))
    low = np.floor(places)
    share = places - low
    index = low.astype(np.int64)
    one = np.bincount(index % size, probabilities * (1 - share), size)
    one += np.bincount((index + 1) % size, probabilities * share, size)
    total = np.fft.irfft(np.fft.rfft(one) ** shots, size)
    return np.asarray(np.fft.fftshift(total))


def _bernstein(sigma: float, reach: float, shots: int) -> float:
    linear = LOG_NEGLIGIBLE * reach / 3
    return linear + math.sqrt(linear**2 + 2 * LOG_NEGLIGIBLE * shots * sigma**2)


def _clipped(chance: float) -> float:
    return min(max(chance, 0.0), 1.0)
