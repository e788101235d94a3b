"""Draw a run's loss and accuracy over epochs."""

import csv
from pathlib import Path

from sqdr.storage import storage_errors

__all__ = ["draw_curves", "read_metrics"]


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (epoch, value) pairs by metric from Lightning's metrics.csv."""
    series: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("epoch", "step"):
                    series.setdefault(name, []).append((int(row["epoch"]), float(value)))
    return series


def draw_curves(metrics: Path, out: Path, title: str) -> None:
    """Write a PNG with the loss on the left and the accuracy on the right."""
    from matplotlib.figure import Figure

    series = read_metrics(metrics)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, label in (("train", "training"), ("val", "validation")):
            points = series.get(f"{part}_{quantity}", [])
            axes.plot([epoch + 1 for epoch, _ in points], [value for _, value in points], marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy" if quantity == "loss" else "accuracy")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    with storage_errors(out):
        figure.savefig(out, dpi=120)
