"""Bundles: what was written is what is read, and every damage is one line that names the file."""

import json
import os
import random
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import (
    BUNDLE_FILES,
    MANIFEST,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    Bundle,
    Golden,
    Manifest,
    TrainingRecord,
    sha256_of,
    write_zip,
)
from sqdr.errors import BundleError, IntegrityError, SchemaVersionError, StorageError
from sqdr.head import HeadParameters
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


def write_manifest(root: Path) -> None:
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sqdr_version="0.1.0",
        versions={"numpy": "1.26.4"},
        model=SPEC,
        timing=SPEC.timing,
        class_names=("no", "yes"),
        training=TRAINING,
        files={name: sha256_of(root / name) for name in BUNDLE_FILES},
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
    # Python before 3.10.7 reads a number of 5,000 digits, which is then a newer schema
    refused(folder, BundleError, "manifest.json is not readable JSON. Copy or export|has schema 9")


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
    refused(folder, BundleError, "manifest.json names a file outside the bundle, ")


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
    refused(path, BundleError, f"claims {MAX_FILE_BYTES + 1} bytes. Export it again")
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


def golden() -> Golden:
    generator = np.random.default_rng(0)
    trains = generator.integers(0, 2, (4, 3, 8), dtype=np.uint8)
    return Golden(
        images=generator.integers(0, 256, (4, 1, 4, 4), dtype=np.uint8),
        spike_trains=trains,
        counts=trains.sum(axis=2, dtype=np.int64),
        expectations=generator.uniform(-1, 1, (4, 3)),
        logits=generator.normal(size=(4, 2)),
    )


def test_golden_reads_back_exactly(tmp_path: Path) -> None:
    golden().save(tmp_path / "golden.npz")
    loaded = Golden.load(tmp_path / "golden.npz")
    for name, value in vars(golden()).items():
        assert vars(loaded)[name].dtype == value.dtype
        assert (vars(loaded)[name] == value).all()


def test_golden_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    np.savez(path, **(vars(golden()) | {"logits": np.array([Payload()], dtype=object)}))
    with pytest.raises(BundleError, match="golden.npz is not a readable set"):
        Golden.load(path)
    assert not ran.exists()


def test_golden_refuses_a_missing_array_and_another_kind_of_file(tmp_path: Path) -> None:
    arrays = vars(golden())
    np.savez(tmp_path / "less.npz", **{name: arrays[name] for name in arrays if name != "counts"})
    np.save(tmp_path / "one.npy", arrays["counts"])
    for name in ("less.npz", "one.npy", "missing.npz"):
        with pytest.raises(BundleError, match=f"{name} is not a readable set of golden samples"):
            Golden.load(tmp_path / name)


def test_golden_refuses_a_damaged_file_or_reads_the_same(tmp_path: Path) -> None:
    golden().save(tmp_path / "golden.npz")
    data, generator, n_refused = (tmp_path / "golden.npz").read_bytes(), random.Random(3), 0
    path = tmp_path / "damaged.npz"
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = Golden.load(path)
        except BundleError:
            n_refused += 1
        else:
            assert all((vars(loaded)[name] == value).all() for name, value in vars(golden()).items())
    assert n_refused > 100
