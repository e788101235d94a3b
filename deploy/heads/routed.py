"""Images whose class is certain stay on the free simulator; the others go to the paid device.

The free head gives every image's exact <Z>, and so its exact logits and class probabilities (softmax). An image whose
two largest probabilities differ by less than the margin is ambiguous, and the paid device's <Z> counts for it.

What this buys is a smaller bill for experiments on a device, not a better class: the exact simulation of the same
circuit is the more accurate of the two wherever it can be had.
"""

import contextlib
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, HeadReport
from sqdr.deploy.heads.wrapper import HeadWrapper
from sqdr.errors import ConfigError, ShapeError

__all__ = ["RoutedHead", "RoutedReport", "probability_margin"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RoutedReport:
    """What routing did so far.

    Args:
        n_images: images classified.
        n_routed: ambiguous images, which the paid device classified.
        n_changed: those of them to which it gave another class than the exact one.
        n_checked: certain images that were sent as well, for comparison only.
        n_lost: those of them to which the paid device gave another class: agreement lost by not asking it.
        n_shots: shots on the paid device, those of the check included.
        cost_usd: of the paid device, the check included; None if unknown.
        cost_all_usd: what all images on it would have cost; None if unknown.
    """

    n_images: int
    n_routed: int
    n_changed: int
    n_checked: int
    n_lost: int
    n_shots: int
    cost_usd: Decimal | None
    cost_all_usd: Decimal | None

    @property
    def saved_usd(self) -> Decimal | None:
        """Dollars saved against sending all images; None if unknown."""
        if self.cost_usd is None or self.cost_all_usd is None:
            return None
        return self.cost_all_usd - self.cost_usd

    @property
    def agreement_lost(self) -> float | None:
        """Share of the checked certain images whose class the paid device would have changed; None without a check."""
        return self.n_lost / self.n_checked if self.n_checked else None


class RoutedHead(HeadWrapper):
    """A free exact head in front of a paid one; see the module."""

    def __init__(
        self,
        free: HeadBackend,
        paid: HeadBackend,
        *,
        weight: Floats,
        bias: Floats,
        margin: float,
        n_check: int = 0,
        usd_per_image: Decimal | None = None,
    ) -> None:
        """Put the free head in front of the paid one.

        Args:
            free: exact and free of charge.
            paid: for ambiguous images; may take adaptive shots.
            weight: (K, n_qubits) of the readout.
            bias: (K,) of the readout.
            margin: of the two largest probabilities, 0 (all stay) to 1 (all that are not certain to the last digit go).
            n_check: the first so many certain images are sent, too, to measure the agreement lost. They are paid for.
            usd_per_image: what one image costs where all are sent; None if unknown.

        Raises:
            ConfigError: the free head is neither exact nor free, or an option breaks its rule.
            ShapeError: weight and bias do not go together.
        """
        if free.accuracy != "exact" or free.is_paid:
            raise ConfigError(f"routing needs a free exact device in front, got '{free.name}'. Use local:sv.")
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ShapeError(f"`weight` and `bias` must be (K, Q) and (K,), got {weight.shape} and {bias.shape}.")
        if not 0 <= margin <= 1:
            raise ConfigError(f"`margin` must be 0 to 1, got {margin}.")
        if n_check < 0:
            raise ConfigError(f"`n_check` must be at least 0, got {n_check}.")
        super().__init__(paid, f"{paid.name} (routed)", paid.accuracy)
        self._free, self._weight, self._bias, self._margin = free, weight, bias, margin
        self._n_check, self._usd_per_image = n_check, usd_per_image
        self._n_images = self._n_routed = self._n_changed = self._n_checked = self._n_lost = 0

    def expectations(self, angles: Floats) -> Floats:
        """Return <Z> (N, n_qubits), exact or of the paid device; see `sqdr.backends.HeadBackend`."""
        exact = self._free.expectations(angles)
        is_ambiguous = probability_margin(self._logits(exact)) < self._margin
        n_to_check = self._n_check - self._n_checked
        checked = np.flatnonzero(~is_ambiguous)[:n_to_check]
        sent = np.union1d(np.flatnonzero(is_ambiguous), checked)
        found = exact.copy()
        if len(sent):
            found[sent] = self._inner.expectations(np.asarray(angles)[sent])
        is_changed = self._logits(found).argmax(axis=1) != self._logits(exact).argmax(axis=1)
        found[checked] = exact[checked]
        self._n_images += len(exact)
        self._n_routed += int(is_ambiguous.sum())
        self._n_changed += int(is_changed[is_ambiguous].sum())
        self._n_checked += len(checked)
        self._n_lost += int(is_changed[checked].sum())
        return found

    def _logits(self, expectations: Floats) -> Floats:
        return expectations @ self._weight.T + self._bias

    def report(self) -> HeadReport:
        """Return circuits on both devices, and the paid one's shots and cost."""
        paid = self._inner.report()
        n_circuits = paid.n_circuits + self._free.report().n_circuits
        return HeadReport(n_circuits=n_circuits, n_shots=paid.n_shots, cost_usd=paid.cost_usd)

    def routed_report(self) -> RoutedReport:
        """Return what routing did so far."""
        paid = self._inner.report()
        return RoutedReport(
            n_images=self._n_images,
            n_routed=self._n_routed,
            n_changed=self._n_changed,
            n_checked=self._n_checked,
            n_lost=self._n_lost,
            n_shots=paid.n_shots,
            cost_usd=paid.cost_usd,
            cost_all_usd=None if self._usd_per_image is None else self._n_images * self._usd_per_image,
        )

    def close(self) -> None:
        """Close both heads; safe to call twice."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._free.close)
            stack.callback(self._inner.close)

    def __enter__(self) -> "RoutedHead":
        """Start both heads."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._free)
            stack.enter_context(self._inner)
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both heads, whatever happened inside."""
        self.close()


def probability_margin(logits: Floats) -> Floats:
    """Return the difference of the two largest class probabilities (N,), for logits (N, K); 1 for one class."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    if odds.shape[1] == 1:
        return np.ones(len(odds))
    second, first = np.partition(odds, -2, axis=1)[:, -2:].T
    return np.asarray((first - second) / odds.sum(axis=1))
