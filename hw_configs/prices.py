"""What a device on Amazon Braket charges, and how circuits share a task's fee."""

from decimal import Decimal

from sqdr.hw_configs.figures import Count, Figure, Money, OptionalFigure
from sqdr.strict import StrictModel

__all__ = ["ProgramSets", "QpuPrices", "SimulatorPrices"]

SECONDS_PER_MINUTE = 60


class SimulatorPrices(StrictModel):
    """What a managed simulator charges: simulated time, with a minimum per task."""

    per_minute_usd: OptionalFigure[Money]
    minimum_seconds: Figure[Count]

    def cost_usd(self, seconds: Decimal) -> Decimal | None:
        """Return the price of simulated time that was billed; None if it is not known."""
        per_minute = self.per_minute_usd.value
        return None if per_minute is None else seconds * per_minute / SECONDS_PER_MINUTE


class QpuPrices(StrictModel):
    """What a quantum processor charges: each task, and each shot."""

    per_task_usd: OptionalFigure[Money]
    per_shot_usd: OptionalFigure[Money]

    def cost_usd(self, n_tasks: int, n_shots: int) -> Decimal | None:
        """Return the price of tasks with so many shots in all; None if one of the prices is not known."""
        per_task, per_shot = self.per_task_usd.value, self.per_shot_usd.value
        return None if per_task is None or per_shot is None else n_tasks * per_task + n_shots * per_shot


class ProgramSets(StrictModel):
    """Several circuits in one task, for one task fee.

    Args:
        max_circuits: in one set (the service's ``maximumExecutables``).
        max_total_shots: of all circuits of one set together (the service's ``maximumTotalShots``); None or
            ``unknown`` for a device that names no limit.
    """

    max_circuits: Figure[Count]
    max_total_shots: OptionalFigure[Count] | None = None

    def capacity(self, shots: int) -> int:
        """Return how many circuits of so many shots one set holds; 0 if not even one."""
        total = None if self.max_total_shots is None else self.max_total_shots.value
        n_circuits = self.max_circuits.value
        return n_circuits if total is None else min(n_circuits, total // shots)
