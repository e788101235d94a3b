"""Random networks for tests, drawn by hypothesis: every shape and parameter that netx honours."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.netx import NetxLayer

__all__ = ["RandomNetwork", "random_networks"]

# Lava's own convolution is exact below.
SUM_LIMIT = 1 << 24


@dataclass(frozen=True, kw_only=True)
class RandomNetwork:
    """A network with input for it.

    Args:
        layers: of the network.
        spikes: (N, C, H, W, T).
        message_bits: 8 where the spikes carry payloads up to 255, else 0.
    """

    layers: list[NetxLayer]
    spikes: NDArray[np.uint8]
    message_bits: int


@st.composite
def random_networks(draw: st.DrawFn, *, has_delays: bool = True, has_big_weights: bool = True) -> RandomNetwork:
    """Draw a stack of up to three convs and two dense layers, T 1 to 16, with input for 1 to 4 samples."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape: tuple[int, ...] = draw(st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8)))
    n_steps = draw(st.integers(1, 16))
    message_bits = draw(st.sampled_from([0, 0, 8]))
    n_convs = draw(st.integers(0, 3))
    n_dense = draw(st.integers(0 if n_convs else 1, 2))
    payload = 255 if message_bits else 1
    largest = draw(st.sampled_from([8, 127, 254, 254, 1_000, 100_000] if has_big_weights else [8, 127, 254]))
    input_shape, layers = shape, list[NetxLayer]()
    for _ in range(n_convs):
        layers.append(_conv(draw, rng, shape, largest, payload))
        shape, payload = layers[-1].shape, 1
    for _ in range(n_dense):
        if len(shape) > 1:
            layers.append(NetxLayer(kind="flatten", shape=(prod(shape),)))
        layers.append(_dense(draw, rng, prod(shape), payload, has_delays))
        shape, payload = layers[-1].shape, 1
    n_samples = draw(st.integers(1, 4))
    high = 256 if message_bits else 2
    spikes = rng.integers(0, high, (n_samples, *input_shape, n_steps)).astype(np.uint8)
    spikes[rng.random(spikes.shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    if draw(st.booleans()):
        spikes[:1] = high - 1  # every input at its largest, at every step
    return RandomNetwork(layers=layers, spikes=spikes, message_bits=message_bits)


def _conv(draw: st.DrawFn, rng: Any, shape: tuple[int, ...], largest: int, payload: int) -> NetxLayer:
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if shape[0] % g == 0]))
    channels = groups * draw(st.integers(1, 3))
    stride, padding, kernel, dilation = ([], [], [], [])  # type: ignore[var-annotated]
    for size in shape[1:]:
        padding.append(draw(st.integers(0, 2)))
        room = size + 2 * padding[-1]
        kernel.append(draw(st.integers(1, min(4, room))))
        dilation.append(draw(st.integers(1, max(1, min(3, (room - 1) // max(1, kernel[-1] - 1))))))
        stride.append(draw(st.integers(1, 3)))
    sides = [
        (size + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a, size in enumerate(shape[1:])
    ]
    size = (channels, shape[0] // groups, *kernel)
    return NetxLayer(
        kind="conv",
        shape=(channels, *sides),
        weight=_weight(draw, rng, size, largest, payload),
        bias=_bias(draw, rng, channels),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
        neuron=_neuron(draw, rng, channels),
    )


def _dense(draw: st.DrawFn, rng: Any, n_inputs: int, payload: int, has_delays: bool) -> NetxLayer:
    n_outputs = draw(st.integers(1, 6))
    delay = None
    if has_delays and draw(st.integers(0, 3)) == 0:
        size = draw(st.sampled_from([(n_outputs, n_inputs), (n_outputs,)]))
        delay = rng.integers(0, draw(st.sampled_from([2, 6, 63])), size)
    return NetxLayer(
        kind="dense",
        shape=(n_outputs,),
        # beyond 8 bits Lava rounds the weights of a dense layer
        weight=_weight(draw, rng, (n_outputs, n_inputs), 254, payload),
        bias=_bias(draw, rng, n_outputs),
        delay=delay,
        neuron=_neuron(draw, rng, n_outputs),
    )


def _weight(draw: st.DrawFn, rng: Any, size: tuple[int, ...], largest: int, payload: int) -> NDArray[np.int64]:
    largest = max(2, min(largest, (SUM_LIMIT - 1) // (payload * prod(size[1:]))))
    step = 2 if largest > 127 else draw(st.sampled_from([1, 2]))
    kind = draw(st.sampled_from(["any", "any", "ends", "positive", "positive", "negative"]))
    low = 0 if kind == "positive" else -(largest // step)
    high = 0 if kind == "negative" else largest // step
    weight: NDArray[np.int64] = step * rng.integers(low, high + 1, size)
    if kind == "ends":
        weight = step * np.where(rng.random(size) < 0.5, low, high)
    return weight.astype(np.int64)


def _bias(draw: st.DrawFn, rng: Any, channels: int) -> NDArray[np.int64] | None:
    if draw(st.booleans()):
        return None
    largest = draw(st.sampled_from([5, 300, 4095]))
    return rng.integers(-largest, largest + 1, channels)  # type: ignore[no-any-return]


def _neuron(draw: st.DrawFn, rng: Any, channels: int) -> dict[str, Any]:
    def values(low: int, high: int, usual: list[int]) -> Any:
        if draw(st.booleans()):
            return draw(st.sampled_from([*usual, int(rng.integers(low, high + 1))]))
        return rng.integers(low, high + 1, channels).tolist()

    return {
        "type": draw(st.sampled_from(["CUBA", "LOIHI"])),
        "iDecay": values(1, 4096, [4096, 4096, 1]),
        "vDecay": values(0, 4096, [0, 410, 4096]),
        "vThMant": values(1, draw(st.sampled_from([20, 200, 131071])), [64, 1, 131071]),
    }
