"""MNIST, Fashion-MNIST, KMNIST and CIFAR-10 through torchvision, downloaded once where there is a network.

The official test part is the test part; the last tenth of the official training part validates.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sqdr.data import DataSplits, Images
from sqdr.errors import DataError
from sqdr.plugins import missing
from sqdr.train.data.split import data_root, images_from

__all__ = ["load_cifar10", "load_fashion_mnist", "load_kmnist", "load_mnist"]

IDX_FILES = (
    "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)


def load_mnist(root: Path | None = None) -> DataSplits:
    """Return MNIST in 54,000 / 6,000 / 10,000 images of (1, 28, 28)."""
    return _load("mnist", "MNIST", f"{IDX_FILES} into", "MNIST/raw", root)


def load_fashion_mnist(root: Path | None = None) -> DataSplits:
    """Return Fashion-MNIST in 54,000 / 6,000 / 10,000 images of (1, 28, 28)."""
    return _load("fashion_mnist", "FashionMNIST", f"{IDX_FILES} into", "FashionMNIST/raw", root)


def load_kmnist(root: Path | None = None) -> DataSplits:
    """Return KMNIST in 54,000 / 6,000 / 10,000 images of (1, 28, 28)."""
    return _load("kmnist", "KMNIST", f"{IDX_FILES} into", "KMNIST/raw", root)


def load_cifar10(root: Path | None = None) -> DataSplits:
    """Return CIFAR-10 in 45,000 / 5,000 / 10,000 images of (3, 32, 32)."""
    return _load("cifar10", "CIFAR10", "cifar-10-python.tar.gz into", "", root)


def _load(name: str, class_name: str, files: str, folder: str, root: Path | None) -> DataSplits:
    try:
        from torchvision import datasets
    except ImportError as error:
        raise missing(error, f"data set '{name}'") from error
    base = data_root(root)
    factory = getattr(datasets, class_name)
    try:
        parts = [_read(factory, base, is_train) for is_train in (True, False)]
    # torchvision raises a different error for every way in which files or the network are missing
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        where = base / folder if folder else base
        raise DataError(
            f"data set '{name}' is not in {base} and could not be downloaded: put {files} {where}, or name "
            "another folder with --data-root or SQDR_DATA_DIR."
        ) from error
    (images, labels, names), (test_images, test_labels, _) = parts
    cut = len(images) - len(images) // 10
    return DataSplits(
        name=name,
        train=images_from(f"{name}/train", images, labels, np.arange(cut)),
        validation=images_from(f"{name}/train", images, labels, np.arange(cut, len(images))),
        test=_all(f"{name}/test", test_images, test_labels),
        class_names=names,
    )


def _all(name: str, images: Any, labels: Any) -> Images:
    return images_from(name, images, labels, np.arange(len(images)))


def _read(factory: Any, base: Path, is_train: bool) -> tuple[Any, Any, tuple[str, ...]]:
    """Return images (N, C, H, W) uint8, labels (N,) and class names."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = factory(str(base), train=is_train, download=False)
        except RuntimeError:
            data = factory(str(base), train=is_train, download=True)
    images = np.asarray(data.data, dtype=np.uint8)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)  # NHWC -> NCHW
    return images, np.asarray(data.targets), tuple(str(name) for name in data.classes)
