"""``-v`` and ``-vv``: what sqdr does, on standard error, by the standard logging module.

Only sqdr's own loggers are shown; those of other packages stay as they are. A command takes the option before its
name and after it.
"""

import functools
import inspect
import logging
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sqdr.redaction import hide_secrets

__all__ = ["Commands", "VerboseOption", "set_verbosity"]

FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
VERBOSE = "verbose"

VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say what is done; -vv in detail.")
]


class _Handler(logging.Handler):
    """Writes to whatever standard error is at the time: a progress bar puts its own in place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # as logging's own handlers: a message is never worth the work that it tells of
            self.handleError(record)


class _Formatter(logging.Formatter):
    """Lines without secrets: with the time and the place of each when asked to be verbose."""

    def __init__(self, level: int) -> None:
        super().__init__("%(message)s" if level == logging.WARNING else FORM, datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))


def set_verbosity(count: int) -> None:
    """Show warnings, with 1 what is done, with 2 or more its details too; what was set before is replaced."""
    level = LEVELS[min(count, len(LEVELS) - 1)]
    logger = logging.getLogger("sqdr")
    for handler in [each for each in logger.handlers if isinstance(each, _Handler)]:
        logger.removeHandler(handler)
    handler = _Handler()
    handler.setFormatter(_Formatter(level))
    logger.addHandler(handler)
    logger.setLevel(level)


class Commands(typer.Typer):
    """A group of commands, each of which takes ``-v``, and whose help ends with its docstring's examples."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Return the decorator of a command, as `typer.Typer.command` does."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            text, examples = _parted(inspect.getdoc(function) or "")
            # \b keeps help from wrapping a line that is there to be copied
            shown = {"epilog": "\b\n" + "\n".join(examples)} if examples else {}
            decorate = super(Commands, self).command(name, **{"help": text, **shown, **options})
            decorate(_verbose(function))
            return function

        return add


def _parted(text: str) -> tuple[str, list[str]]:
    """Return a docstring without its lines of examples, and those."""
    examples = re.findall(r"^Example: .+", text, re.MULTILINE)
    return re.sub(r"\n*^Example: .+", "", text, flags=re.MULTILINE).strip(), examples


def _verbose(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with ``-v`` beside its own options."""

    @functools.wraps(function)
    def call(*arguments: Any, verbose: int = 0, **options: Any) -> None:
        if verbose:
            set_verbosity(verbose)
        function(*arguments, **options)

    found = inspect.signature(function)
    mine = inspect.Parameter(VERBOSE, inspect.Parameter.KEYWORD_ONLY, default=0, annotation=VerboseOption)
    call.__signature__ = found.replace(parameters=[*found.parameters.values(), mine])  # type: ignore[attr-defined]
    call.__annotations__ = {**function.__annotations__, VERBOSE: VerboseOption}
    return call
