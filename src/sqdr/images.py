"""Read image files and arrays as (N, C, H, W) uint8."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sqdr.errors import DataError, ShapeError

__all__ = ["IMAGE_SUFFIXES", "read_array", "read_images"]

# Named one by one, since Pillow also knows formats that start other programs (EPS starts Ghostscript).
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif"})
GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "P"})


def read_images(files: list[Path]) -> NDArray[np.uint8]:
    """Return image files as one array: one channel where all are grey, three otherwise.

    Raises:
        DataError: no files, or a file is not an 8-bit image.
        ShapeError: the images differ in size.
    """
    if not files:
        raise DataError("`files` is empty. Give at least one image.")
    arrays: list[NDArray[np.uint8]] = []
    for path in files:
        try:
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                if image.mode not in GREY_MODES | COLOUR_MODES:
                    raise DataError(f"{path} must be an 8-bit grey or RGB image, got mode {image.mode}. Convert it.")
                array = np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))
        except (
            OSError,
            UnidentifiedImageError,
            ValueError,
            Image.DecompressionBombError,
            SyntaxError,
        ) as error:
            raise DataError(f"{path} is not a readable image. Repair or remove it.") from error
        arrays.append(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
        if arrays[-1].shape[1:] != arrays[0].shape[1:]:
            raise ShapeError(
                f"{path} is (C, H, W) = {arrays[-1].shape} but {files[0].name} is {arrays[0].shape}. "
                "Bring all images to one size."
            )
    n_channels = max(len(array) for array in arrays)
    return np.stack([np.broadcast_to(array, (n_channels, *array.shape[1:])) for array in arrays])


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
