"""What every command shares: the standard-error console, JSON output, progress, options."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "DataRootOption",
    "JsonOption",
    "OverwriteOption",
    "ProgressBar",
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


class ProgressBar:
    """A progress bar on standard error, moved by calling it."""

    def __init__(self, progress: "Progress", what: str) -> None:
        self._progress, self._what = progress, what
        self._task = progress.add_task(what, total=None, rate="")

    def __call__(self, done: int, total: int, doing: str | None = None) -> None:
        """Say how many are done, of how many, and what is being done now."""
        speed = self._progress.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        self._progress.update(
            self._task, description=escape(doing or self._what), completed=done, total=total, rate=rate
        )

    def stop(self) -> None:
        """Take the bar away, to ask a question."""
        self._progress.stop()


@contextmanager
def progress_bar(what: str, shown: bool) -> Iterator[ProgressBar]:
    """Yield a progress bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors(), disable=not shown, transient=True) as progress:
        yield ProgressBar(progress, what)


def table_of(title: str, rows: list[tuple[str, str]]) -> Table:
    """Return a two-column table."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table
