"""``sqdr run``."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from sqdr.cli.console import (
    DataRootOption,
    JsonOption,
    OverwriteOption,
    emit_json,
    output,
    progress_bar,
    table_of,
    wants_progress,
)
from sqdr.cli.plan import BudgetOption

__all__ = ["ResultFormat", "run"]


class ResultFormat(str, Enum):
    """How the results are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    source: Annotated[
        str,
        typer.Option("--input", "-i", help="<data set>:<part> such as digits:test, a folder, or an .npy."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    encoder: Annotated[str, typer.Option(help="lava, integer, onnx or slayer; all give the same spikes.")] = "lava",
    device: Annotated[
        str,
        typer.Option(
            help="local:sv, local:braket-sv, local:braket-dm, pennylane:<name>, an ARN, or a hardware file such as "
            "braket_local_dm (which brings its noise model)."
        ),
    ] = "local:braket-sv",
    shots: Annotated[
        int | None, typer.Option(help="Per image; 0 for exact. A device that may cost money needs it.", min=0)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling, where the device takes one.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N images.", min=1)] = None,
    form: Annotated[ResultFormat, typer.Option("--format", help="jsonl or parquet.")] = ResultFormat.JSONL,
    timeout: Annotated[float, typer.Option(help="Seconds that any call to Lava or ONNX may take.", min=1)] = 120.0,
    threads: Annotated[
        int | None, typer.Option(help="Of encoder integer or onnx; 0 for all cores.", min=0, show_default="1, onnx all")
    ] = None,
    budget: BudgetOption = None,
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Classify images: the encoder in Lava processes (or integer, onnx, slayer), the circuit on a quantum device.

    Example: sqdr run digits.sqdr --input digits:test --shots 1000 --out out/run
    """
    from sqdr.deploy.run import run_bundle

    with progress_bar("classifying", wants_progress(json_output)) as progress:
        summary = run_bundle(
            bundle,
            source,
            out,
            encoder=encoder,
            device=device,
            shots=shots,
            seed=seed,
            limit=limit,
            form=form.value,
            timeout_s=timeout,
            n_threads=threads,
            budget_usd=budget,
            data_root=data_root,
            overwrite=overwrite,
            progress=progress,
        )
    if json_output:
        emit_json(summary)
        return
    output().print(table_of(str(out), _rows(summary)))


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    accuracy = summary["accuracy"]
    seconds = summary["seconds"]
    return [
        ("images", f"{summary['n_samples']:,}"),
        ("accuracy", "no labels" if accuracy is None else f"{accuracy:.4f}"),
        ("encoder", summary["encoder"]),
        ("device", f"{summary['device']} ({summary['head_kind']})"),
        ("shots per image", str(summary["shots"] or "exact")),
        ("cost estimate", "unknown" if summary["cost_usd"] is None else f"${summary['cost_usd']}"),
        ("seconds encoder / head / wall", f"{seconds['encoder']:.1f} / {seconds['head']:.1f} / {seconds['total']:.1f}"),
        ("results", summary["results"]),
    ]
