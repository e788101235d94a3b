"""The ONNX encoder: what it refuses to load, what it says when it fails, and what it sees inside."""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integer_reference import reference_states
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend
from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.onnx import MAX_BATCH, OnnxEncoder
from sqdr.deploy.encoders.onnx_model import MAX_ELEMENTS
from sqdr.deploy.inputs import read_input
from sqdr.errors import (
    BackendError,
    BackendTimeoutError,
    BundleError,
    ConfigError,
    DataError,
    MissingDependencyError,
    NotEqualError,
    ShapeError,
    SqdrError,
)
from sqdr.netx import NetxLayer, read_network
from sqdr.specification import CodingSpec

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")

from sqdr.export.to_onnx import encoder_onnx  # noqa: E402

Spikes = NDArray[np.uint8]
Change = Callable[[Any], None]


@dataclass(frozen=True)
class Exported:
    """A bundle, the ONNX model of its encoder, and the layers it was made from."""

    bundle: Bundle
    layers: list[NetxLayer]
    path: Path

    def encoder(self, path: Path | None = None, **options: Any) -> OnnxEncoder:
        model = self.bundle.manifest.model
        shape = {
            "input_shape": model.encoder.input_shape,
            "n_features": model.encoder.n_features,
            "n_steps": model.coding.n_steps,
        }
        return OnnxEncoder(path or self.path, **(shape | options))

    def spikes(self, n_samples: int) -> Spikes:
        model = self.bundle.manifest.model
        images = read_input("digits:test", model.encoder.input_shape).images
        return encode_images(np.resize(images, (n_samples, *images.shape[1:])), model.coding)


@pytest.fixture(scope="module")
def exported(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    with Bundle.open(bundle_path) as bundle:
        model, layers = bundle.manifest.model, read_network(bundle.path_of("encoder.net"))
        path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
        path.write_bytes(encoder_onnx(layers, model.encoder.input_shape, model.coding, {}))
        yield Exported(bundle, layers, path)


@pytest.fixture
def with_model(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Bundle]:
    """The bundle with another file as its encoder.onnx."""

    def change(path: Path) -> Bundle:
        original = exported.bundle.path_of
        monkeypatch.setattr(exported.bundle, "path_of", lambda name: path if name == "encoder.onnx" else original(name))
        return exported.bundle

    return change


def changed(exported: Exported, folder: Path, change: Change) -> Path:
    """A copy of the model with something else in it."""
    model = onnx.load(exported.path)
    change(model)
    path = folder / "encoder.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_encoder_of_a_bundle_has_the_golden_spikes(exported: Exported, with_model: Callable[[Path], Bundle]) -> None:
    bundle = with_model(exported.path)
    golden = bundle.golden()
    with OnnxEncoder.from_bundle(bundle, n_threads=1) as encoder:
        assert isinstance(encoder, EncoderBackend)
        trains = encoder.spike_trains(encode_images(golden.images, bundle.manifest.model.coding))
    assert golden.spike_trains.any()
    assert int((trains != golden.spike_trains).sum()) == 0


def test_encoder_that_misses_golden_spikes_does_not_serve(
    exported: Exported, with_model: Callable[[Path], Bundle], tmp_path: Path
) -> None:
    def deafen(model: Any) -> None:
        last = [node for node in model.graph.node if node.op_type == "MatMulInteger"][-1]
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == last.input[1])
        weight.raw_data = bytes([128]) * len(weight.raw_data)

    bundle = with_model(changed(exported, tmp_path, deafen))
    with pytest.raises(NotEqualError, match=r"encoder 'onnx' differs from the trained model in \d+ of"):
        OnnxEncoder.from_bundle(bundle)
    with OnnxEncoder.from_bundle(bundle, check_golden=False) as encoder:
        assert not encoder.encode(exported.spikes(3)).any()


def test_batches_of_any_size_give_the_same_spikes(exported: Exported) -> None:
    spikes = exported.spikes(2 * MAX_BATCH + 5)
    with exported.encoder() as encoder:
        whole = encoder.spike_trains(spikes)
        assert whole.any()
        for start in (0, MAX_BATCH - 1, MAX_BATCH, 2 * MAX_BATCH + 4):
            assert np.array_equal(encoder.spike_trains(spikes[start : start + 1]), whole[start : start + 1])
        assert np.array_equal(encoder.encode(spikes), whole.sum(axis=-1))
        traces = encoder.trace(spikes)
    assert np.array_equal(traces[-1].spikes, whole)


def test_wide_layers_run_in_smaller_batches(tmp_path: Path) -> None:
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 64}
    weight, wide = np.full((32, 1, 1, 1), 100), np.full((1, 32, 127, 127), 2)
    once, apart, none = (1, 1), (2, 2), (0, 0)
    layers = [
        NetxLayer(
            kind="conv", shape=(32, 256, 256), weight=weight, stride=once, padding=none, dilation=once, neuron=neuron
        ),
        NetxLayer(kind="conv", shape=(1, 2, 2), weight=wide, stride=apart, padding=none, dilation=apart, neuron=neuron),
    ]
    path = tmp_path / "encoder.onnx"
    path.write_bytes(encoder_onnx(layers, (1, 256, 256), CodingSpec(n_steps=4), {}))
    spikes = np.zeros((3, 1, 256, 256, 4), np.uint8)
    spikes[1] = 1
    with OnnxEncoder(path, input_shape=(1, 256, 256), n_features=4, n_steps=4) as encoder:
        assert encoder.batch_size == 1
        assert encoder.encode(spikes).tolist() == [[0] * 4, [4] * 4, [0] * 4]


def test_trace_is_what_every_layer_does(exported: Exported) -> None:
    spikes = exported.spikes(20)
    with exported.encoder(n_threads=2) as encoder:
        traces = encoder.trace(spikes)
        assert encoder.trace(spikes[:0])[0].current.shape == (0, 4, 8, 8, 5)
    expected = reference_states(exported.layers, spikes)
    names = [f"layer {i} ({x.kind})" for i, x in enumerate(exported.layers) if x.weight is not None]
    assert [trace.name for trace in traces] == names
    assert names[-1] == "layer 4 (dense)"
    for trace, (u, v, fires) in zip(traces, expected, strict=True):
        assert fires.any()
        assert (trace.current.dtype, trace.voltage.dtype) == (np.int64, np.int64)
        assert trace.spikes is not None
        assert trace.spikes.dtype == np.uint8
        assert np.array_equal(trace.current, u)
        assert np.array_equal(trace.voltage, v)
        assert np.array_equal(trace.spikes, fires)


def test_encoder_answers_between_entering_and_closing_only(exported: Exported) -> None:
    encoder, spikes = exported.encoder(), exported.spikes(2)
    for _ in range(2):
        encoder.close()
        for call in (encoder.encode, encoder.spike_trains, encoder.trace):
            with pytest.raises(BackendError, match=r"is not started\. Use it in a `with` statement"):
                call(spikes)
        with encoder:
            assert len(encoder.encode(spikes)) == 2
            with pytest.raises(BackendError, match="already started. Enter it once"):
                encoder.__enter__()
            assert len(encoder.trace(spikes)[0].spikes) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s[0], ShapeError, "`spikes` must be"),
        (lambda s: s[..., 1:], ShapeError, r"C, H, W, T = \(1, 8, 8, 5\)"),
        (lambda s: s.astype(np.int64), ShapeError, "must be a uint8 array, got int64"),
        (lambda s: s.tolist(), ShapeError, "must be a uint8 array, got list"),
        (lambda s: s + 1, DataError, "must be below 2, got 2"),
    ],
)
def test_other_input_is_refused(exported: Exported, change: Any, error: type[SqdrError], message: str) -> None:
    with exported.encoder() as encoder:
        for call in (encoder.encode, encoder.spike_trains, encoder.trace):
            with pytest.raises(error, match=message):
                call(change(exported.spikes(2)))
        assert len(encoder.encode(exported.spikes(2))) == 2


@pytest.mark.parametrize("option", [{"n_threads": -1}, {"timeout_s": 0}, {"timeout_s": float("inf")}])
def test_options_that_break_a_rule_are_refused(exported: Exported, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(option))}` must be"):
        exported.encoder(**option)


def test_slow_batch_ends_with_its_time_out_and_the_encoder_goes_on(exported: Exported) -> None:
    spikes = exported.spikes(MAX_BATCH)

    def encode_often(encoder: OnnxEncoder) -> None:
        for _ in range(200):  # the clock may lose against a quick batch
            encoder.encode(spikes)

    with exported.encoder(timeout_s=1e-6) as encoder:
        with pytest.raises(BackendTimeoutError, match="within 1e-06 s. Raise"):
            encode_often(encoder)
    with exported.encoder() as encoder:
        assert len(encoder.encode(spikes)) == MAX_BATCH


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_is_named(exported: Exported, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"needs the package '{package}'"), exported.encoder():
        pass


def external_data(model: Any) -> None:
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_data_in_a_layer(model: Any) -> None:
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
    external_data(type("Model", (), {"graph": body}))


def operator_of_a_library(model: Any) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def operator_of_another_domain(model: Any) -> None:
    model.graph.node[0].domain = "my.ops"


def operator_that_may_not_end(model: Any) -> None:
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    scan.op_type = "Loop"


def function(model: Any) -> None:
    model.functions.add(name="f", domain="my.ops")


def sparse_weights(model: Any) -> None:
    model.graph.sparse_initializer.add()


def gigantic_state(model: Any) -> None:
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.int64 and value.tolist() == [4, 8, 8]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([4, 8 * MAX_ELEMENTS, 8]), tensor.name))


def other_output(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def another_input(model: Any) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[-1].name = "more"


def no_graph(model: Any) -> None:
    model.ClearField("graph")


FOREIGN: dict[Change, str] = {
    external_data: "keeps data in another file, which is not followed",
    external_data_in_a_layer: "keeps data in another file, which is not followed",
    operator_of_a_library: "not standard",
    operator_of_another_domain: "which the export does not write",
    operator_that_may_not_end: "holds the operator 'Loop'",
    function: "not standard",
    sparse_weights: "sparse tensors",
    gigantic_state: "not a valid ONNX model|elements a sample, more than",
    other_output: "not a valid ONNX model|does not take and give",
    another_input: "does not take and give",
    no_graph: "not a valid ONNX model|does not take and give",
}


@pytest.mark.parametrize("change", FOREIGN, ids=lambda change: change.__name__)
def test_foreign_model_is_refused_in_one_line(exported: Exported, tmp_path: Path, change: Change) -> None:
    path = changed(exported, tmp_path, change)
    with pytest.raises(BundleError, match=FOREIGN[change]) as refusal:
        exported.encoder(path)
    assert str(refusal.value).startswith("encoder.onnx ")
    assert "\n" not in str(refusal.value)


def test_another_encoders_model_is_refused(exported: Exported) -> None:
    for other in ({"n_steps": 6}, {"n_features": 5}, {"input_shape": (1, 8, 9)}):
        with pytest.raises(BundleError, match="does not take and give what its manifest says"):
            exported.encoder(**other)


def test_missing_file_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="encoder.onnx cannot be read: No such file"):
        exported.encoder(tmp_path / "encoder.onnx")
    with pytest.raises(BundleError, match="cannot be read: Is a directory"):
        exported.encoder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08", b"\x00" * 100, b"PK\x03\x04" + b"\x00" * 50])
def test_what_is_no_model_is_refused(exported: Exported, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="encoder.onnx (is not|does not)"):
        exported.encoder(path)


def test_damaged_model_runs_or_is_refused_in_one_line(
    exported: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, generator = exported.path.read_bytes(), random.Random(5)
    path, spikes = tmp_path / "encoder.onnx", exported.spikes(2)
    refusals = []
    for case in range(300):
        damaged = bytearray(data)
        if case % 3 == 0:
            damaged = damaged[: generator.randrange(len(data))]
        else:
            for _ in range(generator.choice([1, 1, 5, 50])):
                damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            with exported.encoder(path, n_threads=1, timeout_s=20) as encoder:
                assert encoder.encode(spikes).shape == (2, 4)
        except (BundleError, BackendError) as error:
            refusals.append(str(error))
    assert len(refusals) > 150
    assert not any("\n" in refusal for refusal in refusals)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
