"""Draw a run's loss and accuracy over epochs."""

from pathlib import Path

from sqdr.metrics import Metrics
from sqdr.storage import storage_errors, write_atomically

__all__ = ["draw_curves", "write_metrics"]


def write_metrics(metrics: Metrics, path: Path) -> None:
    """Write one row per epoch and one column per metric."""
    names = sorted(metrics)
    epochs = sorted({epoch for values in metrics.values() for epoch in values})
    lines = [",".join(["epoch", *names])]
    lines += [",".join([str(epoch), *(str(metrics[name].get(epoch, "")) for name in names)]) for epoch in epochs]
    write_atomically(path, "\n".join([*lines, ""]).encode())


def draw_curves(metrics: Metrics, out: Path, title: str) -> None:
    """Write a PNG with the loss on the left and the accuracy on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, label in (("train", "training"), ("val", "validation")):
            values = metrics.get(f"{part}_{quantity}", {})
            axes.plot([epoch + 1 for epoch in values], list(values.values()), marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy" if quantity == "loss" else "accuracy")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    with storage_errors(out):
        figure.savefig(out, dpi=120)
