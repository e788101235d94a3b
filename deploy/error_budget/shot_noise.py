"""How likely S shots give another class than the exact expectations, image by image, without drawing any.

Class a loses to b where the mean of (W_a - W_b) z + bias_a - bias_b over the shots z falls below 0, and that chance
follows from the joint distribution of one shot (`sqdr.deploy.error_budget.tails`). The chance that a loses at all is
at least the largest of these and at most their sum: bounds that are close where one rival is near, which is where
classes change.

Most rivals are out of reach. With v what one shot adds to the margin, Chernoff's inequality bounds the chance of a
rival by E[exp(-theta v)]^S for any theta > 0; where that is below `NEGLIGIBLE`, it stands for the chance in the upper
bound, and 0 in the lower one.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.error_budget.tails import chance_below

__all__ = ["MAX_EXACT_QUBITS", "Bounds", "ShotNoise", "run_interval"]

# A table of 2^n outcomes for each image, looked at once for each rival in reach.
MAX_EXACT_QUBITS = 12
MAX_SHOTS = 1_000_000
NEGLIGIBLE = 1e-6
# How close to the fewest shots the search comes.
RESOLUTION = 1.03
# Of theta, in units of margin over variance, where the bound is best for a normal distribution: 1.
THETAS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Bounds(NamedTuple):
    """Of each image, the least and the most that the chance of another class can be, (N,)."""

    lower: Floats
    upper: Floats


class ShotNoise:
    """The chances of images to change class, for any number of shots.

    Args:
        probabilities: (N, 2^n) of one shot, the first qubit the most significant bit.
        classes: (N,) to keep.
        weight: (K, n) of the readout.
        bias: (K,).
    """

    def __init__(self, probabilities: Floats, classes: Integers, weight: Floats, bias: Floats) -> None:
        table = np.clip(probabilities, 0, None)
        self._table = table / table.sum(axis=1, keepdims=True)
        self._classes = classes.tolist()
        self._logits = weight @ _signs(weight.shape[1]) + bias[:, None]  # (K, 2^n) of each outcome
        moments = [self._of_image(row, kept) for row, kept in zip(self._table, self._classes, strict=True)]
        # (N, K): the margin of one shot over each rival, its deviation, and the log of the bound of one shot
        self._margin, self._sigma, self._log_bound = (np.array(part) for part in zip(*moments, strict=True))

    def chances(self, shots: int) -> Bounds:
        """Return the chance of another class at S shots."""
        lower, upper = np.zeros(len(self._classes)), np.zeros(len(self._classes))
        for image, kept in enumerate(self._classes):
            for rival in range(len(self._logits)):
                bound = math.exp(shots * self._log_bound[image, rival])
                if rival == kept:
                    continue
                if bound < NEGLIGIBLE:
                    upper[image] += bound
                    continue
                values = self._logits[kept] - self._logits[rival]
                # of equal logits the first class is taken
                chance = chance_below(values, self._table[image], shots, includes_tie=rival < kept)
                lower[image] = max(lower[image], chance)
                upper[image] += chance
        return Bounds(lower, np.minimum(upper, 1.0))

    def shots_needed(self, share_kept: float) -> tuple[int, float] | None:
        """Return the fewest shots, to 3%, that keep a share of the classes on average, and that share.

        Args:
            share_kept: from 0 to 1; the upper bound of the changes is held to it.

        Returns:
            None where a million shots do not.
        """
        shots = self._guess(share_kept)
        share = self._kept(shots)
        step = RESOLUTION if share >= share_kept else 1 / RESOLUTION
        best = (shots, share) if share >= share_kept else None
        while True:
            following = round(shots / step)
            shots = following if following != shots else shots + (1 if step < 1 else -1)
            if not 1 <= shots <= MAX_SHOTS:
                return best
            share = self._kept(shots)
            if share < share_kept and best is not None:
                return best
            if share >= share_kept:
                best = (shots, share)
                if step < 1:
                    return best

    def _kept(self, shots: int) -> float:
        return 1 - float(self.chances(shots).upper.mean())

    def _guess(self, share_kept: float) -> int:
        """The shots that would be needed if margins were normally distributed."""
        low, high = 1, MAX_SHOTS
        while low < high:
            middle = (low + high) // 2
            if self._normal_share(middle) >= share_kept:
                high = middle
            else:
                low = middle + 1
        return low

    def _normal_share(self, shots: int) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.nan_to_num(self._margin * math.sqrt(shots / 2) / self._sigma, posinf=9.0, neginf=-9.0)
        chances = 0.5 * np.array([math.erfc(each) for each in ratio.ravel()]).reshape(ratio.shape)
        chances[np.arange(len(chances)), self._classes] = 0.0
        return 1 - float(np.minimum(chances.sum(axis=1), 1).mean())

    def _of_image(self, row: Floats, kept: int) -> tuple[Floats, Floats, Floats]:
        values = self._logits[kept] - self._logits  # (K, 2^n)
        margin = values @ row
        variance = np.clip((values**2) @ row - margin**2, 0, None)
        log_bound = np.zeros(len(values))
        for rival in np.flatnonzero((margin > 0) & (variance > 0)):
            best = margin[rival] / variance[rival]
            moments = (math.log(float(np.exp(-factor * best * values[rival]) @ row)) for factor in THETAS)
            log_bound[rival] = min(0.0, *moments)
        return margin, np.sqrt(variance), log_bound


def run_interval(bounds: Bounds, level: float = 0.95) -> tuple[int, int]:
    """Return the fewest and the most images that change in a run, in all but ``1 - level`` of the runs.

    The number in one run is a sum of independent events of unequal chances; its distribution is their convolution.
    """
    rest = (1 - level) / 2
    low, high = (np.cumsum(_count_pmf(chances)) for chances in bounds)
    return int(np.searchsorted(low, rest)), int(np.searchsorted(high, 1 - rest))


def _signs(n_qubits: int) -> Floats:
    """(n, 2^n): Z of each qubit in each outcome."""
    bits = (np.arange(1 << n_qubits)[None, :] >> np.arange(n_qubits - 1, -1, -1)[:, None]) & 1
    return np.asarray(1.0 - 2.0 * bits)


def _count_pmf(chances: Floats) -> Floats:
    pmf = np.ones(1)
    for chance in chances[chances > 0]:
        pmf = np.convolve(pmf, [1 - chance, chance])
    return pmf
