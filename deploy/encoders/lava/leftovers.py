"""Names of everything a worker leaves in the file system, and the removal of what is left over.

A worker's shared-memory segments, semaphores and temporary folder all start with one tag that
names the process which started it: ``sqdr-<pid namespace>-<pid>-<start time>-<random>-``. A later
start removes what belongs to processes that are gone, even when they were killed outright.
"""

import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

__all__ = ["TAG_VARIABLE", "make_folder", "make_tag", "remove", "sweep"]

TAG_VARIABLE = "SQDR_LAVA_TAG"
"""The environment variable that tells a worker its tag; TMPDIR tells it its folder."""

SHARED_MEMORY = Path("/dev/shm")

_TAG = re.compile(r"(?:sem\.)?(sqdr-(\d+)-(\d+)-(\d+)-[0-9a-f]{8}-)")

# A multiprocessing listener adds about 35 characters, and a Unix socket path ends at 107.
_MAX_FOLDER_LENGTH = 70


def make_tag() -> str:
    """Return a new tag that names this process."""
    pid = os.getpid()
    return f"sqdr-{_namespace()}-{pid}-{_start_time(pid)}-{secrets.token_hex(4)}-"


def make_folder(tag: str) -> Path:
    """Return a new private temporary folder for the worker called ``tag``."""
    for root in (tempfile.gettempdir(), "/tmp"):
        folder = Path(root) / tag
        if len(str(folder)) <= _MAX_FOLDER_LENGTH:
            break
    folder.mkdir(mode=0o700)
    return folder


def remove(tag: str, folder: Path | None) -> None:
    """Remove the segments and semaphores that start with ``tag``, and ``folder``."""
    for path in _shared_memory():
        if path.name.startswith((tag, f"sem.{tag}")):
            path.unlink(missing_ok=True)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[str]:
    """Remove what workers of processes that are gone left behind, and return their tags."""
    folders = {Path(tempfile.gettempdir()), Path("/tmp")}  # see make_folder
    paths = _shared_memory() + [path for root in folders for path in root.glob("sqdr-*-")]
    found: dict[str, Path | None] = {}
    for path in paths:
        match = _TAG.match(path.name)
        if match is not None and _is_gone(*match.groups()[1:]) and _is_ours(path):
            found[match[1]] = path if path.is_dir() else found.get(match[1])
    for tag, folder in found.items():
        remove(tag, folder)
    return sorted(found)


def _shared_memory() -> list[Path]:
    return list(SHARED_MEMORY.iterdir()) if SHARED_MEMORY.is_dir() else []


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid() and not path.is_symlink()
    except OSError:
        return False


def _is_gone(namespace: str, pid: str, start_time: str) -> bool:
    """A process of another pid namespace (a container) cannot be judged from here."""
    return namespace == _namespace() and _start_time(int(pid)) != start_time


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _start_time(pid: int) -> str:
    """Field 22 of proc(5) /proc/<pid>/stat, which tells a process from a later one of the same pid."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "0"
    return text.rpartition(")")[2].split()[19]
