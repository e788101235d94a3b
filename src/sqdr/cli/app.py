"""The commands and how their errors end the process."""

import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from sqdr.cli import (
    bench,
    cost,
    demo,
    doctor,
    error_budget,
    export,
    fit,
    hw,
    init,
    plan,
    report,
    run,
    study,
    train,
    verify,
)
from sqdr.cli.completion import completing
from sqdr.cli.console import JsonOption, emit_json, errors
from sqdr.cli.verbosity import Commands, VerboseOption, set_verbosity
from sqdr.errors import SqdrError

__all__ = ["app", "main"]

app = Commands(
    name="sqdr",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train a spiking encoder jointly with a quantum circuit, export it to Lava, run it split with Braket.",
)

INTERRUPTED = 130
BROKEN = 3
USAGE = 2
# typer's base of usage errors: click's own, or the copy of it that newer versions of typer bring along
USAGE_ERROR = typer.BadParameter.__mro__[1]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="SQDR_DEBUG")] = False,
    verbose: VerboseOption = 0,
) -> None:
    """Options before the command."""
    if version:
        from sqdr import __version__

        sys.stdout.write(f"sqdr {__version__}\n")
        raise typer.Exit
    set_verbosity(verbose)
    if debug:
        os.environ["SQDR_DEBUG"] = "1"


app.command("init")(init.init)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("plan")(plan.plan)
app.command("fit")(fit.fit)
app.command("error-budget")(error_budget.error_budget)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("cost")(cost.cost)
app.command("demo")(demo.demo)
app.add_typer(bench.app, name="bench")
app.add_typer(hw.app, name="hw")
app.add_typer(study.app, name="study")


@app.command("doctor")
def _doctor(json_output: JsonOption = False) -> None:
    """Say what is installed, what is missing and what it would enable.

    Example: sqdr doctor --json
    """
    doctor.doctor(json_output)


def main() -> None:
    """Run the command line; every error, of usage too, ends in one line and its exit code."""
    try:
        with completing():
            code = app(prog_name=app.info.name, standalone_mode=False)
    except SqdrError as error:
        _fail(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail(None, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{where}{error.strerror or error}. Check the path, its rights and the free space.", USAGE)
    except Exception as error:
        if isinstance(error, USAGE_ERROR):
            _fail_usage(error)
        _fail(
            error,
            f"unexpected {type(error).__name__}: {error}. Run again with `sqdr --debug ...` and report it",
            BROKEN,
        )
    if code == INTERRUPTED:
        _fail(None, "interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail_usage(error: Any) -> NoReturn:
    if type(error).__name__ == "NoArgsIsHelpError":
        errors().print(error.ctx.get_help(), markup=False, end="")
        sys.exit(USAGE)
    command = error.ctx.command_path if getattr(error, "ctx", None) else app.info.name
    _fail(error, f"{error.format_message().rstrip('.')}. See `{command} --help`.", USAGE)


def _fail(error: BaseException | None, message: str, code: int) -> NoReturn:
    if error is not None and os.environ.get("SQDR_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    line = " ".join(message.split())
    if "--json" in sys.argv:
        kind = type(error).__name__ if error is not None else "Interrupted"
        emit_json({"error": {"type": kind, "message": line}})
    errors().print(f"error: {line}", style="bold red", markup=False)
    sys.exit(code)
