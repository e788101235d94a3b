"""Synaptic sums of a batch of spikes, batch last, as matrix products in float32.

Every product and partial sum is a multiple of 64 below 2^30, which float32 holds exactly, so the
order of the additions does not matter and BLAS may choose it.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.neuron import ACTIVATION_SHIFT

__all__ = ["MAX_SUM", "ConvSynapse", "DelayedDenseSynapse", "DenseSynapse", "conv_shape"]

# Multiples of 64 below 64 times this are exact in float32, in which SLAYER sums, too.
MAX_SUM = 1 << 24
# A convolution's sum wraps around 24 bits in Lava before it reaches the neuron.
WRAP = 1 << 24

Float32s = NDArray[np.float32]


def conv_shape(
    in_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int]:
    """Return the (C, H, W) that a convolution makes of (C, H, W); a size below 1 means that it does not fit."""
    sizes = [
        (in_shape[axis + 1] + 2 * padding[axis] - dilation[axis] * (weight_shape[axis + 2] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    ]
    return weight_shape[0], sizes[0], sizes[1]


def _scaled(weight: NDArray[np.int64]) -> Float32s:
    return np.ascontiguousarray(weight << ACTIVATION_SHIFT, dtype=np.float32)


class ConvSynapse:
    """A convolution for ``n_samples`` samples.

    Args:
        weight: (C_out, C_in / groups, kH, kW).
        in_shape: (C, H, W).
        stride: (H, W), as are padding and dilation.
        padding: zeros around the input.
        dilation: distance of the kernel's taps.
        groups: of channels.
        n_samples: B.
        may_wrap: whether a sum can reach 2^23.
    """

    def __init__(
        self,
        weight: NDArray[np.int64],
        in_shape: tuple[int, ...],
        *,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        n_samples: int,
        may_wrap: bool,
    ) -> None:
        channels, height, width = in_shape
        out_channels, per_group, k_h, k_w = weight.shape
        _, out_h, out_w = conv_shape(in_shape, weight.shape, stride, padding, dilation)
        self._may_wrap = may_wrap
        self._weight = _scaled(weight).reshape(groups, out_channels // groups, per_group * k_h * k_w)
        padded = np.zeros((channels, height + 2 * padding[0], width + 2 * padding[1], n_samples), np.float32)
        self._padded = padded
        # where the caller writes the input
        self.inputs = padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        of_channel, of_row, of_column, of_sample = padded.strides
        self._windows = as_strided(  # (C, kH, kW, out_h, out_w, B): every tap's view of the input
            padded,
            (channels, k_h, k_w, out_h, out_w, n_samples),
            (
                of_channel,
                dilation[0] * of_row,
                dilation[1] * of_column,
                stride[0] * of_row,
                stride[1] * of_column,
                of_sample,
            ),
            writeable=False,
        )
        self._columns = np.empty(self._windows.shape, np.float32)
        flat = self._columns.reshape(groups, per_group * k_h * k_w, out_h * out_w * n_samples)
        self._flat_columns = flat
        out = np.empty((groups, out_channels // groups, out_h * out_w * n_samples), np.float32)
        self._out = out
        self._drive = out.reshape(out_channels, out_h, out_w, n_samples)

    def drive(self) -> Float32s:
        """Return 64 times the sums, (C, H, W, B), of what is in ``inputs``; valid until the next call."""
        np.copyto(self._columns, self._windows)
        for weight, columns, out in zip(self._weight, self._flat_columns, self._out, strict=True):
            np.matmul(weight, columns, out=out)
        if self._may_wrap:
            _wrap_sums(self._drive)
        return self._drive

    def reset(self) -> None:
        """Nothing is kept between samples."""


class DenseSynapse:
    """A full connection for ``n_samples`` samples.

    Args:
        weight: (F, inputs).
        n_samples: B.
    """

    def __init__(self, weight: NDArray[np.int64], n_samples: int) -> None:
        self._weight = _scaled(weight)
        self.inputs = np.zeros((weight.shape[1], n_samples), np.float32)
        self._drive = np.empty((weight.shape[0], n_samples), np.float32)

    def drive(self) -> Float32s:
        """Return 64 times the sums, (F, B), of what is in ``inputs``; valid until the next call."""
        return np.matmul(self._weight, self.inputs, out=self._drive)

    def reset(self) -> None:
        """Nothing is kept between samples."""


class DelayedDenseSynapse:
    """A full connection whose spikes arrive some steps later.

    Source: lava-nc 0.10.0, lava/proc/dense/models.py, PyDelayDenseModelBitAcc. There the line of
    pending sums outlives a sample; here, as in SLAYER, each sample starts with an empty one.

    Args:
        weight: (F, inputs).
        delay: (F, inputs) steps.
        n_samples: B.
    """

    def __init__(self, weight: NDArray[np.int64], delay: NDArray[np.int64], n_samples: int) -> None:
        self._by_delay = [(int(k), _scaled(np.where(delay == k, weight, 0))) for k in np.unique(delay)]
        self.inputs = np.zeros((weight.shape[1], n_samples), np.float32)
        self._line = np.zeros((int(delay.max()) + 1, weight.shape[0], n_samples), np.float32)
        self._now = 0
        self._drive = np.empty((weight.shape[0], n_samples), np.float32)

    def drive(self) -> Float32s:
        """Return 64 times the sums that arrive at this step, (F, B); valid until the next call."""
        for k, weight in self._by_delay:
            self._line[(self._now + k) % len(self._line)] += weight @ self.inputs
        arrived = self._line[self._now]
        self._drive[...] = arrived
        arrived.fill(0)
        self._now = (self._now + 1) % len(self._line)
        return self._drive

    def reset(self) -> None:
        """Empty the line of pending sums."""
        self._line.fill(0)
        self._now = 0


def _wrap_sums(drive: Float32s) -> None:
    """Wrap sums around 24 bits, as lava/proc/conv/utils.py signed_clamp does."""
    sums = drive.astype(np.int64) >> ACTIVATION_SHIFT
    drive[...] = (((sums + WRAP // 2) % WRAP) - WRAP // 2) << ACTIVATION_SHIFT
