"""The metrics of a training run, read back from Lightning's logs; needs no torch."""

import contextlib
import csv
import math
from pathlib import Path

__all__ = ["Metrics", "merge_metrics", "run_logs"]

Metrics = dict[str, dict[int, float]]
"""Metric name to epoch (from 0) to value."""


def run_logs(run: Path) -> list[Path]:
    """Return Lightning's log of each start of a run, first to last."""
    numbered = [
        (int(number), path)
        for path in (run / "logs").glob("attempt-*/metrics.csv")
        if (number := path.parent.name.removeprefix("attempt-")).isascii() and number.isdigit()
    ]
    return [path for _, path in sorted(numbered)]


def merge_metrics(logs: list[Path]) -> Metrics:
    """Return the metrics of a run from Lightning's logs; where starts overlap, the later one counts."""
    metrics: Metrics = {}
    for path in logs:
        # a killed run leaves a half-written line, in the middle of a character or of a field
        with (
            path.open(newline="", encoding="utf-8", errors="replace") as file,
            contextlib.suppress(csv.Error),
        ):
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name not in ("epoch", "step"):
                        with contextlib.suppress(ValueError, TypeError, KeyError):
                            epoch, number = int(row["epoch"]), float(value)
                            if math.isfinite(number):
                                metrics.setdefault(name, {})[epoch] = number
    return metrics
