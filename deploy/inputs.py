"""What `sqdr run` classifies: a part of a data set, a folder of images, or an array."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sqdr.coding import check_images
from sqdr.data import Images
from sqdr.errors import DataError
from sqdr.images import IMAGE_SUFFIXES, read_array, read_images, warn_left_out
from sqdr.plugins import load_plugin, plugin_names

__all__ = ["read_input"]


def read_input(text: str, input_shape: tuple[int, int, int], data_root: Path | None = None) -> Images:
    """Return the images that ``text`` names, checked against the model's input.

    Args:
        text: ``<data set>:<train|validation|test>``, a folder of image files, or an ``.npy`` file of
            (N, C, H, W) or (N, H, W) uint8.
        input_shape: (C, H, W).
        data_root: where data sets are.

    Raises:
        DataError: nothing there, or nothing that can be read. Single files of a folder that cannot be are left out, and
            named in ``left_out`` and on the logger.
        ShapeError: not the model's image size.
    """
    path = Path(text)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
        files = sorted(path.iterdir()) if is_folder else []
    except OSError as error:
        raise DataError(f"`input` {text!r} cannot be read: {error.strerror}. Check the path.") from error
    if is_folder:
        found = _from_files(path, [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES])
    elif is_file:
        images = check_images(read_array(path), input_shape)
        found = Images(images=images, labels=None, sample_ids=tuple(f"{path.name}/{i}" for i in range(len(images))))
    else:
        name, colon, part = text.partition(":")
        if not colon or name not in plugin_names("sqdr.datasets"):
            raise DataError(
                f"`input` {text!r} is no folder, no .npy file and no <data set>:<part>. Data sets: "
                f"{', '.join(plugin_names('sqdr.datasets'))}."
            )
        found = load_plugin("sqdr.datasets", name)(data_root).part(part)
    return replace(found, images=check_images(found.images, input_shape))


def _from_files(folder: Path, files: list[Path]) -> Images:
    """Images of a flat folder, sorted by name; without labels. What cannot be read is named and left out."""
    if not files:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}). Give another folder.")
    unreadable: dict[Path, str] = {}
    images = np.ascontiguousarray(read_images(files, unreadable))
    warn_left_out(unreadable)
    return Images(
        images=images,
        labels=None,
        sample_ids=tuple(file.name for file in files if file not in unreadable),
        left_out=tuple(file.name for file in unreadable),
    )
