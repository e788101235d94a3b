"""What a run costs by a hardware file's prices, and whether a budget holds it."""

from decimal import Decimal, localcontext
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sqdr.deploy.plan.report import CostEstimate, PriceSource
from sqdr.errors import BudgetError, ConfigError
from sqdr.hw_configs import BraketLocal, BraketQpu, BraketSimulator
from sqdr.hw_configs.schema import Figure, Money
from sqdr.money import dollars

__all__ = ["check_budget", "estimate", "n_program_sets", "parse_budget"]

Hardware = BraketLocal | BraketQpu | BraketSimulator
# More digits than any product of a price with images and shots has: nothing is rounded.
DIGITS = 80
SECONDS_PER_MINUTE = 60


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


def n_program_sets(hardware: Hardware | None, n_circuits: int) -> int | None:
    """Return how many program sets hold the circuits; None where the device takes none."""
    if not isinstance(hardware, BraketQpu) or hardware.program_sets is None:
        return None
    return -(-n_circuits // hardware.program_sets.max_circuits.value)


def estimate(hardware: Hardware, n_circuits: int, shots: int) -> CostEstimate:
    """Return the cost of ``n_circuits`` circuits of ``shots`` shots each."""
    if isinstance(hardware, BraketLocal):
        return CostEstimate(tasks_usd=Decimal(0))
    with localcontext() as context:
        context.prec = DIGITS
        if isinstance(hardware, BraketSimulator):
            return CostEstimate(
                tasks_usd=n_circuits * _minimum_usd(hardware),
                is_minimum=True,
                prices=(_source("simulated minute", hardware.prices.per_minute_usd),),
            )
        per_task, per_shot = hardware.prices.per_task_usd, hardware.prices.per_shot_usd
        all_shots = n_circuits * shots * per_shot.value
        n_sets = n_program_sets(hardware, n_circuits)
        return CostEstimate(
            tasks_usd=n_circuits * per_task.value + all_shots,
            program_sets_usd=None if n_sets is None else n_sets * per_task.value + all_shots,
            prices=(_source("task", per_task), _source("shot", per_shot)),
        )


def check_budget(
    hardware: Hardware | None, cost: CostEstimate, budget_usd: Decimal | None, n_circuits: int, shots: int
) -> None:
    """Refuse a run whose tasks cost more than the budget.

    Raises:
        BudgetError: they do; the message says what would fit.
        ConfigError: there is a budget, and the cost is not known.
    """
    if budget_usd is None:
        return
    if cost.tasks_usd is None:
        raise ConfigError("`budget` needs a device whose prices are known. Write a hardware file with its prices.")
    if cost.tasks_usd <= budget_usd:
        return
    least = "at least " if cost.is_minimum else ""
    raise BudgetError(
        f"the estimate of {least}{dollars(cost.tasks_usd)} is over the budget of {dollars(budget_usd)}. Nothing was "
        f"submitted. {_what_fits(hardware, budget_usd, n_circuits, shots)}"
    )


def _what_fits(hardware: Hardware | None, budget_usd: Decimal, n_circuits: int, shots: int) -> str:
    if isinstance(hardware, BraketSimulator):
        return f"Within it: {budget_usd // _minimum_usd(hardware)} images."
    assert isinstance(hardware, BraketQpu)  # nothing else costs anything
    with localcontext() as context:
        context.prec = DIGITS
        per_task, per_shot = hardware.prices.per_task_usd.value, hardware.prices.per_shot_usd.value
        n_images = budget_usd // (per_task + shots * per_shot)
        parts = [f"{n_images} images of {shots} shots"] if n_images else []
        left_for_shots = budget_usd - n_circuits * per_task
        if per_shot and left_for_shots > 0:
            fitting = left_for_shots // (n_circuits * per_shot)
            if fitting >= hardware.shots.value.min:
                parts.append(f"{n_circuits} images of {fitting} shots")
    return (
        f"Within it: {' or '.join(parts)}." if parts else "Not one image fits within it: raise it or take fewer shots."
    )


def _minimum_usd(hardware: BraketSimulator) -> Decimal:
    prices = hardware.prices
    return prices.per_minute_usd.value * prices.minimum_seconds.value / SECONDS_PER_MINUTE


def _source(what: str, figure: Figure[Money]) -> PriceSource:
    return PriceSource(what=f"{dollars(figure.value)} a {what}", source=figure.source, as_of=figure.as_of)
