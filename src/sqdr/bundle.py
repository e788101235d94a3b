"""The bundle: what export writes and deploy reads. Reading one never unpickles or executes anything.

A bundle is a folder, or the same files in one ``.sqdr`` zip, with a manifest that names every file's
size and SHA-256.
"""

import contextlib
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any

from pydantic import Field, model_validator

from sqdr.archive import UNREADABLE_ARCHIVE, open_archive
from sqdr.calibration import Calibration
from sqdr.errors import BundleError, ConfigError, IntegrityError, SchemaVersionError
from sqdr.golden_samples import MAX_GOLDEN_BYTES, Golden
from sqdr.head import MAX_HEAD_BYTES, HeadParameters, circuit_text
from sqdr.netx import MAX_NETWORK_BYTES
from sqdr.specification import ModelSpec
from sqdr.storage import storage_errors
from sqdr.strict import StrictModel, parse
from sqdr.timing import Timing
from sqdr.validation_samples import MAX_VALIDATION_BYTES, ValidationSamples

__all__ = [
    "BUNDLE_FILES",
    "MANIFEST",
    "OPTIONAL_FILES",
    "SCHEMA_VERSION",
    "VALIDATION",
    "Bundle",
    "FileRecord",
    "Golden",
    "Manifest",
    "is_bundle",
    "TrainingRecord",
    "sha256_of",
    "write_zip",
]

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
BUNDLE_FILES = ("encoder.net", "circuit.qasm", "head.safetensors", "golden.npz")
# Written where the package that each needs is installed.
PACKAGE_OF_FILE = {"encoder.onnx": "onnx", "classifier.onnx": "onnx", "encoder.nir": "nir"}
# Absent from bundles of before it was written, and where the validation images have no labels.
VALIDATION = "validation.npz"
OPTIONAL_FILES = (*PACKAGE_OF_FILE, VALIDATION)
# The largest, with 1,000 class names and the ranges of 64 layers, takes some 100 kB.
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 512 << 20
# What each file may take; the circuit of the largest head takes 0.4 MB.
MAX_BYTES = dict.fromkeys(OPTIONAL_FILES, MAX_FILE_BYTES) | {
    "encoder.net": MAX_NETWORK_BYTES,
    "circuit.qasm": 1 << 20,
    "head.safetensors": MAX_HEAD_BYTES,
    "golden.npz": MAX_GOLDEN_BYTES,
    VALIDATION: MAX_VALIDATION_BYTES,
}
# No number in a manifest has more digits; reading longer ones takes quadratic time before Python 3.10.7.
MAX_DIGITS = 32
# Enough for ten broken rules; names in a damaged manifest may be as long as it is.
MAX_MESSAGE_CHARACTERS = 2000
MAX_SHOWN_NAME = 80
CHUNK_BYTES = 1 << 20
TEMPORARY_FIX = "Free space there, or set TMPDIR to another folder."


class FileRecord(StrictModel):
    """One file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    n_bytes: int = Field(ge=0, le=MAX_FILE_BYTES)


class TrainingRecord(StrictModel):
    """Where the model came from and how well it did."""

    data: str
    seed: int
    n_parameters: int
    n_epochs: int
    train_accuracy: float
    val_accuracy: float
    test_accuracy: float


class Manifest(StrictModel):
    """What the bundle holds.

    Args:
        schema_version: of this format.
        sqdr_version: that wrote it.
        versions: of the libraries that trained and exported it.
        model: the whole specification.
        timing: how samples stream through the encoder.
        class_names: K names.
        training: data set, seed and accuracies.
        files: name to size and hash.
        calibration: how far each layer is from 24 bits, where export measured it.
        notes: what export warned of, such as a file that it could not write.
    """

    schema_version: int = Field(strict=True, ge=1, le=SCHEMA_VERSION)
    sqdr_version: str
    versions: dict[str, str]
    model: ModelSpec
    timing: Timing
    class_names: tuple[str, ...]
    training: TrainingRecord
    files: dict[str, FileRecord]
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_model(self) -> "Manifest":
        n_classes, timing = self.model.head.n_classes, self.model.timing
        if len(self.class_names) != n_classes:
            raise ValueError(f"`class_names` must hold the model's {n_classes} names, got {len(self.class_names)}.")
        if (self.timing.n_steps, self.timing.n_layers) != (timing.n_steps, timing.n_layers):
            raise ValueError(f"`timing` must be the model's, n_steps {timing.n_steps} and n_layers {timing.n_layers}.")
        return self


class Bundle:
    """An opened bundle whose every file matched its manifest. Use as a context manager.

    Attributes:
        manifest: what it holds.
        name: the folder's or file's name.
    """

    def __init__(self, root: Path, manifest: Manifest, name: str, cleanup: contextlib.ExitStack) -> None:
        self._root = root
        self._cleanup = cleanup
        self.manifest = manifest
        self.name = name

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Open a bundle folder or ``.sqdr`` file and check every hash.

        Raises:
            BundleError: missing, truncated, corrupt or not a bundle.
            IntegrityError: a file differs from its manifest.
            SchemaVersionError: written by a newer sqdr.
            StorageError: no room to unpack a ``.sqdr`` file.
        """
        path = Path(path)
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
        with contextlib.ExitStack() as stack:
            if is_folder:
                root = path
                manifest = _read_manifest(root, path)
            elif is_file:
                with storage_errors(Path("the temporary folder"), TEMPORARY_FIX):
                    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sqdr-bundle-")))
                manifest = _unpack(path, root)
            else:
                raise BundleError(f"{path} does not exist. Give a bundle folder or a .sqdr file.")
            for name, record in manifest.files.items():
                _check_file(root / name, record, path)
            return cls(root, manifest, path.name, stack.pop_all())
        raise AssertionError  # pragma: no cover - the with block returns or raises

    def has(self, name: str) -> bool:
        """Whether the bundle holds the file; the optional ones may be absent."""
        return name in self.manifest.files

    def path_of(self, name: str) -> Path:
        """Return the path of one of the bundle's files.

        Raises:
            BundleError: the bundle has no such file.
        """
        if self.has(name):
            return self._root / name
        if name in PACKAGE_OF_FILE:
            raise BundleError(
                f"{self.name} has no {name}: `sqdr export` writes it only where the package "
                f"'{PACKAGE_OF_FILE[name]}' is installed. Install it and export again."
            )
        raise BundleError(f"{self.name} has no file '{name}'. Export again.")

    def head_parameters(self) -> HeadParameters:
        """Return the trained head."""
        return HeadParameters.load(self.path_of("head.safetensors"), self.manifest.model.head)

    def circuit(self) -> str:
        """Return the circuit's OpenQASM 3, which must be that of the trained weights to the byte.

        Raises:
            BundleError: the file holds another program.
        """
        text = circuit_text(self.head_parameters(), self.manifest.model.head)
        if self.path_of("circuit.qasm").read_bytes() != text.encode("ascii"):
            raise BundleError(f"{self.name}: circuit.qasm is not the circuit of head.safetensors. Export again.")
        return text

    def golden(self) -> Golden:
        """Return the golden samples, which must fit the manifest's model.

        Raises:
            BundleError: damaged, or of another model.
        """
        return Golden.load(self.path_of("golden.npz"), self.manifest.model)

    def validation(self) -> ValidationSamples | None:
        """Return the validation samples, which must fit the manifest's model; None in a bundle without them.

        Raises:
            BundleError: damaged, or of another model.
        """
        if not self.has(VALIDATION):
            return None
        return ValidationSamples.load(self.path_of(VALIDATION), self.manifest.model)

    def close(self) -> None:
        """Remove what was unpacked; safe to call twice."""
        self._cleanup.close()

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sha256_of(path: Path) -> FileRecord:
    """Return the size and hash of a file, read in pieces."""
    digest, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            n_bytes += len(chunk)
    return FileRecord(sha256=digest.hexdigest(), n_bytes=n_bytes)


def is_bundle(path: Path) -> bool:
    """Whether a folder or file is a bundle of ours, of any schema; what is not may not be replaced."""
    try:
        if path.is_dir():
            names = {item.name for item in path.iterdir()}
            with (path / MANIFEST).open("rb") as file:
                data = _parse_json(file.read(MAX_MANIFEST_BYTES + 1))
        else:
            with open_archive(path) as archive, archive.open(MANIFEST) as member:
                names = set(archive.namelist())
                data = _parse_json(member.read(MAX_MANIFEST_BYTES + 1))
    except (*UNREADABLE_ARCHIVE, KeyError):
        return False
    is_known = names <= {MANIFEST, *MAX_BYTES}
    return is_known and isinstance(data, dict) and {"schema_version", "sqdr_version", "files"} <= set(data)


def write_zip(folder: Path, path: Path) -> None:
    """Write a bundle folder as one file with the same bytes every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (MANIFEST, *sorted(set(p.name for p in folder.iterdir()) - {MANIFEST})):
            # a fixed date: the same bundle gives the same bytes
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, (folder / name).read_bytes())


def _parse_json(data: bytes) -> Any:
    """Return what a manifest holds.

    Raises:
        ValueError: not JSON in UTF-8, larger than a manifest, or with huge numbers.
        RecursionError: nested too deeply.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ValueError(f"more than {MAX_MANIFEST_BYTES} bytes")
    return json.loads(data.decode("utf-8"), parse_int=_bounded_int)


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _read_manifest(root: Path, source: Path) -> Manifest:
    path = root / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{source}: {MANIFEST} is not a file. Copy or export the bundle again.")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{source}: {MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes. Export again.")
        data = _parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(f"{source} is not a bundle: it has no {MANIFEST}. Make one with `sqdr export`.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{source}: {MANIFEST} is not readable JSON. Copy or export the bundle again.") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{source} has schema {version} but this sqdr reads up to {SCHEMA_VERSION}. Update sqdr."
        )
    try:
        manifest = parse(Manifest, data, f"{source}/{MANIFEST}")
    except ConfigError as error:
        text = str(error)
        shown = text if len(text) <= MAX_MESSAGE_CHARACTERS else f"{text[:MAX_MESSAGE_CHARACTERS]}..."
        raise BundleError(f"{shown} Export the bundle again.") from error
    _check_records(manifest, source)
    return manifest


def _check_records(manifest: Manifest, source: Path) -> None:
    missing = [name for name in BUNDLE_FILES if name not in manifest.files]
    if missing:
        raise BundleError(f"{source}: {MANIFEST} lacks {', '.join(missing)}. Export again.")
    for name, record in manifest.files.items():
        if name not in MAX_BYTES:
            raise BundleError(f"{source}: {MANIFEST} names a file that no bundle holds, {_shown(name)}. Export again.")
        if record.n_bytes > MAX_BYTES[name]:
            raise BundleError(
                f"{source}: {name} must have at most {MAX_BYTES[name]:,} bytes, the manifest says "
                f"{record.n_bytes:,}. Export a smaller model."
            )


def _shown(name: str) -> str:
    """Return a name out of a file in a form that can be printed, in one line of bounded length."""
    return ascii(name if len(name) <= MAX_SHOWN_NAME else f"{name[:MAX_SHOWN_NAME]}...")


def _check_file(path: Path, record: FileRecord, source: Path) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{source} lacks the file {path.name}. Copy or export the bundle again.")
        n_bytes = path.stat().st_size
        found = sha256_of(path) if n_bytes == record.n_bytes else None
    except OSError as error:
        raise BundleError(f"{source}: {path.name} cannot be read: {error.strerror}. Check its rights.") from error
    _check_size(path.name, n_bytes, record, source)
    if found is None or found.sha256 != record.sha256:
        raise IntegrityError(
            f"{source}: {path.name} does not match its SHA-256 in the manifest. It was changed or damaged: "
            "copy or export the bundle again."
        )


def _check_size(name: str, n_bytes: int, record: FileRecord, source: Path) -> None:
    if n_bytes != record.n_bytes:
        raise IntegrityError(
            f"{source}: {name} has {n_bytes} bytes, the manifest says {record.n_bytes}. "
            "Copy or export the bundle again."
        )


def _unpack(path: Path, root: Path) -> Manifest:
    """Unpack a .sqdr file: the manifest, then the files that it names, each of the size that it says."""
    try:
        with open_archive(path) as archive:
            names = archive.namelist()
            for name in names:
                if name not in (MANIFEST, *MAX_BYTES) or names.count(name) > 1:
                    raise BundleError(f"{path} holds an unexpected file {_shown(name)}. Export it again.")
            if MANIFEST in names:
                _extract(archive, archive.getinfo(MANIFEST), root, path, MAX_MANIFEST_BYTES)
            manifest = _read_manifest(root, path)
            for name in names:
                if name not in (MANIFEST, *manifest.files):
                    raise BundleError(f"{path} holds {name}, which its manifest does not name. Export it again.")
                if name != MANIFEST:
                    info, record = archive.getinfo(name), manifest.files[name]
                    _check_size(name, info.file_size, record, path)
                    _extract(archive, info, root, path, record.n_bytes)
            return manifest
    except UNREADABLE_ARCHIVE as error:
        raise BundleError(f"{path} is not a readable .sqdr file. Copy or export it again.") from error


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, root: Path, path: Path, max_bytes: int) -> None:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(f"{path}: {info.filename} is packed in an unknown way. Export it again.")
    if info.file_size > max_bytes:
        raise BundleError(f"{path}: {info.filename} claims {info.file_size} bytes. Export it again.")
    with (
        archive.open(info) as source,
        storage_errors(root, TEMPORARY_FIX),
        (root / info.filename).open("xb") as out,
    ):
        out.writelines(_chunks(source, max_bytes))


def _chunks(source: IO[bytes], n_bytes: int) -> Iterator[bytes]:
    """Read in pieces; an ``OSError`` of the archive must not pass for one of the disk."""
    try:
        while n_bytes > 0 and (chunk := source.read(min(CHUNK_BYTES, n_bytes))):
            n_bytes -= len(chunk)
            yield chunk
    except OSError as error:
        raise zipfile.BadZipFile(str(error)) from error
