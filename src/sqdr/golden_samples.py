"""Golden samples: a few images with what the trained model made of them, to check every backend against."""

import re
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.archive import UNREADABLE_ARCHIVE, open_archive
from sqdr.errors import BundleError
from sqdr.specification import ModelSpec

__all__ = ["MAX_GOLDEN_BYTES", "Golden"]

# A few samples: 8 images of 3 x 1,024 x 1,024 are 24 MiB. Reading takes at most twice as much memory.
MAX_GOLDEN_BYTES = 128 << 20
# One array, as NumPy writes it: version 1.0, then a dictionary in this order (numpy.lib.format). Matched and not
# evaluated, so that no text of the file is ever parsed as Python.
MAGIC = b"\x93NUMPY\x01\x00"
LENGTH_BYTES = 2
MAX_HEADER_BYTES = 1024
HEADER = re.compile(
    r"\{'descr': '([|<][a-z]\d)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,9}, ?){0,4}\d{0,9})\), \} *\n"
)
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
            n_bytes = path.stat().st_size
            if n_bytes > MAX_GOLDEN_BYTES:
                raise ValueError("too large")
            with open_archive(path) as archive:
                if sorted(archive.namelist()) != sorted(f"{name}.npy" for name in DTYPES):
                    raise ValueError("other arrays")
                if sum(info.compress_size for info in archive.infolist()) > n_bytes:
                    raise ValueError("arrays larger than the file")
                golden = cls(**{name: _array(archive, name, dtype) for name, dtype in DTYPES.items()})
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


def _array(archive: zipfile.ZipFile, name: str, dtype: str) -> NDArray[Any]:
    """Read one array; what its header declares must be what is stored."""
    info = archive.getinfo(f"{name}.npy")
    # stored and not deflated: so no array is larger than the file
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError("compressed")
    with archive.open(info) as member:
        if member.read(len(MAGIC)) != MAGIC:
            raise ValueError("another version of npy")
        n_header = int.from_bytes(member.read(LENGTH_BYTES), "little")
        header = HEADER.fullmatch(member.read(min(n_header, MAX_HEADER_BYTES)).decode("ascii"))
        if header is None or header[1] != dtype:
            raise ValueError("another header")
        shape = tuple(int(size) for size in header[3].replace(",", " ").split())
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        if n_bytes != info.file_size - len(MAGIC) - LENGTH_BYTES - n_header:
            raise ValueError("another size")
        values = np.frombuffer(bytearray(member.read()), dtype)
    return values.reshape(shape, order="F" if header[2] == "True" else "C")
