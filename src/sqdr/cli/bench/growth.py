"""Subject ``growth``: how head, encoder and joint step grow with qubits, blocks, steps, batch and image size."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqdr.cli.bench.harness import BenchRow
from sqdr.cli.bench.head import OWN_STATEVECTOR, HeadCircuit, bench_head
from sqdr.cli.bench.head_peers import PEERS
from sqdr.cli.bench.model_growth import MODEL_PARTS, Setting
from sqdr.plugins import missing
from sqdr.storage import write_atomically

__all__ = ["SWEEPS", "Point", "Sweep", "bench_growth", "draw_growth"]

# The two fastest peers, which take a batch at once.
LINES = (OWN_STATEVECTOR, *tuple(PEERS)[:2])
AXIS_LABELS = {"qubits": "qubits", "blocks": "blocks", "steps": "time steps", "batch": "batch", "size": "image side"}
PART_TITLES = {
    "head": "circuit, forward and backward",
    "training": "encoder, training step",
    "inference": "encoder, inference",
    "joint": "joint training step",
}
PANEL_INCHES, DPI = (4.6, 3.9), 110


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One axis of the growth of one part; what does not vary is as in `Setting`.

    Args:
        part: ``head``, or one of `MODEL_PARTS`.
        axis: what varies: a field of `Setting`.
        values: of it.
        batch: where it is not the axis.
    """

    part: str
    axis: str
    values: tuple[int, ...]
    batch: int = 64

    def setting(self, value: int) -> Setting:
        """Return all sizes at a value."""
        return replace(Setting(batch=self.batch), **{self.axis: value})

    def rows(self, value: int, repeats: int, skipped: list[str]) -> list[BenchRow]:
        """Measure at a value."""
        setting = self.setting(value)
        if self.part != "head":
            return MODEL_PARTS[self.part](setting, repeats, skipped)
        circuit = HeadCircuit(n_qubits=setting.qubits, n_blocks=setting.blocks, peers=LINES)
        rows = bench_head([circuit], setting.batch, repeats, skipped, lambda done, total: None)
        return [replace(row, network=f"{row.network}, batch {setting.batch}") for row in rows]


QUBITS, BLOCKS, BATCHES = (4, 6, 8, 10, 12, 14), (1, 2, 3, 4, 5, 6), (1, 4, 16, 64, 256)
STEPS, SIZES = (2, 4, 8, 16, 32), (14, 28, 42, 56)
MODEL_AXES = (("steps", STEPS), ("batch", BATCHES), ("size", SIZES))
# Batch 16 over qubits: the peers keep the state after every gate for the backward pass, at 14 qubits and 64 samples
# 8 MB (complex64) for each of some 100 gates, or several times that.
SWEEPS = {
    "head": (
        Sweep(part="head", axis="qubits", values=QUBITS, batch=16),
        Sweep(part="head", axis="blocks", values=BLOCKS),
        Sweep(part="head", axis="batch", values=BATCHES),
    ),
    "encoder": tuple(
        Sweep(part=part, axis=axis, values=values) for part in ("training", "inference") for axis, values in MODEL_AXES
    ),
    "joint": tuple(
        Sweep(part="joint", axis=axis, values=values, batch=16 if axis == "qubits" else 64)
        for axis, values in (*MODEL_AXES, ("qubits", QUBITS), ("blocks", BLOCKS))
    ),
}
"""By what is measured together and drawn on one page."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row of a sweep, and where on it."""

    sweep: Sweep
    value: int
    row: BenchRow


def bench_growth(
    sweeps: Sequence[Sweep], repeats: int, skipped: list[str], progress: Callable[[int, int], None]
) -> list[Point]:
    """Return a point for each value and peer: processor milliseconds for each sample.

    Args:
        sweeps: to measure.
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (values done, of all).
    """
    points: list[Point] = []
    places = [(sweep, value) for sweep in sweeps for value in sweep.values]
    for index, (sweep, value) in enumerate(places):
        points += [Point(sweep=sweep, value=value, row=row) for row in sweep.rows(value, repeats, skipped)]
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
    parts = list(dict.fromkeys(sweep.part for sweep in sweeps))
    n_columns = max(sum(sweep.part == part for sweep in sweeps) for part in parts)
    figure = Figure(figsize=(PANEL_INCHES[0] * n_columns, PANEL_INCHES[1] * len(parts)), layout="constrained")
    grid = figure.subplots(len(parts), n_columns, squeeze=False)
    for part, panels in zip(parts, grid, strict=True):
        for sweep, panel in zip((sweep for sweep in sweeps if sweep.part == part), panels, strict=False):
            _draw_panel(panel, sweep, [point for point in points if point.sweep == sweep])
        panels[0].set_ylabel("ms per sample")
        panels[0].legend(fontsize="small")
    figure.suptitle(f"{machine}, one thread, processor time")
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI, format="png")
    write_atomically(path, png.getvalue())


def _draw_panel(panel: Any, sweep: Sweep, points: Sequence[Point]) -> None:
    lines: dict[str, dict[int, float]] = {}
    for point in points:
        ours = "sqdr, chosen by itself" if sweep.part == "head" else point.row.name
        lines.setdefault(ours, {})[point.value] = point.row.ms
        lines.setdefault(point.row.peer, {})[point.value] = point.row.peer_ms
    for name, line in lines.items():
        panel.plot(list(line), list(line.values()), marker="o", label=name)
    if sweep.axis in ("batch", "steps"):
        panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlabel(AXIS_LABELS[sweep.axis])
    batch = "" if sweep.axis == "batch" else f", batch {sweep.batch}"
    panel.set_title(f"{PART_TITLES[sweep.part]}{batch}", fontsize="medium")
    panel.grid(which="both", alpha=0.3)
