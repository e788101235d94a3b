"""More shots only while the class is statistically undecided.

Every image gets a first round of shots. Its class is decided when the largest logit a beats every other b:

    (W_a - W_b) <Z> + bias_a - bias_b  >=  q sqrt((W_a - W_b)^T C (W_a - W_b) / shots),

with C the covariance of the Z of single shots, measured over all its rounds, so that qubits that err together count
as such. Undecided images get another round, until all shots that an image may take are taken.

The error rate is the chance that an image that was stopped early has another class than it would have with
infinitely many shots of the same device. It is shared out equally (Bonferroni) over the looks, one after each round,
and the rivals b: q is the normal quantile of 1 - error_rate / (looks * (K - 1)). Both shares are on the safe side,
for looks at growing samples go together, and one rival or two are near. The normal distribution is not: of few
shots a qubit near <Z> = +-1 shows no flip at all, and its variance as 0. So C is that of the measured shots together
with `PSEUDO_SHOTS` shots of uniformly random bits (as in Agresti and Coull's interval for a proportion, The
American Statistician 52, 1998); the logits are not touched. Tests measure the rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import SamplingHead, ShotCounts
from sqdr.deploy.heads.base import check_shots
from sqdr.deploy.heads.wrapper import HeadWrapper, drawn_accuracy
from sqdr.errors import ConfigError, ShapeError

__all__ = ["AdaptiveHead", "AdaptiveReport", "is_decided", "rounds_of"]

# Of Agresti and Coull: the squared quantile of a 95% interval, rounded.
PSEUDO_SHOTS = 4
FIRST_SHOTS = 25
ERROR_RATE = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AdaptiveReport:
    """What adaptive shots did so far.

    Args:
        n_images: images classified.
        n_undecided: images that took all shots they might and whose class was still open.
        n_shots: shots over all images.
        n_shots_fixed: what they would have been at the most shots for each.
        rounds: shots that an image has after each round.
    """

    n_images: int
    n_undecided: int
    n_shots: int
    n_shots_fixed: int
    rounds: tuple[int, ...]


class AdaptiveHead(HeadWrapper):
    """A head that takes shots in rounds and stops for each image by itself; see the module.

    Each round of a device that is paid by the task is another task for the images that are left: there, a larger first
    round and factor are cheaper, or tasks of many circuits (program sets).
    """

    def __init__(
        self,
        inner: SamplingHead,
        *,
        weight: Floats,
        bias: Floats,
        max_shots: int,
        first_shots: int = FIRST_SHOTS,
        factor: int = 2,
        error_rate: float = ERROR_RATE,
        min_shots: int = 1,
    ) -> None:
        """Wrap a head.

        Args:
            inner: what takes the shots.
            weight: (K, n_qubits) of the readout.
            bias: (K,) of the readout.
            max_shots: the most shots of an image.
            first_shots: of every image.
            factor: shots so far after a round over those before it, at least 2.
            error_rate: of images stopped early; see the module.
            min_shots: the fewest that the device takes at a time.

        Raises:
            ShapeError: weight and bias do not go together.
            DeviceError: a number of shots is not a positive integer.
            ConfigError: the head takes no shots on request, or another option breaks its rule.
        """
        if not isinstance(inner, SamplingHead):
            raise ConfigError(f"adaptive shots need a device that takes them in rounds, got '{inner.name}'.")
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ShapeError(f"`weight` and `bias` must be (K, Q) and (K,), got {weight.shape} and {bias.shape}.")
        if not 0 < error_rate < 1:
            raise ConfigError(f"`error_rate` must be between 0 and 1, got {error_rate}.")
        super().__init__(inner, f"{inner.name} (adaptive)", drawn_accuracy(inner))
        self._sampler, self._weight, self._bias = inner, weight, bias
        self._rounds = rounds_of(first_shots, factor, max_shots, min_shots)
        n_tests = len(self._rounds) * max(1, len(weight) - 1)
        self._quantile = -NormalDist().inv_cdf(error_rate / n_tests)
        self._shots: list[NDArray[np.int64]] = []
        self._n_undecided = 0

    def expectations(self, angles: Floats) -> Floats:
        """Return <Z> (N, n_qubits) from each image's own number of shots; see `sqdr.backends.HeadBackend`."""
        array = np.asarray(angles)
        counts = self._sampler.sample(array, self._rounds[0])
        undecided = np.flatnonzero(~self._is_decided(counts))
        for part, (before, shots) in enumerate(zip(self._rounds, self._rounds[1:], strict=False), start=1):
            if len(undecided) == 0:
                break
            counts = counts.add_at(undecided, self._sampler.sample(array[undecided], shots - before, part))
            undecided = undecided[~self._is_decided(counts[undecided])]
        self._shots.append(counts.shots)
        self._n_undecided += len(undecided)
        return counts.expectations

    def use_readout(self, change: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> None:
        """Decide by another readout from now on, such as one that corrects what the device measures.

        Args:
            change: weight and bias to those to decide by.
        """
        self._weight, self._bias = change(self._weight, self._bias)

    def _is_decided(self, counts: ShotCounts) -> NDArray[np.bool_]:
        return is_decided(counts, self._weight, self._bias, self._quantile)

    @property
    def shots_per_image(self) -> NDArray[np.int64]:
        """Shots of each image so far, (N,), in the order they came."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._shots])

    def adaptive_report(self) -> AdaptiveReport:
        """Return what adaptive shots did so far."""
        shots = self.shots_per_image
        return AdaptiveReport(
            n_images=len(shots),
            n_undecided=self._n_undecided,
            n_shots=int(shots.sum()),
            n_shots_fixed=len(shots) * self._rounds[-1],
            rounds=self._rounds,
        )


def rounds_of(first_shots: int, factor: int, max_shots: int, min_shots: int = 1) -> tuple[int, ...]:
    """Return the shots that an image has after each round, the last ``max_shots``.

    Raises:
        DeviceError: a number of shots is not a positive integer.
        ConfigError: the factor is not an integer of at least 2.
    """
    for shots in (first_shots, max_shots):
        check_shots(shots)
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
        raise ConfigError(f"`factor` must be a whole number of at least 2, got {factor!r}.")
    rounds = [min(max(first_shots, min_shots), max_shots)]
    while rounds[-1] < max_shots:
        further = min(rounds[-1] * factor, max_shots)
        # a last round of fewer shots than the device takes goes into the one before
        rounds.append(max_shots if max_shots - further < min_shots else further)
    return tuple(rounds)


def is_decided(counts: ShotCounts, weight: Floats, bias: Floats, quantile: float) -> NDArray[np.bool_]:
    """Return for each circuit whether its largest logit beats all others; see the module.

    Args:
        counts: of N circuits.
        weight: (K, n_qubits).
        bias: (K,).
        quantile: standard deviations by which a difference must exceed 0.
    """
    z = counts.expectations
    logits = z @ weight.T + bias
    top = logits.argmax(axis=1)
    against = weight[top][:, None] - weight  # (N, K, n_qubits)
    gap = logits.max(axis=1, keepdims=True) - logits
    variance = np.einsum("nkq,nqr,nkr->nk", against, _guarded_covariance(counts), against, optimize=True)
    is_beaten = gap >= quantile * np.sqrt(np.maximum(variance, 0) / counts.shots[:, None])
    is_beaten[np.arange(len(top)), top] = True
    return np.asarray(is_beaten.all(axis=1))


def _guarded_covariance(counts: ShotCounts) -> Floats:
    """Covariance of the measured shots and `PSEUDO_SHOTS` uniformly random ones, whose <Z> is 0 and covariance 1."""
    share = (counts.shots / (counts.shots + PSEUDO_SHOTS))[:, None, None]
    z = counts.expectations
    between = share * (1 - share) * z[:, :, None] * z[:, None, :]  # of the two groups' means
    return np.asarray(share * counts.covariance + (1 - share) * np.eye(z.shape[1]) + between)
