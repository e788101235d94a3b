"""Golden samples: a few images with what the trained model made of them, to check every backend against."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError
from sqdr.npz import UNREADABLE_ARCHIVE, read_arrays
from sqdr.specification import ModelSpec

__all__ = ["MAX_GOLDEN_BYTES", "Golden"]

# A few samples: 8 images of 3 x 1,024 x 1,024 are 24 MiB. Reading takes at most twice as much memory.
MAX_GOLDEN_BYTES = 128 << 20
DTYPES = {"images": "|u1", "spike_trains": "|u1", "counts": "<i8", "expectations": "<f8", "logits": "<f8"}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Samples with what the trained model made of them.

    Args:
        images: (n, C, H, W) uint8.
        spike_trains: (n, F, T) uint8, the trained SLAYER encoder's output.
        counts: (n, F) int64.
        expectations: (n, n_qubits) float64.
        logits: (n, K) float64.
    """

    images: NDArray[np.uint8]
    spike_trains: NDArray[np.uint8]
    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write an uncompressed npz."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path, spec: ModelSpec | None = None) -> "Golden":
        """Read an npz as `save` writes it; nothing is unpickled, and nothing larger than the file is allocated.

        Args:
            path: the file.
            spec: of the model, which the samples must then fit.

        Raises:
            BundleError: unreadable, another set of arrays, or not of this model.
        """
        try:
            golden = cls(**read_arrays(path, DTYPES, MAX_GOLDEN_BYTES))
        except UNREADABLE_ARCHIVE as error:
            raise BundleError(f"{path.name} is not a readable set of golden samples. Export again.") from error
        if spec is not None:
            golden._check(path.name, spec)
        return golden

    def _check(self, source: str, spec: ModelSpec) -> None:
        n, n_features = len(self.images), spec.head.n_features
        expected: dict[str, tuple[int, ...]] = {
            "images": (n, *spec.encoder.input_shape),
            "spike_trains": (n, n_features, spec.coding.n_steps),
            "counts": (n, n_features),
            "expectations": (n, spec.head.n_qubits),
            "logits": (n, spec.head.n_classes),
        }
        found = {name: value.shape for name, value in vars(self).items()}
        if n == 0 or found != expected:
            raise BundleError(f"{source} must hold samples of shapes {expected}, got {found}. Export again.")
        if self.spike_trains.max() > 1:
            raise BundleError(f"{source} holds spikes that are not 0 or 1. Export again.")
        if not (np.isfinite(self.expectations).all() and np.isfinite(self.logits).all()):
            raise BundleError(f"{source} holds values that are not finite. Train and export again.")
