"""Write the exported encoder as ONNX: the same integers, in standard operators only.

The model takes ``images``, (N, C, H, W) uint8, or ``spikes``, (N, C, H, W, T) uint8: each is optional,
and where both are given the samples of ``images`` come first. Values of ``spikes`` are payloads below
2^bits of a coding that has them; of any other, what is not 0 is a spike. It returns ``counts``, (N, F) int64, and
``spike_trains``, (N, F, T) uint8. Inside, time is the first axis: synapses see all steps as one batch,
neurons run in a Scan. ``layer0_spikes`` and so on, (T, N, ...), are each layer's spikes, numbered as in
the network file.
"""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from sqdr.coding import spike_table
from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.export.onnx_graph import OnnxGraph, TensorSpec
from sqdr.export.onnx_layers import numbered_layers, state_range
from sqdr.export.onnx_neuron import scan_body
from sqdr.export.onnx_synapse import add_synapse
from sqdr.netx import NetxLayer
from sqdr.specification import CodingSpec

__all__ = ["add_encoder", "encoder_inputs", "encoder_onnx"]


def encoder_onnx(
    layers: Sequence[NetxLayer], input_shape: tuple[int, int, int], coding: CodingSpec, metadata: Mapping[str, str]
) -> bytes:
    """Return the encoder as an ONNX model, checked in full; the same bytes for the same arguments.

    Args:
        layers: of the network file.
        input_shape: (C, H, W).
        coding: of images; the random one has no table, so its model takes spikes only.
        metadata: stored in the model's ``metadata_props``.

    Raises:
        ExportError: a layer cannot be written exactly; it is named.
        MissingDependencyError: onnx is not installed.
    """
    graph = OnnxGraph()
    n_features = add_encoder(graph, layers, input_shape, coding)
    outputs: list[TensorSpec] = [
        ("counts", np.int64, ("n", n_features)),
        ("spike_trains", np.uint8, ("n", n_features, coding.n_steps)),
    ]
    return graph.model("sqdr encoder", encoder_inputs(input_shape, coding), outputs, metadata)


def encoder_inputs(input_shape: tuple[int, int, int], coding: CodingSpec) -> list[TensorSpec]:
    """Return the model's inputs."""
    spikes: TensorSpec = ("spikes", np.uint8, ("n_spikes", *input_shape, coding.n_steps))
    if coding.kind == "bernoulli":
        return [spikes]
    return [("images", np.uint8, ("n_images", *input_shape)), spikes]


def add_encoder(
    graph: OnnxGraph, layers: Sequence[NetxLayer], input_shape: tuple[int, int, int], coding: CodingSpec
) -> int:
    """Append coding and encoder, up to ``counts`` and ``spike_trains``, and return F."""
    network = numbered_layers(layers, input_shape, coding)
    spikes = _add_input(graph, input_shape, coding)
    n_samples = graph.add("Shape", spikes, start=1, end=2)
    for index, layer in network:
        spikes = _add_layer(graph, index, layer, spikes, n_samples, coding.n_steps)
    n_features = prod(network[-1][1].shape)
    spikes = graph.reshape(spikes, (coding.n_steps, -1, n_features))
    graph.add("Transpose", spikes, output="spike_trains", perm=(1, 2, 0))  # (T, n, F) -> (n, F, T)
    over_time = graph.constant(np.array([0]))
    graph.add("ReduceSum", graph.cast(spikes, np.int64), over_time, output="counts", keepdims=0)
    return n_features


def _add_input(graph: OnnxGraph, input_shape: tuple[int, int, int], coding: CodingSpec) -> str:
    """Return the name of the coded samples, (T, n, C, H, W) uint8."""
    spikes = graph.add("Transpose", "spikes", perm=(4, 0, 1, 2, 3))
    if coding.message_bits == 0:
        spikes = graph.cast(graph.cast(spikes, np.bool_), np.uint8)  # what is not 0 is a spike
    if coding.kind == "bernoulli":
        return spikes
    # an input with a default may be left out; the default is no sample
    graph.default("images", np.zeros((0, *input_shape), np.uint8))
    graph.default("spikes", np.zeros((0, *input_shape, coding.n_steps), np.uint8))
    table = graph.constant(spike_table(coding).T)  # (T, 256)
    coded = graph.add("Gather", table, graph.cast("images", np.int32), axis=1)
    return graph.add("Concat", coded, spikes, axis=1)


def _add_layer(graph: OnnxGraph, index: int, layer: IntegerLayer, spikes: str, n_samples: str, n_steps: int) -> str:
    """Return the name of a layer's spikes, (T, n, *shape) uint8."""
    prefix = f"layer{index}_"
    sums, scale = add_synapse(graph, layer, spikes, n_steps)
    shape = graph.add("Concat", n_samples, graph.constant(np.array(layer.shape)), axis=0)
    at_rest = graph.add("Expand", graph.constant(np.zeros((1,) * (1 + len(layer.shape)), np.int32)), shape)
    graph.add_node(
        "Scan",
        (at_rest, at_rest, sums),
        (f"{prefix}last_current", f"{prefix}last_voltage", f"{prefix}spikes"),
        name=layer.name,
        body=scan_body(layer, f"{prefix}step_", scale, state_range(layer, n_steps)),
        num_scan_inputs=1,
    )
    graph.describe((f"{prefix}spikes", np.uint8, (n_steps, "n", *layer.shape)))
    return f"{prefix}spikes"
