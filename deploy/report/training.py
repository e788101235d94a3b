"""The training run: its curves, its accuracies, and whether it is whole."""

import math
from pathlib import Path
from typing import Any

from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, read_json
from sqdr.errors import InputError
from sqdr.metrics import Metrics, merge_metrics, run_logs

__all__ = ["metrics_of", "run_summary", "training_section"]

NAME, TITLE = "training", "Training"
FIGURES = (
    ("test accuracy", "test_accuracy"),
    ("validation accuracy", "val_accuracy"),
    ("training accuracy", "train_accuracy"),
    ("best epoch", "best_epoch"),
    ("epochs", "n_epochs"),
    ("parameters", "n_parameters"),
    ("seed", "seed"),
    ("seconds", "seconds"),
)


def metrics_of(run: Path) -> Metrics:
    """Return a run's metrics, of an unfinished one too; empty where nothing was logged."""
    try:
        logs = [*run_logs(run)] or [path for path in (run / "metrics.csv",) if path.is_file()]
        return merge_metrics(logs)
    except OSError:
        return {}


def run_summary(run: Path | None) -> dict[str, Any]:
    """Return what a finished run wrote of itself; empty where it did not, or where that is damaged."""
    try:
        return {} if run is None else read_json(run / "summary.json")
    except InputError:
        return {}


def training_section(sources: Sources, recorded: dict[str, Any]) -> Section:
    """Return the section.

    Args:
        sources: with the run, if there is one.
        recorded: what the bundle says of its training; empty without a bundle.
    """
    run = sources.run
    missing, metrics, summary = [], dict[str, dict[int, float]](), run_summary(run)
    if run is None:
        missing.append("No curves: the training run is not at hand. Name its folder with --run.")
    else:
        metrics = metrics_of(run)
        if not summary:
            missing.append(
                f"The run is unfinished: it has no readable summary.json. Continue it with `sqdr train --resume {run}`."
            )
        if not metrics:
            missing.append(f"No epoch was logged. Continue it with `sqdr train --resume {run}`.")
    known = summary or recorded
    figures = [(name, _shown(known[key])) for name, key in FIGURES if key in known]
    if not metrics and not figures:
        return Section(name=NAME, title=TITLE, missing=tuple(missing))
    curves = {
        quantity: {
            part: sorted((epoch + 1, value) for epoch, value in metrics.get(f"{key}_{quantity}", {}).items())
            for part, key in (("training", "train"), ("validation", "val"))
        }
        for quantity in ("loss", "accuracy")
    }
    has_curves = any(values for parts in curves.values() for values in parts.values())
    content = {"figures": figures, "data": _shown(known.get("data", "")), "last": _last(metrics), "curves": has_curves}
    return Section(name=NAME, title=TITLE, content=content, missing=tuple(missing), data=curves if has_curves else {})


def _last(metrics: Metrics) -> list[tuple[str, int, str]]:
    """The last value of every metric."""
    return [(name, max(values) + 1, f"{values[max(values)]:.4f}") for name, values in sorted(metrics.items()) if values]


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)[:80]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else "?"
    return f"{value:.4f}" if math.isfinite(value) else "?"
