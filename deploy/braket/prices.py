"""What one task is estimated to cost, by the prices of a hardware file."""

from dataclasses import dataclass
from decimal import Decimal

from sqdr.hw_configs import BraketQpu, BraketSimulator

__all__ = ["TaskPrices"]


@dataclass(frozen=True)
class TaskPrices:
    """The prices of one device; None of hardware leaves every cost unknown."""

    hardware: BraketQpu | BraketSimulator | None

    def before(self, n_shots: int) -> Decimal | None:
        """Return the estimate for a task before it runs, of a simulator the least that it bills."""
        return self.after(n_shots, None)

    def after(self, n_shots: int, billed_ms: int | None) -> Decimal | None:
        """Return the estimate for a task that has run; None where it is not known.

        Args:
            n_shots: of all its circuits.
            billed_ms: simulated time that a simulator reports, before its minimum is applied.
        """
        if isinstance(self.hardware, BraketQpu):
            return self.hardware.prices.cost_usd(1, n_shots)
        if self.hardware is None:
            return None
        prices = self.hardware.prices
        return prices.cost_usd(max(Decimal(billed_ms or 0) / 1000, Decimal(prices.minimum_seconds.value)))
