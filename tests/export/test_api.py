import json
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from sqdr.bundle import BUNDLE_FILES, MANIFEST, OPTIONAL_FILES, Bundle, Manifest, sha256_of
from sqdr.coding import encode_images
from sqdr.deploy.pipeline import open_bundle
from sqdr.errors import BundleError, DataError, ExportError, NotEqualError, StorageError
from sqdr.export import api
from sqdr.export.to_netx import write_netx
from sqdr.netx import read_network
from sqdr.train.api import train
from sqdr.train.checkpoint import load_checkpoint, save_checkpoint
from sqdr.train.run_folder import RunFolder
from sqdr.train.slayer_backend import SlayerBackend


def export(run: Path | str, target: Path, **options: Any) -> Manifest:
    """Export, verified with the integer encoder alone: Lava and Braket take seconds each time."""
    return api.export(run, target, against=("integer",), **options)


def test_bundle_reproduces_the_trained_models_spikes(bundle_path: Path, trained_run: Path) -> None:
    model = RunFolder(trained_run).load_model()
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8)).astype(np.uint8)
    spikes = encode_images(images, model.spec.coding)
    with torch.no_grad():
        trained = model.encoder(torch.from_numpy(spikes).float()).numpy()
    with Bundle.open(bundle_path) as bundle, SlayerBackend.from_bundle(bundle) as encoder:
        found = encoder.spike_trains(spikes)
        assert trained.any()
        assert (found != trained).sum() == 0
        golden = bundle.golden()
        assert golden.spike_trains.any()
        assert (encoder.encode(encode_images(golden.images, model.spec.coding)) == golden.counts).all()


def test_bundle_holds_its_files_and_nothing_else(bundle_path: Path) -> None:
    assert sorted(path.name for path in bundle_path.iterdir()) == sorted((*BUNDLE_FILES, *OPTIONAL_FILES, MANIFEST))


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_export_verifies_with_every_stage_that_is_installed(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    reports = []
    verify = api.verify_images
    monkeypatch.setattr(api, "verify_images", lambda *a, **k: reports.append(verify(*a, **k)) or reports[-1])
    manifest = api.export(trained_run, tmp_path / "bundle")
    assert {row.target for row in reports[0].rows} >= {
        "slayer",
        "integer",
        "onnx",
        "lava",
        "local:sv",
        "pennylane:default.qubit",
        "local:braket-sv",
        "classifier.onnx",
    }
    assert reports[0].equal
    assert reports[0].skipped == ()
    assert manifest.notes == ()


def test_bundle_that_is_not_equal_is_never_finished(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = api.write_netx

    def write_wrongly(encoder: Any, max_payload: int, path: Path) -> None:
        write(encoder, max_payload, path)
        with h5py.File(path, "r+") as file:
            file["layer/1/weight"][...] = -file["layer/1/weight"][...]

    monkeypatch.setattr(api, "write_netx", write_wrongly)
    for target in ("bundle", "bundle.sqdr"):
        with pytest.raises(
            NotEqualError, match=r"not equal to the trained model: trained model -> integer, \d+ of \d+"
        ):
            export(trained_run, tmp_path / target)
    assert list(tmp_path.iterdir()) == []


def test_manifest_holds_ranges_and_what_was_not_written(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)  # as without the nir extra
    manifest = export(trained_run, tmp_path / "bundle")
    assert [note.split(":")[0] for note in manifest.notes] == ["encoder.nir was not written"]
    assert "encoder.nir" not in manifest.files
    assert not (tmp_path / "bundle" / "encoder.nir").exists()
    assert manifest.calibration is not None
    assert [layer.layer for layer in manifest.calibration.layers] == [
        "layer 0 (conv)",
        "layer 1 (conv)",
        "layer 2 (conv)",
        "layer 4 (dense)",
    ]
    assert all(layer.bits_voltage > 0 and layer.max_abs_voltage > 0 for layer in manifest.calibration.layers)


def test_onnx_files_carry_the_manifest_without_themselves(bundle_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    with Bundle.open(bundle_path) as bundle:
        for name in ("encoder.onnx", "classifier.onnx"):
            model = onnx.load(bundle.path_of(name))
            stored = {prop.key: prop.value for prop in model.metadata_props}
            carried = Manifest.model_validate_json(stored["sqdr.manifest"])
            assert carried.model == bundle.manifest.model
            assert carried.files == {name: bundle.manifest.files[name] for name in BUNDLE_FILES}


def test_zip_holds_the_same_bytes_as_the_folder(bundle_path: Path, trained_run: Path, tmp_path: Path) -> None:
    export(trained_run, tmp_path / "b.sqdr")
    with Bundle.open(tmp_path / "b.sqdr") as zipped, Bundle.open(bundle_path) as folder:
        assert zipped.manifest.model == folder.manifest.model
        for name in ("circuit.qasm", "head.safetensors"):
            assert zipped.path_of(name).read_bytes() == folder.path_of(name).read_bytes()
        assert [
            layer.weight.tolist() for layer in read_network(zipped.path_of("encoder.net")) if layer.weight is not None
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["b.sqdr"]


def test_export_leaves_the_trained_model_untouched(trained_run: Path, tmp_path: Path) -> None:
    before = {path.name: sha256_of(path) for path in trained_run.rglob("*") if path.is_file()}
    model = RunFolder(trained_run).load_model()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    write_netx(model.encoder, 1, tmp_path / "encoder.net")
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    export(trained_run, tmp_path / "bundle")
    assert {path.name: sha256_of(path) for path in trained_run.rglob("*") if path.is_file()} == before


def test_unfinished_run_is_refused(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(DataError, match="unfinished run. Continue it"):
        export(tmp_path / "run", tmp_path / "bundle")
    with pytest.raises(DataError, match="is not a training run"):
        export(tmp_path / "nothing", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def damaged_run(trained_run: Path, folder: Path, factor: float) -> Path:
    """A copy of the run whose last layer's weights are multiplied."""
    shutil.copytree(trained_run, folder)
    best = RunFolder(folder).best
    state = load_checkpoint(best)
    name = sorted(key for key in state["state_dict"] if key.endswith("weight_g"))[-1]
    state["state_dict"][name] *= factor
    save_checkpoint(state, best)
    return folder


def test_model_that_breaks_a_rule_leaves_nothing_behind(trained_run: Path, tmp_path: Path) -> None:
    run = damaged_run(trained_run, tmp_path / "run", 0.0)
    for target in ("bundle", "bundle.sqdr"):
        with pytest.raises(ExportError, match=r"\[weights_are_not_all_zero\] layer 4 \(dense\)"):
            export(run, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_earlier_bundle_is_replaced_only_when_asked_and_foreign_folder_never(trained_run: Path, tmp_path: Path) -> None:
    for target in ("bundle", "bundle.sqdr"):
        export(trained_run, tmp_path / target)
        with pytest.raises(StorageError, match="exists already"):
            export(trained_run, tmp_path / target)
        export(trained_run, tmp_path / target, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(StorageError, match="holds other files"):
        export(trained_run, tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.sqdr", "mine"]


def test_folder_that_only_looks_like_a_bundle_is_never_replaced(trained_run: Path, tmp_path: Path) -> None:
    app = tmp_path / "webapp"
    app.mkdir()
    (app / "manifest.json").write_text('{"name": "my app"}')
    notes = tmp_path / "notes.sqdr"
    notes.write_text("not a zip")
    for target, message in ((app, "holds other files"), (notes, "is no bundle of sqdr")):
        with pytest.raises(StorageError, match=message):
            export(trained_run, target, overwrite=True)
    assert [path.name for path in app.iterdir()] == ["manifest.json"]
    assert notes.read_text() == "not a zip"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        {"head": {"n_qubits": 20, "simulator": "lightcone"}},
        {"coding": {"kind": "graded", "n_steps": 4}},
        {"coding": {"kind": "weighted_phase", "n_steps": 8}},
        {"coding": {"kind": "bitplane", "n_steps": 8}},
        {"coding": {"kind": "thermometer", "n_steps": 4}},
        {"coding": {"kind": "bernoulli", "n_steps": 4}},
        {"head": {"n_qubits": 4, "has_readout": True, "is_scale_learned": True, "weight_init": "uniform"}},
        {"encoder": {"preset": "digits_tiny", "is_weight_normalised": False}},
    ],
    ids=["20 qubits", "graded", "weighted phase", "bitplane", "thermometer", "bernoulli", "learned scale", "plain"],
)
def test_every_kind_of_model_trains_and_exports(change: dict, tiny_config: dict, tmp_path: Path) -> None:
    training = tiny_config["training"] | {"n_epochs": 1, "batch_size": 256}
    train(tiny_config | change | {"training": training}, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "bundle")  # which checks what it wrote
    with Bundle.open(tmp_path / "bundle") as bundle:
        assert bundle.golden().spike_trains.any()


def test_circuit_that_is_not_the_trained_one_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, tmp_path / "b")
    circuit = tmp_path / "b" / "circuit.qasm"
    circuit.write_text('include "secret.inc";\n' + circuit.read_text())
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    manifest["files"]["circuit.qasm"] = sha256_of(circuit).model_dump()
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"circuit\.qasm is not the circuit of head\.safetensors"):
        open_bundle(tmp_path / "b", encoder="slayer")


@pytest.mark.filterwarnings("ignore")
def test_run_is_exported_from_another_folder(
    tiny_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(40):
        folder = tmp_path / "images" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(index).integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    train(tiny_config | {"data": {"name": "folder", "root": "images"}}, "run")
    monkeypatch.chdir("/")
    export(tmp_path / "run", tmp_path / "bundle")
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="--data-root"):
        export(tmp_path / "run", tmp_path / "again")
    export(tmp_path / "run", tmp_path / "again", data_root=tmp_path / "moved")
