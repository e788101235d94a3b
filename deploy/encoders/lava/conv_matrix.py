"""A Lava convolution as one sparse matrix: the same integer sums without a loop over channels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["conv_matrix"]

Pair = tuple[int, int]


def conv_matrix(
    weight: NDArray[Any],
    in_shape: tuple[int, int, int],
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Return the convolution as a `scipy.sparse.csr_matrix` (out W * H * C, in W * H * C) of int64.

    Args:
        weight: (C_out, W, H, C_in / groups) integers, flipped along W and H as Lava keeps them.
        in_shape: (W, H, C).
        stride: (W, H), as are padding and dilation.
        padding: zeros around the input.
        dilation: distance of the kernel's taps.
        groups: of channels.

    Source: lava-nc 0.10.0, lava/proc/conv/utils.py conv and output_shape.
    """
    from scipy.sparse import coo_matrix  # comes with lava-nc

    sides = [
        (size + 2 * pad - step * (kernel - 1) - 1) // move + 1
        for size, kernel, pad, step, move in zip(
            in_shape[:2], weight.shape[1:3], padding, dilation, stride, strict=True
        )
    ]
    out_shape = (sides[0], sides[1], groups, len(weight) // groups, 1)
    sources = _source_indices(in_shape, padding).reshape(*_padded(in_shape, padding), groups, 1, -1)
    targets = np.arange(int(np.prod(out_shape))).reshape(out_shape)
    rows, columns, values = [], [], []
    for tap in np.ndindex(*weight.shape[1:3]):
        start = [tap[axis] * dilation[axis] for axis in (0, 1)]
        reached = tuple(slice(start[a], start[a] + (sides[a] - 1) * stride[a] + 1, stride[a]) for a in (0, 1))
        flipped = weight[:, weight.shape[1] - 1 - tap[0], weight.shape[2] - 1 - tap[1]]  # (C_out, C_in / groups)
        of_tap = np.broadcast_arrays(targets, sources[reached], flipped.reshape(groups, -1, flipped.shape[1]))
        row, column, value = (part.reshape(-1) for part in of_tap)
        used = (column >= 0) & (value != 0)
        rows.append(row[used])
        columns.append(column[used])
        values.append(value[used].astype(np.int64))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(entries, shape=(targets.size, int(np.prod(in_shape)))).tocsr()


def _source_indices(in_shape: tuple[int, int, int], padding: Pair) -> NDArray[np.int64]:
    """Return each input's place in the flat input, (W, H, C) with the padding, where it is -1."""
    indices = np.full((*_padded(in_shape, padding), in_shape[2]), -1)
    inside = tuple(slice(pad, pad + size) for pad, size in zip(padding, in_shape, strict=False))
    indices[inside] = np.arange(int(np.prod(in_shape))).reshape(in_shape)
    return indices


def _padded(in_shape: tuple[int, int, int], padding: Pair) -> Pair:
    return in_shape[0] + 2 * padding[0], in_shape[1] + 2 * padding[1]
