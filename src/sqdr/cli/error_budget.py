"""``sqdr error-budget``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sqdr.cli.completion import device_names, image_names
from sqdr.cli.console import DataRootOption, JsonOption, emit_json, output, progress_bar, wants_progress

if TYPE_CHECKING:
    from sqdr.deploy.error_budget import ErrorBudget
    from sqdr.deploy.error_budget.report import Interval

__all__ = ["error_budget"]


def error_budget(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    shots: Annotated[int, typer.Option(help="Per image.")],
    device: Annotated[
        str | None,
        typer.Option(
            help="A hardware file with noise (local_dm), or a QPU's, whose fidelities are taken.",
            autocompletion=device_names,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="Images, such as digits:test; by default the bundle's validation samples.",
            autocompletion=image_names,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first images.")] = None,
    keep: Annotated[float, typer.Option(help="Share of classes to keep, for which the shots are sought.")] = 0.99,
    seed: Annotated[int, typer.Option(help="Of drawn shots, above 12 qubits.")] = 0,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say how many images change class by spikes, shots and device noise, each alone and together.

    Example: sqdr error-budget digits.sqdr --input digits:test --device braket_iqm_garnet --shots 100
    """
    from sqdr.deploy.error_budget import error_budget as budget_of

    with progress_bar("measuring", wants_progress(json_output)) as progress:
        found = budget_of(
            bundle,
            shots=shots,
            device=device,
            source=source,
            limit=limit,
            share_kept=keep,
            data_root=data_root,
            seed=seed,
            progress=progress,
        )
    if json_output:
        emit_json(found.model_dump(mode="json"))
        return
    output().print(_table(found))
    for needed in found.shots_needed:
        wanted = f"to keep {needed.share_kept:.4g} of the noiseless classes under {needed.source}"
        if needed.shots is None:
            reached = f"no number of shots is enough; infinitely many keep {needed.share_found:.4f}"
        else:
            reached = f"{needed.shots:,} shots, which keep {needed.share_found:.4f}"
        output().print(f"{wanted}: {reached}", markup=False)
    if found.noiseless_accuracy is not None:
        output().print(f"accuracy of the noiseless classes: {found.noiseless_accuracy:.4f}", markup=False)
    for name, lines in (("noise", found.noise), ("note", found.notes)):
        for line in lines:
            output().print(f"{name}: {line}", markup=False)


def _table(found: "ErrorBudget") -> Table:
    device = found.device or "no device's noise"
    title = f"images that change class: {found.n_images:,} {found.samples}, {device}, {found.shots:,} shots"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("by")
    for name in ("images", "change, on average", "in 95% of runs", "of further images (95%)"):
        table.add_column(name, justify="right")
    table.add_column("how", overflow="fold")
    for row in found.rows:
        table.add_row(
            row.source,
            f"{row.n_images:,}",
            _span(row.changed, "{:,.2f}"),
            _span(row.runs, "{:,.0f}"),
            _span(row.share, "{:.2%}"),
            escape(row.how),
        )
    return table


def _span(interval: "Interval", form: str) -> str:
    low, high = form.format(interval.low), form.format(interval.high)
    return low if low == high else f"{low} to {high}"
