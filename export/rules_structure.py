"""Rules on the network's form: what netx 0.6.0 can build, connect and honour."""

import math
from collections.abc import Callable
from typing import Any

from sqdr.deploy.encoders.integer.network import MAX_CONV_SIZE
from sqdr.export.network import Found, Network, parameter, with_weights
from sqdr.netx import NetxLayer

__all__ = ["STRUCTURE_RULES"]

SUPPORTED = ("input", "conv", "dense", "flatten")
DECAYS_AND_THRESHOLD = ("iDecay", "vDecay", "vThMant")
# netx reads none of these, and Lava's neuron has no refractory period: any other value changes nothing there.
# lava-dl 0.6.0, lava/lib/dl/netx/hdf5.py get_neuron_params.
IGNORED_PARAMETERS: dict[str, Any] = {"refDelay": 1, "gradedSpike": False}
KNOWN_PARAMETERS = ("type", "messageBits", *DECAYS_AND_THRESHOLD, *IGNORED_PARAMETERS)


def layer_kind_is_supported(network: Network) -> Found:
    """Netx raises a bare NotImplementedError for pool, convT, unpool, average and concat."""
    for index, layer in enumerate(network.layers):
        if layer.kind not in SUPPORTED:
            yield index, f"netx cannot build a '{layer.kind}' layer.", "Use conv, dense and flatten only."


def layer_has_neuron(network: Network) -> Found:
    """Netx gives a layer without neurons a threshold that overflows 17 bits."""
    for index, layer in enumerate(network.layers):
        if layer.kind in ("conv", "dense") and layer.neuron is None:
            yield index, "it has no neuron.", "Give every conv and dense layer a CUBA neuron."


def layer_has_weights(network: Network) -> Found:
    """Netx raises a KeyError for a layer without weights."""
    for index, layer in enumerate(network.layers):
        if layer.kind in ("conv", "dense") and (layer.weight is None or not layer.weight.size):
            yield index, "it has no weights.", "Give every conv and dense layer its weights."


def neuron_is_cuba(network: Network) -> Found:
    """Only current-based leaky integrate-and-fire neurons are proved equal."""
    for index, layer in enumerate(network.layers):
        if layer.neuron is not None and layer.neuron.get("type") not in ("CUBA", "LOIHI"):
            yield index, f"its neuron is {layer.neuron.get('type')}.", "Use CUBA neurons."


def neuron_parameters_are_honoured(network: Network) -> Found:
    """Netx drops a parameter that it does not know, and a fraction crashes Lava's integer shifts."""
    for index, layer in enumerate(network.layers):
        for name, value in (layer.neuron or {}).items():
            if name not in KNOWN_PARAMETERS:
                yield index, f"netx ignores its neuron's '{name}'.", "Use CUBA neurons without further parameters."
            elif name in IGNORED_PARAMETERS and value != IGNORED_PARAMETERS[name]:
                allowed = IGNORED_PARAMETERS[name]
                yield index, f"netx ignores its neuron's {name} of {value}.", f"Leave {name} at {allowed}."
        for name in DECAYS_AND_THRESHOLD if layer.neuron is not None else ():
            if parameter(layer, name) is None:
                yield (
                    index,
                    f"{name} must be a whole number, or one for each channel.",
                    "Export the neuron's integers, as SLAYER's export_hdf5 does.",
                )


def network_begins_with_conv(network: Network) -> Found:
    """Netx drops the axis order when a flatten comes before the first layer."""
    kinds = [layer.kind for layer in network.layers if layer.kind != "input"]
    if not kinds or kinds[0] != "conv":
        yield 0, "the network begins flat.", "Begin with a conv whose kernel covers the image."


def layers_connect(network: Network) -> Found:
    """Netx connects conv layers, one flatten, then dense layers; a plain input block may say the shape."""
    before = ""
    for index, layer in enumerate(network.layers):
        if layer.kind == "input" and (index or not _is_plain(layer)):
            yield index, "an input block must come first and hold a shape only.", "Leave it out, or feed it spikes."
        elif layer.kind == "conv" and before in ("flatten", "dense"):
            yield index, f"a conv cannot follow a {before}.", "Put every conv before the flatten."
        elif layer.kind == "dense" and before == "conv":
            yield index, "a dense layer cannot follow a conv directly.", "Put a flatten between them."
        elif layer.kind == "flatten" and before in ("flatten", "dense"):
            yield index, "what is flat cannot be flattened again.", "Remove this flatten."
        before = layer.kind


def _is_plain(layer: NetxLayer) -> bool:
    return bool(layer.shape) and layer.neuron is None and layer.weight is None and layer.bias is None


def conv_sizes_fit(network: Network) -> Found:
    """Lava keeps a convolution's sizes in 8 signed bits, and a larger one wraps to a negative number."""
    for index, layer, weight in with_weights(network):
        sizes = {
            "kernel": weight.shape[2:4],
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
        }
        for name, values in sizes.items() if layer.kind == "conv" else ():
            low = 0 if name == "padding" else 1
            if any(not low <= value <= MAX_CONV_SIZE for value in values):
                yield (
                    index,
                    f"its {name} is {tuple(values)}, Lava takes {low} to {MAX_CONV_SIZE}.",
                    "Use smaller sizes, or more layers.",
                )


def groups_fit(network: Network) -> Found:
    """Lava's convolution takes at most 127 groups, and each must have its outputs."""
    for index, layer in enumerate(network.layers):
        if not 1 <= layer.groups <= MAX_CONV_SIZE:
            yield index, f"{layer.groups} groups, allowed are 1 to {MAX_CONV_SIZE}.", "Use fewer groups."
        elif layer.kind == "conv" and layer.weight is not None and len(layer.weight) % layer.groups:
            yield index, f"{layer.groups} groups cannot share {len(layer.weight)} channels.", "Use a divisor."


def delays_end_with_the_sample(network: Network) -> Found:
    """Lava keeps the spikes under way when a sample ends, and they arrive in the next one.

    Source: lava-nc 0.10.0, lava/proc/dense/models.py PyDelayDenseModelBitAcc: LIFReset clears current
    and voltage, nothing clears a_buff. Measured: a delay of 1 changed 25 of 180 spikes.
    """
    for index, layer in enumerate(network.layers):
        if layer.kind == "dense" and layer.delay is not None and layer.delay.any():
            yield (
                index,
                f"its delays reach {int(layer.delay.max())} steps, beyond the sample's end into the next one.",
                "Build the block with delay=False.",
            )


def weights_make_the_shape(network: Network) -> Found:
    """Each row of the weights is an output channel; netx finds out only when it builds the network."""
    for index, layer, weight in with_weights(network):
        expected = layer.shape[0] if layer.kind == "conv" and layer.shape else math.prod(layer.shape)
        # SLAYER's conv weights have a last axis of one step
        n_axes = (4, 5) if layer.kind == "conv" else (2,)
        if len(weight) != expected or weight.ndim not in n_axes or weight.shape[4:] not in ((), (1,)):
            problem = f"weights of the shape {weight.shape} do not make the shape {tuple(layer.shape)}."
            yield index, problem, "Give a conv (C_out, C_in, kH, kW) and a dense layer (F, inputs)."


def shape_is_the_models(network: Network) -> Found:
    """Netx takes shapes as (W, H, C); a square image hides axes that were mixed up."""
    if network.shapes is None:
        return
    places = [index for index, layer in enumerate(network.layers) if layer.kind in ("conv", "dense")]
    if len(places) != len(network.shapes):
        problem = f"the file has {len(places)} conv and dense layers, the model has {len(network.shapes)}."
        yield places[-1] if places else 0, problem, "Export every layer."
    for index, expected in zip(places, network.shapes, strict=False):
        found = network.layers[index].shape
        if tuple(found) != tuple(expected):
            yield index, f"its shape is {tuple(found)}, the model's is {tuple(expected)}.", "Give shapes as (C, H, W)."


STRUCTURE_RULES: tuple[Callable[[Network], Found], ...] = (
    layer_kind_is_supported,
    layer_has_neuron,
    layer_has_weights,
    neuron_is_cuba,
    neuron_parameters_are_honoured,
    network_begins_with_conv,
    layers_connect,
    conv_sizes_fit,
    groups_fit,
    delays_end_with_the_sample,
    weights_make_the_shape,
    shape_is_the_models,
)
"""In the order in which their violations are listed."""
