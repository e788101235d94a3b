"""``sqdr study``: questions answered over paired seeds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqdr.cli.console import DataRootOption, JsonOption, emit_json, errors, output, progress_bar, wants_progress
from sqdr.cli.verbosity import Commands

if TYPE_CHECKING:
    from rich.table import Table

    from sqdr.train.studies.report import StudyReport

__all__ = ["app"]

app = Commands(no_args_is_help=True, help="Compare heads, codings, sizes and remedies over paired seeds.")

HIDDEN_METRIC = "validation"


@app.callback()
def root() -> None:
    """Compare heads, codings, sizes and remedies over paired seeds."""


@app.command("list")
def list_studies(json_output: JsonOption = False) -> None:
    """Name the studies that come with sqdr, what each asks and how many runs it takes.

    Example: sqdr study list
    """
    from rich.markup import escape
    from rich.table import Table

    from sqdr.train.studies.definition import load_study, packaged_studies

    studies = [load_study(name) for name in packaged_studies()]
    if json_output:
        emit_json([{"name": s.name, "question": s.question, "arms": len(s.arms), "runs": s.n_runs} for s in studies])
        return
    table = Table("study", "question", "arms", "runs")
    for study in studies:
        table.add_row(escape(study.name), escape(study.question), str(len(study.arms)), str(study.n_runs))
    output().print(table)


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A YAML file, or a packaged name such as heads.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The study's folder; an unfinished one is continued.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Of every arm, in place of the study's number.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Do every run of a study that is not done yet, and tabulate it.

    Example: sqdr study run heads --seeds 10 --jobs 2 --out out/heads
    """
    from sqdr.train.studies.definition import load_study
    from sqdr.train.studies.run import run_study

    chosen = load_study(study)
    if seeds is not None:
        chosen = chosen.model_copy(update={"n_seeds": seeds})
    with progress_bar(chosen.name, wants_progress(json_output)) as progress:
        run_study(chosen, out, n_jobs=jobs, data_root=data_root, progress=progress)
    show(out, None, json_output)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A finished study's folder.")],
    plots: Annotated[Path | None, typer.Option(help="A folder for the plots, PNG and SVG.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show what a finished study says.

    Example: sqdr study show out/heads --plots out/plots
    """
    from sqdr.train.studies.folder import StudyFolder
    from sqdr.train.studies.report import study_report

    results = StudyFolder(folder)
    report = study_report(results.study(), results.rows())
    if plots is not None:
        from sqdr.train.studies.plots import draw_study

        for path in draw_study(report, plots):
            errors().print(f"wrote {path}", markup=False)
    if json_output:
        emit_json(report.model_dump(mode="json"))
        return
    output().print(f"{report.study}: {report.question}", markup=False)
    output().print(_arms(report))
    if report.differences:
        output().print(_differences(report))


def _arms(report: "StudyReport") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    metrics = list(dict.fromkeys(n for r in report.arms for n in r.metrics if n != HIDDEN_METRIC))
    table = Table("arm", "tuned", "head's parameters", "seeds", *(f"{name}, mean (std)" for name in metrics))
    for result in report.arms:
        spreads = [result.metrics.get(name) for name in metrics]
        n_done = max((spread.n for spread in spreads if spread), default=0)
        seeds = f"{n_done}, {result.n_failed} failed" if result.n_failed else str(n_done)
        table.add_row(
            escape(" / ".join(result.arm.values())),
            escape(_candidate(result.candidate)),
            str(result.n_head_parameters),
            seeds,
            *(f"{spread.mean:.4f} ({spread.std:.4f})" if spread else "" for spread in spreads),
        )
    return table


def _candidate(candidate: dict[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in candidate.items())


def _differences(report: "StudyReport") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    title = "paired differences in points; intervals hold at 95% together for all of one axis and metric"
    table = Table("metric", "within", "difference", "mean", "interval", "seeds", "it is", title=title)
    for d in report.differences:
        table.add_row(
            escape(d.metric),
            escape(" / ".join(d.within.values())),
            escape(f"{d.label} - {d.baseline}"),
            "" if d.mean is None else f"{100 * d.mean:+.2f}",
            "" if d.low is None or d.high is None else f"{100 * d.low:+.2f} to {100 * d.high:+.2f}",
            str(d.n_pairs),
            d.statement,
        )
    return table
