"""A study's plots: accuracies with every seed, paired differences with their intervals, accuracy under faults."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqdr.storage import storage_errors, write_atomically
from sqdr.train.studies.report import ArmResult, StudyReport

__all__ = ["draw_study"]

FORMATS = ("png", "svg")
ROW_INCHES = 0.32


def draw_study(report: StudyReport, out: Path) -> list[Path]:
    """Write ``<study>-accuracy``, ``-differences`` and ``-faults``, those that there is something for, as PNG and SVG.

    Returns:
        The files.

    Raises:
        StorageError: ``out`` cannot be written.
    """
    drawn: list[tuple[str, Callable[[Any, StudyReport], None], float]] = [
        ("accuracy", _draw_accuracy, 1.4 + ROW_INCHES * len(report.arms))
    ]
    clean = [difference for difference in report.differences if difference.metric == "test"]
    if clean:
        drawn.append(("differences", _draw_differences, 1.6 + ROW_INCHES * len(clean)))
    if _faults(report):
        drawn.append(("faults", _draw_faults, 5.0))
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    return [path for name, draw, height in drawn for path in _save(report, out, name, draw, height)]


def _save(
    report: StudyReport, out: Path, name: str, draw: Callable[[Any, StudyReport], None], height: float
) -> list[Path]:
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    # the same bytes on every run
    with matplotlib.rc_context({"svg.hashsalt": "sqdr", "svg.fonttype": "none"}):
        draw(figure, report)
        paths = []
        for kind in FORMATS:
            path = out / f"{report.study}-{name}.{kind}"
            data = io.BytesIO()
            figure.savefig(data, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
            write_atomically(path, data.getvalue())
            paths.append(path)
    return paths


def _name(arm: dict[str, str]) -> str:
    return " / ".join(arm.values())


def _draw_accuracy(figure: Any, report: StudyReport) -> None:
    axes = figure.subplots()
    shown = [result for result in report.arms if result.metrics]
    for place, result in enumerate(shown):
        spread = result.metrics["test"]
        axes.plot(spread.values, [place] * spread.n, "o", color="tab:gray", alpha=0.4, markersize=4)
        axes.errorbar(spread.mean, place, xerr=spread.std, fmt="D", color="tab:blue", capsize=3, markersize=5)
    _rows(axes, [_name(result.arm) for result in shown])
    axes.set_xlabel("test accuracy: each seed, mean and standard deviation")
    axes.set_title(report.study, loc="left")


def _draw_differences(figure: Any, report: StudyReport) -> None:
    axes = figure.subplots()
    shown = [d for d in report.differences if d.metric == "test" and d.mean is not None]
    for place, d in enumerate(shown):
        colour = "tab:blue" if d.statement in ("higher", "lower") else "tab:gray"
        mean = 100 * (d.mean or 0)
        ends = [[mean - 100 * (d.low or 0)], [100 * (d.high or 0) - mean]] if d.low is not None else None
        axes.errorbar(mean, place, xerr=ends, fmt="o", color=colour, capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    _rows(axes, [" / ".join([*d.within.values(), f"{d.label} - {d.baseline}"]) for d in shown])
    axes.set_xlabel("paired difference in test accuracy, points; 95% intervals over all rows of one axis; blue: not 0")
    axes.set_title(report.study, loc="left")


def _rows(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def _faults(report: StudyReport) -> dict[str, list[str]]:
    """Kind of fault to the metrics of its levels."""
    found: dict[str, list[str]] = {}
    for result in report.arms:
        for metric in result.metrics:
            if metric.startswith("test, "):
                kind, _, *more = metric.removeprefix("test, ").split(" ")
                names = found.setdefault(" ".join([kind, *more]), [])
                if metric not in names:
                    names.append(metric)
    return found


def _draw_faults(figure: Any, report: StudyReport) -> None:
    kinds = _faults(report)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for panel, (kind, metrics) in zip(panels, kinds.items(), strict=True):
        levels = [metric.removeprefix("test, ").split(" ")[1] for metric in metrics]
        is_named = "none" in levels
        for result in report.arms:
            if result.metrics:
                _draw_curve(panel, result, metrics if is_named else ["test", *metrics])
        ticks = levels if is_named else ["0", *levels]
        panel.set_xticks(range(len(ticks)), ticks, rotation=20 if is_named else 0)
        panel.set_xlabel(kind.replace("_", " "))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy, mean and standard deviation")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize="small")
    figure.suptitle(report.study, x=0.02, ha="left")


def _draw_curve(panel: Any, result: ArmResult, metrics: list[str]) -> None:
    spreads = [result.metrics[metric] for metric in metrics]
    panel.errorbar(
        range(len(spreads)),
        [spread.mean for spread in spreads],
        yerr=[spread.std for spread in spreads],
        marker="o",
        markersize=3,
        linewidth=1,
        capsize=2,
        label=_name(result.arm),
    )
