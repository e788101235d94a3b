"""Synaptic sums in ONNX: weights as unsigned bytes, sums in 32-bit integers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.export.onnx_graph import OnnxGraph
from sqdr.export.onnx_layers import STATE_SCALE

__all__ = ["add_synapse", "byte_digits", "common_factor"]

# Weights are stored as unsigned bytes around this zero: ONNX Runtime's convolution takes no signed
# ones, and its matrix products of signed weights saturate on CPUs without VNNI.
ZERO_POINT = 128
BASE = 256
# The weights that sqdr trains are even; more than this is never gained.
MAX_FACTOR = 64

Integers = NDArray[np.int64]


def add_synapse(graph: OnnxGraph, layer: IntegerLayer, spikes: str, n_steps: int) -> tuple[str, int]:
    """Append a layer's synapses, over all time steps at once.

    Args:
        graph: to grow.
        layer: whose synapses.
        spikes: name of the input, (T, n, C, H, W) or (T, n, F) uint8.
        n_steps: T.

    Returns:
        The name of the sums, (T, n, *shape) int32, and what 1 in them is in units of the state.
    """
    factor = common_factor(layer.weight)
    weight = layer.weight // factor
    if layer.is_conv:
        merged = graph.reshape(spikes, (-1, *layer.in_shape))  # steps are so many more samples
        sums = graph.reshape(_add_sums(graph, merged, weight, layer), (n_steps, -1, *layer.shape))
    else:
        flat = graph.reshape(spikes, (n_steps, -1, *layer.in_shape))
        sums = _add_dense(graph, flat, weight, layer, n_steps)
    return sums, factor * STATE_SCALE


def common_factor(weight: Integers) -> int:
    """Return the largest power of two, up to 64, that divides every weight."""
    factor = MAX_FACTOR
    while (weight % factor).any():
        factor //= 2
    return factor


def byte_digits(weight: Integers) -> list[Integers]:
    """Return digits in -128..127 with weight = sum(digit[k] * 256^k); at least one."""
    digits: list[Integers] = []
    while weight.any() or not digits:
        digits.append((weight + ZERO_POINT) % BASE - ZERO_POINT)
        weight = (weight - digits[-1]) // BASE
    return digits


def _add_dense(graph: OnnxGraph, source: str, weight: Integers, layer: IntegerLayer, n_steps: int) -> str:
    if layer.delay is None:
        return _add_sums(graph, source, weight, layer)
    arrives = layer.delay < n_steps  # what would arrive after the last step is lost
    weight, delays = np.where(arrives, weight, 0), np.where(arrives, layer.delay, 0)
    total = ""
    for delay in np.unique(delays):
        sums = _add_sums(graph, source, np.where(delays == delay, weight, 0), layer)
        if delay:
            sums = graph.slice(sums, 0, n_steps - int(delay), axis=0)
            pads = graph.constant(np.array([delay, 0, 0, 0, 0, 0]))
            sums = graph.add("Pad", sums, pads, graph.constant(np.int32(0)))
        total = graph.add("Add", total, sums) if total else sums
    return total


def _add_sums(graph: OnnxGraph, source: str, weight: Integers, layer: IntegerLayer) -> str:
    total = ""
    for power, digit in enumerate(byte_digits(weight)):
        stored = (digit if layer.is_conv else digit.T) + ZERO_POINT
        zeros = (graph.constant(np.uint8(0)), graph.constant(np.uint8(ZERO_POINT)))
        operands = (source, graph.constant(stored.astype(np.uint8)), *zeros)
        if layer.is_conv:
            sums = graph.add("ConvInteger", *operands, **_conv_attributes(layer))
        else:
            sums = graph.add("MatMulInteger", *operands)
        if power:
            sums = graph.add("Mul", sums, graph.constant(np.int32(BASE**power)))
        total = graph.add("Add", total, sums) if power else sums
    return total


def _conv_attributes(layer: IntegerLayer) -> dict[str, Any]:
    return {
        "kernel_shape": layer.weight.shape[2:],
        "strides": layer.stride,
        "pads": (*layer.padding, *layer.padding),
        "dilations": layer.dilation,
        "group": layer.groups,
    }
