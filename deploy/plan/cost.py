"""What a run costs by a hardware file's prices, and whether a budget holds it."""

from collections.abc import Callable
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


def estimate(
    hardware: Hardware, n_circuits: int, shots: int, n_extra_circuits_per_task: int = 0, n_calibration_shots: int = 0
) -> CostEstimate:
    """Return the cost of ``n_circuits`` circuits of ``shots`` shots each.

    Args:
        hardware: the device.
        n_circuits: of the images.
        shots: of each circuit, the extra ones included.
        n_extra_circuits_per_task: circuits beside the images', such as a canary. In every program set; with a
            task for each circuit, once for the run.
        n_calibration_shots: of each of the two circuits that calibrate the readout, a program set of their own; 0
            for none.
    """
    if isinstance(hardware, BraketLocal):
        return CostEstimate(tasks_usd=Decimal(0))
    n_calibrations = 2 if n_calibration_shots else 0
    n_tasks = n_circuits + n_extra_circuits_per_task + n_calibrations
    n_task_shots = (n_circuits + n_extra_circuits_per_task) * shots + n_calibrations * n_calibration_shots
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
        n_set_shots += n_calibrations * n_calibration_shots
        return CostEstimate(
            tasks_usd=prices.cost_usd(n_tasks, n_task_shots),
            program_sets_usd=None if n_sets is None else prices.cost_usd(n_sets + (n_calibrations > 0), n_set_shots),
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
    hardware: Hardware | None,
    cost: CostEstimate,
    budget_usd: Decimal | None,
    n_circuits: int,
    shots: int,
    n_extra_circuits_per_task: int = 0,
    n_calibration_shots: int = 0,
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
    assert hardware is not None and not isinstance(hardware, BraketLocal)  # nothing else costs anything
    has_sets = cost.program_sets_usd is not None
    fits = _what_fits(hardware, budget_usd, n_circuits, shots, n_extra_circuits_per_task, n_calibration_shots, has_sets)
    raise BudgetError(
        f"the estimate of {least}{dollars(cost.run_usd)} is over the budget of {dollars(budget_usd)}. Nothing was "
        f"submitted. {fits}"
    )


def _what_fits(
    hardware: BraketQpu | BraketSimulator,
    budget_usd: Decimal,
    n_circuits: int,
    shots: int,
    n_extra: int,
    n_calibration_shots: int,
    has_sets: bool,
) -> str:
    def fits(n: int, n_shots: int) -> bool:
        cost = estimate(hardware, n, n_shots, n_extra, min(n_calibration_shots, n_shots))
        found = cost.run_usd if has_sets else cost.tasks_usd
        return found is not None and found <= budget_usd

    n_images = _most(lambda n: fits(n, shots), n_circuits)
    if isinstance(hardware, BraketSimulator):
        return f"Within it: {n_images} images."
    fewer = _most(lambda n: fits(n_circuits, n), shots)
    parts = [f"{n_images} images of {shots} shots"] if n_images else []
    parts += [f"{n_circuits} images of {fewer} shots"] if fewer >= hardware.shot_range.start else []
    return (
        f"Within it: {' or '.join(parts)}." if parts else "Not one image fits within it: raise it or take fewer shots."
    )


def _most(fits: Callable[[int], bool], too_many: int) -> int:
    """Return the most that fit, 0 if not even one; ``too_many`` do not, and fewer never cost more."""
    low, high = 0, too_many
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


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
