"""Build ONNX graphs: nodes in order, constants once each, the same bytes on every run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.plugins import missing

__all__ = ["OnnxGraph", "TensorSpec", "import_onnx", "tensor_info"]

# Old enough for every ONNX Runtime since 1.13, new enough for every operator used here.
OPSET = 17
IR_VERSION = 8

TensorSpec = tuple[str, type[np.generic], tuple[int | str, ...]]
"""Name, element type and shape, in which a text is an axis whose size is free."""


def import_onnx() -> Any:
    """Return the onnx package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing(error, "writing ONNX") from error
    return onnx


def tensor_info(spec: TensorSpec) -> Any:
    """Return ONNX's description of a tensor."""
    name, kind, shape = spec
    helper = import_onnx().helper
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)


class OnnxGraph:
    """A graph that grows node by node; every value is called by its name.

    Args:
        prefix: of the names that the graph makes up, unique in the model: ONNX allows no name twice,
            not even in a subgraph.
    """

    def __init__(self, prefix: str = "") -> None:
        self._onnx = import_onnx()
        self._prefix = prefix
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], tuple[str, Any]] = {}
        self._defaults: list[Any] = []
        self._described: list[Any] = []
        self._n_named = 0

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        output = output or self._new_name(operator)
        self.add_node(operator, inputs, (output,), name=output, **attributes)
        return output

    def add_node(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str, **attributes: Any
    ) -> None:
        """Append a node."""
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Return the name of a constant; equal ones are stored once."""
        array = np.asarray(value, order="C")  # ascontiguousarray would make a scalar a vector
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._new_name("constant")
            self._constants[key] = (name, self._onnx.numpy_helper.from_array(array, name))
        return self._constants[key][0]

    def cast(self, value: str, kind: type[np.generic], output: str = "") -> str:
        """Append a Cast."""
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self.add("Cast", value, output=output, to=to)

    def reshape(self, value: str, shape: Sequence[int], output: str = "") -> str:
        """Append a Reshape; one -1 takes what is left."""
        return self.add("Reshape", value, self.constant(np.array(shape, np.int64)), output=output)

    def take(self, value: str, index: int, axis: int) -> str:
        """Append a Gather of one index, whose axis goes."""
        return self.add("Gather", value, self.constant(np.int64(index)), axis=axis)

    def slice(self, value: str, start: int, end: int, axis: int) -> str:
        """Append a Slice of one axis."""
        return self.add("Slice", value, *(self.constant(np.array([number])) for number in (start, end, axis)))

    def default(self, name: str, value: NDArray[Any]) -> None:
        """Give an input the value that it has when the caller leaves it out."""
        self._defaults.append(self._onnx.numpy_helper.from_array(value, name))

    def describe(self, spec: TensorSpec) -> None:
        """State the type and shape of a value inside, for readers of the file."""
        self._described.append(tensor_info(spec))

    def proto(self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Any:
        """Return the graph."""
        return self._onnx.helper.make_graph(
            self._nodes,
            name,
            [tensor_info(spec) for spec in inputs],
            [tensor_info(spec) for spec in outputs],
            [*self._defaults, *(tensor for _, tensor in self._constants.values())],
            value_info=self._described,
        )

    def model(
        self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], metadata: Mapping[str, str]
    ) -> bytes:
        """Return the graph as a whole model that onnx has checked in full."""
        helper = self._onnx.helper
        model = helper.make_model(
            self.proto(name, inputs, outputs),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sqdr",
        )
        helper.set_model_props(model, dict(sorted(metadata.items())))
        self._onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _new_name(self, what: str) -> str:
        self._n_named += 1
        return f"{self._prefix}{what.lower()}_{self._n_named}"
