"""Write encoder, exact circuit and readout as one ONNX model: image in, logits out."""

from collections.abc import Mapping, Sequence

import numpy as np

from sqdr.errors import ExportError
from sqdr.export.onnx_circuit import add_light_cone, add_state_vector
from sqdr.export.onnx_complex import ComplexGraph
from sqdr.export.to_onnx import add_encoder, encoder_inputs
from sqdr.head import HeadParameters
from sqdr.netx import NetxLayer
from sqdr.specification import MAX_LIGHTCONE_BLOCKS, MAX_STATEVECTOR_QUBITS, ModelSpec

__all__ = ["classifier_onnx"]


def classifier_onnx(
    layers: Sequence[NetxLayer], spec: ModelSpec, head: HeadParameters, metadata: Mapping[str, str]
) -> bytes:
    """Return the whole model as ONNX, checked in full; the same bytes for the same arguments.

    It takes what `sqdr.export.to_onnx` describes and returns ``logits`` (N, K) float64, ``expectations``
    (N, n_qubits) float64 and ``counts`` (N, F) int64. The circuit is simulated in float64, without shots.

    Args:
        layers: of the network file.
        spec: of the model.
        head: its trained parameters.
        metadata: stored in the model's ``metadata_props``.

    Raises:
        ExportError: a layer cannot be written exactly, and is named; or the circuit is too wide for its depth.
        MissingDependencyError: onnx is not installed.
    """
    graph, of_head = ComplexGraph(), spec.head
    is_narrow = of_head.n_qubits <= MAX_STATEVECTOR_QUBITS
    if not is_narrow and of_head.n_blocks > MAX_LIGHTCONE_BLOCKS:
        raise ExportError(
            f"the classifier in ONNX has {MAX_STATEVECTOR_QUBITS} qubits for more than {MAX_LIGHTCONE_BLOCKS} blocks, "
            f"got {of_head.n_qubits} qubits and {of_head.n_blocks} blocks. Use encoder.onnx with sqdr's own head."
        )
    n_features = add_encoder(graph, layers, spec.encoder.input_shape, spec.coding)
    scale = graph.constant(head.scale_rad / spec.coding.n_steps)
    angles = graph.add("Mul", graph.cast("counts", np.float64), scale)
    angles = graph.reshape(angles, (-1, of_head.n_qubits, of_head.features_per_qubit))
    add_circuit = add_state_vector if is_narrow else add_light_cone
    z = add_circuit(graph, angles, head.weights, of_head.entangler, of_head.features_per_qubit)
    z = graph.add("Identity", z, output="expectations")
    if head.readout_weight is None or head.readout_bias is None:
        graph.add("Identity", graph.slice(z, 0, of_head.n_classes, axis=1), output="logits")
    else:
        product = graph.add("MatMul", z, graph.constant(head.readout_weight.T))
        graph.add("Add", product, graph.constant(head.readout_bias), output="logits")
    return graph.model(
        "sqdr classifier",
        encoder_inputs(spec.encoder.input_shape, spec.coding),
        [
            ("logits", np.float64, ("n", of_head.n_classes)),
            ("expectations", np.float64, ("n", of_head.n_qubits)),
            ("counts", np.int64, ("n", n_features)),
        ],
        metadata,
    )
