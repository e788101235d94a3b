"""The rows of a run's results, read from files that nobody vouches for."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import DataError
from sqdr.plugins import missing

__all__ = ["ResultRows", "read_rows"]

# A row of 1,024 qubits and 1,000 classes takes some 60 kB.
MAX_LINE_BYTES = 1 << 20
MAX_ROWS = 1_000_000
MAX_ID_CHARACTERS = 200
NUMBERS = ("counts", "expectations", "logits")


@dataclass(frozen=True, kw_only=True)
class ResultRows:
    """The rows that could be read.

    Args:
        ids: N names.
        labels: (N,), -1 where unknown.
        counts: (N, F).
        expectations: (N, n_qubits).
        logits: (N, K).
        predicted: (N,).
        n_unreadable: lines that hold no row, or another shape than the first.
        file: the name of the file.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]
    predicted: NDArray[np.int64]
    n_unreadable: int
    file: str


def read_rows(folder: Path) -> ResultRows:
    """Return the rows of a folder's results, of a run that was broken off too.

    Raises:
        DataError: there are none.
    """
    for name in ("results.jsonl", "results.parquet", "results.partial.jsonl"):
        path = folder / name
        if path.is_file():
            try:
                return _rows(_parquet(path) if path.suffix == ".parquet" else _lines(path), name)
            except OSError as error:
                raise DataError(f"{name} cannot be read: {error.strerror or error}. Run `sqdr run` again.") from error
    raise DataError(f"No results in {folder}. Run `sqdr run --resume {folder}`.")


def _rows(found: Iterable[Any], name: str) -> ResultRows:
    rows: list[dict[str, Any]] = []
    n_unreadable, sizes = 0, None
    for row in found:
        size = _sizes(row)
        if size is None or (sizes is not None and size != sizes) or len(rows) == MAX_ROWS:
            n_unreadable += 1
            continue
        sizes = size
        rows.append(row)
    if not rows:
        raise DataError(f"{name} holds no row that can be read. Run `sqdr run` again.")
    return ResultRows(
        ids=tuple(row["sample_id"][:MAX_ID_CHARACTERS] for row in rows),
        labels=np.array([-1 if row["label"] is None else row["label"] for row in rows], np.int64),
        counts=np.array([row["counts"] for row in rows], np.int64),
        expectations=np.array([row["expectations"] for row in rows], np.float64),
        logits=np.array([row["logits"] for row in rows], np.float64),
        predicted=np.array([row["predicted"] for row in rows], np.int64),
        n_unreadable=n_unreadable,
        file=name,
    )


def _sizes(row: Any) -> tuple[int, ...] | None:
    """The lengths of a row's lists; None where it is no row."""
    if not isinstance(row, dict) or not isinstance(row.get("sample_id"), str):
        return None
    lists = [row.get(name) for name in NUMBERS]
    if not all(isinstance(each, list) and each and all(map(_is_number, each)) for each in lists):
        return None
    n_classes = len(row["logits"])
    label, predicted = row.get("label"), row.get("predicted")
    if not _is_class(predicted, n_classes) or not (label is None or _is_class(label, n_classes)):
        return None
    if not all(isinstance(count, int) and 0 <= count < 1 << 31 for count in row["counts"]) or "label" not in row:
        return None
    return tuple(len(row[name]) for name in NUMBERS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30 and math.isfinite(value)


def _is_class(value: Any, n_classes: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n_classes


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield None


def _parquet(path: Path) -> list[Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing(error, "results as Parquet") from error
    try:
        return list(pyarrow.parquet.read_table(path).to_pylist())
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path.name} is no readable Parquet file. Run `sqdr run` again.") from error
