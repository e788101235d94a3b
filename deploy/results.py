"""Write the results of a run: one row per sample, a summary, and a confusion matrix."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.pipeline import Prediction
from sqdr.errors import StorageError
from sqdr.plugins import missing
from sqdr.storage import storage_errors, write_atomically

__all__ = ["ResultFormat", "ResultWriter", "check_no_results", "confusion_matrix", "draw_confusion", "open_results"]

ResultFormat = Literal["jsonl", "parquet"]
SUMMARY = "summary.json"
PARTIAL = "results.partial.jsonl"
NAMES = ("results.jsonl", "results.parquet", SUMMARY, PARTIAL)


class ResultWriter:
    """Appends rows to ``results.partial.jsonl``; renamed or converted when the run is complete.

    A broken-off run keeps its partial file, so nothing that was computed is lost and nothing
    incomplete carries the final name.
    """

    def __init__(self, folder: Path, form: ResultFormat) -> None:
        self.folder = folder
        self.form = form
        self.partial = folder / PARTIAL
        with storage_errors(self.partial):
            self._file = self.partial.open("w", encoding="utf-8")

    def write(self, sample_id: str, prediction: Prediction, label: int | None) -> None:
        """Append one row."""
        row = {
            "sample_id": sample_id,
            "counts": prediction.counts.tolist(),
            "expectations": prediction.expectations.tolist(),
            "logits": prediction.logits.tolist(),
            "predicted": prediction.predicted,
            "label": label,
        }
        with storage_errors(self.partial):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the partial file."""
        with storage_errors(self.partial):
            self._file.close()

    def finish(self, summary: dict[str, Any]) -> Path:
        """Give the results their final name, then write the summary last."""
        self.close()
        final = self.folder / f"results.{self.form}"
        with storage_errors(final):
            if self.form == "parquet":
                staged = self.folder / "results.partial.parquet"
                _to_parquet(self.partial, staged)
                staged.replace(final)
                self.partial.unlink()
            else:
                self.partial.replace(final)
        write_atomically(self.folder / SUMMARY, json.dumps(summary, indent=2).encode())
        return final


def check_no_results(folder: Path, *, overwrite: bool = False) -> None:
    """Check that no results are in the way.

    Raises:
        StorageError: the folder holds earlier results, whole or broken off, and ``overwrite`` is not set.
    """
    with storage_errors(folder):
        # a run that broke off before its first row left nothing to keep
        earlier = [path.name for path in map(folder.joinpath, NAMES) if path.exists() and path.stat().st_size]
    if earlier and not overwrite:
        raise StorageError(f"{folder} holds {earlier[0]} already. Choose another --out, or add --overwrite.")


@contextlib.contextmanager
def open_results(folder: Path, form: ResultFormat, *, overwrite: bool = False) -> Iterator[ResultWriter]:
    """Yield a writer into ``folder``.

    Raises:
        StorageError: the folder holds earlier results, whole or broken off, and ``overwrite`` is not set;
            or it cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    if form == "parquet":
        _pyarrow()
    check_no_results(folder, overwrite=overwrite)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*NAMES, "confusion.png"):
            (folder / name).unlink(missing_ok=True)
    writer = ResultWriter(folder, form)
    try:
        yield writer
    finally:
        writer.close()


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return counts (K, K): row the label, column the prediction."""
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def draw_confusion(matrix: NDArray[np.int64], class_names: tuple[str, ...], out: Path, title: str) -> None:
    """Write the confusion matrix as a PNG."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing(error, "the confusion matrix") from error
    size = 2.5 + 0.42 * len(class_names)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    # the diagonal would drown everything else: shade each row by its own total
    axes.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        shade = matrix[row, column] / max(matrix[row].sum(), 1)
        axes.text(
            column, row, str(matrix[row, column]), ha="center", va="center", color="white" if shade > 0.5 else "black"
        )
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names)
    axes.set_yticks(ticks, class_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=10)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    write_atomically(out, png.getvalue())


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing(error, "results as Parquet") from error
    return pyarrow


def _to_parquet(source: Path, target: Path) -> None:
    pyarrow = _pyarrow()
    with source.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), target)
