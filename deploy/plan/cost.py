"""What a run costs by a hardware file's prices, and whether a budget holds it."""

from decimal import Decimal, localcontext
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sqdr.deploy.plan.report import CostEstimate, PriceSource
from sqdr.errors import BudgetError, ConfigError
from sqdr.hw_configs import BraketLocal, BraketQpu, BraketSimulator
from sqdr.hw_configs.figures import UNKNOWN, Money, OptionalFigure
from sqdr.money import dollars

__all__ = ["check_budget", "estimate", "usd_per_image", "n_program_sets", "parse_budget"]

Hardware = BraketLocal | BraketQpu | BraketSimulator
# More digits than any product of a price with images and shots has: nothing is rounded.
DIGITS = 80


def parse_budget(budget: Any) -> Decimal | None:
    """Return the budget in USD; None stays None.

    Raises:
        ConfigError: it is not an amount of money.
    """
    if budget is None:
        return None
    try:
        return TypeAdapter(Money).validate_python(budget)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"`budget` {reason}, got {str(budget)[:40]!r}.") from None


def n_program_sets(
    hardware: Hardware | None, n_circuits: int, shots: int, n_extra_circuits_per_task: int = 0
) -> int | None:
    """Return how many program sets hold the circuits; None where the device takes none.

    A set is full when it has the device's number of circuits, or when one more would take its shots, which are
    all of one size, over the device's total.

    Args:
        hardware: the device.
        n_circuits: of the images.
        shots: of each circuit; at least 1.
        n_extra_circuits_per_task: circuits beside the images' in every set, such as a canary.
    """
    if not isinstance(hardware, BraketQpu) or hardware.program_sets is None:
        return None
    n_images_per_set = hardware.program_sets.capacity(shots) - n_extra_circuits_per_task
    return -(-n_circuits // n_images_per_set) if n_images_per_set > 0 else None


def estimate(hardware: Hardware, n_circuits: int, shots: int, n_extra_circuits_per_task: int = 0) -> CostEstimate:
    """Return the cost of ``n_circuits`` circuits of ``shots`` shots each.

    Args:
        hardware: the device.
        n_circuits: of the images.
        shots: of each circuit, the extra ones included.
        n_extra_circuits_per_task: circuits beside the images': 1 for a canary, 2 more for readout calibration. In
            every program set; with a task for each circuit, once for the run.
    """
    if isinstance(hardware, BraketLocal):
        return CostEstimate(tasks_usd=Decimal(0))
    n_tasks = n_circuits + n_extra_circuits_per_task
    with localcontext() as context:
        context.prec = DIGITS
        if isinstance(hardware, BraketSimulator):
            minimum = _minimum_usd(hardware)
            return CostEstimate(
                tasks_usd=None if minimum is None else n_tasks * minimum,
                is_minimum=True,
                prices=_sources(("simulated minute", hardware.prices.per_minute_usd)),
            )
        prices = hardware.prices
        n_sets = n_program_sets(hardware, n_circuits, shots, n_extra_circuits_per_task)
        n_set_shots = 0 if n_sets is None else (n_circuits + n_sets * n_extra_circuits_per_task) * shots
        return CostEstimate(
            tasks_usd=prices.cost_usd(n_tasks, n_tasks * shots),
            program_sets_usd=None if n_sets is None else prices.cost_usd(n_sets, n_set_shots),
            prices=_sources(("task", prices.per_task_usd), ("shot", prices.per_shot_usd)),
        )


def usd_per_image(hardware: Hardware | None, shots: int) -> Decimal | None:
    """Return what one of many images costs, with its share of a program set's fee; None if it is not known."""
    if hardware is None or (isinstance(hardware, BraketQpu) and shots < 1):
        return None
    sets = hardware.program_sets if isinstance(hardware, BraketQpu) else None
    n_images = 1 if sets is None else max(1, sets.capacity(shots))
    cost = estimate(hardware, n_images, shots).run_usd
    return None if cost is None else cost / n_images


def check_budget(
    hardware: Hardware | None, cost: CostEstimate, budget_usd: Decimal | None, n_circuits: int, shots: int
) -> None:
    """Refuse a run that costs more than the budget.

    Raises:
        BudgetError: it does; the message says what would fit.
        ConfigError: there is a budget, and the cost is not known.
    """
    if budget_usd is None:
        return
    if cost.run_usd is None:
        raise ConfigError("`budget` needs a device whose prices are known. Write a hardware file with its prices.")
    if cost.run_usd <= budget_usd:
        return
    least = "at least " if cost.is_minimum else ""
    raise BudgetError(
        f"the estimate of {least}{dollars(cost.run_usd)} is over the budget of {dollars(budget_usd)}. Nothing was "
        f"submitted. {_what_fits(hardware, budget_usd, n_circuits, shots)}"
    )


def _what_fits(hardware: Hardware | None, budget_usd: Decimal, n_circuits: int, shots: int) -> str:
    with localcontext() as context:
        context.prec = DIGITS
        if isinstance(hardware, BraketSimulator):
            minimum = _minimum_usd(hardware)
            assert minimum  # a cost of nothing fits every budget
            return f"Within it: {budget_usd // minimum} images."
        assert isinstance(hardware, BraketQpu)  # nothing else costs anything
        per_task, per_shot = hardware.prices.per_task_usd.value, hardware.prices.per_shot_usd.value
        assert per_task is not None and per_shot is not None  # the cost is known
        sets = hardware.program_sets
        n_tasks = n_circuits if sets is None else -(-n_circuits // max(1, sets.capacity(shots)))
        # of a program set, an image's share of the fee
        n_images = int(budget_usd / (per_task * n_tasks / n_circuits + shots * per_shot))
        parts = [f"about {n_images} images of {shots} shots"] if n_images else []
        left_for_shots = budget_usd - n_tasks * per_task
        if per_shot and left_for_shots > 0:
            fitting = left_for_shots // (n_circuits * per_shot)
            if fitting >= hardware.shot_range.start:
                parts.append(f"{n_circuits} images of about {fitting} shots")
    return (
        f"Within it: {' or '.join(parts)}." if parts else "Not one image fits within it: raise it or take fewer shots."
    )


def _minimum_usd(hardware: BraketSimulator) -> Decimal | None:
    return hardware.prices.cost_usd(Decimal(hardware.prices.minimum_seconds.value))


def _sources(*prices: tuple[str, OptionalFigure[Money]]) -> tuple[PriceSource, ...]:
    return tuple(
        PriceSource(
            what=f"{UNKNOWN if figure.value is None else dollars(figure.value)} a {what}",
            source=figure.source,
            as_of=figure.as_of,
        )
        for what, figure in prices
    )
