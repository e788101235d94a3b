"""``sqdr export``."""

from pathlib import Path
from typing import Annotated

import typer

from sqdr.cli.console import DataRootOption, JsonOption, OverwriteOption, emit_json, output, table_of

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle: a folder, or a file ending in .sqdr.")],
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Export a trained model as a bundle, checked by reading it back.

    Example: sqdr export runs/digits --out digits.sqdr
    """
    from sqdr.export.api import export as export_run

    manifest = export_run(run, out, overwrite=overwrite, data_root=data_root)
    if json_output:
        emit_json({"bundle": str(out)} | manifest.model_dump(mode="json"))
        return
    rows = [(name, f"{record.n_bytes:,} bytes  {record.sha256[:12]}") for name, record in manifest.files.items()]
    output().print(table_of(str(out), rows))
