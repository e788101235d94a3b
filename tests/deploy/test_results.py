"""Results come back as written, and nothing half-written carries a final name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sqdr.deploy.pipeline import Prediction
from sqdr.deploy.results import ResultFormat, ResultWriter, confusion_matrix, draw_confusion, open_results
from sqdr.errors import StorageError

FORMATS: list[ResultFormat] = ["jsonl", "parquet"]
NAMES = tuple("0123456789")


def predictions(n: int) -> list[Prediction]:
    rng = np.random.default_rng(2)
    return [
        Prediction(
            counts=rng.integers(0, 9, 4),
            expectations=rng.uniform(-1, 1, 4),
            logits=rng.normal(size=10),
            predicted=int(rng.integers(10)),
        )
        for _ in range(n)
    ]


def write(folder: Path, form: ResultFormat, labels: list[int | None], **options: Any) -> list[Prediction]:
    made = predictions(len(labels))
    with open_results(folder, form, **options) as writer:
        for index, (prediction, label) in enumerate(zip(made, labels, strict=True)):
            writer.write(f"sample/{index}", prediction, label)
        writer.finish({"n_samples": len(labels)})
    return made


def read(folder: Path, form: ResultFormat) -> list[dict[str, Any]]:
    if form == "parquet":
        import pyarrow.parquet

        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / "results.parquet").to_pylist()
        return rows
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def break_off(folder: Path, form: ResultFormat, n_rows: int) -> None:
    def write_some() -> None:
        with open_results(folder, form) as writer:
            for prediction in predictions(n_rows):
                writer.write("sample", prediction, None)
            raise RuntimeError("the backend died")

    with pytest.raises(RuntimeError, match="the backend died"):
        write_some()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("labels", [[3, 1, 9], [None, None]], ids=["labels", "no labels"])
def test_rows_come_back_as_written(tmp_path: Path, form: ResultFormat, labels: list[int | None]) -> None:
    made = write(tmp_path / "new" / "out", form, labels)
    rows = read(tmp_path / "new" / "out", form)
    assert len(rows) == len(made) == len(labels)
    for index, (row, prediction) in enumerate(zip(rows, made, strict=True)):
        assert list(row) == ["sample_id", "counts", "expectations", "logits", "predicted", "label"]
        assert row["sample_id"] == f"sample/{index}"
        assert row["counts"] == prediction.counts.tolist()
        assert row["expectations"] == prediction.expectations.tolist()  # every bit: repr and doubles are exact
        assert row["logits"] == prediction.logits.tolist()
        assert (row["predicted"], row["label"]) == (prediction.predicted, labels[index])
    assert json.loads((tmp_path / "new" / "out" / "summary.json").read_text()) == {"n_samples": len(labels)}
    names = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert names == [f"results.{form}", "summary.json"]


@pytest.mark.parametrize("form", FORMATS)
def test_broken_off_run_keeps_its_rows_but_no_final_name(tmp_path: Path, form: ResultFormat) -> None:
    break_off(tmp_path, form, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["results.partial.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "results.partial.jsonl").read_text().splitlines()]
    assert [row["counts"] for row in rows] == [prediction.counts.tolist() for prediction in predictions(2)]


def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    with open_results(tmp_path, "jsonl") as writer:
        for n_rows, prediction in enumerate(predictions(3), start=1):
            writer.write("sample", prediction, None)
            assert len((tmp_path / "results.partial.jsonl").read_text().splitlines()) == n_rows


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("earlier", FORMATS)
def test_earlier_results_are_kept_unless_overwrite(tmp_path: Path, form: ResultFormat, earlier: ResultFormat) -> None:
    write(tmp_path, earlier, [1, 2])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StorageError, match=rf"holds results.{earlier} already. .* or add --overwrite"):
        write(tmp_path, form, [1])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write(tmp_path, form, [1], overwrite=True)
    assert len(read(tmp_path, form)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"results.{form}", "summary.json"]


def test_rows_of_a_broken_off_run_are_kept_unless_overwrite(tmp_path: Path) -> None:
    break_off(tmp_path, "jsonl", 2)
    before = (tmp_path / "results.partial.jsonl").read_bytes()
    with pytest.raises(StorageError, match=r"holds results.partial.jsonl already. .* or add --overwrite"):
        write(tmp_path, "jsonl", [1])
    assert (tmp_path / "results.partial.jsonl").read_bytes() == before
    write(tmp_path, "jsonl", [1], overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.jsonl", "summary.json"]


def test_run_that_broke_off_before_its_first_row_is_in_nobodys_way(tmp_path: Path) -> None:
    break_off(tmp_path, "jsonl", 0)
    write(tmp_path, "jsonl", [1])
    assert len(read(tmp_path, "jsonl")) == 1


def test_confusion_picture_of_earlier_results_goes_with_them(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", [1])
    (tmp_path / "confusion.png").write_bytes(b"of the earlier run")
    write(tmp_path, "jsonl", [None], overwrite=True)
    assert not (tmp_path / "confusion.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "results.partial.jsonl").symlink_to("/dev/full")
    writer = ResultWriter(tmp_path, "jsonl")
    with pytest.raises(StorageError, match="cannot be written: No space left on device. Free space or choose another"):
        writer.write("sample", predictions(1)[0], None)
    with pytest.raises(StorageError, match="No space left on device"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["results.partial.jsonl"]


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" if where == "a file" else tmp_path / "file" / "out"
    with pytest.raises(StorageError, match=r"cannot be written: .* choose another --out"):
        write(out, "jsonl", [1])
    assert (tmp_path / "file").read_text() == "in the way"


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40),
)
def test_confusion_matrix_counts_label_by_prediction(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(labels, predicted, 5)
    assert matrix.shape == (5, 5)
    assert all(matrix[i, j] == pairs.count((i, j)) for i in range(5) for j in range(5))


def test_confusion_picture_is_a_picture_of_the_matrix(tmp_path: Path) -> None:
    labels = np.arange(10).repeat(3)
    right = confusion_matrix(labels, labels, 10)
    wrong = confusion_matrix(labels, (labels + 5) % 10, 10)
    for name, matrix in (("right", right), ("wrong", wrong), ("none", np.zeros((10, 10), np.int64))):
        draw_confusion(matrix, NAMES, tmp_path / f"{name}.png", "digits:test on a device: 1.0000")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.png", "right.png", "wrong.png"]
    pictures = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            image.load()
            pictures[path.stem] = np.asarray(image.convert("L"))
    assert min(pictures["right"].shape) > 400
    dark = {name: int((pixels < 100).sum()) for name, pixels in pictures.items()}
    assert dark["right"] > dark["none"] + 10_000  # ten filled cells
    assert not np.array_equal(pictures["right"], pictures["wrong"])


def test_confusion_picture_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"confusion.png cannot be written: No such file or directory"):
        draw_confusion(np.eye(10, dtype=np.int64), NAMES, tmp_path / "gone" / "confusion.png", "title")
