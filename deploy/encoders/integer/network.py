"""From the blocks of a netx file to layers that can be computed exactly, or a refusal that names the part.

What netx 0.6.0 would ignore, round or leave unconnected without a word is refused here: the file
would then not run as it was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.neuron import (
    ACTIVATION_SHIFT,
    DECAY_UNITY,
    STATE_LIMIT,
    CubaParameters,
    leaky_bound,
)
from sqdr.deploy.encoders.integer.synapse import MAX_SUM, conv_shape
from sqdr.errors import BundleError
from sqdr.netx import NetxLayer

__all__ = ["MAX_CONV_SIZE", "MAX_DELAY", "IntegerLayer", "dense_weight_in_lava", "integer_layers"]

# netx clamps longer delays and only warns: lava-dl 0.6.0, netx/hdf5.py create_dense.
MAX_DELAY = 62
# Lava wraps a current once and keeps it in int32, to which a voltage and a bias are added.
MAX_CURRENT = (1 << 31) - 4 * STATE_LIMIT
MAX_THRESHOLD = 131071
MAX_BIAS = 4095
# Lava keeps a convolution's kernel, stride, padding, dilation and groups in int8: lava/proc/conv/models.py.
MAX_CONV_SIZE = 127
CONV_AXES = 4
NEURON_TYPES = ("CUBA", "LOIHI")
# Parameters whose only value netx can honour is the one stated; None: any value, it changes nothing here.
NEURON_CONSTANTS: dict[str, Any] = {"refDelay": 1, "gradedSpike": False, "messageBits": None}
NEURON_PARAMETERS = ("type", "iDecay", "vDecay", "vThMant")


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """One conv or dense layer with its neurons.

    Args:
        name: for example ``layer 0 (conv)``, with the position in the file.
        in_shape: (C, H, W), or (inputs,) for dense.
        shape: (C, H, W) or (F,).
        weight: conv (C_out, C_in / groups, kH, kW), dense (F, inputs).
        neuron: parameters.
        stride: (H, W), as are padding and dilation; conv only.
        padding: conv only.
        dilation: conv only.
        groups: conv only.
        delay: (F, inputs) steps, or None; dense only.
        max_sum: bound of the synaptic sum's absolute value.
    """

    name: str
    in_shape: tuple[int, ...]
    shape: tuple[int, ...]
    weight: NDArray[np.int64]
    neuron: CubaParameters
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    delay: NDArray[np.int64] | None = None
    max_sum: int

    @property
    def max_drive(self) -> int:
        """Bound of what reaches the neuron, 64 times the sum; a convolution's sum has 24 bits at most."""
        return min(self.max_sum, STATE_LIMIT if self.is_conv else self.max_sum) << ACTIVATION_SHIFT

    @property
    def is_conv(self) -> bool:
        """Whether the layer is a convolution."""
        return self.weight.ndim == CONV_AXES


def integer_layers(
    blocks: Sequence[NetxLayer],
    input_shape: tuple[int, ...] | None = None,
    max_payload: int = 1,
    n_steps: int | None = None,
) -> list[IntegerLayer]:
    """Return the layers of a network.

    Args:
        blocks: as `sqdr.netx.read_network` returns them.
        input_shape: (C, H, W); by default that of the file's input block.
        max_payload: largest value of one input spike.
        n_steps: T, after which every state is reset; None for any number.

    Raises:
        BundleError: a part cannot be run exactly as it stands; it is named.
    """
    layers: list[IntegerLayer] = []
    shape = input_shape
    is_flat = False
    for index, block in enumerate(blocks):
        name = f"layer {index} ({block.kind})"
        if block.kind == "input":
            shape = _input_shape(name, index, block, input_shape)
            continue
        if shape is None:
            raise _refusal(name, "the file does not give the input's shape", "Pass input_shape=(C, H, W).")
        if block.kind == "flatten":
            if layers and len(shape) == 1:
                raise _refusal(name, "netx cannot flatten what is flat already", "Remove the block.")
            is_flat = True
        elif block.kind == "conv":
            if is_flat or len(shape) != CONV_AXES - 1:
                raise _refusal(name, "a conv cannot follow a flatten or dense block", "Move it to the front.")
            layers.append(_conv(name, block, shape, 1 if layers else max_payload))
            shape = layers[-1].shape
        elif block.kind == "dense":
            if layers and len(shape) > 1 and not is_flat:
                raise _refusal(name, "netx cannot connect it without a flatten block before", "Add one.")
            layers.append(_dense(name, block, shape, 1 if layers else max_payload))
            shape, is_flat = layers[-1].shape, False
        else:
            raise _refusal(name, f"a '{block.kind}' block is not supported", "Use input, conv, dense and flatten.")
    if not layers:
        raise BundleError("the network has no conv or dense layer. Export again.")
    for layer in layers:
        current = leaky_bound(layer.max_drive, float(layer.neuron.current_decay.min()), n_steps)
        if current >= MAX_CURRENT:
            problem = f"its current can reach {current:,.0f}, which overflows Lava's 32 bits"
            raise _refusal(layer.name, problem, "Use smaller weights, kernel or payload, or a larger current decay.")
    return layers


def dense_weight_in_lava(weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what Lava makes of the weights (F, inputs) of a dense layer; the same where they fit its 8 bits.

    Source: lava-dl 0.6.0, netx/utils.py optimize_weight_bits; lava-nc 0.10.0, utils/weightutils.py
    clip_weights and truncate_weights.
    """
    if not weight.any():
        return weight
    high, low = int(weight.max()), int(weight.min())
    if (high > 254 and low < 0) or (low < -256 and high > 0):
        return weight.clip(-256, 254)
    if high < 0:
        scale, is_signed = -256 / low, 0
    elif low >= 0:
        scale, is_signed = 255 / high, 0
    else:
        scale, is_signed = min(127 / high if high else np.inf, -128 / low), 1
    shift = int(np.floor(np.log2(scale))) + is_signed
    if shift < 0:
        return np.zeros_like(weight)  # netx shifts by a negative number of bits
    held = np.clip(weight << shift, -256 if low < 0 < high else -255, 255)
    n_zero_bits = next(n for n in range(8, -1, -1) if n == 0 or not (weight % (1 << n)).any())
    n_bits = 8 - shift - (n_zero_bits - is_signed)
    n_truncated = 8 - n_bits + int(low < 0 < high)
    if high <= 0:
        return -((-held >> n_truncated) << n_truncated) >> shift
    return ((held >> n_truncated) << n_truncated) >> shift


def _refusal(name: str, problem: str, fix: str) -> BundleError:
    return BundleError(f"{name}: {problem}, so the network would not run as it was trained. {fix}")


def _input_shape(name: str, index: int, block: NetxLayer, given: tuple[int, ...] | None) -> tuple[int, ...]:
    if index:
        raise _refusal(name, "an input block must come first", "Export again.")
    if block.neuron is not None or block.weight is not None or block.bias is not None:
        raise _refusal(
            name,
            "netx does not connect an input block that has neurons, weights or a bias",
            "Feed spikes instead: an input block of a shape only.",
        )
    if not block.shape:
        raise _refusal(name, "it has no shape", "Export again.")
    shape = tuple(block.shape)
    if given is not None and tuple(given) != shape:
        raise BundleError(f"{name}: its shape is {shape}, not {tuple(given)}. Give shapes as (C, H, W).")
    return shape


def _conv(name: str, block: NetxLayer, in_shape: tuple[int, ...], payload: int) -> IntegerLayer:
    weight = _weight(name, block)
    if weight.ndim == CONV_AXES + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]  # SLAYER's own axis of time
    if weight.ndim != CONV_AXES or min(weight.shape) < 1:
        raise _refusal(name, f"its weight has the shape {weight.shape}, not (C_out, C_in, kH, kW)", "Export again.")
    stride, padding, dilation = (_pair(name, block, key) for key in ("stride", "padding", "dilation"))
    largest = max(*weight.shape[2:], *stride, *padding, *dilation)
    if min(stride) < 1 or min(padding) < 0 or min(dilation) < 1 or largest > MAX_CONV_SIZE:
        problem = "its kernel, stride, padding or dilation is out of Lava's range"
        raise _refusal(name, problem, f"Use 0 to {MAX_CONV_SIZE} for the padding, 1 to {MAX_CONV_SIZE} for the others.")
    groups = block.groups
    if not 1 <= groups <= MAX_CONV_SIZE or in_shape[0] % groups or weight.shape[0] % groups:
        raise _refusal(name, f"{groups} groups do not divide its channels", f"Use 1 to {MAX_CONV_SIZE}.")
    if weight.shape[1] != in_shape[0] // groups:
        problem = f"its weight takes {weight.shape[1] * groups} channels, its input has {in_shape[0]}"
        raise _refusal(name, problem, "Give shapes as (C, H, W).")
    shape = conv_shape(in_shape, weight.shape, stride, padding, dilation)
    if min(shape) < 1:
        raise _refusal(name, "its kernel is larger than its input", "Give shapes as (C, H, W).")
    if block.shape and tuple(block.shape) != shape:
        problem = f"the file gives it the shape {tuple(block.shape)}, its input and kernel make {shape}"
        raise _refusal(name, problem, "Give shapes as (C, H, W).")
    if block.delay is not None and block.delay.any():
        raise _refusal(name, "netx ignores the delays of a conv", "Train without delays.")
    return IntegerLayer(
        name=name,
        in_shape=in_shape,
        shape=shape,
        weight=weight,
        neuron=_neuron(name, block, shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        max_sum=_max_sum(name, weight, payload),
    )


def _dense(name: str, block: NetxLayer, in_shape: tuple[int, ...], payload: int) -> IntegerLayer:
    weight = _weight(name, block)
    n_inputs = int(np.prod(in_shape))
    if weight.ndim == 1 and block.shape and weight.size % max(1, int(np.prod(block.shape))) == 0:
        weight = weight.reshape(int(np.prod(block.shape)), -1)
    if weight.ndim != 2 or min(weight.shape) < 1 or weight.shape[1] != n_inputs:
        problem = f"its weight has the shape {weight.shape}, its input has {n_inputs} values"
        raise _refusal(name, problem, "Give shapes as (C, H, W).")
    if block.shape and int(np.prod(block.shape)) != len(weight):
        raise _refusal(name, f"its shape {tuple(block.shape)} is not that of its {len(weight)} rows", "Export again.")
    if not np.array_equal(dense_weight_in_lava(weight), weight):
        problem = f"Lava rounds its weights, which span [{weight.min()}, {weight.max()}]"
        raise _refusal(
            name, problem, "Keep them in [-256, 254]; with no positive one, let the smallest be no power of two."
        )
    shape = (len(weight),)
    return IntegerLayer(
        name=name,
        in_shape=(n_inputs,),
        shape=shape,
        weight=weight,
        neuron=_neuron(name, block, shape),
        delay=_delay(name, block, weight),
        max_sum=_max_sum(name, weight, payload),
    )


def _weight(name: str, block: NetxLayer) -> NDArray[np.int64]:
    if block.weight is None:
        raise _refusal(name, "it has no weights that can be read", "Export again.")
    return block.weight


def _pair(name: str, block: NetxLayer, key: str) -> tuple[int, int]:
    sizes = getattr(block, key) or ((0,) if key == "padding" else (1,))
    if len(sizes) not in (1, 2):
        raise _refusal(name, f"its {key} {tuple(sizes)} is not one or two numbers", "Export again.")
    return int(sizes[0]), int(sizes[-1])


def _max_sum(name: str, weight: NDArray[np.int64], payload: int) -> int:
    largest = int(np.abs(weight).reshape(len(weight), -1).sum(axis=1).max()) * payload
    if largest >= MAX_SUM:
        problem = f"its sums can reach {largest:,}, where SLAYER's float32 sums begin to round"
        raise _refusal(name, problem, f"Keep them below {MAX_SUM:,}: smaller weights, kernel or payload.")
    return largest


def _delay(name: str, block: NetxLayer, weight: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if block.delay is None or not block.delay.any():
        return None
    delay = block.delay
    if delay.min() < 0 or delay.max() > MAX_DELAY:
        raise _refusal(name, f"delays must be 0 to {MAX_DELAY}, got {delay.min()} to {delay.max()}", "Limit them.")
    if delay.shape == weight.shape:
        return delay
    if delay.ndim == 0:
        return np.full(weight.shape, int(delay))
    if delay.ndim == 1 and len(delay) == weight.shape[0]:
        return np.repeat(delay[:, None], weight.shape[1], axis=1)
    if delay.ndim == 1 and len(delay) == weight.shape[1]:
        return np.repeat(delay[None, :], weight.shape[0], axis=0)
    raise _refusal(name, f"delays of the shape {delay.shape} fit neither its outputs nor its inputs", "Export again.")


def _neuron(name: str, block: NetxLayer, shape: tuple[int, ...]) -> CubaParameters:
    neuron = block.neuron
    if neuron is None:
        raise _refusal(name, "it has no neuron, and netx's default one overflows", "Give it a CUBA neuron.")
    if neuron.get("type") not in NEURON_TYPES:
        raise _refusal(name, f"its neuron is {neuron.get('type')!r}", "Use CUBA neurons.")
    for key, value in neuron.items():
        if key in NEURON_PARAMETERS:
            continue
        if key not in NEURON_CONSTANTS:
            raise _refusal(name, f"its neuron has a parameter '{key}', which netx does not honour", "Export again.")
        if NEURON_CONSTANTS[key] is not None and value != NEURON_CONSTANTS[key]:
            problem = f"its neuron has {key} {value}, which netx does not honour"
            raise _refusal(name, problem, f"Only {NEURON_CONSTANTS[key]} works.")
    return CubaParameters(
        current_decay=_per_channel(name, neuron, "iDecay", shape, 1, DECAY_UNITY),
        voltage_decay=_per_channel(name, neuron, "vDecay", shape, 0, DECAY_UNITY),
        threshold=_per_channel(name, neuron, "vThMant", shape, 0, MAX_THRESHOLD),
        bias=_bias(name, block, shape),
    )


def _per_channel(
    name: str, neuron: dict[str, Any], key: str, shape: tuple[int, ...], low: int, high: int
) -> NDArray[np.float64]:
    try:
        values = np.atleast_1d(np.asarray(neuron.get(key), dtype=np.float64))
    except (TypeError, ValueError):
        raise _refusal(name, f"its neuron has no {key} that is a number", "Export again.") from None
    if values.ndim != 1 or len(values) not in (1, shape[0]):
        raise _refusal(name, f"{key} must be one number or one for each of {shape[0]} channels", "Export again.")
    if not (np.isfinite(values).all() and (values == np.trunc(values)).all()):
        raise _refusal(name, f"{key} holds values that are not integers", "Export again.")
    if values.min() < low or values.max() > high:
        raise _refusal(
            name, f"{key} must be {low} to {high}, got {values.min():g} to {values.max():g}", "Export again."
        )
    return values


def _bias(name: str, block: NetxLayer, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    bias = block.bias
    if bias is None or not bias.any():
        return None
    if bias.min() < -MAX_BIAS - 1 or bias.max() > MAX_BIAS:
        problem = f"biases must be {-MAX_BIAS - 1} to {MAX_BIAS}, got {bias.min()} to {bias.max()}"
        raise _refusal(name, problem, "Use smaller ones.")
    if len(shape) == 1 and bias.size in (1, shape[0]):
        return bias.reshape(-1).astype(np.float64)
    if len(shape) > 1 and bias.shape == (shape[0],):
        return bias.astype(np.float64)
    if len(shape) > 1 and bias.shape == shape[::-1]:  # netx wants one a neuron as (W, H, C)
        return bias.transpose().astype(np.float64)
    raise _refusal(name, f"biases of the shape {bias.shape} do not fit {shape}", "Give one a channel.")
