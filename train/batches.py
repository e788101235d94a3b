"""Batches of coded images, in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sqdr.coding import encode_images, spike_table
from sqdr.data import Images
from sqdr.errors import DataError
from sqdr.specification import CodingSpec
from sqdr.train.ddp.share import WHOLE, Part, Share

__all__ = ["EVALUATION_BATCH", "CodedImages", "EpochBatches", "batches"]

EVALUATION_BATCH = 256

# Below this the coded set is kept in memory; above it each batch is coded when it is needed.
MAX_KEPT_BYTES = 1 << 30

Batch = tuple[Tensor, Tensor]


class CodedImages(Dataset[Batch]):
    """Spikes (n, C, H, W, T) uint8 and labels (n,) for positions (n,), all on one device.

    Images go to the device once; batches are put together there. Only a Bernoulli coding of more than 1 GiB is drawn
    on the CPU, batch by batch.
    """

    def __init__(self, images: Images, coding: CodingSpec, device: str = "cpu") -> None:
        if images.labels is None:
            raise DataError("training needs labels. Give a data set that has them.")
        self._coding = coding
        self._labels = torch.from_numpy(images.labels).to(device)
        self._table: Tensor | None = None
        is_kept = images.images.size * coding.n_steps <= MAX_KEPT_BYTES
        kept = encode_images(images.images, coding) if is_kept else images.images
        self._is_kept = is_kept
        if not is_kept and coding.kind == "bernoulli":
            device = "cpu"
        elif not is_kept:
            self._table = torch.from_numpy(spike_table(coding)).to(device)
        # index_select copies whole images, where indexing takes them element by element
        self._images = torch.from_numpy(np.require(kept, requirements="W")).to(device)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, positions: Tensor) -> Batch:
        chosen = self._images.index_select(0, positions.to(self._images.device))
        if self._table is not None:
            chosen = self._table.index_select(0, chosen.flatten().int()).view(*chosen.shape, -1)
        elif not self._is_kept:
            chosen = torch.from_numpy(encode_images(chosen.numpy(), self._coding)).to(positions.device)
        return chosen, self._labels[positions]


class EpochBatches(Sampler[Tensor]):
    """Positions of each batch; shuffled anew from (seed, epoch), so that resuming repeats nothing."""

    def __init__(self, n_images: int, batch_size: int, seed: int | None, device: str = "cpu") -> None:
        self._n_images = n_images
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._n_images // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = np.arange(self._n_images)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, self._epoch]).permutation(self._n_images)
        yield from torch.split(torch.from_numpy(order).to(self._device), self._batch_size)


class _SharedImages(Dataset[tuple[Tensor, Tensor, Part]]):
    """Of each batch the part that is one process's own: spikes, labels, and which part it is."""

    def __init__(self, images: CodedImages, share: Share) -> None:
        self._images = images
        self._share = share

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, Tensor, Part]:
        part = self._share.of(len(positions))
        return (*self._images[positions[part.rows]], part)


def batches(
    images: Images,
    coding: CodingSpec,
    batch_size: int,
    seed: int | None = None,
    device: str = "cpu",
    share: Share = WHOLE,
) -> DataLoader[Any]:
    """Return a loader of (spikes uint8, labels) batches on a device; shuffled if a seed is given.

    One process of several gets its share of each of the same batches, as (spikes, labels, `Part`).
    """
    data = CodedImages(images, coding, device)
    return DataLoader(
        data if share.n_ranks == 1 else _SharedImages(data, share),
        batch_size=None,
        sampler=EpochBatches(len(data), batch_size, seed, device),
    )
