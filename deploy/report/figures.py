"""The report's figures as PNG and SVG files for papers, by matplotlib, which needs no browser."""

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sqdr.deploy.report.build import Report
from sqdr.deploy.report.circuit import Drawing, draw_circuit
from sqdr.deploy.report.evaluation import Evaluation
from sqdr.deploy.report.section import Section
from sqdr.deploy.results import confusion_matrix
from sqdr.errors import StorageError
from sqdr.plugins import missing
from sqdr.storage import storage_errors, write_atomically

__all__ = ["write_figures"]

DPI = 200
N_IMAGES = 20
PIXELS_PER_INCH = 72
FILLS = {"upload": "#cfe3ff", "trained": "#ffe2bf", "measure": "#d9efd5"}
# a fixed salt and no date: the same report gives the same bytes
SETTINGS = {"svg.hashsalt": "sqdr", "svg.fonttype": "none"}


def write_figures(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write each figure that the report has the data for as ``NAME.png`` and ``NAME.svg``.

    Returns:
        The files, in the report's order.

    Raises:
        StorageError: the folder cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing(error, "figures for papers") from error
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file. Choose another folder for --figures.")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    # the words are a user's: `$` is no mathematics
    with matplotlib.rc_context({**SETTINGS, "text.parse_math": False}), warnings.catch_warnings():
        # a name may be in a script that the font lacks: it gets boxes, and no line on standard error
        warnings.filterwarnings("ignore", message="Glyph")
        for name, size, draw in _figures(report):
            figure = Figure(figsize=size, layout=None if name == "circuit" else "constrained")
            draw(figure)
            for form in ("png", "svg"):
                path = folder / f"{name}.{form}"
                write_atomically(path, _bytes(figure, form))
                written.append(path)
    return tuple(written)


def _bytes(figure: Any, form: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


Draw = Callable[[Any], None]


def _figures(report: Report) -> Iterator[tuple[str, tuple[float, float], Draw]]:
    sections = {section.name: section for section in report.sections}
    curves, samples = sections["training"].data, sections["samples"]
    if curves:
        yield "training", (7.0, 2.8), lambda figure: _curves(figure, curves)
    evaluation = report.evaluation
    names = tuple(map(_printable, samples.data.get("classes", ())))
    if evaluation is not None and evaluation.accuracy is not None:
        size = 2.0 + 0.34 * min(evaluation.logits.shape[1], 40)
        yield "confusion", (size, size), lambda figure: _confusion(figure, evaluation, names)
        if evaluation.images is not None and len(evaluation.wrong):
            yield "misclassified", (6.5, 1.9), lambda figure: _misclassified(figure, evaluation, names)
    if samples.data:
        first = samples.data["samples"][0]
        if samples.data["layers"]:
            width = 2.0 * len(samples.data["layers"])
            yield "rasters", (max(width, 4.0), 3.2), lambda figure: _rasters(figure, samples, first)
        yield "sample", (7.0, 4.6), lambda figure: _sample(figure, samples, first)
    spec = None if sections["circuit"].content is None else sections["circuit"].content["spec"]
    if spec is not None:
        drawing = draw_circuit(spec)
        size_of = (drawing.width / PIXELS_PER_INCH, drawing.height / PIXELS_PER_INCH)
        yield "circuit", size_of, lambda figure: _circuit(figure, drawing)
    if report.fit is not None:
        for fit in report.fit.neuromorphic:
            yield f"cores-{_safe(fit.hardware)}", (6.5, 3.0), partial(_cores, fit=fit)
    if report.budget is not None:
        yield "error-budget", (6.0, 2.4), lambda figure: _budget(figure, report.budget)


def _printable(name: str) -> str:
    """A name without what an XML file may not hold, and no longer than there is room for."""
    return "".join(c if c.isprintable() else "?" for c in name)[:24]


def _safe(name: str) -> str:
    """A name as a part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:60]


def _curves(figure: Any, curves: Any) -> None:
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, points in curves[quantity].items():
            axes.plot(
                [p[0] for p in points], [p[1] for p in points], "." + ("-" if part == "training" else "--"), label=part
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy" if quantity == "loss" else "accuracy")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def _confusion(figure: Any, evaluation: Evaluation, names: tuple[str, ...]) -> None:
    known = evaluation.labels >= 0
    n_classes = evaluation.logits.shape[1]
    matrix = confusion_matrix(evaluation.labels[known], evaluation.predicted[known], n_classes)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if n_classes <= 40:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            dark = shares[row, column] > 0.5
            words = str(matrix[row, column])
            axes.text(column, row, words, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        if len(names) == n_classes:
            axes.set_xticks(range(n_classes), names)
            axes.set_yticks(range(n_classes), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")


def _misclassified(figure: Any, evaluation: Evaluation, names: tuple[str, ...]) -> None:
    grid = figure.subplots(2, N_IMAGES // 2).reshape(-1)
    assert evaluation.images is not None
    has = evaluation.has_image
    wrong = [at for at in evaluation.wrong if has is None or has[at]]
    for axes in grid:
        axes.axis("off")
    for axes, at in zip(grid, wrong, strict=False):
        image = evaluation.images[at]
        axes.imshow(np.moveaxis(image, 0, -1) if len(image) == 3 else image.mean(axis=0), cmap="gray")
        label, predicted = (
            names[k] if k < len(names) else str(k) for k in (int(evaluation.labels[at]), int(evaluation.predicted[at]))
        )
        axes.set_title(f"{label} \N{RIGHTWARDS ARROW} {predicted}", fontsize=8)


def _rasters(figure: Any, section: Section, sample: Any) -> None:
    layers, n_steps = section.data["layers"], section.data["steps"]
    for axes, layer, text in zip(
        np.atleast_1d(figure.subplots(1, len(layers))), layers, sample["rasters"], strict=True
    ):
        bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))[: len(layer["rows"]) * n_steps]
        axes.imshow(
            bits.reshape(-1, n_steps),
            aspect="auto",
            cmap="Greys",
            interpolation="nearest",
            vmin=0,
            vmax=1,
            extent=(-0.5, n_steps - 0.5, layer["n"] - 0.5, -0.5),
        )
        axes.set_title(layer["name"], fontsize=8)
        axes.set_xlabel("time step")
        axes.tick_params(labelsize=7)
    figure.supylabel("neuron", fontsize=9)


def _sample(figure: Any, section: Section, sample: Any) -> None:
    grid = figure.subplots(2, 2).reshape(-1)
    grid[0].bar(range(len(sample["counts"])), sample["counts"])
    grid[0].set(xlabel="feature", ylabel="spike count")
    if "bloch" in sample:
        for k, axis in enumerate("xyz"):
            values = [vector[k] for vector in sample["bloch"]]
            grid[1].bar(np.arange(len(values)) + 0.27 * (k - 1), values, 0.25, label=axis)
        grid[1].legend(frameon=False, fontsize=7, ncols=3)
        grid[1].set(xlabel="qubit", ylabel="Bloch vector, block 1", ylim=(-1.1, 1.1))
    else:
        grid[1].axis("off")
    grid[2].bar(range(len(sample["z"])), sample["z"])
    grid[2].set(xlabel="qubit", ylabel="<Z>", ylim=(-1.1, 1.1))
    grid[3].bar(range(len(sample["logits"])), sample["logits"])
    grid[3].set(xlabel="class", ylabel="logit")


def _circuit(figure: Any, drawing: Drawing) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.axis("off")
    for x1, y1, x2, y2 in drawing.lines:
        axes.plot([x1, x2], [y1, y2], color="black", linewidth=0.9, zorder=1)
    for x, y in drawing.dots:
        axes.plot([x], [y], "o", color="black", markersize=4, zorder=2)
    for x, y, width, height, words, kind in drawing.boxes:
        axes.add_patch(
            Rectangle((x, y), width, height, facecolor=FILLS[kind], edgecolor="black", linewidth=0.8, zorder=3)
        )
        axes.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=8, zorder=4)
    for x, y, words in drawing.words:
        axes.text(x, y, words, ha="center", va="baseline", fontsize=8)


def _cores(figure: Any, fit: Any) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    n_columns, colours = 20, colormaps["tab10"]
    names = [layer.name for layer in fit.layers]
    per_chip = max(1, fit.n_cores_available // max(fit.n_chips_available, 1))
    cores = [core for core in fit.cores if core.chip == 0]
    axes = figure.subplots()
    picture = np.full((-(-per_chip // n_columns), n_columns, 4), 0.93)
    picture.reshape(-1, 4)[per_chip:] = 0
    for place, core in enumerate(cores[:per_chip]):
        picture.reshape(-1, 4)[place] = colours(names.index(core.layer) % 10)
    axes.imshow(picture)
    axes.set_xticks(np.arange(-0.5, n_columns), [])
    axes.set_yticks(np.arange(-0.5, len(picture)), [])
    axes.grid(color="white", linewidth=1.5)
    axes.tick_params(length=0)
    axes.set_title(f"{fit.hardware}, chip 0: {len(cores)} of {per_chip} cores", fontsize=9)
    handles = [
        Patch(color=colours(k % 10), label=f"{layer.name}: {layer.n_cores}") for k, layer in enumerate(fit.layers)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=7, frameon=False)


def _budget(figure: Any, budget: Any) -> None:
    axes = figure.subplots()
    rows = budget.rows
    middle = np.array([(row.changed.low + row.changed.high) / 2 for row in rows])
    spread = np.abs(np.array([[row.runs.low, row.runs.high] for row in rows]).T - middle)
    axes.barh([row.source for row in rows], middle, xerr=spread, capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"images that change class, {budget.shots:,} shots; whiskers: 95% of runs")
