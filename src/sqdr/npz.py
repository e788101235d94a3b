"""Read an npz of a few known arrays: nothing is unpickled or evaluated, nothing larger than the file allocated."""

import re
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.archive import UNREADABLE_ARCHIVE, open_archive

__all__ = ["UNREADABLE_ARCHIVE", "read_arrays"]

# One array, as NumPy writes it: version 1.0, then a dictionary in this order (numpy.lib.format). Matched and not
# evaluated, so that no text of the file is ever parsed as Python.
MAGIC = b"\x93NUMPY\x01\x00"
LENGTH_BYTES = 2
MAX_HEADER_BYTES = 1024
HEADER = re.compile(
    r"\{'descr': '([|<][a-z]\d)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,9}, ?){0,4}\d{0,9})\), \} *\n"
)


def read_arrays(path: Path, dtypes: dict[str, str], max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz as ``numpy.savez`` writes it.

    Args:
        path: the file.
        dtypes: the name of each array that it must have, and no other, with its type such as ``<f8``.
        max_bytes: the largest file to read; reading takes at most twice as much memory.

    Raises:
        Exception: one of ``UNREADABLE_ARCHIVE``; the file is damaged, too large, or holds other arrays.
    """
    n_bytes = path.stat().st_size
    if n_bytes > max_bytes:
        raise ValueError("too large")
    with open_archive(path) as archive:
        if sorted(archive.namelist()) != sorted(f"{name}.npy" for name in dtypes):
            raise ValueError("other arrays")
        if sum(info.compress_size for info in archive.infolist()) > n_bytes:
            raise ValueError("arrays larger than the file")
        return {name: _array(archive, name, dtype) for name, dtype in dtypes.items()}


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
