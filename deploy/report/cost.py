"""What a run cost, and what the devices of the fit would."""

from decimal import Decimal
from typing import Any

from sqdr.deploy.fit import FitReport
from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, read_json
from sqdr.errors import SqdrError
from sqdr.money import dollars

__all__ = ["cost_section"]

TITLE = "Cost"
UNKNOWN = "unknown"


def cost_section(fit: FitReport | None, sources: Sources, reason: str) -> Section:
    """Return what a run did cost, and what the devices of the fit would."""
    missing, paid = [], []
    if sources.results is not None:
        try:
            summary = read_json(sources.results / "summary.json")
            for name, key in (("all that the journal holds", "cost_usd"), ("by this run", "paid_now_usd")):
                value = summary.get(key)
                paid.append((name, UNKNOWN if value is None else _money(value)))
            paid += [
                (name, _count(summary.get(key))) for name, key in (("circuits", "n_circuits"), ("shots", "n_shots"))
            ]
        except SqdrError as error:
            missing.append(f"What the run cost is not known: {error} Finish it: `sqdr run --resume {sources.results}`.")
    else:
        missing.append("No run: nothing was spent that is known here. Name the folder of a run with --results.")
    rows, prices = [], []
    for device in () if fit is None else fit.quantum:
        if device.shots_priced is None:
            missing.append(f"{device.hardware}: nothing is priced, for it runs here or its prices are unknown.")
            continue
        rows.append(
            (
                device.hardware,
                f"{device.shots_priced:,}",
                UNKNOWN if device.cost_usd is None else dollars(device.cost_usd),
                UNKNOWN if device.cost_per_thousand_usd is None else dollars(device.cost_per_thousand_usd),
            )
        )
        prices += [(device.hardware, price.what, price.source, price.as_of) for price in device.prices]
    if fit is None:
        missing.append(f"No estimate: {reason}")
    content = {"paid": paid, "rows": rows, "prices": prices} if paid or rows else None
    return Section(name="cost", title=TITLE, content=content, missing=tuple(missing))


def _money(value: Any) -> str:
    try:
        amount = Decimal(str(value)[:40])
        return dollars(amount) if amount.is_finite() and abs(amount) < 10**12 else UNKNOWN
    except ArithmeticError:
        return UNKNOWN


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**15 else UNKNOWN
