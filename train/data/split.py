"""Cut labelled images into training, validation and test parts."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.data import DataSplits, Images
from sqdr.errors import DataError

__all__ = ["images_from", "shuffled_order", "split_by_order", "data_root"]


def data_root(root: Path | None) -> Path:
    """Return the folder for data sets: ``root``, else SQDR_DATA_DIR, else ``data`` here."""
    return root if root is not None else Path(os.environ.get("SQDR_DATA_DIR", "data"))


def images_from(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], index: NDArray[np.intp]) -> Images:
    """Return the chosen images with ids ``name/<position in the whole set>``.

    Args:
        name: of the data set.
        images: (N, C, H, W) uint8, the whole set.
        labels: (N,) integers.
        index: positions to take, in order.
    """
    return Images(
        images=np.ascontiguousarray(images[index]),
        labels=labels[index].astype(np.int64),
        sample_ids=tuple(f"{name}/{i}" for i in index),
    )


def shuffled_order(n_images: int, seed: int = 0) -> NDArray[np.intp]:
    """Return a permutation that is the same everywhere and at any time."""
    return np.random.RandomState(seed).permutation(n_images)


def split_by_order(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    order: NDArray[np.intp],
    sizes: tuple[int, int, int],
    class_names: tuple[str, ...],
) -> DataSplits:
    """Cut a set into consecutive parts of ``order``: train, validation, test.

    Raises:
        DataError: a part would be empty or the sizes do not fit.
    """
    if min(sizes) < 1 or sum(sizes) > len(order):
        raise DataError(f"data set '{name}' has {len(order)} images, too few to split into {sizes}. Add images.")
    ends = np.cumsum(sizes)
    return DataSplits(
        name=name,
        train=images_from(name, images, labels, order[: ends[0]]),
        validation=images_from(name, images, labels, order[ends[0] : ends[1]]),
        test=images_from(name, images, labels, order[ends[1] : ends[2]]),
        class_names=class_names,
    )
