"""``sqdr verify``."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sqdr.cli.completion import image_names, stage_names
from sqdr.cli.console import (
    DataRootOption,
    JsonOption,
    emit_json,
    errors,
    output,
    progress_bar,
    wants_progress,
)
from sqdr.errors import NotEqualError

if TYPE_CHECKING:
    from sqdr.deploy.verify import VerifyReport, VerifyRow

__all__ = ["LavaGraphName", "verify"]

UNITS = {"spikes": "spikes", "expectations": "<Z>", "logits": "logits", "counts": "counts"}


class LavaGraphName(str, Enum):
    """What runs as the encoder lava."""

    STOCK = "stock"
    FAST = "fast"
    BATCHED = "batched"


LavaGraphOption = Annotated[
    LavaGraphName,
    typer.Option(
        help="What runs as encoder lava: Lava's own models, those with faster sums of convolutions, or one process "
        "that holds the integer runtime."
    ),
]


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    samples: Annotated[int, typer.Option(help="Images to pass through every stage.", min=1)] = 32,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this encoder, device or classifier.onnx; may be repeated. Default: all that are installed.",
            autocompletion=stage_names,
        ),
    ] = None,
    shots: Annotated[
        int, typer.Option(help="Of each circuit, where shots are compared; 0 leaves it out.", min=0)
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the shots.", min=0)] = 0,
    source: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", help="Images. Default: the test part of the bundle's data.", autocompletion=image_names
        ),
    ] = None,
    lava_graph: LavaGraphOption = LavaGraphName.STOCK,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that every stage that is installed here equals the one before it.

    Example: sqdr verify digits.sqdr --samples 200

    Example: sqdr verify digits.sqdr --against integer --against local:braket-sv
    """
    from sqdr.deploy.verify import verify_bundle

    with progress_bar("verifying", wants_progress(json_output)) as progress:
        report = verify_bundle(
            bundle,
            n_samples=samples,
            source=source,
            data_root=data_root,
            against=against or (),
            shots=shots,
            seed=seed,
            lava_graph=lava_graph.value,
            progress=progress,
        )
    if json_output:
        emit_json({"equal": report.equal} | report.model_dump(mode="json"))
    else:
        _show(str(bundle), report)
    if report.equal:
        return
    if not json_output:
        raise NotEqualError("two stages differ, see the table")
    # standard output has its one JSON object already
    errors().print("error: two stages differ, see the rows", style="bold red")
    raise typer.Exit(NotEqualError.exit_code)


def _show(title: str, report: "VerifyReport") -> None:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("from", "to"):
        table.add_column(name, min_width=11, overflow="fold")
    for name in ("samples", "compared", "differ", "max |diff|", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in report.rows:
        table.add_row(
            escape(row.source),
            escape(row.target),
            f"{row.n_samples:,}",
            f"{row.n_compared:,} {UNITS[row.what]}",
            f"{row.n_different:,}",
            f"{row.max_abs_difference:.0f}" if row.what == "spikes" else f"{row.max_abs_difference:.1e}",
            f"{row.seconds:.2f}",
            "[green]EQUAL" if row.equal else "[bold red]NOT EQUAL",
        )
    output().print(table)
    for row in report.rows:
        if row.where:
            output().print(f"{row.source} -> {row.target}: {row.where}", markup=False)
            _show_difference(row)
    for reason in report.skipped:
        output().print(f"not compared: {reason}", markup=False)


def _show_difference(row: "VerifyRow") -> None:
    found = row.difference
    if found is None:
        return
    place = f"sample {found.sample}, {found.layer}, neuron {found.neuron}, time step {found.step}"
    if found.layer:
        output().print(f"  parts at {place}", markup=False)
    if found.source_current is not None:
        output().print(
            f"  {row.source}: u {found.source_current}, v {found.source_voltage}; "
            f"{row.target}: u {found.target_current}, v {found.target_voltage}",
            markup=False,
        )
    output().print(f"  likely cause: {found.cause}", markup=False)
