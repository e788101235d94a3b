"""Your own images: one folder per class, ``<root>/<class>/*.png``, or split by you beforehand.

With ``<root>/train/<class>/`` and ``<root>/test/<class>/`` the test part is yours and a tenth of the
training part validates (or ``<root>/validation/<class>/`` where it exists). Without them, 70% / 10% / 20%
of the images are taken in a fixed shuffled order.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.data import DataSplits, Images
from sqdr.errors import DataError
from sqdr.images import IMAGE_SUFFIXES, read_images
from sqdr.train.data.split import data_root, shuffled_order, split_by_order

__all__ = ["load"]


def load(root: Path | None = None) -> DataSplits:
    """Return the images below ``root`` in three parts.

    Raises:
        DataError: no images, fewer than two classes, or images of different sizes.
    """
    base = data_root(root)
    if not base.is_dir():
        raise DataError(f"image folder {base} does not exist. Name it with --data-root.")
    if not (base / "train").is_dir():
        images, labels, names = _read_classes(base)
        n_test, n_validation = len(images) // 5, len(images) // 10
        sizes = (len(images) - n_test - n_validation, n_validation, n_test)
        return split_by_order("folder", images, labels, shuffled_order(len(images)), sizes, names)
    images, labels, names = _read_classes(base / "train")
    test = _part(base / "test", names)
    if (base / "validation").is_dir():
        train = _images("train", images, labels)
        return DataSplits(
            name="folder",
            train=train,
            validation=_part(base / "validation", names),
            test=test,
            class_names=names,
        )
    everything = _images("train", images, labels)
    order = shuffled_order(len(images))
    cut = len(images) - max(1, len(images) // 10)
    return DataSplits(
        name="folder",
        train=_take(everything, order[:cut]),
        validation=_take(everything, order[cut:]),
        test=test,
        class_names=names,
    )


def _take(images: Images, index: NDArray[np.intp]) -> Images:
    if images.labels is None or not len(index):
        raise DataError("the folder 'train' holds too few images to set a tenth apart for validation. Add images.")
    return Images(
        images=images.images[index],
        labels=images.labels[index],
        sample_ids=tuple(images.sample_ids[i] for i in index),
    )


def _part(folder: Path, names: tuple[str, ...]) -> Images:
    images, labels, found = _read_classes(folder)
    if found != names:
        raise DataError(f"{folder} has the classes {found} but train has {names}. Use the same folder names.")
    return _images(folder.name, images, labels)


def _images(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    return Images(images=images, labels=labels, sample_ids=tuple(f"{name}/{i}" for i in range(len(images))))


def _read_classes(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if len(classes) < 2:
        raise DataError(f"{folder} must hold a folder of images for each class, at least two. Found {len(classes)}.")
    batches, labels = [], []
    for label, path in enumerate(classes):
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise DataError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}). Add some or remove it.")
        batches.append(read_images(files))
        labels += [label] * len(files)
    if len({batch.shape[1:] for batch in batches}) > 1:
        raise DataError(f"images below {folder} must all have one size and number of channels.")
    return np.concatenate(batches), np.array(labels, dtype=np.int64), tuple(path.name for path in classes)
