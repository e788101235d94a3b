"""What `sqdr run` can be pointed at, and a one-line error for everything else."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sqdr.deploy.inputs import read_input
from sqdr.errors import DataError, ShapeError

SHAPE = (1, 8, 8)
RNG = np.random.default_rng(11)
IMAGES = RNG.integers(0, 256, (4, 8, 8), dtype=np.uint8)


def save(path: Path, array: Any) -> str:
    np.save(path, array)
    return str(path)


def test_data_set_gives_a_part_with_labels_and_ids() -> None:
    found = read_input("digits:test", SHAPE)
    assert found.images.shape == (360, *SHAPE)
    assert found.images.dtype == np.uint8
    assert found.labels is not None
    assert set(found.labels) == set(range(10))
    assert len(set(found.sample_ids)) == 360
    validation = read_input("digits:validation", SHAPE)
    assert len(validation) == 180
    assert not {image.tobytes() for image in validation.images} & {image.tobytes() for image in found.images}


@pytest.mark.parametrize("axes", ["N C H W", "N H W"])
def test_npy_gives_its_images_without_labels(tmp_path: Path, axes: str) -> None:
    found = read_input(save(tmp_path / "x.npy", IMAGES[:, None] if "C" in axes else IMAGES), SHAPE)
    assert np.array_equal(found.images, IMAGES[:, None])
    assert found.labels is None
    assert found.sample_ids == ("x.npy/0", "x.npy/1", "x.npy/2", "x.npy/3")


def test_folder_gives_its_images_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name, image in zip(("b.png", "a.PNG", "c.bmp"), IMAGES, strict=False):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    found = read_input(str(tmp_path), SHAPE)
    assert found.sample_ids == ("a.PNG", "b.png", "c.bmp")
    assert np.array_equal(found.images, IMAGES[[1, 0, 2], None])
    assert found.labels is None


def test_folder_of_colour_images_gives_three_channels(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    found = read_input(str(tmp_path), (3, 8, 6))
    assert np.array_equal(found.images[0], colours.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("nowhere.npy", "'nowhere.npy' is no folder, no .npy file and no <data set>:<part>. Data sets: .*digits"),
        ("", "'' is no folder|holds no images"),
        ("digits", "'digits' is no folder, no .npy file and no <data set>:<part>"),
        ("digit:test", "'digit:test' is no folder"),
        ("digits:", "`split` must be one of train, validation, test, got ''"),
        ("digits:tset", "`split` must be one of train, validation, test, got 'tset'"),
        ("digits:test:more", "`split` must be one of train, validation, test, got 'test:more'"),
        ("a\0b", "is no folder"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, match: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=match):
        read_input(text, SHAPE)


@pytest.mark.parametrize(
    ("array", "error", "match"),
    [
        (IMAGES / 255, DataError, "must be uint8 with values 0..255, got float64"),
        (np.full((2, 8, 8), np.nan), DataError, "`images` holds NaN"),
        (IMAGES[:0], DataError, "`images` is empty"),
        (IMAGES[:, :7], ShapeError, r"must be \(C, H, W\) = \(1, 8, 8\) each, got \(1, 7, 8\)"),
        (np.repeat(IMAGES[:, None], 3, axis=1), ShapeError, r"got \(3, 8, 8\)"),
        (IMAGES[0], ShapeError, r"must have axes \(N, C, H, W\), got shape \(8, 8\)"),
        (np.uint8(3), ShapeError, r"must have axes \(N, C, H, W\), got shape \(\)"),
    ],
    ids=["float", "NaN", "empty", "size", "channels", "one image", "a number"],
)
def test_npy_with_the_wrong_content_is_refused(tmp_path: Path, array: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        read_input(save(tmp_path / "x.npy", array), SHAPE)


def _truncated() -> bytes:
    file = io.BytesIO()
    np.save(file, IMAGES)
    return file.getvalue()[:-50]


def _pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


def _archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=IMAGES)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"x.npy is not a plain .npy array. Save it with numpy.save"),
        (b"hello", r"x.npy is not a plain .npy array"),
        (_truncated(), r"x.npy is not a plain .npy array"),
        (_pickled(), r"x.npy is not a plain .npy array"),
        (b"PK\x03\x04 and no archive", r"x.npy is not a plain .npy array"),
        (_archive(), r"x.npy is an archive of arrays. Give one .npy array"),
    ],
    ids=["empty file", "text", "truncated", "pickled objects", "damaged npz", "npz"],
)
def test_file_that_is_no_array_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_input(str(tmp_path / "x.npy"), SHAPE)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match=r"holds no images \(.bmp, .gif.*\). Give another folder"):
        read_input(str(tmp_path), SHAPE)


def spoil(path: Path, kind: str) -> None:
    """Put something in place that is no image of ours."""
    path.unlink(missing_ok=True)
    image = Image.fromarray(IMAGES[0])
    if kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        image.save(path, format="bmp")
        data = bytearray(path.read_bytes())
        data[18:26] = (12_000).to_bytes(4, "little") * 2  # width and height: above what Pillow warns of
        path.write_bytes(data)
    elif kind == "16 bit":
        Image.fromarray(IMAGES[0].astype(np.uint16)).save(path)
    elif kind == "forbidden":
        image.save(path)
        path.chmod(0)
    else:
        image.save(path)
        contents = {"empty": b"", "truncated": path.read_bytes()[:60], "text": b"hello", "link": b""}
        path.write_bytes(contents[kind])
    if kind == "link":
        path.unlink()
        path.symlink_to("nowhere.png")


SPOILT = ["empty", "truncated", "text", "link", "folder", "bomb", "16 bit"]
SPOILT += ["forbidden"] if os.geteuid() != 0 else []  # root may read anything


@pytest.mark.parametrize("kind", SPOILT)
def test_image_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, image in zip(("a.png", "b.png", "c.png"), IMAGES[:3], strict=True):
        Image.fromarray(image).save(tmp_path / name)
    spoil(tmp_path / "b.png", kind)
    found = read_input(str(tmp_path), SHAPE)
    assert found.sample_ids == ("a.png", "c.png")
    assert found.left_out == ("b.png",)
    assert (found.images[:, 0] == IMAGES[[0, 2]]).all()
    (message,) = caplog.messages
    assert message.startswith(f"left out: {tmp_path / 'b.png'} ")
    assert found[:1].left_out == ("b.png",)


@pytest.mark.parametrize("kind", SPOILT)
def test_folder_without_one_readable_image_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    for name in ("a.png", "b.png"):
        spoil(tmp_path / name, kind)
    with pytest.raises(DataError, match=r"none of 2 images in .* can be read. The first: .*a.png ") as caught:
        read_input(str(tmp_path), SHAPE)
    assert len(str(caught.value).splitlines()) == 1


def test_only_the_first_of_many_unreadable_images_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "z.png")
    for number in range(30):
        (tmp_path / f"{number:02}.png").touch()
    assert len(read_input(str(tmp_path), SHAPE).left_out) == 30
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == "left out: 10 more files that cannot be read"


def test_folder_of_different_sizes_names_the_first_that_differs(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    Image.fromarray(IMAGES[1][:5]).save(tmp_path / "b.png")
    with pytest.raises(ShapeError, match=r"b.png is \(C, H, W\) = \(1, 5, 8\) but a.png is \(1, 8, 8\)"):
        read_input(str(tmp_path), SHAPE)


def test_folder_of_16_bit_images_is_refused(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0].astype(np.uint16) * 257).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a.png must be an 8-bit grey or RGB image, got mode I"):
        read_input(str(tmp_path), SHAPE)


def test_images_of_a_data_set_must_fit_the_model() -> None:
    with pytest.raises(ShapeError, match=r"must be \(C, H, W\) = \(1, 28, 28\) each, got \(1, 8, 8\)"):
        read_input("digits:test", (1, 28, 28))
