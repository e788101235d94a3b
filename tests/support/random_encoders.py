"""Random encoders by number: what a training run could export, and some that the export rules must refuse.

A plain generator and no hypothesis strategy, because a comparison of hundreds of networks must say how
many were compared, and each must be found again by its number alone.
"""

from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any

import numpy as np
from integer_reference import reference_states
from numpy.typing import NDArray

from sqdr.netx import NetxLayer
from sqdr.specification import CodingSpec

__all__ = ["RandomEncoder", "random_encoder"]

N_SAMPLES = 6
CUBA = {"type": "CUBA", "refDelay": 1, "gradedSpike": False}
EVEN_RANGE = (-128, 127)
MAX_THRESHOLD = 131071
MAX_BIAS = 4095
LARGE_PAYLOAD = 100
# Thresholds count in units of 2^6 of the voltage.
STATE_SHIFT = 6

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RandomEncoder:
    """A network with input for it.

    Args:
        layers: 1 to 4 convs, then up to 2 dense layers.
        coding: of the input.
        spikes: (N, C, H, W, T): no input, all of it, and in between; at most what ``coding`` sends.
    """

    layers: list[NetxLayer]
    coding: CodingSpec
    spikes: NDArray[np.uint8]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.spikes.shape[1:4]
        return channels, height, width

    @property
    def n_neurons(self) -> int:
        """Of all layers."""
        return sum(prod(layer.shape) for layer in self.layers if layer.weight is not None)


def random_encoder(number: int) -> RandomEncoder:
    """Return encoder ``number``, always the same."""
    rng = np.random.default_rng([20_26, number])
    coding = _coding(rng)
    shape: tuple[int, ...] = (int(rng.integers(1, 4)), int(rng.integers(1, 11)), int(rng.integers(1, 11)))
    spikes = x = _spikes(rng, (N_SAMPLES, *shape), coding)
    layers: list[NetxLayer] = []
    payload = coding.max_payload
    for kind in ["conv"] * rng.integers(1, 5) + ["dense"] * rng.integers(0, 3):
        if kind == "dense" and len(shape) > 1:
            shape = (prod(shape),)
            layers.append(NetxLayer(kind="flatten", shape=shape))
        layer = _conv(rng, shape, payload) if kind == "conv" else _dense(rng, shape[0])
        threshold, x = _threshold(rng, layer, x)
        layers.append(replace(layer, neuron=(layer.neuron or {}) | {"vThMant": threshold}))
        shape, payload = layer.shape, 1
    return RandomEncoder(layers=layers, coding=coding, spikes=spikes)


def _coding(rng: np.random.Generator) -> CodingSpec:
    n_steps = int(rng.choice([1, 2, 3, 32, rng.integers(2, 33)]))
    kind = str(rng.choice(["rate", "bitplane", "weighted_phase", "graded"], p=[0.55, 0.15, 0.1, 0.2]))
    return CodingSpec(kind=kind, n_steps=n_steps, bits=int(rng.choice([1, 2, 3, 4, 8, 8])))  # type: ignore[arg-type]


def _spikes(rng: np.random.Generator, shape: tuple[int, ...], coding: CodingSpec) -> NDArray[np.uint8]:
    """(N, C, H, W, T): nothing, everything, and four samples in between."""
    size = (*shape, coding.n_steps)
    if coding.kind == "weighted_phase":
        values = np.broadcast_to(128 >> (np.arange(coding.n_steps) % 8), size)
    elif coding.kind == "graded":
        values = rng.integers(1, coding.max_payload + 1, size)
        values[1] = coding.max_payload
    else:
        values = np.ones(size, np.int64)
    rate = np.array([0, 1, 0.03, 0.2, 0.5, 0.9]).reshape(-1, *(1,) * (len(size) - 1))
    return np.where(rng.random(size) < rate, values, 0).astype(np.uint8)


def _conv(rng: np.random.Generator, shape: tuple[int, ...], payload: int) -> NetxLayer:
    channels = int(rng.integers(1, 7))
    divisors = [g for g in range(1, 7) if gcd(shape[0], channels) % g == 0]
    groups = int(rng.choice(divisors))
    kernel, stride, padding, dilation = np.array([_axis(rng, size) for size in shape[1:]]).T.tolist()
    sides = [
        (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis, size in enumerate(shape[1:])
    ]
    weight = _weight(rng, (channels, shape[0] // groups, *kernel), payload)
    return NetxLayer(
        kind="conv",
        shape=(channels, *sides),
        weight=weight,
        bias=_bias(rng, channels),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
        neuron=_neuron(rng, channels),
    )


def _axis(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation along one axis, whose kernel fits."""
    padding = int(rng.choice([0, 0, 1, 2, 3]))
    kernel = int(rng.integers(1, min(5, size + 2 * padding) + 1))
    room = (size + 2 * padding - 1) // max(1, kernel - 1)
    return kernel, int(rng.integers(1, 4)), padding, int(rng.integers(1, max(1, min(3, room)) + 1))


def _dense(rng: np.random.Generator, n_inputs: int) -> NetxLayer:
    n_outputs = int(rng.integers(1, 10))
    weight = _weight(rng, (n_outputs, n_inputs), 1)
    return NetxLayer(
        kind="dense",
        shape=(n_outputs,),
        weight=weight,
        bias=_bias(rng, n_outputs),
        neuron=_neuron(rng, n_outputs),
    )


def _weight(rng: np.random.Generator, size: tuple[int, ...], payload: int) -> Integers:
    """Even integers in [-256, 254] of one of many manners; mostly small for large payloads, or most are refused."""
    low, high = EVEN_RANGE
    manner = rng.choice(
        ["any", "small", "ends", "sparse", "positive", "negative", "constant"],
        p=[0.4, 0.1, 0.15, 0.15, 0.1, 0.05, 0.05],
    )
    if manner == "small" or (payload >= LARGE_PAYLOAD and rng.random() < 0.6):
        low, high = -4, 5
    elif manner == "positive":
        low = 0
    elif manner == "negative":
        high = 0 if rng.random() < 0.5 else 2
    weight = rng.integers(low, high + 1, size)
    if manner == "ends":
        weight = np.where(rng.random(size) < 0.5, low, high)
    elif manner == "sparse":
        weight[rng.random(size) < 0.9] = 0
    elif manner == "constant":
        weight[...] = rng.integers(low, high + 1)
    if not weight.any() and rng.random() < 0.8:
        weight.flat[-1] = low
    return (2 * weight).astype(np.int64)


def _bias(rng: np.random.Generator, channels: int) -> Integers | None:
    largest = int(rng.choice([0, 0, 5, 300, MAX_BIAS]))
    return rng.integers(-largest, largest + 1, channels) if largest else None


def _neuron(rng: np.random.Generator, channels: int) -> dict[str, Any]:
    return CUBA | {
        "iDecay": _decay(rng, 1, channels, [4096, 4096, 4095, 2048, 500, 1]),
        "vDecay": _decay(rng, 0, channels, [410, 410, 1000, 2048, 0, 4096]),
        "vThMant": MAX_THRESHOLD,
    }


def _decay(rng: np.random.Generator, low: int, channels: int, usual: list[int]) -> int | list[int]:
    if rng.random() < 0.25:
        return [int(value) for value in rng.integers(low, 4097, channels)]
    return int(rng.choice([*usual, rng.integers(low, 4097)]))


def _threshold(rng: np.random.Generator, layer: NetxLayer, x: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
    """Return a threshold at which the neurons spike now and then, or in one case of ten any, and about which do."""
    _, voltage, _ = reference_states([layer], x, is_graded=True)[0]
    reached = voltage[voltage > 0] >> STATE_SHIFT
    threshold = 2 ** rng.uniform(0, 17)
    if reached.size and rng.random() < 0.9:
        threshold = np.quantile(reached, rng.uniform(0, 0.8))
    mantissa = int(np.clip(threshold, 1, MAX_THRESHOLD))
    return mantissa, (voltage > mantissa << STATE_SHIFT).astype(np.uint8)  # as without any reset
