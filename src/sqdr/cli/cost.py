"""``sqdr cost``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sqdr.cli.console import JsonOption, emit_json, output

__all__ = ["cost"]

SHORT = 8


def cost(
    run: Annotated[Path, typer.Argument(help="The --out folder of a run, or a journal.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not fetch AWS's price list; take the hardware file's prices.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Say what the quantum tasks of a run cost, task by task. Submits nothing and needs no credentials.

    Example: sqdr cost out/garnet
    """
    from sqdr.deploy.braket.costs import journal_costs
    from sqdr.money import dollars

    report = journal_costs(run, from_service=not offline)
    if json_output:
        emit_json(asdict(report))
        return
    table = Table(title=escape(f"{run}: quantum tasks, {len(report.tasks)} in all"), title_justify="left")
    for name in ("task", "device", "status"):
        table.add_column(name)
    for name in ("circuits", "canaries", "shots", "cost"):
        table.add_column(name, justify="right")
    for row in report.tasks:
        table.add_row(
            escape(row.task.rpartition("/")[2][:SHORT] if "/" in row.task else row.task),
            escape(row.device),
            escape(row.status + (f": {row.reason}" if row.reason else "")),
            f"{row.n_circuits - row.n_canaries:,}",
            f"{row.n_canaries:,}",
            f"{row.n_shots:,}",
            "unknown" if row.cost_usd is None else dollars(row.cost_usd),
        )
    output().print(table)
    unknown = f", and {report.n_unknown} tasks of unknown cost" if report.n_unknown else ""
    output().print(f"together {dollars(report.total_usd)}{unknown}", markup=False)
    for source in sorted({row.source for row in report.tasks}):
        output().print(f"prices: {source}", markup=False)
    if report.note:
        output().print(f"note: {report.note}", markup=False)
