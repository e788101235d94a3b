"""Write files and folders so that nothing half-written ever looks whole: beside, then rename."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sqdr.errors import StorageError

__all__ = ["staged_directory", "storage_errors", "write_atomically"]


@contextlib.contextmanager
def storage_errors(path: Path, fix: str = "Free space or choose another --out.") -> Iterator[None]:
    """Translate an ``OSError`` while writing ``path`` into a StorageError with what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written: {reason}. {fix}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, force it to disk, then rename it over ``path``.

    Raises:
        StorageError: no permission, no space, or the folder is missing.
    """
    beside = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    with storage_errors(path):
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def staged_directory(target: Path, *, is_ours: Callable[[Path], bool], overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``target`` that becomes ``target`` only if the block succeeds.

    Args:
        target: the folder to make.
        is_ours: whether an earlier folder there is of the same kind; only such a one is ever replaced.
        overwrite: replace an earlier one.

    Raises:
        StorageError: ``target`` is in the way, or cannot be written.
    """
    with storage_errors(target):
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise StorageError(f"{target} is a file or a link. Choose another --out.")
        if target.exists() and any(target.iterdir()):
            if not is_ours(target):
                raise StorageError(f"{target} holds other files. Choose another --out.")
            if not overwrite:
                raise StorageError(f"{target} exists already. Choose another --out, or add --overwrite.")
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with storage_errors(target):
            yield stage
            stage.chmod(0o755)
            if overwrite and target.exists():
                _swap(stage, target)
            else:
                stage.rename(target)  # fails where a folder with files appeared meanwhile
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(stage: Path, target: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        target.rename(old / "was")
        try:
            stage.rename(target)
        except BaseException:
            (old / "was").rename(target)
            raise
    finally:
        if target.exists():  # else what was there is in `old` alone: keep it
            shutil.rmtree(old, ignore_errors=True)
