"""Image files and arrays: what is read exactly, and every file that is refused by name."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sqdr.errors import DataError, ShapeError
from sqdr.images import read_array, read_images

LOSSLESS = {"png": {}, "bmp": {}, "tif": {"compression": "tiff_lzw"}}


def pixels(seed: int = 0, shape: tuple[int, ...] = (5, 7)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def written(path: Path, array: NDArray[np.uint8], mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def npy(header: str, data: bytes = b"") -> bytes:
    """A version 1.0 .npy file of any header (NEP 1)."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1") + data


@pytest.mark.parametrize("suffix", sorted(LOSSLESS))
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_images_read_back_exactly(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    arrays = [pixels(seed, shape) for seed in range(3)]
    files = [written(tmp_path / f"{i}.{suffix}", array, **LOSSLESS[suffix]) for i, array in enumerate(arrays)]
    expected = np.stack([a[None] if a.ndim == 2 else np.moveaxis(a, -1, 0) for a in arrays])
    images = read_images(files)
    assert images.dtype == np.uint8
    assert images.shape == (3, 3 if len(shape) == 3 else 1, 5, 7)
    assert (images == expected).all()


def test_grey_images_become_colour_beside_colour_ones(tmp_path: Path) -> None:
    grey, colour = pixels(0), pixels(1, (5, 7, 3))
    files = [written(tmp_path / "a.png", grey), written(tmp_path / "b.png", colour)]
    images = read_images(files)
    assert (images[0] == grey).all()
    assert (images[1] == np.moveaxis(colour, -1, 0)).all()
    assert (read_images(files[::-1]) == images[::-1]).all()


@pytest.mark.parametrize(("mode", "n_channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("RGB", 3)])
def test_every_8_bit_mode_keeps_black_and_white(tmp_path: Path, mode: str, n_channels: int) -> None:
    array = np.zeros((4, 4), np.uint8)
    array[1, 2] = 255
    images = read_images([written(tmp_path / "a.png", array, mode)])
    assert (images == np.broadcast_to(array, (1, n_channels, 4, 4))).all()


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I", "tif"), ("F", "tif"), ("CMYK", "tif")])
def test_images_of_another_depth_are_refused_rather_than_cut(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(pixels().astype(np.uint16)) if mode == "I;16" else Image.fromarray(pixels()).convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    with pytest.raises(DataError, match=f"a.{suffix} must be an 8-bit grey or RGB image, got mode {mode}. Convert it"):
        read_images([tmp_path / f"a.{suffix}"])


def test_images_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    files = [written(tmp_path / "a.png", pixels()), written(tmp_path / "b.png", pixels(shape=(7, 5)))]
    with pytest.raises(ShapeError, match=r"b.png is \(C, H, W\) = \(1, 7, 5\) but a.png is \(1, 5, 7\). Bring all"):
        read_images(files)


def test_no_files_are_refused() -> None:
    with pytest.raises(DataError, match="`files` is empty. Give at least one image"):
        read_images([])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        b"BM" + b"\xff" * 60,
        # formats of Pillow that are none of ours; EPS would start Ghostscript
        b"P5 1 1 255\n\x00",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\nshowpage\n",
    ],
    ids=lambda value: ascii(value)[:16],
)
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="a.png is not a readable image. Repair or remove it") as caught:
        read_images([tmp_path / "a.png"])
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_image_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(DataError, match="is not a readable image"):
            read_images([path])


def test_an_image_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.bmp", pixels())
    data = bytearray(path.read_bytes())
    # BITMAPINFOHEADER: width and height at offsets 18 and 22
    struct.pack_into("<ii", data, 18, 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.bmp is not a readable image"):
        read_images([path])


# A damaged size makes Pillow warn before it reads, and libtiff's messages go to the terminal, so no TIFF here.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_a_damaged_image_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a.{suffix}", pixels(shape=(6, 6, 3)))
    data, generator, messages = path.read_bytes(), random.Random(5), []
    for i in range(200):
        damaged = bytearray(data) if i % 2 else bytearray(data[: generator.randrange(len(data))])
        if i % 2:
            damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            images = read_images([path])
        except DataError as error:
            messages.append(str(error))
        else:
            assert images.dtype == np.uint8
    assert len(messages) > 50
    assert [message for message in messages if len(message.splitlines()) != 1] == []


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, bool])
def test_array_reads_back_exactly(tmp_path: Path, dtype: type) -> None:
    array = pixels(shape=(2, 3, 4)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    loaded = read_array(tmp_path / "a.npy")
    assert loaded.dtype == dtype
    assert (loaded == array).all()


def test_pickled_array_is_refused_and_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    np.save(tmp_path / "a.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="a.npy is not a plain .npy array. Save it with numpy.save"):
        read_array(tmp_path / "a.npy")
    assert not ran.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"PK\x03\x04",
        b"\x80\x04N.",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"\x80\x04N."),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (5,)}\n", b"short"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,)}\n"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**30},)}}\n"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (\n"),
        npy("{b'descr': '<f8', 'fortran_order': False, 'shape': (1,)}\n"),
        npy("__import__('os').system('true')\n"),
        npy("(" * 3000),
    ],
    ids=lambda value: ascii(value[10:])[:60],
)
def test_what_is_no_plain_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match="a.npy is not a plain .npy array. Save it with numpy.save") as caught:
        read_array(tmp_path / "a.npy")
    assert len(str(caught.value).splitlines()) == 1


def test_an_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=pixels())
    with pytest.raises(DataError, match="a.npz is an archive of arrays. Give one .npy array"):
        read_array(tmp_path / "a.npz")


def test_a_damaged_array_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, pixels())
    data, generator, n_refused = path.read_bytes(), random.Random(6), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            read_array(path)
        except DataError:
            n_refused += 1
    assert n_refused > 50
