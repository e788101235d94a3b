"""What every command shares: the standard-error console, JSON output, progress, options."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

__all__ = [
    "DataRootOption",
    "JsonOption",
    "OverwriteOption",
    "emit_json",
    "errors",
    "output",
    "progress_bar",
    "table_of",
    "wants_progress",
]

# Of tables in a file or a pipe, which have no width of their own.
WIDTH = 120

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and no tables.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier command left there.")]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the data sets. Default: $SQDR_DATA_DIR, then ./data."),
]


def output() -> Console:
    """The console for results, on standard output."""
    is_terminal = sys.stdout.isatty()
    return Console(soft_wrap=not is_terminal, emoji=False, width=None if is_terminal else WIDTH)


def errors() -> Console:
    """The console for everything else, on standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def emit_json(data: Any) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def wants_progress(json_output: bool) -> bool:
    """Whether to show progress: only in a terminal, and not beside JSON."""
    return sys.stderr.isatty() and not json_output


@contextmanager
def progress_bar(what: str, shown: bool) -> Iterator[Callable[..., None]]:
    """Yield a function of (done, total, what) that moves a progress bar on standard error; what may be left out."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors(), disable=not shown, transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")

        def move(done: int, total: int, doing: str = what) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            progress.update(task, description=escape(doing), completed=done, total=total, rate=rate)

        yield move


def table_of(title: str, rows: list[tuple[str, str]]) -> Table:
    """Return a two-column table."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table
