"""The spike counts that shots are budgeted on: of images that were named, or those that the bundle holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.inputs import read_input
from sqdr.errors import ConfigError

__all__ = ["Samples", "read_images", "read_samples"]

PIECE = 256


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Spike counts of real images.

    Args:
        source: in words.
        counts: (N, F).
        labels: (N,), or None.
    """

    source: str
    counts: NDArray[np.int64]
    labels: NDArray[np.int64] | None


def read_images(bundle: Bundle, source: str, limit: int | None, data_root: Path | None) -> Images:
    """Return the images that were named, the first ``limit`` of them.

    Raises:
        ConfigError: the limit is below 1.
        DataError: no such images.
    """
    _check_limit(limit)
    return read_input(source, bundle.manifest.model.encoder.input_shape, data_root)[: limit or None]


def read_samples(
    bundle: Bundle, encoder: IntegerEncoder, source: str | None, limit: int | None, data_root: Path | None
) -> Samples:
    """Return the counts of the images that were named, or of the bundle's validation images, or its golden ones.

    Raises:
        ConfigError: the limit is below 1.
        DataError: no such images.
    """
    if source is not None:
        images = read_images(bundle, source, limit, data_root)
        coding = bundle.manifest.model.coding
        starts = range(0, len(images), PIECE)
        counts = [encoder.encode(encode_images(images.images[at : at + PIECE], coding)) for at in starts]
        return Samples(source=source, counts=np.concatenate(counts), labels=images.labels)
    _check_limit(limit)
    stored = bundle.validation()
    if stored is None:
        return Samples(source="golden images in the bundle", counts=bundle.golden().counts[:limit], labels=None)
    n = min(len(stored), limit or len(stored))
    chosen = np.arange(n) * len(stored) // n  # evenly: the samples may be sorted by class
    where = "validation images in the bundle"
    return Samples(source=where, counts=stored.counts[chosen], labels=stored.labels[chosen])


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"`limit` must be at least 1, got {limit}. Leave it out for all images.")
