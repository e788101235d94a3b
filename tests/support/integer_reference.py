"""The arithmetic of an exported network written out in plain loops, to hold every other form of it against.

Source: lava-nc 0.10.0 lava/proc/lif/models.py, lava/proc/conv/utils.py, lava/proc/dense/models.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.netx import NetxLayer

__all__ = ["reference_states"]

Integers = NDArray[np.int64]


def reference_states(
    layers: Sequence[NetxLayer], spikes: NDArray[np.uint8], *, is_graded: bool = False
) -> list[tuple[Integers, Integers, Integers]]:
    """Return (u, v, spikes) of each conv and dense layer, each (N, ..., T) int64.

    Args:
        layers: of the network.
        spikes: (N, C, H, W, T).
        is_graded: whether input values are payloads; otherwise every value but 0 is a spike.
    """
    x = spikes.astype(np.int64) if is_graded else (spikes != 0).astype(np.int64)
    states = []
    for layer in layers:
        if layer.kind in ("input", "flatten"):
            continue
        sums = _conv(layer, x) if layer.kind == "conv" else _dense(layer, x.reshape(len(x), -1, x.shape[-1]))
        states.append(_cuba(layer, sums))
        x = states[-1][2]
    return states


def _conv(layer: NetxLayer, x: Integers) -> Integers:
    weight = layer.weight
    assert weight is not None
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = layer.stride, layer.padding, layer.dilation
    c_out, per_group, k_h, k_w = weight.shape
    n, _, height, width, n_steps = x.shape
    sums = np.zeros((n, *layer.shape, n_steps), np.int64)
    for c, row, column in np.ndindex(*layer.shape):
        first = c // (c_out // layer.groups) * per_group
        for i, k, m in np.ndindex(per_group, k_h, k_w):
            y, z = row * s_h + k * d_h - p_h, column * s_w + m * d_w - p_w
            if 0 <= y < height and 0 <= z < width:
                sums[:, c, row, column] += weight[c, i, k, m] * x[:, first + i, y, z]
    return (sums + 2**23) % 2**24 - 2**23


def _dense(layer: NetxLayer, x: Integers) -> Integers:
    weight = layer.weight
    assert weight is not None
    delay = np.zeros_like(weight) if layer.delay is None else layer.delay
    if delay.shape != weight.shape:  # one an output, or one an input
        delay = np.broadcast_to(delay[:, None] if len(delay) == len(weight) else delay[None], weight.shape)
    n, _, n_steps = x.shape
    sums = np.zeros((n, len(weight), n_steps), np.int64)
    for (f, i), w in np.ndenumerate(weight):
        d = int(delay[f, i])
        if d < n_steps:
            sums[:, f, d:] += w * x[:, i, : n_steps - d]
    return sums


def _cuba(layer: NetxLayer, sums: Integers) -> tuple[Integers, Integers, Integers]:
    neuron: dict[str, Any] = layer.neuron or {}

    def spread(values: Any) -> Integers:
        array = np.atleast_1d(np.asarray(values, dtype=np.int64))
        return array.reshape(-1, *(1 for _ in sums.shape[2:-1]))

    d_u, d_v, threshold = (spread(neuron[name]) for name in ("iDecay", "vDecay", "vThMant"))
    bias = spread(0 if layer.bias is None else layer.bias)
    u, v = np.zeros(sums.shape[:-1], np.int64), np.zeros(sums.shape[:-1], np.int64)
    found = tuple(np.zeros(sums.shape, np.int64) for _ in range(3))
    for t in range(sums.shape[-1]):
        u = _decayed(u, d_u) + (sums[..., t] << 6)
        u = np.where(u > 2**23, u - 2**24, np.where(u <= -(2**23), u + 2**24, u))
        v = np.clip(_decayed(v, d_v) + u + (bias << 6), -(2**23) + 1, 2**23 - 1)
        fires = v > threshold << 6
        v = np.where(fires, 0, v)
        for values, value in zip(found, (u, v, fires), strict=True):
            values[..., t] = value
    return found[0], found[1], found[2]


def _decayed(state: Integers, decay: Integers) -> Integers:
    return np.sign(state) * (np.abs(state) * (4096 - decay) >> 12)
