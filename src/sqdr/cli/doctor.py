"""``sqdr doctor``: what this machine can run, as tables or as JSON."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sqdr.doctor import DoctorReport, ExtraReport

__all__ = ["doctor"]

YES, NO = "[green]yes[/]", "[yellow]no[/]"


def doctor(json_output: bool = False, *, console: Console | None = None, report: "DoctorReport | None" = None) -> None:
    """Show what this machine can run.

    Args:
        json_output: write one JSON object instead of tables.
        console: where to write; standard output if not given.
        report: what to show; this machine is examined if not given.
    """
    console = console or Console()
    if report is None:
        from sqdr.doctor import examine

        with Console(stderr=True).status("examining this machine"):
            report = examine()
    if json_output:
        console.out(report.model_dump_json(indent=2), highlight=False)
        return
    console.print(_machine_table(report))
    for extra in report.extras:
        console.print(_extra_table(extra))


def _machine_table(report: "DoctorReport") -> Table:
    table = Table(title="This machine", title_justify="left", show_header=False)
    gpu, lava, aws = report.gpu, report.lava, report.aws
    rows = [
        ("sqdr", escape(report.sqdr or "not installed")),
        ("Python", escape(report.python)),
        ("platform", escape(report.platform)),
        ("CPUs", str(report.n_cpus)),
        ("GPU", _fact(gpu.is_cuda_available, ", ".join(gpu.devices), gpu.problem)),
        ("nvcc", _fact(gpu.nvcc is not None, gpu.nvcc, None)),
        ("Lava", _fact(lava.is_importable, f"{lava.version} on Python {lava.python}", lava.problem)),
        ("AWS credentials", _fact(aws.is_present, f"from {aws.method}", aws.problem)),
        ("AWS region", escape(aws.region or "not set")),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _fact(is_true: bool, detail: str | None, problem: str | None) -> str:
    parts = [YES if is_true else NO]
    if is_true and detail:
        parts.append(escape(detail))
    if problem:
        parts.append(escape(problem))
    return ": ".join(parts)


def _extra_table(extra: "ExtraReport") -> Table:
    state = "[green]complete[/]" if extra.is_complete else "[yellow]not complete[/]"
    table = Table(
        title=f"{escape(f'sqdr[{extra.name}]')}: {state}",
        title_justify="left",
        caption=escape(f"With it: {extra.enables}"),
        caption_justify="left",
    )
    for heading in ("requirement", "wanted", "installed", "status"):
        table.add_column(heading)
    for item in extra.requirements:
        colour = "green" if item.status.startswith("installed") else "yellow"
        table.add_row(escape(item.name), escape(item.required), item.installed or "-", f"[{colour}]{item.status}[/]")
    return table
