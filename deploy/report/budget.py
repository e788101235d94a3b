"""The error budget, as `sqdr error-budget` has it."""

from collections.abc import Sequence
from pathlib import Path

from sqdr.deploy.error_budget import ErrorBudget, error_budget
from sqdr.deploy.error_budget.noise import device_noise
from sqdr.deploy.error_budget.report import Interval
from sqdr.deploy.report.section import Section
from sqdr.errors import ConfigError, SqdrError
from sqdr.hw_configs import load_hardware

__all__ = ["TITLE", "budget_section", "noisy_device"]

TITLE = "Error budget"


def noisy_device(hardware: Sequence[str]) -> str | None:
    """Return the first of the hardware files whose noise a budget can take."""
    for name in hardware:
        try:
            device_noise(load_hardware(name))
        except ConfigError:
            continue
        return name
    return None


def budget_section(bundle: Path, device: str | None, shots: int, limit: int) -> tuple[Section, ErrorBudget | None]:
    """Return the section, and the budget for the figures."""
    missing = () if device else ("No device's noise: --hw names none. Add for example --hw braket_iqm_garnet.",)
    try:
        found = error_budget(bundle, shots=shots, device=device, limit=limit)
    except SqdrError as error:
        return Section(name="budget", title=TITLE, missing=(f"Not worked out: {error}",)), None
    most = max([row.runs.high for row in found.rows] + [1.0])
    rows = [
        {
            "source": row.source,
            "n": f"{row.n_images:,}",
            "changed": _span(row.changed, "{:,.2f}"),
            "runs": _span(row.runs, "{:,.0f}"),
            "share": _span(row.share, "{:.2%}"),
            "how": row.how,
            "bar": round(100 * (row.changed.low + row.changed.high) / 2 / most, 1),
        }
        for row in found.rows
    ]
    needed = [
        (
            need.source,
            f"{need.share_kept:.4g}",
            "no number is enough" if need.shots is None else f"{need.shots:,}",
            f"{need.share_found:.4f}",
        )
        for need in found.shots_needed
    ]
    content = {"budget": found, "rows": rows, "needed": needed, "shots": f"{shots:,}"}
    return Section(name="budget", title=TITLE, content=content, missing=missing), found


def _span(interval: Interval, form: str) -> str:
    low, high = form.format(interval.low), form.format(interval.high)
    return low if low == high else f"{low} to {high}"
