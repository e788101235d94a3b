"""The bundle: what export writes and deploy reads. Reading one never unpickles or executes anything.

A bundle is a folder, or the same files in one ``.sqdr`` zip, with a manifest that names every file's
size and SHA-256.
"""

import contextlib
import hashlib
import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sqdr.errors import BundleError, ConfigError, IntegrityError, SchemaVersionError
from sqdr.head import HeadParameters, circuit_text
from sqdr.specification import ModelSpec
from sqdr.storage import storage_errors
from sqdr.strict import StrictModel, parse
from sqdr.timing import Timing

__all__ = [
    "BUNDLE_FILES",
    "MANIFEST",
    "SCHEMA_VERSION",
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
# A manifest is a few kilobytes; a network of the largest allowed layers stays far below a gigabyte.
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 1 << 30
CHUNK_BYTES = 1 << 20
TEMPORARY_FIX = "Free space there, or set TMPDIR to another folder."
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
# What zipfile raises on damaged, encrypted or foreign archives.
UNREADABLE_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


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
    """

    schema_version: int = Field(strict=True, ge=1, le=SCHEMA_VERSION)
    sqdr_version: str
    versions: dict[str, str]
    model: ModelSpec
    timing: Timing
    class_names: tuple[str, ...]
    training: TrainingRecord
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _fits_model(self) -> "Manifest":
        n_classes, timing = self.model.head.n_classes, self.model.timing
        if len(self.class_names) != n_classes:
            raise ValueError(f"`class_names` must hold the model's {n_classes} names, got {len(self.class_names)}.")
        if (self.timing.n_steps, self.timing.n_layers) != (timing.n_steps, timing.n_layers):
            raise ValueError(f"`timing` must be the model's, n_steps {timing.n_steps} and n_layers {timing.n_layers}.")
        return self


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Samples with what the trained model made of them, to check every backend against.

    Args:
        images: (n, C, H, W) uint8.
        spike_trains: (n, F, T) uint8, the trained SLAYER encoder's output.
        counts: (n, F) int64.
        expectations: (n, n_qubits) float64.
        logits: (n, K) float64.
    """

    images: NDArray[np.uint8]
    spike_trains: NDArray[np.uint8]
    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write an uncompressed npz."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Golden":
        """Read an npz without unpickling.

        Raises:
            BundleError: unreadable, or an array is missing.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return cls(**{name: archive[name] for name in cls.__dataclass_fields__})
        except Exception as error:  # a damaged archive or header raises any of a dozen kinds
            raise BundleError(f"{path.name} is not a readable set of golden samples. Export again.") from error


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
            elif is_file:
                with storage_errors(Path("the temporary folder"), TEMPORARY_FIX):
                    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sqdr-bundle-")))
                _unpack(path, root)
            else:
                raise BundleError(f"{path} does not exist. Give a bundle folder or a .sqdr file.")
            manifest = _read_manifest(root, path)
            for name, record in manifest.files.items():
                _check_file(root / name, record, path)
            return cls(root, manifest, path.name, stack.pop_all())
        raise AssertionError  # pragma: no cover - the with block returns or raises

    def path_of(self, name: str) -> Path:
        """Return the path of one of the bundle's files."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.name} has no file '{name}'. Export again.")
        return self._root / name

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
        """Return the golden samples."""
        return Golden.load(self.path_of("golden.npz"))

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
            data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            is_known = {item.name for item in path.iterdir()} <= {MANIFEST, *BUNDLE_FILES}
        else:
            with zipfile.ZipFile(path) as archive:
                data = json.loads(archive.read(MANIFEST))
                is_known = set(archive.namelist()) <= {MANIFEST, *BUNDLE_FILES}
    except (*UNREADABLE_ZIP, KeyError):
        return False
    return is_known and isinstance(data, dict) and {"schema_version", "sqdr_version", "files"} <= set(data)


def write_zip(folder: Path, path: Path) -> None:
    """Write a bundle folder as one file with the same bytes every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (MANIFEST, *sorted(set(p.name for p in folder.iterdir()) - {MANIFEST})):
            # a fixed date: the same bundle gives the same bytes
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, (folder / name).read_bytes())


def _read_manifest(root: Path, source: Path) -> Manifest:
    path = root / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{source}: {MANIFEST} is not a file. Copy or export the bundle again.")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{source}: {MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes. Export again.")
        data: Any = json.loads(path.read_text(encoding="utf-8"))
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
        raise BundleError(f"{error} Export the bundle again.") from error
    missing = [name for name in BUNDLE_FILES if name not in manifest.files]
    foreign = [name for name in manifest.files if not FILE_NAME.fullmatch(name) or name == MANIFEST]
    if missing or foreign:
        what = f"lacks {', '.join(missing)}" if missing else f"names a file outside the bundle, {foreign[0]!r}"
        raise BundleError(f"{source}: {MANIFEST} {what}. Export again.")
    return manifest


def _check_file(path: Path, record: FileRecord, source: Path) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{source} lacks the file {path.name}. Copy or export the bundle again.")
        n_bytes = path.stat().st_size
        found = sha256_of(path) if n_bytes == record.n_bytes else None
    except OSError as error:
        raise BundleError(f"{source}: {path.name} cannot be read: {error.strerror}. Check its rights.") from error
    if found is None:
        raise IntegrityError(
            f"{source}: {path.name} has {n_bytes} bytes, the manifest says {record.n_bytes}. "
            "Copy or export the bundle again."
        )
    if found.sha256 != record.sha256:
        raise IntegrityError(
            f"{source}: {path.name} does not match its SHA-256 in the manifest. It was changed or damaged: "
            "copy or export the bundle again."
        )


def _unpack(path: Path, root: Path) -> None:
    """Unpack a .sqdr file; only flat, known names, and no more bytes than declared."""
    limits = {MANIFEST: MAX_MANIFEST_BYTES} | dict.fromkeys(BUNDLE_FILES, MAX_FILE_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for info in archive.infolist():
                if info.filename not in limits or names.count(info.filename) > 1:
                    raise BundleError(f"{path} holds an unexpected file {info.filename!r}. Export it again.")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise BundleError(f"{path}: {info.filename} is packed in an unknown way. Export it again.")
                if info.file_size > limits[info.filename]:
                    raise BundleError(f"{path}: {info.filename} claims {info.file_size} bytes. Export it again.")
                with (
                    archive.open(info) as source,
                    storage_errors(root, TEMPORARY_FIX),
                    (root / info.filename).open("xb") as out,
                ):
                    out.writelines(_chunks(source, info.file_size))
    except UNREADABLE_ZIP as error:
        raise BundleError(f"{path} is not a readable .sqdr file. Copy or export it again.") from error


def _chunks(source: IO[bytes], n_bytes: int) -> Iterator[bytes]:
    """Read in pieces; an ``OSError`` of the archive must not pass for one of the disk."""
    try:
        while n_bytes > 0 and (chunk := source.read(min(CHUNK_BYTES, n_bytes))):
            n_bytes -= len(chunk)
            yield chunk
    except OSError as error:
        raise zipfile.BadZipFile(str(error)) from error
