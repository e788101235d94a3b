"""classifier.onnx: from image to logits in one file, against the trained model and the exact simulation."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.errors import ExportError
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.netx import NetxLayer, read_network
from sqdr.specification import MAX_STATEVECTOR_QUBITS, CodingSpec, ConvSpec, DenseSpec, EncoderSpec, HeadSpec, ModelSpec

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
torch = pytest.importorskip("torch", reason="needs the train extra")

from sqdr.export.golden import exact_expectations  # noqa: E402
from sqdr.export.to_onnx_classifier import classifier_onnx  # noqa: E402
from sqdr.train.run_folder import RunFolder  # noqa: E402

# float64 on both sides; some hundred thousand additions in another order
TOLERANCE = 1e-12
# the training model computes in float32
TRAINING_TOLERANCE = 1e-5
CUBA = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": 64}
N_STEPS = 8
# <Z> of constant counts would show nothing
MIN_SPREAD = 1e-3


def session(model: bytes, optimise: bool = True) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def random_model(head: HeadSpec, seed: int = 0) -> tuple[list[NetxLayer], ModelSpec, HeadParameters]:
    rng = np.random.default_rng(seed)
    n_features = head.n_features
    encoder = EncoderSpec(input_shape=(1, 5, 6), layers=(ConvSpec(out_channels=3), DenseSpec(out_features=n_features)))
    conv = 2 * rng.integers(-30, 50, (3, 1, 3, 3))
    dense = 2 * rng.integers(-20, 40, (n_features, 36))
    layers = [
        NetxLayer(
            kind="conv",
            shape=(3, 3, 4),
            weight=conv,
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            neuron=CUBA | {"vThMant": 150},
        ),
        NetxLayer(kind="flatten", shape=(36,)),
        NetxLayer(kind="dense", shape=(n_features,), weight=dense, neuron=CUBA | {"vThMant": 40}),
    ]
    parameters = HeadParameters(
        weights=rng.normal(size=(head.n_blocks, head.n_qubits, 3)),
        scale_rad=rng.uniform(1, 2, n_features),
        readout_weight=rng.normal(size=(head.n_classes, head.n_qubits)) if head.has_readout else None,
        readout_bias=rng.normal(size=head.n_classes) if head.has_readout else None,
    )
    return layers, ModelSpec(coding=CodingSpec(n_steps=N_STEPS), encoder=encoder, head=head), parameters


def images(n_samples: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    brightness = np.linspace(0, 1, n_samples).reshape(-1, 1, 1, 1)
    return (brightness * rng.integers(0, 256, (n_samples, 1, 5, 6))).astype(np.uint8)


HEADS = [
    HeadSpec(n_qubits=n, n_blocks=blocks, entangler=entangler, features_per_qubit=features, n_classes=3)  # type: ignore[arg-type]
    for n, blocks, entangler, features in [
        *product([1, 2, 5], [1, 2, 3], ["ring", "chain", "none"], [1, 3]),
        (12, 2, "ring", 1),
        (MAX_STATEVECTOR_QUBITS, 2, "ring", 1),
        *product([MAX_STATEVECTOR_QUBITS + 1, 40], [1, 2], ["ring", "chain", "none"], [1, 3]),
    ]
]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: f"{h.n_qubits}-{h.n_blocks}-{h.entangler}-{h.features_per_qubit}")
def test_expectations_and_logits_are_the_exact_simulations(head: HeadSpec) -> None:
    layers, spec, parameters = random_model(head)
    logits, z, counts = session(classifier_onnx(layers, spec, parameters, {})).run(None, {"images": images(6)})
    exact = exact_expectations(counts_to_angles(counts, N_STEPS, parameters.scale_rad, head), parameters, head)
    assert exact.std(axis=0).min() > MIN_SPREAD
    assert (logits.dtype, z.dtype, counts.dtype) == (np.float64, np.float64, np.int64)
    np.testing.assert_allclose(z, exact, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits, readout(exact, parameters, head), rtol=0, atol=TOLERANCE * head.n_qubits)


@pytest.mark.parametrize("n_qubits", [4, MAX_STATEVECTOR_QUBITS + 1])
def test_without_readout_the_first_expectations_are_the_logits(n_qubits: int) -> None:
    layers, spec, parameters = random_model(HeadSpec(n_qubits=n_qubits, has_readout=False, n_classes=3))
    logits, z, _ = session(classifier_onnx(layers, spec, parameters, {})).run(None, {"images": images(5)})
    assert logits.shape == (5, 3)
    assert np.array_equal(logits, z[:, :3])


@pytest.mark.parametrize("n_qubits", [1, 3, MAX_STATEVECTOR_QUBITS + 1])
@pytest.mark.parametrize("n_samples", [0, 1, 7])
def test_any_number_of_samples_at_once(n_qubits: int, n_samples: int) -> None:
    layers, spec, parameters = random_model(HeadSpec(n_qubits=n_qubits, n_classes=3))
    run = session(classifier_onnx(layers, spec, parameters, {}))
    found = run.run(None, {"images": images(7)[:n_samples]})
    assert [value.shape for value in found] == [(n_samples, 3), (n_samples, n_qubits), (n_samples, n_qubits)]
    whole = run.run(None, {"images": images(7)})
    for value, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(value, expected[:n_samples], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_qubits", [5, MAX_STATEVECTOR_QUBITS + 1])
def test_optimised_and_plain_graphs_agree(n_qubits: int) -> None:
    model = classifier_onnx(*random_model(HeadSpec(n_qubits=n_qubits, features_per_qubit=3, n_classes=3)), {})
    fast, plain = (session(model, optimise).run(None, {"images": images(4)}) for optimise in (True, False))
    assert np.array_equal(fast[2], plain[2])
    np.testing.assert_allclose(fast[0], plain[0], rtol=0, atol=TOLERANCE * n_qubits)


def test_trained_model_has_the_golden_logits(bundle_path: Path, trained_run: Path) -> None:
    with Bundle.open(bundle_path) as bundle:
        spec, golden, head = bundle.manifest.model, bundle.golden(), bundle.head_parameters()
        layers = read_network(bundle.path_of("encoder.net"))
    run = session(classifier_onnx(layers, spec, head, {"sqdr.manifest": "{}"}))
    logits, z, counts = run.run(None, {"images": golden.images})
    assert np.array_equal(counts, golden.counts)
    np.testing.assert_allclose(z, golden.expectations, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits, golden.logits, rtol=0, atol=TOLERANCE * spec.head.n_qubits)
    spikes = encode_images(golden.images, spec.coding)
    from_spikes = run.run(["logits"], {"spikes": spikes})[0]
    assert np.array_equal(from_spikes, logits)
    model = RunFolder(trained_run).load_model()
    with torch.no_grad():
        trained = model(torch.from_numpy(spikes).float()).numpy()
    np.testing.assert_allclose(logits, trained, rtol=0, atol=TRAINING_TOLERANCE)
    assert run.get_modelmeta().custom_metadata_map == {"sqdr.manifest": "{}"}


def test_model_is_standard_onnx() -> None:
    layers, spec, parameters = random_model(HeadSpec(n_qubits=3, n_classes=3))
    data = classifier_onnx(layers, spec, parameters, {})
    assert data == classifier_onnx(layers, spec, parameters, {})
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}
    assert [value.name for value in model.graph.output] == ["logits", "expectations", "counts"]


def test_circuit_too_wide_for_its_depth_is_refused_rather_than_cut_to_two_blocks() -> None:
    n_qubits = MAX_STATEVECTOR_QUBITS + 1
    layers, spec, parameters = random_model(HeadSpec(n_qubits=n_qubits, n_blocks=3, n_classes=3))
    with pytest.raises(ExportError, match="16 qubits for more than 2 blocks, got 17 qubits and 3 blocks"):
        classifier_onnx(layers, spec, parameters, {})
