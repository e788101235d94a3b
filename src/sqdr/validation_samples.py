"""Validation samples: what the encoder counts for validation images, and their labels.

Enough to say how accurate the model is, exactly and against shots, on a machine that has neither the data set nor the
encoder's packages. Validation images and not test images: they served choices in training, so that what is planned
with them leaves the test images alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError
from sqdr.npz import UNREADABLE_ARCHIVE, read_arrays
from sqdr.specification import ModelSpec

__all__ = ["MAX_VALIDATION_BYTES", "MAX_VALIDATION_SAMPLES", "ValidationSamples"]

MAX_VALIDATION_SAMPLES = 1000
# 1,000 samples of 4,000 features are 8 MB.
MAX_VALIDATION_BYTES = 16 << 20
# A count is at most T, which is at most 256: one too many for 8 bits.
DTYPES = {"counts": "<u2", "labels": "<u2"}


@dataclass(frozen=True, kw_only=True)
class ValidationSamples:
    """Spike counts of validation images with their labels.

    Args:
        counts: (n, F) int64, 0..T.
        labels: (n,) int64, 0..K-1.
    """

    counts: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, path: Path) -> None:
        """Write an uncompressed npz."""
        np.savez(path, counts=self.counts.astype(DTYPES["counts"]), labels=self.labels.astype(DTYPES["labels"]))

    @classmethod
    def load(cls, path: Path, spec: ModelSpec) -> "ValidationSamples":
        """Read an npz as `save` writes it; nothing is unpickled, and nothing larger than the file is allocated.

        Args:
            path: the file.
            spec: of the model, which the samples must fit.

        Raises:
            BundleError: unreadable, another set of arrays, or not of this model.
        """
        try:
            arrays = read_arrays(path, DTYPES, MAX_VALIDATION_BYTES)
        except UNREADABLE_ARCHIVE as error:
            raise BundleError(f"{path.name} is not a readable set of validation samples. Export again.") from error
        samples = cls(**{name: values.astype(np.int64) for name, values in arrays.items()})
        samples._check(path.name, spec)
        return samples

    def _check(self, source: str, spec: ModelSpec) -> None:
        n, n_features, n_classes = self.labels.size, spec.head.n_features, spec.head.n_classes
        if not 1 <= n <= MAX_VALIDATION_SAMPLES or (self.counts.shape, self.labels.shape) != ((n, n_features), (n,)):
            raise BundleError(
                f"{source} must hold 1 to {MAX_VALIDATION_SAMPLES} samples of {n_features} counts and a label, got "
                f"{self.counts.shape} and {self.labels.shape}. Export again."
            )
        if self.counts.max() > spec.coding.n_steps or self.labels.max() >= n_classes:
            raise BundleError(
                f"{source} must hold counts up to {spec.coding.n_steps} and labels below {n_classes}, got "
                f"{self.counts.max()} and {self.labels.max()}. Export again."
            )
