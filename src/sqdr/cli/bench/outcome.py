"""What every subject ends with: rows in a file, as a table or as JSON."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sqdr.cli.bench.harness import BenchRow, machine
from sqdr.cli.console import emit_json, errors, output
from sqdr.errors import NotEqualError
from sqdr.storage import write_atomically

__all__ = ["finish"]


def finish(
    rows: list[BenchRow], skipped: list[str], options: dict[str, Any], out: Path | None, json_output: bool
) -> None:
    """Write rows to ``out`` if it is named, and show them.

    Raises:
        NotEqualError: two sides computed different values.
        StorageError: ``out`` cannot be written.
    """
    result = {"machine": machine(), **options, "rows": [row.as_dict() for row in rows], "skipped": skipped}
    if out is not None:
        write_atomically(out, (json.dumps(result, indent=2) + "\n").encode())
    if json_output:
        emit_json(result)
    else:
        _show(rows, skipped, result["machine"] | options)
    if any(row.n_different for row in rows):
        if not json_output:
            raise NotEqualError("two sides computed different values, see the table; their times mean nothing")
        errors().print("error: two sides computed different values, see the rows", style="bold red")
        raise typer.Exit(NotEqualError.exit_code)


def _show(rows: list[BenchRow], skipped: list[str], about: dict[str, Any]) -> None:
    title = f"{about['cpu']}, one core, one thread; medians (fastest to slowest)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("what", "ours", "ms", "peer", "peer ms", "times as fast", "differ"):
        is_text = name in ("what", "ours", "peer")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    for row in rows:
        table.add_row(
            row.network,
            row.name,
            f"{_ms(row.ms)} ({_ms(row.ms_min)} to {_ms(row.ms_max)})",
            row.peer,
            f"{_ms(row.peer_ms)} ({_ms(row.peer_ms_min)} to {_ms(row.peer_ms_max)})",
            f"{row.ratio:,.1f}" if row.ratio >= 0.1 else f"{row.ratio:.1g}",
            f"{row.n_different} of {row.n_compared:,}",
        )
    output().print(table)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    output().print(f"Python {about['python']}; load {about['load_average']}; {versions}", markup=False)
    for reason in skipped:
        output().print(f"not measured: {reason}", markup=False)
    if "not_compared" in about:
        output().print(f"not compared: {about['not_compared']}", markup=False)


def _ms(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"
