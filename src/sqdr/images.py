"""Read image files and arrays as (N, C, H, W) uint8."""

import logging
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sqdr.errors import DataError, ShapeError

__all__ = ["IMAGE_SUFFIXES", "read_array", "read_images", "warn_left_out"]

logger = logging.getLogger(__name__)

# Named one by one, since Pillow also knows formats that start other programs (EPS starts Ghostscript).
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif"})
# More files than that are counted, not named.
MAX_NAMED = 20
GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "P"})


def read_images(files: list[Path], unreadable: dict[Path, str] | None = None) -> NDArray[np.uint8]:
    """Return image files as one array: one channel where all are grey, three otherwise.

    Args:
        files: to read, in order.
        unreadable: gets each file that cannot be read with the reason, and the others are returned; without it, such a
            file is an error.

    Raises:
        DataError: no files, a file is not an 8-bit image, or none of them is.
        ShapeError: the images differ in size.
    """
    if not files:
        raise DataError("`files` is empty. Give at least one image.")
    arrays: list[NDArray[np.uint8]] = []
    first = files[0]
    for path in files:
        try:
            array = _read_image(path)
        except DataError as error:
            if unreadable is None:
                raise
            unreadable[path] = str(error)
            continue
        first = first if arrays else path
        arrays.append(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
        if arrays[-1].shape[1:] != arrays[0].shape[1:]:
            raise ShapeError(
                f"{path} is (C, H, W) = {arrays[-1].shape} but {first.name} is {arrays[0].shape}. "
                "Bring all images to one size."
            )
    if not arrays:
        raise DataError(
            f"none of {len(files)} images in {files[0].parent} can be read. The first: {(unreadable or {}).get(first)}"
        )
    n_channels = max(len(array) for array in arrays)
    return np.stack([np.broadcast_to(array, (n_channels, *array.shape[1:])) for array in arrays])


def warn_left_out(unreadable: dict[Path, str]) -> None:
    """Name the files that could not be read, on the logger."""
    for reason in list(unreadable.values())[:MAX_NAMED]:
        logger.warning("left out: %s", reason)
    if len(unreadable) > MAX_NAMED:
        logger.warning("left out: %d more files that cannot be read", len(unreadable) - MAX_NAMED)


def _read_image(path: Path) -> NDArray[np.uint8]:
    """Return (H, W) or (H, W, 3)."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns of the smaller bombs
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                if image.mode not in GREY_MODES | COLOUR_MODES:
                    raise DataError(f"{path} must be an 8-bit grey or RGB image, got mode {image.mode}. Convert it.")
                return np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} is not a readable image: permission denied. Give yourself the right.") from error
    except Exception as error:  # damaged files raise any of a dozen kinds, struct.error and EOFError among them
        raise DataError(f"{path} is not a readable image. Repair or remove it.") from error


def read_array(path: Path) -> NDArray[np.generic]:
    """Return the array of an ``.npy`` file, never unpickling.

    Raises:
        DataError: not a plain array file.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
    except Exception as error:  # a damaged header raises any of a dozen kinds, TokenError and MemoryError among them
        raise DataError(f"{path} is not a plain .npy array. Save it with numpy.save.") from error
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path} is an archive of arrays. Give one .npy array.")
    return loaded
