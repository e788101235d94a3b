"""Your own images: one folder per class, ``<root>/<class>/*.png``, or split by you beforehand.

With ``<root>/train/<class>/`` and ``<root>/test/<class>/`` the test part is yours and a tenth of the
training part validates (or ``<root>/validation/<class>/`` where it exists). Without them, 70% / 10% / 20%
of the images are taken in a fixed shuffled order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.data import DataSplits, Images
from sqdr.errors import DataError
from sqdr.images import IMAGE_SUFFIXES, read_images, warn_left_out
from sqdr.train.data.split import data_root, shuffled_order

__all__ = ["load"]


@dataclass(frozen=True)
class _Classes:
    """A folder of folders.

    Args:
        images: (N, C, H, W) uint8, those that could be read.
        labels: (N,).
        positions: (N,) of each image among all files, increasing.
        n_files: all files, with those that could not be read.
        names: of the classes.
        left_out: files that could not be read, ``<class>/<file>``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    positions: NDArray[np.intp]
    n_files: int
    names: tuple[str, ...]
    left_out: tuple[str, ...]

    def take(self, name: str, order: NDArray[np.intp]) -> Images:
        """Return the images at positions among all files, in order, without those that could not be read."""
        rows = np.searchsorted(self.positions, order)
        is_there = rows < len(self.positions)
        is_there[is_there] = self.positions[rows[is_there]] == order[is_there]
        if not is_there.any():
            raise DataError(f"the folder '{name}' holds too few images that can be read for each part. Add images.")
        return Images(
            images=self.images[rows[is_there]],
            labels=self.labels[rows[is_there]],
            sample_ids=tuple(f"{name}/{place}" for place in order[is_there]),
        )


def load(root: Path | None = None) -> DataSplits:
    """Return the images below ``root`` in three parts.

    A file that cannot be read is named on the logger and left out. The parts are cut by all files, so that every other
    image stays in its part, and keeps its label and its id, whether that file can be read or not.

    Raises:
        DataError: no images, fewer than two classes, nothing of a class that can be read, or images of different sizes.
    """
    base = data_root(root)
    if not base.is_dir():
        raise DataError(f"image folder {base} does not exist. Name it with --data-root.")
    if not (base / "train").is_dir():
        found = _read_classes(base)
        n_test, n_validation = found.n_files // 5, found.n_files // 10
        n_train = found.n_files - n_test - n_validation
        if min(n_test, n_validation) < 1:
            raise DataError(
                f"data set 'folder' has {found.n_files} images, too few to split into "
                f"{(n_train, n_validation, n_test)}. Add images."
            )
        order = shuffled_order(found.n_files)
        ends = (n_train, n_train + n_validation)
        train, validation, test = (found.take("folder", part) for part in np.split(order, ends))
        parts, left_out = (train, validation, test), found.left_out
    else:
        found = _read_classes(base / "train")
        own_test = _read_part(base / "test", found.names)
        left_out = (*_below("train", found), *_below("test", own_test))
        everything = np.arange(found.n_files)
        if (base / "validation").is_dir():
            own_validation = _read_part(base / "validation", found.names)
            left_out = (*left_out, *_below("validation", own_validation))
            validation = own_validation.take("validation", np.arange(own_validation.n_files))
            train = found.take("train", everything)
        else:
            order = shuffled_order(found.n_files)
            cut = found.n_files - max(1, found.n_files // 10)
            train, validation = found.take("train", order[:cut]), found.take("train", order[cut:])
        parts = (train, validation, own_test.take("test", np.arange(own_test.n_files)))
    return DataSplits(
        name="folder",
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        class_names=found.names,
        left_out=left_out,
    )


def _below(name: str, classes: _Classes) -> tuple[str, ...]:
    return tuple(f"{name}/{file}" for file in classes.left_out)


def _read_part(folder: Path, names: tuple[str, ...]) -> _Classes:
    found = _read_classes(folder)
    if found.names != names:
        raise DataError(f"{folder} has the classes {found.names} but train has {names}. Use the same folder names.")
    return found


def _read_classes(folder: Path) -> _Classes:
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if len(classes) < 2:
        raise DataError(f"{folder} must hold a folder of images for each class, at least two. Found {len(classes)}.")
    batches: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    is_read: list[bool] = []
    unreadable: dict[Path, str] = {}
    for label, path in enumerate(classes):
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise DataError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}). Add some or remove it.")
        batches.append(read_images(files, unreadable))
        labels += [label] * len(batches[-1])
        is_read += [file not in unreadable for file in files]
    if len({batch.shape[1:] for batch in batches}) > 1:
        raise DataError(f"images below {folder} must all have one size and number of channels.")
    warn_left_out(unreadable)
    return _Classes(
        images=np.concatenate(batches),
        labels=np.array(labels, dtype=np.int64),
        positions=np.flatnonzero(is_read),
        n_files=len(is_read),
        names=tuple(path.name for path in classes),
        left_out=tuple(f"{file.parent.name}/{file.name}" for file in unreadable),
    )
