"""MNIST's test file of 10,000 images used as a small data set of its own.

The first 7,000 train, the next 1,000 validate, the last 2,000 test.
"""

from pathlib import Path

import numpy as np

from sqdr.data import DataSplits
from sqdr.errors import DataError
from sqdr.train.data.idx import find_idx, read_idx
from sqdr.train.data.split import data_root, split_by_order

__all__ = ["load"]

SIZES = (7000, 1000, 2000)


def load(root: Path | None = None) -> DataSplits:
    """Return the three parts, read from IDX files in ``<root>/mnist``, ``<root>/MNIST/raw`` or ``<root>``.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    base = data_root(root)
    folders = [base / "mnist", base / "MNIST" / "raw", base]
    images = read_idx(find_idx(folders, "t10k-images-idx3-ubyte"), 3)[:, None]
    labels = read_idx(find_idx(folders, "t10k-labels-idx1-ubyte"), 1)
    if len(images) != len(labels) or len(images) != sum(SIZES):
        raise DataError(f"MNIST's test files must hold 10000 images and labels, got {len(images)} and {len(labels)}.")
    return split_by_order(
        "mnist10k", images, labels.astype(np.int64), np.arange(len(images)), SIZES, tuple("0123456789")
    )
