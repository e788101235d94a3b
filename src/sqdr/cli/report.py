"""``sqdr report``."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sqdr.cli.console import (
    DataRootOption,
    JsonOption,
    OverwriteOption,
    emit_json,
    output,
    progress_bar,
    table_of,
    wants_progress,
)

if TYPE_CHECKING:
    from sqdr.deploy.report import Report

__all__ = ["Skipped", "report"]


class Skipped(str, Enum):
    """Sections that take time."""

    EQUALITY = "equality"
    FIT = "fit"
    BUDGET = "budget"


def report(
    path: Annotated[
        Path,
        typer.Argument(help="A bundle, a training run's folder, or the --out folder of `sqdr run` or `sqdr demo`."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="Write each figure to this folder, too, as PNG and SVG for papers.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle, where PATH does not lead to it.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="The training run's folder, likewise.")] = None,
    results: Annotated[Path | None, typer.Option(help="The folder of `sqdr run`, likewise.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", help="Images, such as digits:test. Default: the run's, else the data's test part."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Only the first images, where no results are at hand.")] = 2000,
    samples: Annotated[int, typer.Option(help="Samples to show one by one, misclassified ones first.")] = 64,
    hw: Annotated[
        list[str] | None,
        typer.Option("--hw", help="A hardware file; as often as you like. Default: a Loihi 2 and a Braket QPU."),
    ] = None,
    shots: Annotated[int, typer.Option(help="Per image, of the error budget.")] = 100,
    skip: Annotated[list[Skipped] | None, typer.Option(help="Leave this section out; may be repeated.")] = None,
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write one HTML file that shows a model, its training and its runs, and says what is missing.

    Example: sqdr report out/run --run runs/digits --out report.html --figures figures
    """
    from sqdr.deploy.report import ReportOptions, write_report
    from sqdr.deploy.report.figures import write_figures
    from sqdr.deploy.report.options import DEFAULT_HARDWARE

    options = ReportOptions(
        bundle=bundle,
        run=run,
        results=results,
        source=source,
        limit=limit,
        n_samples=samples,
        hardware=tuple(hw or DEFAULT_HARDWARE),
        shots=shots,
        skip=tuple(each.value for each in skip or ()),
        data_root=data_root,
        overwrite=overwrite,
    )
    with progress_bar("reporting", wants_progress(json_output)) as progress:
        made = write_report(path, out, options, progress)
        drawn = () if figures is None else write_figures(made, figures)
    if json_output:
        emit_json(_data(made, drawn))
        return
    rows = [
        (section.title, ("" if section.is_present else "missing. ") + " ".join(section.missing) or "there")
        for section in made.sections
    ]
    for title, said in rows:
        output().print(f"{title}: {said}", markup=False, highlight=False)
    output().print(table_of(str(made.path), [("bytes", f"{made.n_bytes:,}"), ("figures", str(len(drawn)))]))


def _data(made: "Report", drawn: tuple[Path, ...]) -> dict[str, object]:
    return {
        "out": str(made.path),
        "n_bytes": made.n_bytes,
        "kind": made.sources.kind,
        "sections": {
            section.name: {"present": section.is_present, "missing": list(section.missing)} for section in made.sections
        },
        "figures": [str(path) for path in drawn],
    }
