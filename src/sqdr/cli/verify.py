"""``sqdr verify``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sqdr.cli.console import DataRootOption, JsonOption, emit_json, errors, output
from sqdr.errors import NotEqualError

__all__ = ["verify"]


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    samples: Annotated[int, typer.Option(help="Images to pass through every stage.", min=1)] = 32,
    source: Annotated[
        str | None,
        typer.Option("--input", "-i", help="Images. Default: the test part of the bundle's data."),
    ] = None,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that every stage that is installed here equals the one before it.

    Example: sqdr verify digits.sqdr --samples 200
    """
    from sqdr.deploy.verify import verify_bundle

    report = verify_bundle(bundle, n_samples=samples, source=source, data_root=data_root)
    if json_output:
        emit_json({"equal": report.equal} | report.model_dump(mode="json"))
    else:
        table = Table(title=str(bundle), title_justify="left")
        for name in ("from -> to", "samples", "compared", "differ", "max", "s", ""):
            is_text = name in ("from -> to", "")
            table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "from -> to")
        for row in report.rows:
            table.add_row(
                f"{row.source} -> {row.target}",
                f"{row.n_samples:,}",
                f"{row.n_compared:,}",
                f"{row.n_different:,}",
                f"{row.max_abs_difference:.1e}",
                f"{row.seconds:.1f}",
                "[green]EQUAL" if row.equal else "[bold red]NOT EQUAL",
            )
        output().print(table)
        for row in report.rows:
            if row.where:
                output().print(f"{row.source} -> {row.target}: {row.where}")
        for reason in report.skipped:
            output().print(f"not compared: {reason}", markup=False)
    if report.equal:
        return
    if not json_output:
        raise NotEqualError("two stages differ, see the table")
    # standard output has its one JSON object already
    errors().print("error: two stages differ, see the rows", style="bold red")
    raise typer.Exit(NotEqualError.exit_code)
