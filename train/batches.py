"""Batches of coded images, in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.errors import DataError
from sqdr.specification import CodingSpec

__all__ = ["CodedImages", "batches"]

# Below this the coded set is kept in memory; above it each batch is coded when it is needed.
MAX_KEPT_BYTES = 1 << 30

Batch = tuple[Tensor, Tensor]


class CodedImages(Dataset[Batch]):
    """Spikes (n, C, H, W, T) uint8 and labels (n,) for a list of positions."""

    def __init__(self, images: Images, coding: CodingSpec) -> None:
        if images.labels is None:
            raise DataError("training needs labels. Give a data set that has them.")
        self._images = images.images
        self._coding = coding
        self._labels = torch.from_numpy(images.labels)
        n_bytes = images.images.size * coding.n_steps
        self._kept = encode_images(images.images, coding) if n_bytes <= MAX_KEPT_BYTES else None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, positions: list[int]) -> Batch:
        if self._kept is None:
            spikes = encode_images(self._images[positions], self._coding)
        else:
            spikes = self._kept[positions]
        return torch.from_numpy(spikes), self._labels[positions]


class _EpochBatches(Sampler[list[int]]):
    """Positions of each batch; shuffled anew from (seed, epoch), so that resuming repeats nothing."""

    def __init__(self, n_images: int, batch_size: int, seed: int | None) -> None:
        self._n_images = n_images
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._n_images // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self._n_images)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, self._epoch]).permutation(self._n_images)
        for start in range(0, self._n_images, self._batch_size):
            yield order[start : start + self._batch_size].tolist()


def batches(images: Images, coding: CodingSpec, batch_size: int, seed: int | None = None) -> DataLoader[Batch]:
    """Return a loader of (spikes uint8, labels) batches; shuffled if a seed is given."""
    data = CodedImages(images, coding)
    return DataLoader(data, batch_size=None, sampler=_EpochBatches(len(data), batch_size, seed))
