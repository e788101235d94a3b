"""What a data set is: labelled 8-bit images in three separate parts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import DataError

__all__ = ["DataSplits", "Images", "SplitName"]

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images.

    Args:
        images: (N, C, H, W) uint8, 0..255.
        labels: (N,) int64, 0..K-1, or None when unknown.
        sample_ids: N names, unique within the set.
        left_out: names of files of the set that could not be read.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    sample_ids: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice) -> "Images":
        return Images(
            images=self.images[index],
            labels=None if self.labels is None else self.labels[index],
            sample_ids=self.sample_ids[index],
            left_out=self.left_out,
        )


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """A data set in three parts that share no image.

    ``validation`` serves every choice (stopping, which checkpoint, which setting); ``test`` is
    reported once. ``left_out`` names files of any part that could not be read.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    class_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def part(self, name: str) -> Images:
        """Return one part by name.

        Raises:
            DataError: no such part.
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in parts:
            raise DataError(f"`split` must be one of {', '.join(parts)}, got '{name}'.")
        return parts[name]
