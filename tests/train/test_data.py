import gzip
import struct
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sqdr.errors import DataError, ShapeError
from sqdr.plugins import load_plugin, plugin_names
from sqdr.train.data.idx import read_idx

RNG = np.random.default_rng(0)
PARTS = ("train", "validation", "test")


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist10k(folder: Path, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images = RNG.integers(0, 256, (10_000, 28, 28)).astype(np.uint8)
    labels = RNG.integers(0, 10, 10_000)
    pack = gzip.compress if suffix else bytes
    (folder / f"t10k-images-idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(images)))
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels)))
    return images, labels


def assert_parts_are_separate(data) -> None:
    ids = [image_id for part in PARTS for image_id in data.part(part).sample_ids]
    assert len(ids) == len(set(ids)) == sum(len(data.part(part)) for part in PARTS)
    for part in PARTS:
        images = data.part(part)
        assert len(images.images) == len(images.labels) == len(images.sample_ids) > 0
        assert images.images.dtype == np.uint8
        assert images.images.ndim == 4
        assert set(np.unique(images.labels)) <= set(range(len(data.class_names)))


def test_digits_use_the_whole_range_and_split_apart() -> None:
    data = load_plugin("sqdr.datasets", "digits")(None)
    assert_parts_are_separate(data)
    assert [len(data.part(part)) for part in PARTS] == [1257, 180, 360]
    assert data.train.images.min() == 0
    assert data.train.images.max() == 255
    rows = {part: {image.tobytes() for image in data.part(part).images} for part in PARTS}
    assert not rows["train"] & rows["test"]
    assert not rows["validation"] & rows["test"]


def test_digits_split_is_the_same_everywhere() -> None:
    # written down once: a change would silently mix test images into training
    assert load_plugin("sqdr.datasets", "digits")(None).test.sample_ids[:4] == (
        "digits/1442",
        "digits/455",
        "digits/584",
        "digits/147",
    )


@pytest.mark.parametrize("where", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist10k_reads_idx_files_and_splits_in_order(tmp_path: Path, where: str, suffix: str) -> None:
    images, labels = write_mnist10k(tmp_path / where, suffix)
    data = load_plugin("sqdr.datasets", "mnist10k")(tmp_path)
    assert_parts_are_separate(data)
    for part, rows in (("train", slice(0, 7000)), ("validation", slice(7000, 8000)), ("test", slice(8000, 10000))):
        assert np.array_equal(data.part(part).images[:, 0], images[rows])
        assert np.array_equal(data.part(part).labels, labels[rows])


def test_missing_idx_file_says_which_file_goes_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte \(or .*gz\) is missing. Put it into .*mnist"):
        load_plugin("sqdr.datasets", "mnist10k")(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file of a sensible size"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not an IDX file of bytes with 3 axes"),
        (idx_bytes(np.zeros((2, 3))), "not an IDX file of bytes with 3 axes"),
        (idx_bytes(np.zeros((2, 3, 4)))[:-1], "holds 23 values but its header says"),
        (idx_bytes(np.zeros((2, 3, 4))) + b"x", "holds 25 values but its header says"),
    ],
)
def test_damaged_idx_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "file", 3)


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(np.zeros((9, 3, 4))))
    for n_bytes in range(len(whole)):
        (tmp_path / "file.gz").write_bytes(whole[:n_bytes])
        with pytest.raises(DataError, match=r"file\.gz"):
            read_idx(tmp_path / "file.gz", 3)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_torchvision_sets_validate_on_training_images_only(tmp_path: Path, name: str, folder: str) -> None:
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    images = {"train": RNG.integers(0, 256, (50, 28, 28)), "t10k": RNG.integers(0, 256, (20, 28, 28))}
    for part, array in images.items():
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(array))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(RNG.integers(0, 10, len(array))))
    data = load_plugin("sqdr.datasets", name)(tmp_path)
    assert_parts_are_separate(data)
    assert [len(data.part(part)) for part in PARTS] == [45, 5, 20]
    assert np.array_equal(data.validation.images[:, 0], images["train"][45:])
    assert np.array_equal(data.test.images[:, 0], images["t10k"])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "train-images-idx3-ubyte.gz"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("kmnist", "KMNIST/raw"),
        ("cifar10", "cifar-10-python.tar.gz"),
    ],
)
def test_set_that_cannot_be_downloaded_says_which_file_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens: no network
    # urllib keeps the opener of its first call, proxies included, for the rest of the process
    monkeypatch.setattr(urllib.request, "_opener", None)
    with pytest.raises(DataError, match=f"could not be downloaded: put .*{file}"):
        load_plugin("sqdr.datasets", name)(tmp_path)


def write_image(path: Path, size: tuple[int, int] = (6, 5), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    Image.fromarray(RNG.integers(0, 256, shape).astype(np.uint8), mode).save(path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_image_folder_becomes_a_data_set(tmp_path: Path) -> None:
    for index in range(20):
        write_image(tmp_path / ("cat" if index % 2 else "dog") / f"{index}.png")
    data = load_plugin("sqdr.datasets", "folder")(tmp_path)
    assert_parts_are_separate(data)
    assert data.class_names == ("cat", "dog")
    assert [len(data.part(part)) for part in PARTS] == [14, 2, 4]
    assert data.train.images.shape[1:] == (1, 5, 6)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_image_folder_with_its_own_test_part_keeps_it(tmp_path: Path) -> None:
    for part, n_images in (("train", 20), ("test", 6)):
        for index in range(n_images):
            write_image(tmp_path / part / ("cat" if index % 2 else "dog") / f"{index}.png", mode="RGB")
    data = load_plugin("sqdr.datasets", "folder")(tmp_path)
    assert_parts_are_separate(data)
    assert [len(data.part(part)) for part in PARTS] == [18, 2, 6]
    assert data.train.images.shape[1:] == (3, 5, 6)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_images_of_different_sizes_are_refused_by_name(tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "a.png")
    write_image(tmp_path / "cat" / "b.png", size=(7, 5))
    write_image(tmp_path / "dog" / "c.png")
    with pytest.raises(ShapeError, match=r"b\.png is .* but a\.png is .*Bring all images to one size"):
        load_plugin("sqdr.datasets", "folder")(tmp_path)


def test_every_registered_data_set_can_be_loaded_by_name() -> None:
    names = plugin_names("sqdr.datasets")
    assert {"digits", "mnist10k", "mnist", "fashion_mnist", "kmnist", "cifar10", "folder"} <= set(names)
    assert all(callable(load_plugin("sqdr.datasets", name)) for name in names)


def write_numbered(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((5, 6), number, np.uint8)).save(path)


@pytest.mark.parametrize("has_own_parts", [False, True])
def test_unreadable_file_of_a_folder_moves_no_other_image(
    tmp_path: Path, has_own_parts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    parts = ("train", "test") if has_own_parts else ("",)
    for part in parts:
        for number in range(40):
            write_numbered(tmp_path / part / ("cat" if number % 2 else "dog") / f"{number:02}.png", number)
    load = load_plugin("sqdr.datasets", "folder")
    before = load(tmp_path)
    assert before.left_out == ()
    broken = [("cat", 3), ("cat", 11), ("dog", 20)]
    for name, number in broken:
        (tmp_path / parts[0] / name / f"{number:02}.png").write_bytes(b"")
    after = load(tmp_path)
    prefix = "train/" if has_own_parts else ""
    assert after.left_out == tuple(f"{prefix}{name}/{number:02}.png" for name, number in broken)
    assert len(caplog.messages) == 3
    n_gone = 0
    for part in PARTS:
        was, now = before.part(part), after.part(part)
        kept = [row for row, name in enumerate(was.sample_ids) if name in now.sample_ids]
        n_gone += len(was) - len(kept)
        assert now.sample_ids == tuple(was.sample_ids[row] for row in kept)
        assert (now.images == was.images[kept]).all() and (now.labels == was.labels[kept]).all()
        # the number in the pixels says the class
        assert (now.labels == (now.images[:, 0, 0, 0] % 2 == 0)).all()
    assert n_gone == 3


def test_class_of_unreadable_files_alone_is_refused(tmp_path: Path) -> None:
    for number in range(20):
        write_numbered(tmp_path / ("cat" if number % 2 else "dog") / f"{number:02}.png", number)
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match="none of 10 images in .*cat can be read. The first: .*01.png is not a readable"
    ):
        load_plugin("sqdr.datasets", "folder")(tmp_path)
