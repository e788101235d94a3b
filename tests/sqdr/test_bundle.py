"""Bundles: what was written is what is read, and every damage is one line that names the file."""

import json
import os
import random
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import (
    BUNDLE_FILES,
    MANIFEST,
    MAX_BYTES,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    OPTIONAL_FILES,
    SCHEMA_VERSION,
    Bundle,
    Manifest,
    TrainingRecord,
    is_bundle,
    sha256_of,
    write_zip,
)
from sqdr.calibration import Calibration, LayerRange
from sqdr.errors import BundleError, IntegrityError, SchemaVersionError, StorageError
from sqdr.head import HeadParameters, circuit_text
from sqdr.specification import ModelSpec

SPEC = ModelSpec.model_validate(
    {
        "encoder": {
            "input_shape": [1, 4, 4],
            "layers": [{"kind": "conv", "out_channels": 2}, {"kind": "dense", "out_features": 3}],
        },
        "head": {"n_qubits": 3, "n_classes": 2},
    }
)
TRAINING = TrainingRecord(
    data="digits", seed=1, n_parameters=9, n_epochs=2, train_accuracy=0.5, val_accuracy=0.25, test_accuracy=0.125
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that bundles are unpacked below, empty unless one is open."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole bundle whose files, but for the manifest, are arbitrary bytes."""
    root = tmp_path / "made"
    root.mkdir()
    generator = random.Random(1)
    for name in BUNDLE_FILES:
        (root / name).write_bytes(generator.randbytes(60) + b"a" * 200)
    write_manifest(root)
    return root


def write_manifest(root: Path, names: tuple[str, ...] = BUNDLE_FILES, **fields: Any) -> None:
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sqdr_version="0.1.0",
        versions={"numpy": "1.26.4"},
        model=SPEC,
        timing=SPEC.timing,
        class_names=("no", "yes"),
        training=TRAINING,
        files={name: sha256_of(root / name) for name in names},
        **fields,
    )
    (root / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")


def change_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((root / MANIFEST).read_text("utf-8"))
    change(data)
    (root / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def zipped(folder: Path, path: Path, extra: dict[str, bytes] | None = None) -> Path:
    """A .sqdr file of the folder, with more entries of any name."""
    write_zip(folder, path)
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in (extra or {}).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def refused(path: Path, error: type[Exception], message: str) -> str:
    with pytest.raises(error, match=message) as caught:
        Bundle.open(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_folder_and_zip_hold_the_same(folder: Path, tmp_path: Path, temporary: Path) -> None:
    write_zip(folder, tmp_path / "a.sqdr")
    with Bundle.open(folder) as plain, Bundle.open(tmp_path / "a.sqdr") as packed:
        assert packed.manifest == plain.manifest
        assert (plain.name, packed.name) == ("made", "a.sqdr")
        for name in BUNDLE_FILES:
            assert packed.path_of(name).read_bytes() == plain.path_of(name).read_bytes()
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == sorted((MANIFEST, *BUNDLE_FILES))
    packed.close()


def test_write_zip_gives_the_same_bytes_whatever_the_files_times(folder: Path, tmp_path: Path) -> None:
    write_zip(folder, tmp_path / "a.sqdr")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        (copy / path.name).write_bytes(path.read_bytes())
        os.utime(copy / path.name, (0, 0))
    write_zip(copy, tmp_path / "b.sqdr")
    assert (tmp_path / "a.sqdr").read_bytes() == (tmp_path / "b.sqdr").read_bytes()


def test_exported_bundle_reads_back_its_head_and_golden_samples(bundle_path: Path, temporary: Path) -> None:
    write_zip(bundle_path, temporary.parent / "real.sqdr")
    with Bundle.open(temporary.parent / "real.sqdr") as bundle:
        model, golden = bundle.manifest.model, bundle.golden()
        assert bundle.head_parameters().weights.shape == (model.head.n_blocks, model.head.n_qubits, 3)
        assert golden.images.shape[1:] == model.encoder.input_shape
        assert (golden.spike_trains.sum(axis=2) == golden.counts).all()
        assert golden.counts.any()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_open_names_the_file_that_changed(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, IntegrityError, f"{name} does not match its SHA-256 in the manifest.*copy or export the bundle")


@pytest.mark.parametrize("n_bytes", [0, 259, 261])
def test_open_names_the_file_of_another_size(folder: Path, n_bytes: int) -> None:
    (folder / "golden.npz").write_bytes(b"a" * n_bytes)
    refused(folder, IntegrityError, f"golden.npz has {n_bytes} bytes, the manifest says 260. Copy or export")


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_open_names_the_file_that_is_missing(folder: Path, name: str, temporary: Path) -> None:
    (folder / name).unlink()
    refused(folder, BundleError, f"lacks the file {name}. Copy or export")
    write_zip(folder, temporary.parent / "a.sqdr")
    refused(temporary.parent / "a.sqdr", BundleError, f"lacks the file {name}")
    assert list(temporary.iterdir()) == []


def test_open_does_not_wait_for_a_pipe_in_place_of_a_file(folder: Path) -> None:
    (folder / "golden.npz").unlink()
    os.mkfifo(folder / "golden.npz")
    change_manifest(folder, lambda data: data["files"]["golden.npz"].update(n_bytes=0))
    refused(folder, BundleError, "lacks the file golden.npz")
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    refused(folder, BundleError, "manifest.json is not a file")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing does not exist. Give a bundle folder or a .sqdr file"),
        ("x" * 300, "cannot be read: File name too long"),
        ("empty", "is not a bundle: it has no manifest.json. Make one with `sqdr export`"),
        ("text.sqdr", "text.sqdr is not a readable .sqdr file. Copy or export it again"),
        ("nothing.sqdr", "nothing.sqdr is not a readable .sqdr file"),
    ],
)
def test_open_says_what_is_no_bundle(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.sqdr").write_bytes(b"hello")
    (tmp_path / "nothing.sqdr").write_bytes(b"")
    refused(tmp_path / name, BundleError, message)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"nul",
        b'{"a": 1' + b"}" * 2,
        b"[" * 100_000,
        b'{"schema_version": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_open_refuses_a_damaged_manifest(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, BundleError, "manifest.json is not readable JSON. Copy or export")


@pytest.mark.parametrize("content", [b"null", b"[]", b"3", b'"x"', b"{}"])
def test_open_refuses_json_that_is_no_manifest(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, BundleError, "manifest.json: .* Export the bundle again")


def test_open_refuses_a_huge_manifest(folder: Path, tmp_path: Path, temporary: Path) -> None:
    (folder / MANIFEST).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    refused(folder, BundleError, f"manifest.json is larger than {MAX_MANIFEST_BYTES} bytes")
    write_zip(folder, tmp_path / "a.sqdr")
    refused(tmp_path / "a.sqdr", BundleError, f"manifest.json claims {MAX_MANIFEST_BYTES + 1} bytes")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 10**30])
def test_open_tells_to_update_when_the_schema_is_newer(folder: Path, version: int) -> None:
    # a newer schema may hold anything else
    (folder / MANIFEST).write_text(json.dumps({"schema_version": version, "layers": []}), encoding="utf-8")
    message = f"has schema {version} but this sqdr reads up to {SCHEMA_VERSION}. Update sqdr"
    refused(folder, SchemaVersionError, message)


@pytest.mark.parametrize("version", [0, -1, True, "1", "2", 1.0, 2.0, None, [1]])
def test_open_refuses_a_schema_version_that_is_none(folder: Path, version: object) -> None:
    change_manifest(folder, lambda data: data.update(schema_version=version))
    refused(folder, BundleError, "schema_version: .* Export the bundle again")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("model"), "model: Field required"),
        (lambda data: data.update(modle=1), "unknown key 'modle'; did you mean 'model'"),
        (lambda data: data["files"].pop("encoder.net"), "manifest.json lacks encoder.net"),
        (lambda data: data["files"]["encoder.net"].update(sha256="0" * 63), "files.encoder.net.sha256: String should"),
        (lambda data: data["files"]["encoder.net"].update(sha256="A" * 64), "files.encoder.net.sha256: String should"),
        (lambda data: data["files"]["encoder.net"].update(n_bytes=-1), "files.encoder.net.n_bytes: .* got -1"),
        (lambda data: data["files"]["encoder.net"].update(n_bytes=2**40), "n_bytes: Input should be less than"),
        (lambda data: data["class_names"].append("x"), "`class_names` must hold the model's 2 names, got 3"),
        (lambda data: data["timing"].update(n_layers=3), "`timing` must be the model's, n_steps 8 and n_layers 2"),
        (lambda data: data["timing"].update(n_steps=7), "`timing` must be the model's"),
        (lambda data: data["training"].update(test_accuracy=float("nan")), "training.test_accuracy: .* finite number"),
        (lambda data: data["model"]["head"].update(n_qubits=4), "makes 3 features but the head takes 4"),
        (lambda data: data.update({"a\nb\ud800": 1}), "unknown key"),
    ],
)
def test_open_refuses_a_manifest_that_breaks_a_rule(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change_manifest(folder, change)
    refused(folder, BundleError, message)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "a\nb", "a\\b", ".hidden", "c:x", MANIFEST]
)
def test_open_refuses_file_names_that_lead_elsewhere(folder: Path, name: str) -> None:
    record = sha256_of(folder / "golden.npz").model_dump()
    change_manifest(folder, lambda data: data["files"].update({name: record}))
    refused(folder, BundleError, "manifest.json names a file that no bundle holds, ")


@pytest.mark.parametrize(
    "name",
    ["../x", "/tmp/x", "a/../../x", "..\\x", "sub/", "sub/encoder.net", "encoder.net\n", "ENCODER.NET", "notes", ".."],
)
def test_open_refuses_an_archive_with_other_names(folder: Path, tmp_path: Path, temporary: Path, name: str) -> None:
    path = zipped(folder, tmp_path / "a.sqdr", {name: b"x"})
    before = sorted(tmp_path.rglob("*"))
    refused(path, BundleError, "a.sqdr holds an unexpected file .* Export it again")
    assert sorted(tmp_path.rglob("*")) == before
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", [MANIFEST, "golden.npz"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_open_refuses_an_archive_with_a_name_twice(folder: Path, tmp_path: Path, temporary: Path, name: str) -> None:
    path = zipped(folder, tmp_path / "a.sqdr", {name: (folder / name).read_bytes()})
    refused(path, BundleError, f"holds an unexpected file '{name}'")
    assert list(temporary.iterdir()) == []


def test_open_refuses_an_archive_that_claims_too_much(folder: Path, tmp_path: Path, temporary: Path) -> None:
    write_zip(folder, path := tmp_path / "a.sqdr")
    data = bytearray(path.read_bytes())
    # APPNOTE 4.3.12: the uncompressed size is at offset 24 of a central directory record
    record = data.index(b"PK\x01\x02")
    for name in BUNDLE_FILES:
        record = data.index(b"PK\x01\x02", record + 1)
        if name == sorted(BUNDLE_FILES)[0]:
            struct.pack_into("<I", data, record + 24, MAX_FILE_BYTES + 1)
    path.write_bytes(data)
    refused(path, IntegrityError, f"has {MAX_FILE_BYTES + 1} bytes, the manifest says 260. Copy or export")
    assert list(temporary.iterdir()) == []


def test_open_writes_no_more_than_the_archive_declares(folder: Path, tmp_path: Path, temporary: Path) -> None:
    (folder / "golden.npz").write_bytes(bytes(1_234_567))
    write_zip(folder, path := tmp_path / "a.sqdr")
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 1_234_567)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 1_234_567), struct.pack("<I", 100)))
    refused(path, BundleError, "golden.npz has 100 bytes|not a readable .sqdr file")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_open_refuses_an_archive_packed_in_another_way(
    folder: Path, tmp_path: Path, temporary: Path, method: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.sqdr", "w", method) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    refused(tmp_path / "a.sqdr", BundleError, "is packed in an unknown way")
    assert list(temporary.iterdir()) == []


def test_open_refuses_an_encrypted_archive(folder: Path, tmp_path: Path, temporary: Path) -> None:
    write_zip(folder, path := tmp_path / "a.sqdr")
    data = bytearray(path.read_bytes())
    # APPNOTE 4.4.4: bit 0 of the flags, at offset 8 of a central directory record and 6 of a local header
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(data)
    refused(path, BundleError, "is not a readable .sqdr file")
    assert list(temporary.iterdir()) == []


def test_open_refuses_an_archive_cut_short_anywhere(folder: Path, tmp_path: Path, temporary: Path) -> None:
    data = zipped(folder, tmp_path / "a.sqdr").read_bytes()
    path = tmp_path / "cut.sqdr"
    lengths = [*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 40, len(data))]
    for length in lengths:
        path.write_bytes(data[:length])
        refused(path, BundleError, "cut.sqdr")
    assert list(temporary.iterdir()) == []


def test_open_finds_any_flipped_bit_or_reads_the_same(folder: Path, tmp_path: Path, temporary: Path) -> None:
    data = zipped(folder, tmp_path / "a.sqdr").read_bytes()
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    generator, messages, path = random.Random(7), [], tmp_path / "flipped.sqdr"
    before = sorted({*tmp_path.iterdir(), path})
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            with Bundle.open(path) as bundle:
                # zip headers hold fields that nothing depends on, such as dates
                assert all(bundle.path_of(name).read_bytes() == expected[name] for name in BUNDLE_FILES)
                assert bundle.manifest == Manifest.model_validate_json(expected[MANIFEST])
        except BundleError as error:
            messages.append(str(error))
        assert list(temporary.iterdir()) == []
    assert len(messages) > 100
    assert [message for message in messages if len(message.splitlines()) != 1] == []
    assert sorted(tmp_path.iterdir()) == before


def test_open_finds_any_flipped_bit_of_the_files_in_a_folder(folder: Path) -> None:
    generator = random.Random(8)
    for _ in range(200):
        path = folder / generator.choice(BUNDLE_FILES)
        data = path.read_bytes()
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        refused(folder, IntegrityError, f"{path.name} does not match its SHA-256")
        path.write_bytes(data)
    Bundle.open(folder).close()


def test_open_names_the_full_disk_and_not_the_archive(folder: Path, tmp_path: Path, temporary: Path) -> None:
    write_zip(folder, tmp_path / "a.sqdr")
    shutil.rmtree(temporary)
    refused(tmp_path / "a.sqdr", StorageError, "the temporary folder cannot be written: No such file.* set TMPDIR")


def test_open_names_the_full_disk_while_unpacking(folder: Path, tmp_path: Path, temporary: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs limits on the size of files")
    (folder / "golden.npz").write_bytes(bytes(200_000))
    write_manifest(folder)
    write_zip(folder, tmp_path / "a.sqdr")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refused(tmp_path / "a.sqdr", StorageError, "cannot be written: File too large. Free space there, or set TMPDIR")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(temporary.iterdir()) == []


def test_path_of_refuses_a_file_that_the_manifest_lacks(folder: Path) -> None:
    (folder / "extra").write_bytes(b"x")
    with Bundle.open(folder) as bundle, pytest.raises(BundleError, match="made has no file 'extra'. Export again"):
        bundle.path_of("extra")


def with_options(folder: Path) -> None:
    """Give a bundle every optional file."""
    for name in OPTIONAL_FILES:
        (folder / name).write_bytes(name.encode())
    write_manifest(folder, (*BUNDLE_FILES, *OPTIONAL_FILES))


@pytest.mark.parametrize("is_zip", [False, True])
def test_optional_files_are_read_where_they_are(folder: Path, tmp_path: Path, is_zip: bool) -> None:
    with_options(folder)
    path = zipped(folder, tmp_path / "a.sqdr") if is_zip else folder
    assert is_bundle(path)
    with Bundle.open(path) as bundle:
        for name in OPTIONAL_FILES:
            assert bundle.has(name)
            assert bundle.path_of(name).read_bytes() == name.encode()
    (folder / "encoder.nir").write_bytes(b"encoder.niR")
    refused(folder, IntegrityError, "encoder.nir does not match its SHA-256")


@pytest.mark.parametrize(
    ("name", "package"), [("encoder.onnx", "onnx"), ("classifier.onnx", "onnx"), ("encoder.nir", "nir")]
)
def test_optional_files_that_are_absent_say_what_writes_them(folder: Path, name: str, package: str) -> None:
    (folder / name).write_bytes(b"not in the manifest, so not in the bundle")
    with Bundle.open(folder) as bundle:
        assert not bundle.has(name)
        assert bundle.has("encoder.net")
        with pytest.raises(BundleError, match=f"has no {name}: .* where the package '{package}' is installed. Install"):
            bundle.path_of(name)


def test_archive_with_a_file_that_its_manifest_lacks_is_refused(folder: Path, tmp_path: Path, temporary: Path) -> None:
    path = zipped(folder, tmp_path / "a.sqdr", {"encoder.onnx": b"x"})
    refused(path, BundleError, "a.sqdr holds encoder.onnx, which its manifest does not name")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", [*BUNDLE_FILES, *OPTIONAL_FILES])
def test_manifest_may_not_announce_more_than_any_such_file_has(folder: Path, name: str) -> None:
    with_options(folder)
    change_manifest(folder, lambda data: data["files"][name].update(n_bytes=MAX_BYTES[name] + 1))
    refused(
        folder, BundleError, f"{name} must have at most .* bytes, the manifest says|less than or equal to 536870912"
    )


@pytest.mark.parametrize(
    ("change", "longest"),
    [
        (lambda data: data.update({"k" * 900_000: 1}), 3000),
        (lambda data: data["files"].update({"k" * 900_000: data["files"]["encoder.net"]}), 1000),
        (lambda data: data.update(sqdr_version={"k" * 900_000: 1}), 3000),
        (lambda data: data["training"].update(seed="9" * 900_000), 3000),
        (lambda data: data["model"].update({f"k{i}": i for i in range(60_000)}), 3000),
        (lambda data: data["files"].update({f"k{i}": i for i in range(40_000)}), 3000),
    ],
)
def test_messages_stay_short_whatever_the_manifest_holds(
    folder: Path, change: Callable[[dict[str, Any]], object], longest: int
) -> None:
    change_manifest(folder, change)
    assert len(refused(folder, BundleError, "manifest.json")) < longest


@pytest.mark.parametrize("name", ["seed", "n_parameters"])
def test_numbers_of_more_digits_than_any_are_not_read(folder: Path, name: str) -> None:
    # 900,000 digits would take Python before 3.10.7 minutes
    text = (folder / MANIFEST).read_text("utf-8")
    value = json.loads(text)["training"][name]
    (folder / MANIFEST).write_text(text.replace(f'"{name}":{value}', f'"{name}":' + "9" * 900_000), encoding="utf-8")
    refused(folder, BundleError, "manifest.json is not readable JSON")


RANGE = LayerRange(
    layer="layer 0 (conv)",
    max_abs_current=10,
    max_abs_voltage=0,
    bits_current=19,
    bits_voltage=23,
    spike_rate=0.25,
    n_silent=1,
    n_saturated=0,
    n_neurons=8,
)


def test_calibration_comes_back_and_may_be_absent(folder: Path) -> None:
    with Bundle.open(folder) as bundle:
        assert bundle.manifest.calibration is None
    change_manifest(folder, lambda data: data.pop("calibration"))
    with Bundle.open(folder) as bundle:
        assert bundle.manifest.calibration is None
    saved = Calibration(n_samples=5, layers=(RANGE,))
    write_manifest(folder, calibration=saved)
    with Bundle.open(folder) as bundle:
        assert bundle.manifest.calibration == saved


@pytest.mark.parametrize("is_zip", [False, True])
def test_is_bundle_knows_ours_from_what_is_not(folder: Path, tmp_path: Path, is_zip: bool) -> None:
    def path() -> Path:
        return zipped(folder, tmp_path / "a.sqdr") if is_zip else folder

    assert is_bundle(path())
    write = (folder / MANIFEST).write_bytes
    text = (folder / MANIFEST).read_bytes()
    for content in (b"", b"{}", b"[" * 100_000, b"\xff", b"[]", text + b" " * MAX_MANIFEST_BYTES):
        write(content)
        assert not is_bundle(path())
    write(text)
    assert is_bundle(path())
    (folder / "thesis.tex").write_bytes(b"mine")
    assert not is_bundle(path())
    (folder / "thesis.tex").unlink()
    (folder / MANIFEST).unlink()
    assert not is_bundle(folder)


def test_is_bundle_inflates_no_more_than_a_manifest(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b" " * (64 << 20))
    path = zipped(folder, tmp_path / "a.sqdr")
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert not is_bundle(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the pieces that zipfile reads, and the manifest's own limit
    assert peak < 8 << 20


def test_circuit_must_be_that_of_the_weights(folder: Path) -> None:
    draw = np.random.default_rng(0).normal
    head = HeadParameters(
        weights=draw(size=(2, 3, 3)),
        scale_rad=draw(size=3),
        readout_weight=draw(size=(2, 3)),
        readout_bias=draw(size=2),
    )
    head.save(folder / "head.safetensors")
    text = circuit_text(head, SPEC.head)
    for content, is_right in ((text, True), (text + "\n", False), (text[:-1], False), ("", False)):
        (folder / "circuit.qasm").write_text(content, encoding="ascii")
        write_manifest(folder)
        with Bundle.open(folder) as bundle:
            if is_right:
                assert bundle.circuit() == text
            else:
                with pytest.raises(BundleError, match="circuit.qasm is not the circuit of head.safetensors"):
                    bundle.circuit()


def test_head_and_golden_of_arbitrary_bytes_are_refused(folder: Path) -> None:
    with Bundle.open(folder) as bundle:
        with pytest.raises(BundleError, match="head.safetensors is not a readable safetensors file"):
            bundle.head_parameters()
        with pytest.raises(BundleError, match="golden.npz is not a readable set of golden samples. Export again"):
            bundle.golden()


def test_head_parameters_come_back_from_a_bundle(folder: Path) -> None:
    draw = np.random.default_rng(0).normal
    saved = HeadParameters(
        weights=draw(size=(2, 3, 3)),
        scale_rad=draw(size=3),
        readout_weight=draw(size=(2, 3)),
        readout_bias=draw(size=2),
    )
    saved.save(folder / "head.safetensors")
    write_manifest(folder)
    with Bundle.open(folder) as bundle:
        loaded = bundle.head_parameters()
    assert all((loaded.tensors()[name] == value).all() for name, value in saved.tensors().items())
