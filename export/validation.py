"""Validation samples: spike counts and labels of validation images, for planning without the data set."""

import numpy as np

from sqdr.backends import EncoderBackend
from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.specification import CodingSpec
from sqdr.validation_samples import MAX_VALIDATION_SAMPLES, ValidationSamples

__all__ = ["make_validation"]

# Coded images in memory at a time.
BATCH = 128


def make_validation(encoder: EncoderBackend, images: Images, coding: CodingSpec) -> ValidationSamples | None:
    """Return counts and labels of at most 1,000 images, spread evenly over the set; None without labels.

    Args:
        encoder: of the exported network.
        images: the validation part.
        coding: of the images as spikes.
    """
    if images.labels is None:
        return None
    n = min(len(images), MAX_VALIDATION_SAMPLES)
    # a part may be sorted by class
    chosen = np.arange(n) * len(images) // n
    batches = np.split(images.images[chosen], range(BATCH, n, BATCH))
    counts = np.concatenate([encoder.encode(encode_images(batch, coding)) for batch in batches])
    return ValidationSamples(counts=counts.astype(np.int64), labels=images.labels[chosen])
