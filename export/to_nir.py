"""Write an exported network as NIR, the neuromorphic intermediate representation.

NIR states a neuron as differential equations. Stepped by Euler with dt, the current before the
voltage, its CubaLIF with tau_syn = dt/du, w_in = 1/du, tau_mem = dt/dv, r = 1/dv, v_reset = 0 is

    I = (1 - du) I + S,   v = (1 - dv) v + dv v_leak + I,   z = v > v_threshold,   v = 0 where z

which is Lava's CUBA neuron with du = iDecay / 4096 and dv = vDecay / 4096, but for the rounding
towards zero of Lava's integers, which NIR cannot state. Every integer is therefore kept in the
nodes' metadata. Weights, thresholds and biases are in SLAYER's units, 1/64 of the integers.

Source: arXiv 2311.14641 and nir 1.0.8, nir/ir/neuron.py (CubaLIF).
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import ExportError
from sqdr.netx import NetxLayer
from sqdr.plugins import missing
from sqdr.storage import storage_errors

if TYPE_CHECKING:
    import nir

__all__ = ["DT_S", "NIR_SCHEMA_VERSION", "nir_graph", "write_nir"]

NIR_SCHEMA_VERSION = 1
# snnTorch's importer knows this step alone (snntorch 1.0.0, import_nir.py); norse's takes it as `dt`.
DT_S = 1e-4
INTEGERS_PER_UNIT = 64
FULL_DECAY = 4096
NETX_NAMES = {"current_decay": "iDecay", "voltage_decay": "vDecay", "threshold": "vThMant"}
WITHOUT_NIR = "Change it, or export without NIR."


def nir_graph(
    layers: Sequence[NetxLayer], input_shape: tuple[int, int, int], n_steps: int, metadata: Mapping[str, Any]
) -> "nir.NIRGraph":
    """Return the network as Input -> (Conv2d | Flatten | Linear | Affine, CubaLIF) ... -> Output.

    Node names sort in the network's order. A grouped convolution is written as an ungrouped one with
    zeros between the groups, and a kernel of unequal sides is widened with zeros to a square one, since
    nir 1.0.8 computes wrong shapes for both; the integers in the metadata are the network's own.

    A bias is added to the voltage. With a full current decay that is the same as adding it to the
    synapse's output, and is written there; otherwise as v_leak = bias / dv.

    Args:
        layers: as read from the netx file.
        input_shape: (C, H, W).
        n_steps: T, time steps per sample, each starting from rest.
        metadata: JSON values to keep with the graph, as one JSON text named ``sqdr``.

    Raises:
        ExportError: NIR has no form for a layer, which is named.
        MissingDependencyError: nir is not installed.
    """
    nir = _import_nir()
    try:
        nodes = dict(_chain(nir, layers, tuple(input_shape)))
        edges = list(zip(nodes, list(nodes)[1:], strict=False))
        return nir.NIRGraph(nodes, edges, _graph_metadata(n_steps, metadata))
    except ValueError as error:  # arrays or node types that do not fit
        raise ExportError(f"the layers do not fit one another: {error}. Export the network again.") from error


def write_nir(graph: "nir.NIRGraph", path: Path) -> None:
    """Write a graph to a new file, the same bytes for the same graph.

    Raises:
        StorageError: ``path`` exists or cannot be written.
    """
    buffer = io.BytesIO()
    # uncompressed: nir's many small arrays take a third of the room so, and bytes do not depend on zlib's version
    _import_nir().write(buffer, graph, compression=None)
    with storage_errors(path), path.open("xb") as file:
        file.write(buffer.getvalue())


def _chain(nir: Any, layers: Sequence[NetxLayer], shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Yield (name, node) in the network's order."""
    yield "input", nir.Input(np.array(shape, dtype=np.int64))
    for index, layer in enumerate(layers):
        if layer.kind == "input" and layer.neuron is None:
            continue
        for name, node in _nodes(layer, shape, f"layer {index} ({layer.kind})"):
            yield f"layer_{index:02}_{name}", node
        shape = (prod(shape),) if layer.kind == "flatten" else layer.shape
    yield "output", nir.Output(np.array(shape, dtype=np.int64))


def _import_nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise missing(error, "writing encoder.nir") from error
    return nir


def _graph_metadata(n_steps: int, metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"`metadata` must hold JSON values: {error}. Give numbers, texts, lists and dicts."
        ) from error
    return {
        "schema_version": NIR_SCHEMA_VERSION,
        "n_steps": int(n_steps),
        "dt": DT_S,
        "integers_per_unit": INTEGERS_PER_UNIT,
        "full_decay": FULL_DECAY,
        "update": "current before voltage; each sample from rest; integer decay rounds towards zero",
        "sqdr": text,
    }


def _nodes(layer: NetxLayer, shape: tuple[int, ...], where: str) -> Iterator[tuple[str, Any]]:
    """Yield (name, node) of one layer whose input has ``shape``."""
    if layer.kind == "flatten":
        if len(shape) == 3:
            # counted from the end, so that importers flatten samples with and without a batch axis
            yield "flatten", _import_nir().Flatten(np.array(shape, dtype=np.int64), start_dim=-3, end_dim=-1)
        return
    if layer.kind not in ("conv", "dense") or layer.weight is None:
        raise ExportError(f"{where} has no form in NIR. Use conv, dense and flatten layers only.")
    if layer.delay is not None and layer.delay.any():
        raise ExportError(f"{where} has delays, which are not written to NIR. {WITHOUT_NIR}")
    if len(shape) != (3 if layer.kind == "conv" else 1):
        raise ExportError(f"{where} has an input of shape {shape}. Flatten before a dense layer and only there.")
    bias, neuron = _neuron(layer, where)
    synapse = _conv(layer, layer.weight, shape, bias, where) if layer.kind == "conv" else _dense(layer.weight, bias)
    yield layer.kind, synapse
    yield "neuron", neuron


def _neuron(layer: NetxLayer, where: str) -> tuple[NDArray[np.float64], Any]:
    """Return the bias that the synapse adds, (C,) or (F,), and the CubaLIF of the docstring above."""
    integers = _neuron_integers(layer, where)
    per_channel = [1] * (len(layer.shape) - 1)

    def spread(values: NDArray[Any]) -> NDArray[np.float64]:  # (1,) or (C,) -> (C, H, W) or (F,)
        return np.broadcast_to(values.reshape(-1, *per_channel), layer.shape).astype(np.float64)

    bias = integers.get("bias", np.zeros(layer.shape[0])) / INTEGERS_PER_UNIT
    is_memoryless = bool((integers["current_decay"] == FULL_DECAY).all())
    synapse_bias, voltage_bias = (bias, 0 * bias) if is_memoryless else (0 * bias, bias)
    du, dv = (spread(integers[name]) / FULL_DECAY for name in ("current_decay", "voltage_decay"))
    return synapse_bias, _import_nir().CubaLIF(
        tau_syn=DT_S / du,
        tau_mem=DT_S / dv,
        r=1 / dv,
        v_leak=spread(voltage_bias) / dv,
        v_threshold=spread(integers["threshold"]) / INTEGERS_PER_UNIT,
        v_reset=np.zeros(layer.shape),
        w_in=1 / du,
        metadata=integers,
    )


def _neuron_integers(layer: NetxLayer, where: str) -> dict[str, NDArray[np.int64]]:
    """The hardware's integers, each (1,) or (C,), in the form in which the metadata keeps them."""
    settings = layer.neuron or {}
    if settings.get("type") not in ("CUBA", "LOIHI") or not set(NETX_NAMES.values()) <= set(settings):
        raise ExportError(f"{where} has no CUBA neuron with {', '.join(NETX_NAMES.values())}. Give it one.")
    integers = {}
    for name, key in NETX_NAMES.items():
        values = np.atleast_1d(settings[key])
        integers[name] = values.astype(np.int64)
        if not np.array_equal(integers[name], values):
            raise ExportError(f"{where}: `{key}` must be an integer, got {settings[key]}. Round it.")
        if name != "threshold" and (values.min() < 1 or values.max() > FULL_DECAY):
            wrong = values[(values < 1) | (values > FULL_DECAY)][0]
            raise ExportError(
                f"{where}: `{key}` must be 1 to {FULL_DECAY}, got {wrong}: NIR's time constant is {FULL_DECAY} / {key} "
                f"steps. {WITHOUT_NIR}"
            )
    if layer.bias is not None:
        integers["bias"] = layer.bias.reshape(-1)
    return integers


def _dense(weight: NDArray[np.int64], bias: NDArray[np.float64]) -> Any:
    nir, scaled, integers = _import_nir(), weight / INTEGERS_PER_UNIT, {"weight": weight}
    return nir.Affine(scaled, bias, metadata=integers) if bias.any() else nir.Linear(scaled, metadata=integers)


def _conv(
    layer: NetxLayer, integers: NDArray[np.int64], shape: tuple[int, ...], bias: NDArray[np.float64], where: str
) -> Any:
    stride, padding, dilation = (
        np.broadcast_to(np.array(sizes, np.int64), 2).copy() for sizes in (layer.stride, layer.padding, layer.dilation)
    )
    weight, margin = _square(_ungrouped(integers, layer.groups), where)
    return _import_nir().Conv2d(
        input_shape=np.array(shape[1:], dtype=np.int64),
        weight=weight / INTEGERS_PER_UNIT,
        stride=stride,
        padding=padding + dilation * margin,
        dilation=dilation,
        groups=1,
        bias=bias,
        metadata={"weight": integers, "groups": layer.groups, "padding": padding},
    )


def _ungrouped(weight: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """(C_out, C_in / groups, kH, kW) -> (C_out, C_in, kH, kW), zero between groups."""
    n_out, n_in = weight.shape[0] // groups, weight.shape[1]
    full = np.zeros((len(weight), n_in * groups, *weight.shape[2:]), dtype=np.int64)
    for group in range(groups):
        out = slice(group * n_out, (group + 1) * n_out)
        full[out, group * n_in : (group + 1) * n_in] = weight[out]
    return full


def _square(weight: NDArray[np.int64], where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the kernel with as many zeros around as make it square, and their number on each side (H, W)."""
    sides = np.array(weight.shape[2:], dtype=np.int64)
    more = sides.max() - sides
    if (more % 2).any():
        raise ExportError(
            f"{where}: a kernel of {sides[0]} x {sides[1]} has no form in NIR, whose reader takes the first side for "
            f"both. Use sides that are both odd or both even, or export without NIR."
        )
    margin = more // 2
    return np.pad(weight, ((0, 0), (0, 0), (margin[0],) * 2, (margin[1],) * 2)), margin
