"""`verify` says EQUAL of equal stages only, and where the first difference is."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from netx_networks import cuba
from numpy.typing import NDArray

from sqdr.bundle import Bundle, sha256_of
from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import integer_layers
from sqdr.deploy.verify import compare_sampled, compare_spikes, compare_values, verify_bundle, verify_images
from sqdr.deploy.verify.classifier import CLASSIFIER_OPERATORS
from sqdr.deploy.verify.compare import SpikeComparison
from sqdr.deploy.verify.locate import locate
from sqdr.errors import BundleError, ConfigError, DataError, DeviceError, MissingDependencyError, NotEqualError
from sqdr.netx import NetxLayer, read_network

# An encoder of somebody else's, found by its entry point as any installed one.
OTHER_ENCODERS = """
from sqdr.train.slayer_backend import SlayerBackend

class Flipping(SlayerBackend):
    name = "flipping"

    def spike_trains(self, spikes):
        trains = super().spike_trains(spikes)
        if len(trains) > 4:
            trains[4, 2, 3] ^= 1
            trains[5, 0, 0] ^= 1
        return trains

class Absent:
    @classmethod
    def from_bundle(cls, bundle):
        from sqdr.errors import MissingDependencyError
        raise MissingDependencyError("not on this machine")
"""


def install(folder: Path, **encoders: str) -> None:
    """Make encoders known as an installed package would."""
    info = folder / "other_encoders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-encoders\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in encoders.items()]
    (info / "entry_points.txt").write_text("\n".join(["[sqdr.encoders]", *lines, ""]))
    (folder / "other_encoders.py").write_text(OTHER_ENCODERS)


@pytest.fixture
def no_lava(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lava's worker has no Lava, which spares its start."""
    monkeypatch.setenv("SQDR_LAVA_PYTHON", str(tmp_path / "no-python"))


def test_every_stage_of_an_exported_bundle_is_equal(bundle_path: Path, no_lava: None) -> None:
    done = []
    report = verify_bundle(bundle_path, n_samples=7, progress=lambda n, of: done.append((n, of)))
    rows = report.rows
    assert {(row.source, row.target) for row in rows} >= {
        ("trained model", "slayer"),
        ("trained model", "integer"),
        ("trained model", "onnx"),
        ("slayer", "integer"),
        ("integer", "onnx"),
        ("trained model", "local:sv"),
        ("local:sv", "local:sv, 1,000 shots"),
        ("local:sv", "pennylane:default.qubit"),
        ("local:sv", "local:braket-sv"),
        ("trained model", "classifier.onnx"),
        ("integer + local:sv", "classifier.onnx"),
    }
    assert all(row.equal and row.n_different == 0 and row.n_compared > 0 and not row.where for row in rows)
    assert {row.max_abs_difference for row in rows if row.what == "spikes"} == {0}
    assert max(row.max_abs_difference for row in rows if "shots" not in row.target) <= 1e-9
    assert rows[-1].n_samples == 7
    assert done == [(7, 7)]
    assert len(report.skipped) == 1  # Lava, by the fixture
    assert report.equal


def test_against_names_what_is_compared(bundle_path: Path, no_lava: None) -> None:
    rows = verify_bundle(bundle_path, n_samples=3, against=("onnx",)).rows
    assert [(row.source, row.target) for row in rows] == [("trained model", "onnx"), ("integer", "onnx")]
    rows = verify_bundle(bundle_path, n_samples=3, against=("local:sv",), shots=0).rows
    assert [(row.source, row.target) for row in rows] == [("trained model", "local:sv")]


@pytest.mark.parametrize("device", ["braket_local_dm", "local_dm"])
def test_shots_of_a_noisy_device_are_compared_with_its_own_analytic_values(
    bundle_path: Path, no_lava: None, device: str
) -> None:
    report = verify_bundle(bundle_path, n_samples=2, against=(device,), shots=200)
    assert [(row.source, row.target, row.equal) for row in report.rows] == [
        (f"{device}, analytic", f"{device}, 200 shots", True)
    ]
    assert report.skipped[0].startswith(f"device '{device}' is noisy")


def test_device_that_may_cost_money_or_is_unknown_is_refused(bundle_path: Path, no_lava: None) -> None:
    with pytest.raises(DeviceError, match="device 'nothing' is unknown"):
        verify_bundle(bundle_path, n_samples=1, against=("nothing",))
    with pytest.raises((ConfigError, DeviceError), match=r"may cost money|needs `shots`"):
        verify_bundle(bundle_path, n_samples=1, against=("braket_iqm_garnet",))


def test_stage_that_was_asked_for_must_run(
    bundle_path: Path, no_lava: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MissingDependencyError, match="Lava"):
        verify_bundle(bundle_path, n_samples=1, against=("integer", "lava"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("onnx", "classifier.onnx"):
        with pytest.raises(MissingDependencyError, match="onnxruntime"):
            verify_bundle(bundle_path, n_samples=1, against=(name,))
    with pytest.raises(DataError, match="nowhere|cannot be read|no "):
        verify_bundle(resealed(bundle_path, tmp_path / "b", data="folder"), data_root=tmp_path / "nowhere")


def test_shots_of_a_device_that_was_named_are_compared(bundle_path: Path, no_lava: None) -> None:
    rows = verify_bundle(bundle_path, n_samples=2, against=("local:braket-sv",), shots=300).rows
    assert [(row.source, row.target) for row in rows][-1] == ("local:sv", "local:braket-sv, 300 shots")
    assert all(row.equal for row in rows)


def test_wide_head_leaves_slow_devices_out_unless_asked(
    bundle_path: Path, no_lava: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqdr.deploy.verify.heads.MAX_SLOW_QUBITS", 3)
    report = verify_bundle(bundle_path, n_samples=2)
    assert not any("braket" in row.target or "pennylane" in row.target for row in report.rows)
    assert sum("4 qubits take it long; ask for it by name" in reason for reason in report.skipped) == 2
    assert verify_bundle(bundle_path, n_samples=2, against=("pennylane:default.qubit",)).equal


def resealed(source: Path, target: Path, *, data: str | None = None) -> Path:
    """A copy whose hashes fit whatever is in its files."""
    if not target.exists():
        shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["files"] = {name: sha256_of(target / name).model_dump() for name in manifest["files"]}
    if data is not None:
        manifest["training"]["data"] = data
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def test_network_that_is_not_the_golden_samples_is_named(bundle_path: Path, no_lava: None, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, tmp_path / "b")
    with h5py.File(tmp_path / "b" / "encoder.net", "r+") as file:
        file["layer/1/weight"][...] = -file["layer/1/weight"][...]
    report = verify_bundle(resealed(bundle_path, tmp_path / "b"), n_samples=2, against=("slayer", "integer"))
    wrong = {(row.source, row.target): row for row in report.rows if not row.equal}
    assert set(wrong) == {("trained model", "slayer"), ("trained model", "integer")}
    for row in wrong.values():
        assert row.difference is not None
        assert "encoder.net and golden.npz are not of one trained model" in row.difference.cause


def hostile(make: Any, bundle: Path, target: Path) -> Path:
    """A bundle whose classifier is another model, its hash right."""
    import onnx

    shutil.copytree(bundle, target)
    path = target / "classifier.onnx"
    make(onnx.helper, model := onnx.load(path))
    path.write_bytes(model.SerializeToString())
    return resealed(bundle, target)


def endless(helper: Any, model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("Loop", ["", ""], [], body=body))


def huge(helper: Any, model: Any) -> None:
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["counts"], ["huge"]))


def outside(helper: Any, model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="secret.bin")


def computed(helper: Any, model: Any) -> None:
    model.graph.node.append(helper.make_node("Expand", ["logits", "counts"], ["huge"]))


def scaled(helper: Any, model: Any) -> None:
    shape = next(node.output[0] for node in model.graph.node if node.op_type == "Shape")
    model.graph.node.append(helper.make_node("Mul", [shape, shape], ["more"]))


def scalar(helper: Any, model: Any) -> None:
    logits = next(value for value in model.graph.output if value.name == "logits")
    del logits.type.tensor_type.shape.dim[:]


@pytest.mark.parametrize("make", [endless, huge, outside, computed, scaled, scalar])
def test_hostile_classifier_is_refused_before_it_runs(bundle_path: Path, tmp_path: Path, make: Any) -> None:
    pytest.importorskip("onnx", reason="needs the onnx extra")
    with pytest.raises(BundleError, match=r"^classifier\.onnx [^\n]*Export again\.$"):
        verify_bundle(hostile(make, bundle_path, tmp_path / "b"), n_samples=1, against=("classifier.onnx",))


def test_classifier_operators_are_what_the_export_writes(bundle_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    written = {node.op_type for node in onnx.load(bundle_path / "classifier.onnx").graph.node}
    assert written <= CLASSIFIER_OPERATORS
    assert {"MatMul", "Sin"} <= written


def test_encoder_that_miscounts_is_refused_and_shown(bundle_path: Path, no_lava: None) -> None:
    class Miscounting(IntegerEncoder):
        def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
            return np.zeros((len(spikes), 4), np.int64)

    with Bundle.open(bundle_path) as bundle, pytest.raises(NotEqualError, match="counts other spikes"):
        Miscounting.from_bundle(bundle)
    with Bundle.open(bundle_path) as bundle, pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegerEncoder, "encode", Miscounting.encode)
        rows = [
            row for row in verify_images(bundle, bundle.golden().images, against=("integer",)).rows if not row.equal
        ]
    assert [(row.what, row.target) for row in rows] == [("counts", "integer, counts")]


def test_bundle_without_onnx_says_so(bundle_path: Path, no_lava: None, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    for name in ("encoder.onnx", "classifier.onnx"):
        (tmp_path / "b" / name).unlink()
        del manifest["files"][name]
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    report = verify_bundle(tmp_path / "b", n_samples=1)
    assert report.equal
    assert not any("onnx" in row.target for row in report.rows)
    assert any("the bundle has no encoder.onnx" in reason for reason in report.skipped)
    assert any("classifier.onnx: the bundle has none" in reason for reason in report.skipped)


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_lava_is_compared_with_the_trained_model_and_the_integer_encoder(bundle_path: Path) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    rows = verify_bundle(bundle_path, n_samples=40, against=("lava",)).rows
    assert [(row.source, row.target, row.n_different, row.equal, row.n_samples) for row in rows] == [
        ("trained model", "lava", 0, True, 8),
        ("integer", "lava", 0, True, 40),
    ]


def test_encoder_that_differs_is_found_with_the_first_place(
    bundle_path: Path, no_lava: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, flipping="other_encoders:Flipping", absent="other_encoders:Absent")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = verify_bundle(bundle_path, n_samples=9, against=("slayer", "integer", "flipping"))
    rows = {(row.source, row.target): row for row in report.rows}
    assert rows["trained model", "slayer"].equal
    row = rows["integer", "flipping"]
    assert (row.equal, row.n_different, row.max_abs_difference) == (False, 2, 1.0)
    assert row.where.startswith("first at sample 4, feature 2, time step 3: integer ")
    # alone, the sample is not flipped
    assert row.difference is not None
    assert (row.difference.sample, row.difference.layer) == (4, "layer 4 (dense)")
    assert "leaves something behind" in row.difference.cause
    assert not rows["trained model", "flipping"].equal
    with pytest.raises(MissingDependencyError, match="not on this machine"):
        verify_bundle(bundle_path, n_samples=1, against=("absent",))


def test_verify_reads_a_folder_or_array_of_ones_own(bundle_path: Path, no_lava: None, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "mine.npy", images)
    report = verify_bundle(bundle_path, source=str(tmp_path / "mine.npy"), against=("integer",))
    assert report.equal
    assert report.rows[-1].n_samples == 3


def test_golden_images_serve_where_the_data_set_is_not_at_hand(
    bundle_path: Path, no_lava: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as without the train extra
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    report = verify_bundle(bundle_path, against=("integer",))
    assert report.equal
    assert report.rows[-1].n_samples == 8
    assert report.skipped[0].startswith("images of digits:test, so the golden samples alone were used")


def test_verify_refuses_what_it_cannot_read(bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere does not exist"):
        verify_bundle(tmp_path / "nowhere")
    with pytest.raises(DataError, match="`input` 'nothing:test' is no folder"):
        verify_bundle(bundle_path, source="nothing:test")


def test_verify_goes_on_without_slayer(bundle_path: Path, monkeypatch: pytest.MonkeyPatch, no_lava: None) -> None:
    monkeypatch.setitem(sys.modules, "sqdr.train.slayer_backend", None)  # as without the train extra
    report = verify_bundle(bundle_path, n_samples=2, source="digits:test")
    assert ("trained model", "integer") in {(row.source, row.target) for row in report.rows}
    assert any("'slayer'" in reason for reason in report.skipped)


# Where two encoders part, and why


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Iterator[Bundle]:
    with Bundle.open(bundle_path) as opened:
        yield opened


def encoder_of(bundle: Bundle, change: Any = None) -> IntegerEncoder:
    """The bundle's integer encoder, with its blocks changed."""
    blocks = read_network(bundle.path_of("encoder.net"))
    return IntegerEncoder(integer_layers(change(blocks) if change else blocks, (1, 8, 8)), n_steps=5)


def changed(index: int, **changes: Any) -> Any:
    return lambda blocks: [replace(b, **changes) if i == index else b for i, b in enumerate(blocks)]


def retuned(index: int, **parameters: Any) -> Any:
    return lambda blocks: [replace(b, neuron=b.neuron | parameters) if i == index else b for i, b in enumerate(blocks)]


def negated(index: int) -> Any:
    return lambda blocks: [replace(b, weight=-b.weight) if i == index else b for i, b in enumerate(blocks)]


class Shifted(IntegerEncoder):
    """Delivers its output a step late, as a pipeline whose delay is counted wrongly."""

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        trains = super().spike_trains(spikes)
        return np.concatenate([np.zeros_like(trains[..., :1]), trains[..., :-1]], axis=-1)

    def trace(self, spikes: NDArray[np.uint8]) -> Any:
        return [
            replace(t, current=np.roll(t.current, 1, -1), voltage=np.roll(t.voltage, 1, -1))
            for t in super().trace(spikes)
        ]


class Opaque:
    """An encoder that cannot be looked into."""

    def __init__(self, inner: IntegerEncoder) -> None:
        self.spike_trains = inner.spike_trains


CASES = [
    ("weights of the second layer", negated(1), "layer 1 (conv)", "synaptic sum differs"),
    ("weights of the last layer", negated(4), "layer 4 (dense)", "synaptic sum differs"),
    ("voltage decay", retuned(2, vDecay=3000), "layer 2 (conv)", "check voltage_decay"),
    ("threshold", retuned(0, vThMant=30), "layer 0 (conv)", "check voltage_decay, bias, threshold"),
    ("bias", changed(4, bias=np.full(4, 40)), "layer 4 (dense)", "check voltage_decay, bias"),
    ("current decay", retuned(0, iDecay=2000), "layer 0 (conv)", "current decay from the second step on"),
]


@pytest.mark.parametrize(("name", "change", "layer", "cause"), CASES, ids=[case[0] for case in CASES])
def test_locate_names_the_layer_the_states_and_the_cause(
    bundle: Bundle, name: str, change: Any, layer: str, cause: str
) -> None:
    spikes = encode_images(bundle.golden().images, bundle.manifest.model.coding)
    source, target = encoder_of(bundle), encoder_of(bundle, change)
    comparison = SpikeComparison("source", "target")
    comparison.add(source.spike_trains(spikes), target.spike_trains(spikes), 0.0)
    assert comparison.first is not None
    number = comparison.first[0]
    found = locate(source, target, spikes[number : number + 1], number, comparison.first)
    assert (found.sample, found.layer) == (number, layer)
    assert cause in found.cause
    # the states are those of that neuron and step, and everything before agrees
    traces = source.trace(spikes), target.trace(spikes)
    index = [trace.name for trace in traces[0]].index(layer)
    place = (number, *found.neuron, found.step)
    for trace, current, voltage in (
        (traces[0][index], found.source_current, found.source_voltage),
        (traces[1][index], found.target_current, found.target_voltage),
    ):
        assert (int(trace.current[place]), int(trace.voltage[place])) == (current, voltage)
    before = (number, ..., slice(found.step))
    assert np.array_equal(traces[0][index].current[before], traces[1][index].current[before])
    assert np.array_equal(traces[0][index].voltage[before], traces[1][index].voltage[before])


def test_locate_sees_a_shift_and_what_cannot_be_looked_into(bundle: Bundle) -> None:
    spikes = encode_images(bundle.golden().images, bundle.manifest.model.coding)
    source = encoder_of(bundle)
    trains = source.spike_trains(spikes)
    number = int(trains[:, :, :-1].any(axis=(1, 2)).argmax())
    sample, first = spikes[number : number + 1], (number, 1, 2, 0, 1)
    shifted = Shifted(list(source.layers), n_steps=5)
    assert "a time step late" in locate(source, shifted, sample, number, first).cause
    found = locate(source, Opaque(source), sample, number, first)
    assert (found.layer, found.neuron, found.step) == ("", (1,), 2)
    assert "cannot be looked into" in found.cause


def test_locate_sees_an_overflow() -> None:
    def network(scale: int) -> IntegerEncoder:
        weight = np.full((1, 1, 40, 40), 254 * scale)
        conv = NetxLayer(kind="conv", shape=(1, 1, 1), weight=weight, neuron=cuba(131071, voltage_decay=0))
        return IntegerEncoder(integer_layers([conv], (1, 40, 40)))

    class Unbounded:
        """As SLAYER: no 24 bits."""

        def __init__(self) -> None:
            self.inner = network(1)

        def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return self.inner.spike_trains(spikes) ^ 1

        def trace(self, spikes: NDArray[np.uint8]) -> Any:
            return [replace(t, current=np.full_like(t.current, 254 * 1600 * 64)) for t in self.inner.trace(spikes)]

    spikes = np.ones((1, 1, 40, 40, 2), np.uint8)
    found = locate(Unbounded(), network(1), spikes, 0, (0, 0, 0, 0, 1))
    assert (found.layer, found.step) == ("layer 0 (conv)", 0)
    assert found.source_current == 254 * 1600 * 64
    assert found.target_current == 254 * 1600 * 64 - 2**24
    assert "left 24 bits" in found.cause


# Comparisons of arrays


def test_compare_spikes_counts_every_difference() -> None:
    expected = np.zeros((2, 3, 4), np.uint8)
    found = expected.copy()
    found[1, 2, 3] = found[1, 0, 1] = 1
    row = compare_spikes("a", "b", expected, found, 0.5)
    assert (row.n_samples, row.n_compared, row.n_different, row.equal) == (2, 24, 2, False)
    assert row.where == "first at sample 1, feature 0, time step 1: a 0, b 1"
    assert compare_spikes("a", "b", expected, expected.copy(), 0.0).equal


def test_spikes_compared_in_pieces_are_those_compared_at_once() -> None:
    rng = np.random.default_rng(3)
    expected = rng.integers(0, 2, (20, 3, 4), dtype=np.uint8)
    found = expected.copy()
    found[13, 1, 2] ^= 1
    pieces = SpikeComparison("a", "b")
    for start in range(0, 20, 6):
        pieces.add(expected[start : start + 6], found[start : start + 6], 0.25)
    assert pieces.row() == compare_spikes("a", "b", expected, found, 1.0)
    assert pieces.first is not None
    assert pieces.first[:3] == (13, 1, 2)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 1), (1, 3, 4), (2, 3)], ids=str)
def test_compare_spikes_refuses_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotEqualError, match=r"a gives an array \(2, 3, 4\) and b one"):
        compare_spikes("a", "b", np.zeros((2, 3, 4), np.uint8), np.zeros(shape, np.uint8), 0.0)


def compare_z(expected: NDArray[np.float64], found: NDArray[np.float64]) -> Any:
    return compare_values("a", "b", expected, found, 0.0, what="expectations", tolerance=1e-10)


@pytest.mark.parametrize(
    ("difference", "is_equal"), [(0.0, True), (9e-11, True), (2e-10, False), (-1e-3, False), (np.nan, False)]
)
def test_compare_values_holds_the_tolerance(difference: float, is_equal: bool) -> None:
    expected = np.full((3, 2), 0.25)
    found = expected.copy()
    found[2, 1] += difference
    row = compare_z(expected, found)
    assert (row.equal, row.n_different) == (is_equal, int(not is_equal))
    assert row.where.startswith("" if is_equal else "first at sample 2, qubit 1: a 0.250000000000, b ")
    assert bool(row.where) is not is_equal


def test_compare_values_refuses_another_shape() -> None:
    with pytest.raises(NotEqualError, match=r"a gives an array \(3, 2\) and b one \(3, 1\)"):
        compare_z(np.zeros((3, 2)), np.zeros((3, 1)))


def sampled(z: NDArray[np.float64], shots: int, seed: int) -> NDArray[np.float64]:
    return 1 - 2 * np.random.default_rng(seed).binomial(shots, (1 - z) / 2) / shots


Z = np.random.default_rng(0).uniform(-1, 1, (32, 9))
Z[0, :3] = (1, -1, 0.9999)


@pytest.mark.parametrize("shots", [1, 10, 1000])
def test_compare_sampled_accepts_a_true_device(shots: int) -> None:
    # a false alarm has a chance of 1e-6 in each
    rows = [compare_sampled("a", "b", Z, sampled(Z, shots, seed), shots, 0.0) for seed in range(200)]
    assert all(row.equal for row in rows)
    assert all(row.max_abs_difference > 0 for row in rows)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a bias too small for one sample", lambda z: np.clip(z + 0.06, -1, 1)),
        ("columns exchanged", lambda z: z[:, ::-1]),
        ("every column the first qubit's", lambda z: np.repeat(z[:, :1], 9, axis=1)),
        ("signs turned round", lambda z: -z),
        ("a little noise", lambda z: 0.9 * z + 0.05),
        ("no numbers", lambda z: np.full_like(z, np.nan)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compare_sampled_sees_a_wrong_device(what: str, change: Any) -> None:
    found = change(Z) if what == "no numbers" else sampled(change(Z), 1000, 7)
    row = compare_sampled("a", "b", Z, found, 1000, 0.0)
    assert not row.equal
    assert row.where.startswith("first at sample ")


def test_compare_sampled_knows_what_an_exact_zero_excludes() -> None:
    one_shot = np.full((1, 1), 1 - 2 / 1000)
    assert compare_sampled("a", "b", np.ones((1, 1)), one_shot, 1000, 0.0).n_different == 1  # cannot happen
    assert compare_sampled("a", "b", np.full((1, 1), 1 - 1e-6), one_shot, 1000, 0.0).equal  # once in 2,000 runs
    # rounding of an exact value
    assert compare_sampled("a", "b", np.full((1, 1), 1 - 1e-15), np.ones((1, 1)), 1000, 0.0).equal
