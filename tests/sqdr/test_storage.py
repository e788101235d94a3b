"""Nothing half-written ever looks whole: full disk, missing rights, crashes and interrupts."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqdr.errors import StorageError
from sqdr.storage import staged_directory, storage_errors, write_atomically

MARKER = "marker.json"


def has_marker(folder: Path) -> bool:
    return (folder / MARKER).is_file()


NOBODY = 65534
DISK_BYTES = 64 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("cannot mount a small file system here; the file-size limit is tested anyway")
    yield folder
    subprocess.run(["umount", str(folder)], capture_output=True, check=True, timeout=20)


@contextlib.contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond ``n_bytes``: a write then fails as on a full disk, for root too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere, so become nobody for a while; everyone else stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that may be read but not written, with an earlier file and an earlier folder in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").write_bytes(b"earlier")
        (folder / "out").mkdir()
        (folder / "out" / MARKER).write_bytes(b"earlier")
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stage(target: Path, content: bytes = b"new", *, overwrite: bool = False) -> None:
    with staged_directory(target, is_ours=has_marker, overwrite=overwrite) as folder:
        (folder / MARKER).write_bytes(content)


def test_write_atomically_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_write_atomically_gives_the_rights_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"x")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    finally:
        assert os.umask(before) == mask


def test_write_atomically_shows_readers_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = {bytes([letter]) * 50_000 for letter in b"ab"}
    write_atomically(path, min(contents))

    def write(content: bytes) -> None:
        for _ in range(20):
            write_atomically(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    n_read = 0
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
        n_read += 1
    assert n_read > 0
    assert names(tmp_path) == ["file"]


def test_write_atomically_keeps_the_earlier_file_when_the_disk_is_full(small_disk: Path) -> None:
    path = small_disk / "file"
    write_atomically(path, b"earlier")
    with pytest.raises(StorageError, match=r"file cannot be written: No space left on device\. Free space or choose"):
        write_atomically(path, b"x" * (2 * DISK_BYTES))
    assert names(small_disk) == ["file"]
    assert path.read_bytes() == b"earlier"


def test_write_atomically_keeps_the_earlier_file_at_the_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"earlier")
    with file_size_limit(1000), pytest.raises(StorageError, match="cannot be written: File too large. Free space"):
        write_atomically(path, b"x" * 100_000)
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"earlier"


def test_write_atomically_names_missing_rights(locked: Path) -> None:
    with unprivileged(), pytest.raises(StorageError, match="file cannot be written: Permission denied"):
        write_atomically(locked / "file", b"new")
    assert (locked / "file").read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/file", "No such file"), ("folder", "Is a directory"), ("x" * 254, "File name too long")],
)
def test_write_atomically_names_what_is_in_the_way(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=f"cannot be written: {reason}"):
        write_atomically(tmp_path / name, b"x")
    assert names(tmp_path) == ["folder"]


def test_write_atomically_keeps_the_earlier_file_when_the_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"earlier")
    code = (
        "import os, sys, pathlib; from sqdr.storage import write_atomically\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), 9)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), b'new' * 1000)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60).returncode == -9
    assert path.read_bytes() == b"earlier"
    assert all(name.startswith(".file.") for name in names(tmp_path) if name != "file")


def test_staged_directory_appears_whole_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out"
    with staged_directory(target, is_ours=has_marker) as folder:
        (folder / MARKER).write_bytes(b"new")
        assert not target.exists()
    assert names(target) == [MARKER]
    assert names(target.parent) == ["out"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_staged_directory_fills_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    stage(tmp_path / "out")
    assert (tmp_path / "out" / MARKER).read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("has_earlier", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, StorageError])
def test_staged_directory_leaves_no_trace_when_the_block_fails(
    tmp_path: Path, error: type[BaseException], has_earlier: bool
) -> None:
    target = tmp_path / "out"
    if has_earlier:
        stage(target, b"earlier")

    def fail() -> None:
        with staged_directory(target, is_ours=has_marker, overwrite=True) as folder:
            (folder / MARKER).write_bytes(b"new")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert names(tmp_path) == ["out"] * has_earlier
    assert not has_earlier or (target / MARKER).read_bytes() == b"earlier"


def test_staged_directory_keeps_the_earlier_one_when_the_disk_is_full(small_disk: Path) -> None:
    stage(small_disk / "out", b"earlier")
    with pytest.raises(StorageError, match="out cannot be written: No space left on device. Free space"):
        stage(small_disk / "out", b"x" * (2 * DISK_BYTES), overwrite=True)
    assert names(small_disk) == ["out"]
    assert (small_disk / "out" / MARKER).read_bytes() == b"earlier"


def test_staged_directory_names_missing_rights(locked: Path) -> None:
    with unprivileged(), pytest.raises(StorageError, match="out cannot be written: Permission denied"):
        stage(locked / "out", overwrite=True)
    with unprivileged(), pytest.raises(StorageError, match="new cannot be written: Permission denied"):
        stage(locked / "new")
    assert (locked / "out" / MARKER).read_bytes() == b"earlier"


def test_staged_directory_names_missing_rights_above_the_target(locked: Path) -> None:
    locked.chmod(0o000)
    with unprivileged(), pytest.raises(StorageError, match="out cannot be written: Permission denied"):
        stage(locked / "out")


def test_staged_directory_refuses_to_replace_unasked(tmp_path: Path) -> None:
    stage(tmp_path / "out", b"earlier")
    with pytest.raises(StorageError, match="out exists already. Choose another --out, or add --overwrite"):
        stage(tmp_path / "out")
    assert (tmp_path / "out" / MARKER).read_bytes() == b"earlier"
    stage(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / MARKER).read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_staged_directory_never_replaces_what_it_did_not_write(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_bytes(b"years")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    with pytest.raises(StorageError, match="home holds other files"):
        stage(tmp_path / "home", overwrite=overwrite)
    for name in ("home/thesis.tex", "link", "dangling", "pipe"):
        with pytest.raises(StorageError, match=f"{name} is a file or a link. Choose another --out"):
            stage(tmp_path / name, overwrite=overwrite)
    assert names(tmp_path) == before
    assert (tmp_path / "home" / "thesis.tex").read_bytes() == b"years"


@pytest.mark.parametrize(
    ("name", "reason"), [("x" * 300, "File name too long"), ("file/out", "(File exists|Not a directory)")]
)
def test_staged_directory_names_an_impossible_target(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=f"cannot be written: {reason}"):
        stage(tmp_path / name)


def test_staged_directory_does_not_replace_what_appeared_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def two_at_once() -> None:
        with staged_directory(target, is_ours=has_marker) as slower:
            (slower / MARKER).write_bytes(b"slower")
            stage(target, b"faster")

    with pytest.raises(StorageError, match="out cannot be written: Directory not empty"):
        two_at_once()
    assert (target / MARKER).read_bytes() == b"faster"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt("stop")])
@pytest.mark.parametrize("can_restore", [True, False])
def test_staged_directory_never_loses_the_earlier_one_in_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, can_restore: bool
) -> None:
    target = tmp_path / "out"
    stage(target, b"earlier")
    # the calls are: earlier folder away, new one in, and on failure the earlier one back
    rename, n_calls = Path.rename, 0

    def failing(path: Path, to: Path) -> Path:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2 or (n_calls == 3 and not can_restore):
            raise error
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="Input/output error|stop"):
        stage(target, overwrite=True)
    assert n_calls == 3
    kept = [path.read_bytes() for path in tmp_path.rglob(MARKER)]
    assert kept == [b"earlier"]
    assert names(tmp_path) == ["out"] or not can_restore


def test_storage_errors_names_the_fix_it_is_given(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"full cannot be written: No space left on device\. Ask for more\.$"),
        storage_errors(Path("/dev/full"), "Ask for more."),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")
