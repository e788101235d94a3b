"""scikit-learn's digits: 1,797 images of 8x8 that come with the package. The embedded default."""

from pathlib import Path

import numpy as np

from sqdr.data import DataSplits
from sqdr.plugins import missing
from sqdr.train.data.split import shuffled_order, split_by_order

__all__ = ["load"]

SIZES = (1257, 180, 360)
GREY_LEVELS = 16


def load(root: Path | None = None) -> DataSplits:
    """Return digits in 1,257 / 180 / 360 images, shuffled once and for all. ``root`` is not used."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing(error, "data set 'digits'") from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / GREY_LEVELS)).astype(np.uint8)[:, None]
    order = shuffled_order(len(images))
    return split_by_order("digits", images, digits.target, order, SIZES, tuple("0123456789"))
