"""Subject ``head-growth``: how the circuit's forward and backward pass grows with qubits, blocks and batch."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqdr.cli.bench.harness import BenchRow
from sqdr.cli.bench.head import OWN_STATEVECTOR, HeadCircuit, bench_head
from sqdr.cli.bench.head_peers import PEERS
from sqdr.plugins import missing
from sqdr.storage import write_atomically

__all__ = ["SWEEPS", "Point", "Sweep", "bench_growth", "draw_growth"]

# The two fastest peers, which take a batch at once.
LINES = (OWN_STATEVECTOR, *tuple(PEERS)[:2])
INCHES, DPI = (15, 4.5), 120


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One axis of the growth; what does not vary is 9 qubits, 2 blocks and a batch of 64.

    Args:
        axis: what varies.
        values: of it.
        batch: where it is not the axis.
    """

    axis: str
    values: tuple[int, ...]
    batch: int = 64

    def circuit(self, value: int) -> HeadCircuit:
        """Return the circuit at a value."""
        return HeadCircuit(
            n_qubits=value if self.axis == "qubits" else 9, n_blocks=value if self.axis == "blocks" else 2, peers=LINES
        )

    def batch_at(self, value: int) -> int:
        """Return the batch at a value."""
        return value if self.axis == "batch" else self.batch


# Batch 16 over qubits: the peers keep the state after every gate for the backward pass, at 14 qubits and 64 samples
# 8 MB (complex64) for each of some 100 gates, or several times that.
SWEEPS = (
    Sweep(axis="qubits", values=(4, 6, 8, 10, 12, 14), batch=16),
    Sweep(axis="blocks", values=(1, 2, 3, 4, 5, 6)),
    Sweep(axis="batch", values=(1, 4, 16, 64, 256)),
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row of a sweep, and where on it."""

    sweep: Sweep
    value: int
    row: BenchRow


def bench_growth(
    repeats: int, skipped: list[str], progress: Callable[[int, int], None], sweeps: Sequence[Sweep] = SWEEPS
) -> list[Point]:
    """Return a point for each value and peer; see `sqdr.cli.bench.head.bench_head`."""
    points: list[Point] = []
    places = [(sweep, value) for sweep in sweeps for value in sweep.values]
    for index, (sweep, value) in enumerate(places):
        batch = sweep.batch_at(value)
        rows = bench_head([sweep.circuit(value)], batch, repeats, skipped, lambda done, total: None)
        for row in rows:
            named = replace(row, network=f"{row.network}, batch {batch}")
            points.append(Point(sweep=sweep, value=value, row=named))
        progress(index + 1, len(places))
    return points


def draw_growth(points: Sequence[Point], path: Path, machine: str) -> None:
    """Write one panel for each sweep as PNG.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing(error, "the plot") from error
    sweeps = list(dict.fromkeys(point.sweep for point in points))
    figure = Figure(figsize=INCHES, layout="constrained")
    panels = figure.subplots(1, len(sweeps), squeeze=False)[0]
    for sweep, panel in zip(sweeps, panels, strict=True):
        lines: dict[str, dict[int, float]] = {}
        for point in (point for point in points if point.sweep == sweep):
            lines.setdefault("sqdr, chosen by itself", {})[point.value] = point.row.ms
            lines.setdefault(point.row.peer, {})[point.value] = point.row.peer_ms
        for name, line in lines.items():
            panel.plot(list(line), list(line.values()), marker="o", label=name)
        if sweep.axis == "batch":
            panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xlabel(sweep.axis)
        fixed = {"qubits": "2 blocks", "blocks": "9 qubits", "batch": "9 qubits, 2 blocks"}[sweep.axis]
        panel.set_title(fixed if sweep.axis == "batch" else f"{fixed}, batch {sweep.batch}")
        panel.grid(which="both", alpha=0.3)
    panels[0].set_ylabel("ms per sample, forward and backward")
    panels[0].legend()
    figure.suptitle(f"{machine}, one thread, processor time")
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI, format="png")
    write_atomically(path, png.getvalue())
