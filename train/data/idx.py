"""Read IDX files, the format of MNIST: a typed array with its shape in front, plain or gzipped.

Source: yann.lecun.com/exdb/mnist, "the IDX file format".
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import DataError

__all__ = ["find_idx", "read_idx"]

UNSIGNED_BYTE = 0x08
MAX_BYTES = 1 << 30


def find_idx(folders: list[Path], name: str) -> Path:
    """Return the file ``name`` or ``name.gz`` in the first folder that has it.

    Raises:
        DataError: none has it; says which file goes where.
    """
    for folder in folders:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise DataError(
        f"data file {name} (or {name}.gz) is missing. Put it into {folders[0]}, or name its folder with "
        "--data-root or SQDR_DATA_DIR."
    )


def read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes.

    Args:
        path: plain or ``.gz``.
        n_axes: how many axes it must have.

    Raises:
        DataError: not IDX, another type, another number of axes, or truncated.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read or is truncated. Download it again.") from error
    header = 4 + 4 * n_axes
    if len(content) > MAX_BYTES or len(content) < header:
        raise DataError(f"{path} is not an IDX file of a sensible size. Download it again.")
    zeros, kind, found_axes = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != UNSIGNED_BYTE or found_axes != n_axes:
        raise DataError(f"{path} is not an IDX file of bytes with {n_axes} axes. Is it the right file?")
    shape = struct.unpack(f">{n_axes}I", content[4:header])
    values = np.frombuffer(content, dtype=np.uint8, offset=header)
    expected = 1
    for size in shape:
        expected *= size
    if expected != values.size:
        raise DataError(f"{path} holds {values.size} values but its header says {shape}. Download it again.")
    return values.reshape(shape)
