"""What one task is estimated to cost, by the prices of a hardware file."""

from dataclasses import dataclass
from decimal import Decimal

from sqdr.hw_configs import BraketQpu, BraketSimulator

__all__ = ["TaskPrices"]

MS_PER_MINUTE = 60_000


@dataclass(frozen=True)
class TaskPrices:
    """The prices of one device; None of hardware leaves every cost unknown."""

    hardware: BraketQpu | BraketSimulator | None

    def before(self, n_shots: int) -> Decimal | None:
        """Return the estimate for a task before it runs, of a simulator the least that it bills."""
        if isinstance(self.hardware, BraketQpu):
            prices = self.hardware.prices
            return prices.per_task_usd.value + n_shots * prices.per_shot_usd.value
        return self.after(n_shots, 0)

    def after(self, n_shots: int, billed_ms: int | None) -> Decimal | None:
        """Return the estimate for a task that has run.

        Args:
            n_shots: of all its circuits.
            billed_ms: simulated time that a simulator reports, before its minimum is applied.
        """
        if isinstance(self.hardware, BraketQpu):
            return self.before(n_shots)
        if self.hardware is None:
            return None
        prices = self.hardware.prices
        billed = max(billed_ms or 0, 1000 * prices.minimum_seconds.value)
        return billed * prices.per_minute_usd.value / MS_PER_MINUTE
