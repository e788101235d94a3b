"""``sqdr export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sqdr.cli.completion import hardware_names, stage_names
from sqdr.cli.console import (
    DataRootOption,
    JsonOption,
    OverwriteOption,
    emit_json,
    errors,
    output,
    progress_bar,
    table_of,
    wants_progress,
)

if TYPE_CHECKING:
    from sqdr.calibration import Calibration

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle: a folder, or a file ending in .sqdr.")],
    hardware: Annotated[
        str,
        typer.Option(
            help="Name or path of the hardware file whose limits hold for the encoder.", autocompletion=hardware_names
        ),
    ] = "loihi2_sim",
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Verify with this stage only; may be repeated. Default: all that are installed.",
            autocompletion=stage_names,
        ),
    ] = None,
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Export a trained model as a bundle, verified against the trained model before it is put in place.

    Example: sqdr export runs/digits --out digits.sqdr
    """
    from sqdr.export.api import export as export_run

    with progress_bar("exporting", wants_progress(json_output)) as progress:
        manifest = export_run(
            run,
            out,
            overwrite=overwrite,
            data_root=data_root,
            hardware=hardware,
            against=against or None,
            progress=progress,
        )
    if json_output:
        emit_json({"bundle": str(out)} | manifest.model_dump(mode="json"))
        return
    rows = [(name, f"{record.n_bytes:,} bytes  {record.sha256[:12]}") for name, record in manifest.files.items()]
    output().print(table_of(str(out), rows))
    if manifest.calibration is not None:
        output().print(_ranges(manifest.calibration))
    for note in manifest.notes:
        errors().print(f"note: {note}", style="yellow", markup=False)


def _ranges(calibration: "Calibration") -> Table:
    """How far every layer is from its limits."""
    table = Table(
        title=f"ranges over {calibration.n_samples:,} training images",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("layer", no_wrap=True)
    for name in ("max |u|", "bits left", "max |v|", "bits left", "spike rate", "silent", "saturated"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in calibration.layers:
        table.add_row(
            layer.layer,
            f"{layer.max_abs_current:,}",
            str(layer.bits_current),
            f"{layer.max_abs_voltage:,}",
            str(layer.bits_voltage),
            f"{layer.spike_rate:.3f}",
            f"{layer.n_silent} of {layer.n_neurons}",
            str(layer.n_saturated),
        )
    return table
