"""``sqdr run``."""

import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from sqdr.cli.completion import device_names, encoder_names, image_names
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
from sqdr.cli.plan import BudgetOption
from sqdr.cli.verify import LavaGraphName
from sqdr.errors import AnswerError, ConfigError

__all__ = ["OnInterrupt", "ResultFormat", "run"]

SPEND = "Shots and noise"
PAID = "Amazon Braket"
# Files in the table; summary.json has all.
MAX_NAMED = 5


class ResultFormat(str, Enum):
    """How the results are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class ZeroNoise(str, Enum):
    """How <Z> is extrapolated."""

    LINEAR = "linear"
    RICHARDSON = "richardson"


class OnInterrupt(str, Enum):
    """What Ctrl-C does with quantum tasks that are not finished."""

    ASK = "ask"
    CANCEL = "cancel"
    KEEP = "keep"


# What a run that is taken up again may be told; all else is as it was.
RESUMABLE = {
    "verbose",
    "resume",
    "json_output",
    "budget",
    "canary",
    "program_sets",
    "queue",
    "in_flight",
    "on_interrupt",
    "give_up",
}


def run(
    context: typer.Context,
    bundle: Annotated[Path | None, typer.Argument(help="A bundle folder or .sqdr file.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="<data set>:<part> such as digits:test, a folder, or an .npy.",
            autocompletion=image_names,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Take up the run of this --out folder again: nothing that was paid for is paid again."),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="lava, integer, onnx or slayer; all give the same spikes.", autocompletion=encoder_names)
    ] = "lava",
    device: Annotated[
        str,
        typer.Option(
            help="local:sv, local:braket-sv, local:braket-dm, pennylane:<name>, an ARN, or a hardware file such as "
            "braket_local_dm (which brings its noise model).",
            autocompletion=device_names,
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
    lava_graph: Annotated[
        LavaGraphName | None, typer.Option(help="Of encoder lava: stock, fast or batched.", show_default="fast")
    ] = None,
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive", help="More shots for an image only while its class is undecided.", rich_help_panel=SPEND
        ),
    ] = False,
    route: Annotated[
        str | None,
        typer.Option(
            help="margin=0.5: images whose two largest exact probabilities differ by at least 0.5 stay on local:sv.",
            rich_help_panel=SPEND,
        ),
    ] = None,
    route_check: Annotated[
        int,
        typer.Option(help="Send N certain images as well, to see what routing loses.", min=0, rich_help_panel=SPEND),
    ] = 0,
    mitigate_readout: Annotated[
        bool,
        typer.Option(
            "--mitigate-readout", help="Correct readout errors by two calibration circuits.", rich_help_panel=SPEND
        ),
    ] = False,
    zero_noise: Annotated[
        ZeroNoise | None,
        typer.Option(help="Extrapolate to no CZ noise; on a noisy simulator only.", rich_help_panel=SPEND),
    ] = None,
    budget: BudgetOption = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="What was submitted and paid for. Default: journal.sqlite in --out.", rich_help_panel=PAID),
    ] = None,
    canary: Annotated[
        bool | None,
        typer.Option(
            "--canary/--no-canary",
            help="A circuit with a known answer in every program set, or before the other tasks. Default: yes.",
            rich_help_panel=PAID,
        ),
    ] = None,
    program_sets: Annotated[
        bool | None,
        typer.Option(
            "--program-sets/--tasks",
            help="Pack circuits into program sets where the device takes them. Default: yes.",
            rich_help_panel=PAID,
        ),
    ] = None,
    queue: Annotated[
        bool | None,
        typer.Option("--queue", help="Submit also outside the device's execution windows.", rich_help_panel=PAID),
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(help="Most unfinished tasks at a time.", min=1, show_default="10", rich_help_panel=PAID),
    ] = None,
    give_up: Annotated[
        bool | None,
        typer.Option(
            "--give-up-unreadable",
            help="Run circuits again whose paid result stays unreadable, and pay again.",
            rich_help_panel=PAID,
        ),
    ] = None,
    on_interrupt: Annotated[
        OnInterrupt,
        typer.Option(help="Ctrl-C: ask whether to cancel unfinished tasks, cancel, or keep.", rich_help_panel=PAID),
    ] = OnInterrupt.ASK,
) -> None:
    """Classify images: the encoder in Lava processes (or integer, onnx, slayer), the circuit on a quantum device.

    Example: sqdr run digits.sqdr --input digits:test --shots 1000 --out out/run

    Example: sqdr run --resume out/run
    """
    from sqdr.deploy.run import resume_run, run_bundle

    changes = {
        "budget_usd": budget,
        "has_canary": canary,
        "has_program_sets": program_sets,
        "may_wait": queue,
        "max_in_flight": in_flight,
        "gives_up_unreadable": give_up,
    }
    asked: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    with progress_bar("classifying", wants_progress(json_output)) as progress:
        ask = _interrupt(on_interrupt, progress.stop)
        if resume is not None:
            _check_resumable(context)
            summary = resume_run(resume, progress=progress, on_interrupt=ask, **asked)
        else:
            if bundle is None or source is None or out is None:
                raise ConfigError(f"{_missing(bundle, source, out)}: needed unless --resume names an earlier run.")
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
                lava_graph=lava_graph.value if lava_graph else None,
                data_root=data_root,
                journal=None if journal is None else str(journal),
                is_adaptive=adaptive,
                route_margin=_margin(route),
                route_check=route_check,
                is_readout_mitigated=mitigate_readout,
                zero_noise=None if zero_noise is None else zero_noise.value,
                overwrite=overwrite,
                progress=progress,
                on_interrupt=ask,
                **asked,
            )
    if json_output:
        emit_json(summary)
    else:
        output().print(table_of(str(out or resume), _rows(summary)))
    if summary["n_left_out"]:
        n_all = summary["n_samples"] + summary["n_left_out"]
        message = f"{summary['n_left_out']} of {n_all} images could not be read and are left out, see the summary"
        errors().print(f"error: {message}", style="bold red", markup=False)
        raise typer.Exit(AnswerError.exit_code)


def _check_resumable(context: typer.Context) -> None:
    """Refuse options that a run taken up again would not follow.

    Raises:
        ConfigError: one is given.
    """
    names = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = [
        shown
        for name, shown in names.items()
        if name is not None
        and name not in RESUMABLE
        and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if given:
        raise ConfigError(
            f"`--resume` goes on with what the run was asked for: leave {', '.join(given)} out, or start a new run."
        )


def _margin(route: str | None) -> float | None:
    """Return the number in ``margin=0.5``.

    Raises:
        ConfigError: it is no such text.
    """
    if route is None:
        return None
    name, _, value = route.partition("=")
    try:
        if name != "margin":
            raise ValueError
        return float(value)
    except ValueError:
        raise ConfigError(f"`--route` must be such as margin=0.5, got {route[:40]!r}.") from None


def _missing(bundle: Path | None, source: str | None, out: Path | None) -> str:
    given = {"BUNDLE": bundle, "--input": source, "--out": out}
    return ", ".join(name for name, value in given.items() if value is None)


def _interrupt(choice: OnInterrupt, stop_progress: Callable[[], None]) -> Callable[[int], bool]:
    """Return what answers whether to cancel: the option, or a person at the terminal."""

    def answer(n_open: int) -> bool:
        stop_progress()
        is_asked = choice is OnInterrupt.ASK and sys.stdin.isatty() and sys.stderr.isatty()
        cancels = choice is OnInterrupt.CANCEL
        if is_asked:
            cancels = typer.confirm(f"{n_open} quantum tasks are not finished. Cancel them?", default=False, err=True)
        what = "were asked to be cancelled" if cancels else "go on and can be picked up with --resume"
        errors().print(f"{n_open} unfinished quantum tasks {what}", markup=False)
        return cancels

    return answer


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    accuracy = summary["accuracy"]
    seconds = summary["seconds"]
    return [
        ("images", f"{summary['n_samples']:,}"),
        *_left_out(summary),
        ("accuracy", "no labels" if accuracy is None else f"{accuracy:.4f}"),
        ("encoder", summary["encoder"]),
        ("device", f"{summary['device']} ({summary['head_kind']})"),
        ("shots per image", str(summary["shots"] or "exact")),
        ("cost estimate", _usd(summary["cost_usd"])),
        *_paid_before(summary),
        *_spending_rows(summary["spending"]),
        ("seconds encoder / head / wall", f"{seconds['encoder']:.1f} / {seconds['head']:.1f} / {seconds['total']:.1f}"),
        ("results", summary["results"]),
    ]


def _left_out(summary: dict[str, Any]) -> list[tuple[str, str]]:
    names = summary["left_out"]
    shown = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
    return [("images left out", f"{len(names):,}: {shown}")] if names else []


def _paid_before(summary: dict[str, Any]) -> list[tuple[str, str]]:
    now = summary["paid_now_usd"]
    return [] if now == summary["cost_usd"] else [("of it paid now", _usd(now))]


def _usd(amount: str | None) -> str:
    from sqdr.money import dollars

    return "unknown" if amount is None else dollars(Decimal(amount))


def _spending_rows(spending: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if adaptive := spending.get("adaptive"):
        mean = adaptive["n_shots"] / max(1, adaptive["n_images"])
        rows.append(("adaptive: mean shots per image", f"{mean:.0f} of {adaptive['rounds'][-1]}"))
        rows.append(("adaptive: still undecided", f"{adaptive['n_undecided']} of {adaptive['n_images']}"))
    if mitigation := spending.get("readout_mitigation"):
        rows.append(("readout mitigation: extra shots", f"{mitigation['n_shots']:,}"))
        rows.append(("readout mitigation: mean change of <Z>", f"{mitigation['mean_shift']:.3f}"))
    if zero := spending.get("zero_noise"):
        extra = zero["extra"]
        rows.append(("zero noise: extra circuits / shots", f"{extra['n_circuits']} / {extra['n_shots']}"))
        rows.append(("zero noise: shot noise times", f"{zero['noise_gain']:.2f}"))
    if routing := spending.get("routing"):
        rows.append(("routed to the device", f"{routing['n_routed']} of {routing['n_images']}"))
        rows.append(("routing: class changed there", f"{routing['n_changed']} of {routing['n_routed']}"))
        saved, lost = routing["saved_usd"], routing["agreement_lost"]
        rows.append(("routing: dollars saved", _usd(saved)))
        rows.append(("routing: agreement lost", "not checked (--route-check)" if lost is None else f"{lost:.4f}"))
    return rows
