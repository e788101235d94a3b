"""Read an encoder.onnx: what it may hold is checked before ONNX Runtime sees it.

Only the standard operators that the export writes are let in, no file outside is followed, and the size
of every value is known before anything is allocated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sqdr.errors import BundleError
from sqdr.plugins import missing

__all__ = ["OPERATORS", "OnnxLayer", "OnnxNetwork", "import_onnx", "largest_value", "read_onnx", "read_onnx_encoder"]

OPERATORS = frozenset(
    "Abs Add Cast Clip Concat ConvInteger Div Expand Gather Greater Identity LessOrEqual MatMulInteger Mul "
    "Pad ReduceSum Reshape Scan Shape Sign Slice Sub Transpose Where".split()
)
# Operators whose second input is a shape.
SHAPED = ("Expand", "Reshape")
MAX_FILE_BYTES = 1 << 30
# Elements of any one value, for one sample: 1 GiB of 32-bit integers.
MAX_ELEMENTS = 1 << 28

Form = dict[str, tuple[int, tuple[int | None, ...]]]
"""Name of an input or output: element type and shape, None where the number of samples goes."""


@dataclass(frozen=True, kw_only=True)
class OnnxLayer:
    """A Scan over time, whose body returns current, voltage and spikes in this order.

    Args:
        name: for example ``layer 0 (conv)``.
        spikes: name of the spikes, (T, n, *shape).
        shape: (C, H, W) or (F,).
    """

    name: str
    spikes: str
    shape: tuple[int, ...]

    @property
    def traced(self) -> tuple[str, str, str]:
        """Names of u, v and the spikes, (n, *shape, T), in the model that `OnnxNetwork.traced` returns."""
        return f"{self.spikes}_current", f"{self.spikes}_voltage", f"{self.spikes}_seen"


@dataclass(frozen=True, kw_only=True)
class OnnxNetwork:
    """A checked model.

    Args:
        model: as read.
        layers: first to last.
        n_steps: T.
        n_elements: of the largest value inside, for one sample.
    """

    model: Any
    layers: tuple[OnnxLayer, ...]
    n_steps: int
    n_elements: int

    def traced(self) -> Any:
        """Return the model with every layer's `OnnxLayer.traced` as further outputs."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        scans = {node.name: node for node in model.graph.node if node.op_type == "Scan"}
        for layer in self.layers:
            scan = scans[layer.name]
            body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
            for state in list(body.output)[:2]:  # u and v
                # one value cannot be a state and a scan output at once
                body.node.add(op_type="Identity", input=[state.name], output=[f"{state.name}_seen"])
                body.output.add().CopyFrom(state)
                body.output[-1].name = f"{state.name}_seen"
                scan.output.append(f"{state.name}_steps")
            time_last = (*range(1, 2 + len(layer.shape)), 0)
            for name, steps in zip(layer.traced, (*list(scan.output)[3:], layer.spikes), strict=True):
                model.graph.node.append(onnx.helper.make_node("Transpose", [steps], [name], perm=time_last))
                kind = onnx.TensorProto.UINT8 if steps == layer.spikes else onnx.TensorProto.INT32
                shape = ("n", *layer.shape, self.n_steps)
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        return model


def read_onnx_encoder(path: Path, input_shape: tuple[int, int, int], n_features: int, n_steps: int) -> OnnxNetwork:
    """Read and check a model; nothing of it is run.

    Args:
        path: of the file.
        input_shape: (C, H, W) that it must take.
        n_features: F that it must give.
        n_steps: T.

    Raises:
        BundleError: damaged, foreign, or not the encoder described.
        MissingDependencyError: onnx is not installed.
    """
    import_onnx("reading encoder.onnx")
    import onnx

    model = read_onnx(path, OPERATORS)
    spikes, images = (None, *input_shape, n_steps), (None, *input_shape)
    uint8, int64 = onnx.TensorProto.UINT8, onnx.TensorProto.INT64
    inputs: Form = {"images": (uint8, images), "spikes": (uint8, spikes)}
    outputs: Form = {"counts": (int64, (None, n_features)), "spike_trains": (uint8, (None, n_features, n_steps))}
    given = _form(model.graph.input)
    if given not in (inputs, {"spikes": inputs["spikes"]}) or _form(model.graph.output) != outputs:
        raise _refusal(path, "does not take and give what its manifest says")
    return OnnxNetwork(model=model, layers=_layers(model, path), n_steps=n_steps, n_elements=largest_value(model, path))


def import_onnx(what: str) -> None:
    """Raise MissingDependencyError, naming what it is for, where onnx is not installed."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise missing(error, what) from error


def read_onnx(path: Path, operators: frozenset[str]) -> Any:
    """Read a model, check it and work out the size of every value; nothing of it is run.

    Args:
        path: of the file.
        operators: that it may hold.

    Raises:
        BundleError: damaged, or with a part that the export never writes.
    """
    import onnx

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _refusal(path, f"is larger than {MAX_FILE_BYTES:,} bytes")
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except BundleError:
        raise
    except Exception as error:  # protobuf's own error has no public home
        raise _refusal(path, "is not a readable ONNX model") from error
    problem = _foreign_part(model, operators) or _free_shape(model)
    if problem:
        raise _refusal(path, problem)
    try:
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # ValidationError, InferenceError, and UnicodeDecodeError in their making
        raise _refusal(path, "is not a valid ONNX model") from error


def _free_shape(model: Any) -> str | None:
    """Name a node that makes a value of a size which only running it would tell.

    The only number in a shape that is not written in the file is how many samples there are: a Shape, joined
    with constants by a Concat.
    """
    for graph in _graphs(model.graph):
        constants = {tensor.name for tensor in graph.initializer}
        counted = {name for node in graph.node if node.op_type == "Shape" for name in node.output}
        known = set(constants)
        for node in graph.node:
            uses_count = counted & set(node.input)
            if uses_count and (node.op_type != "Concat" or not set(node.input) <= counted | constants):
                return f"computes with the number of samples in {node.op_type!r:.60}"
            if len(uses_count) > 1 or (uses_count and len([n for n in node.input if n in counted]) > 1):
                return "multiplies the number of samples"
            if uses_count:
                known |= set(node.output)
            if node.op_type in SHAPED and node.input[1] not in known:
                return f"computes a size in {node.op_type!r:.60}"
    return None


def _refusal(path: Path, problem: str) -> BundleError:
    return BundleError(f"{path.name} {problem}. Export again.")


def _foreign_part(model: Any, operators: frozenset[str]) -> str | None:
    """Name what the export never writes."""
    if model.functions or model.training_info or any(opset.domain for opset in model.opset_import):
        return "holds functions or operators that are not standard"
    for graph in _graphs(model.graph):
        tensors = list(graph.initializer)
        for node in graph.node:
            if node.domain or node.op_type not in operators:
                return f"holds the operator {node.op_type!r:.60}, which the export does not write"
            tensors += [tensor for attribute in node.attribute for tensor in (attribute.t, *attribute.tensors)]
        if graph.sparse_initializer:
            return "holds sparse tensors, which the export does not write"
        if any(tensor.data_location or tensor.external_data for tensor in tensors):
            return "keeps data in another file, which is not followed"
    return None


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _form(values: Any) -> Form:
    found: Form = {}
    for value in values:
        tensor = value.type.tensor_type
        sizes = tuple(size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim)
        found[value.name] = (tensor.elem_type, sizes)
    return found


def largest_value(model: Any, path: Path) -> int:
    """Return the elements of the largest value for one sample, all of which must be known.

    Raises:
        BundleError: a size is not known, or too large.
    """
    largest = 0
    for graph in _graphs(model.graph):
        known = _form((*graph.value_info, *graph.output))
        for name in (name for node in graph.node for name in node.output):
            _, shape = known.get(name, (0, (None, None)))
            if shape.count(None) > 1:
                raise _refusal(path, f"does not say how large {name!r:.60} is")
            largest = max(largest, prod(size for size in shape if size is not None))
    if largest > MAX_ELEMENTS:
        raise _refusal(path, f"has a value of {largest:,} elements a sample, more than {MAX_ELEMENTS:,}")
    return largest


def _layers(model: Any, path: Path) -> tuple[OnnxLayer, ...]:
    known, layers = _form(model.graph.value_info), []
    for node in model.graph.node:
        if node.op_type == "Scan":
            _, shape = known.get(node.output[-1], (0, ()))
            if len(node.output) != 3 or len(shape) < 3 or None in shape[2:] or not node.name:
                raise _refusal(path, "holds a layer that the export does not write")
            layers.append(OnnxLayer(name=node.name, spikes=node.output[-1], shape=tuple(s or 0 for s in shape[2:])))
    if len({layer.name for layer in layers}) != len(layers) or not layers:
        raise _refusal(path, "holds no layers, or two of one name")
    return tuple(layers)
