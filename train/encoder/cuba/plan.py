"""What `layer.c` needs to know of each layer: sizes, constants, and which places of its two sides meet."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.train.encoder.cuba.blocks import CubaDense
from sqdr.train.encoder.cuba.path import DECAY_UNITY, Convolution, NeuronConstants

__all__ = ["Layer", "Plan"]

_INT64, _UINT32, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_uint32, ctypes.c_float, ctypes.c_void_p


class _Dynamics(ctypes.Structure):
    """``dynamics`` of layer.c."""

    _fields_ = (
        *((name, _FLOAT) for name in ("scale", "unit", "integer_threshold")),
        *((name, _UINT32) for name in ("integer_keep_current", "integer_keep_voltage")),
        *((name, _FLOAT) for name in ("keep_current", "keep_voltage", "threshold", "per_tau", "height")),
    )

    @classmethod
    def of(cls, neuron: Any) -> "_Dynamics":
        constants = NeuronConstants.of(neuron)
        keep_current, keep_voltage = DECAY_UNITY - constants.current_decay, DECAY_UNITY - constants.voltage_decay
        return cls(
            constants.scale,
            1 / constants.scale,
            constants.threshold * constants.scale,
            keep_current,
            keep_voltage,
            keep_current / DECAY_UNITY,
            keep_voltage / DECAY_UNITY,
            constants.threshold,
            1 / constants.tau,
            constants.height,
        )


class _Meetings(ctypes.Structure):
    """``meetings`` of layer.c."""

    _fields_ = tuple((name, _POINTER) for name in ("start", "element", "place"))


class Layer(ctypes.Structure):
    """``layer`` of layer.c."""

    _fields_ = (
        *((name, _INT64) for name in ("n_steps", "in_channels", "out_channels", "groups")),
        *((name, _INT64) for name in ("in_places", "out_places", "elements")),
        ("inputs", _Meetings),
        ("outputs", _Meetings),
        ("neuron", _Dynamics),
        *((name, _FLOAT) for name in ("step", "lowest", "highest")),
        *((name, _POINTER) for name in ("weight", "of_weight")),
    )


@dataclass(frozen=True, eq=False)
class Plan:
    """What one layer computes with, whatever the batch.

    Args:
        in_shape: (C, H, W) or (F,).
        out_shape: likewise.
        sizes: of `Layer`, without steps and samples.
        inputs: the meetings of each output place, as (start, element, place).
        outputs: the meetings of each input place.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    sizes: tuple[int, ...]
    inputs: tuple[NDArray[np.int32], ...]
    outputs: tuple[NDArray[np.int32], ...]

    @classmethod
    def of(cls, synapse: Any, in_shape: tuple[int, ...]) -> "Plan":
        """Return that of a SLAYER synapse; a dense one is a convolution whose kernel is the whole image."""
        is_dense = isinstance(synapse, CubaDense)
        size = in_shape[1:] or (1, 1)
        kernel, convolution = size, Convolution()
        if not is_dense:
            kernel = synapse.kernel_size[:2]
            convolution = Convolution(
                stride=synapse.stride[:2], padding=synapse.padding[:2], dilation=synapse.dilation[:2]
            )
        (y_out, y_element, y_in), height = _meet(size, kernel, convolution, 0)
        (x_out, x_element, x_in), width = _meet(size, kernel, convolution, 1)
        out = (y_out[:, None] * width + x_out).ravel()
        element = (y_element[:, None] * kernel[1] + x_element).ravel()
        place = (y_in[:, None] * size[1] + x_in).ravel()
        channels = synapse.out_channels
        places = size[0] * size[1]
        return cls(
            in_shape=in_shape,
            out_shape=(channels,) if is_dense else (channels, height, width),
            sizes=(in_shape[0], channels, synapse.groups, places, height * width, kernel[0] * kernel[1]),
            inputs=_by_place(out, element, place, height * width),
            outputs=_by_place(place, element, out, places),
        )

    def layer(self, neuron: Any, n_steps: int) -> Layer:
        """Return what C reads, which is good as long as this plan is; its weights are still missing."""
        meetings = (_pointers(self.inputs), _pointers(self.outputs))
        # as SLAYER's quantize_8bit
        quantisation = (2 / neuron.w_scale, -256 / neuron.w_scale, 254 / neuron.w_scale)
        return Layer(n_steps, *self.sizes, *meetings, _Dynamics.of(neuron), *quantisation)


def _meet(
    size: tuple[int, ...], kernel: tuple[int, ...], convolution: Convolution, axis: int
) -> tuple[tuple[NDArray[np.int64], ...], int]:
    """Along one axis: output places, kernel elements and input places that meet, and the number of outputs."""
    stride, padding, dilation = convolution.stride[axis], convolution.padding[axis], convolution.dilation[axis]
    n_out = (size[axis] + 2 * padding - dilation * (kernel[axis] - 1) - 1) // stride + 1
    out, element = (grid.ravel() for grid in np.mgrid[:n_out, : kernel[axis]])
    place = out * stride - padding + element * dilation
    is_inside = (place >= 0) & (place < size[axis])
    return (out[is_inside], element[is_inside], place[is_inside]), n_out


def _by_place(
    here: NDArray[np.int64], element: NDArray[np.int64], there: NDArray[np.int64], n_places: int
) -> tuple[NDArray[np.int32], ...]:
    order = np.argsort(here, kind="stable")
    start = np.searchsorted(here[order], np.arange(n_places + 1))
    return tuple(np.ascontiguousarray(values, np.int32) for values in (start, element[order], there[order]))


def _pointers(meetings: Sequence[NDArray[np.int32]]) -> _Meetings:
    return _Meetings(*(values.ctypes.data for values in meetings))
