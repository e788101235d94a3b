"""The encoder's end of a worker process: requests with a deadline, and an end that leaves nothing."""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sqdr.deploy.encoders.lava import leftovers
from sqdr.deploy.encoders.lava.frames import Frame, FrameDecoder, FrameError
from sqdr.deploy.encoders.lava.leftovers import TAG_VARIABLE
from sqdr.errors import (
    BackendCrashError,
    BackendTimeoutError,
    MissingDependencyError,
    SqdrError,
    StorageError,
)

__all__ = ["Supervisor"]

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_MAX_STDERR_BYTES = 1 << 16
_LOOK_EVERY_S = 0.1
_CLOSE_S = 5.0
_GROUP_END_S = 2.0
_TAIL_LINES = 5
_MAX_TAIL_LENGTH = 600


class Supervisor:
    """A worker process in a session of its own, and the only one that talks to it.

    Args:
        command: the worker's command line.
        env: its environment, besides TMPDIR and the worker's tag.

    Raises:
        MissingDependencyError: the command cannot be run.
        StorageError: there is nowhere to put temporary files.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        leftovers.sweep()
        self.tag = leftovers.make_tag()
        try:
            self.folder = leftovers.make_folder(self.tag)
        except OSError as error:
            raise StorageError(
                f"no temporary folder can be made for the Lava worker: {error}. Set TMPDIR to a folder "
                "that can be written to."
            ) from error
        self._decoder = FrameDecoder()
        self._received: list[Frame] = []
        self._stderr = bytearray()
        try:
            self._process = subprocess.Popen(
                list(command),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.folder,
                env={**env, "TMPDIR": str(self.folder), TAG_VARIABLE: self.tag},
                start_new_session=True,
            )
        except OSError as error:
            leftovers.remove(self.tag, self.folder)
            raise MissingDependencyError(
                f"the Lava worker's Python {command[0]!r} cannot be run: {error.strerror}. "
                "Set SQDR_LAVA_PYTHON to a Python 3.10 with `sqdr[lava]`."
            ) from error
        self.pid = self._process.pid
        logger.info("Lava worker %d started: %s", self.pid, command[0])
        self._finalizer = weakref.finalize(self, _end, self._process, self.tag, self.folder, os.getpid())
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)

    def send_and_receive(self, frame: Frame | None, deadline: float, doing: str) -> Frame:
        """Send ``frame``, if any, and return the next frame from the worker.

        Args:
            frame: the request.
            deadline: on the clock of `time.monotonic`.
            doing: what the worker does meanwhile, for messages: "it <doing>".

        Raises:
            BackendTimeoutError: no whole frame by the deadline.
            BackendCrashError: the worker ended, or sent something else than frames.
        """
        unsent = memoryview(frame.encode() if frame is not None else b"")
        while not self._received:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise BackendTimeoutError(f"the Lava worker did not answer in time while it {doing}")
            # Look first, read after: what it wrote before it ended is read for certain.
            has_ended = self._has_ended()
            unsent = self._move(unsent, 0.0 if has_ended else min(left_s, _LOOK_EVERY_S))
            if has_ended and not self._received:
                raise self.describe_end(doing)
        return self._received.pop(0)

    def describe_end(self, doing: str) -> SqdrError:
        """Return the error for a worker that has ended without saying why."""
        self._end()
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with code {code}"
        return BackendCrashError(f"the Lava worker {how} while it {doing}{self.stderr_tail()}")

    def stderr_tail(self) -> str:
        """Return the last lines the worker wrote, as the end of a message, or an empty string."""
        lines = [line.strip() for line in self._stderr.decode(errors="replace").split("\n")]
        # The tracker warns about every segment of a killed worker; all of them are removed.
        told = [line for line in lines if line and "resource_tracker" not in line]
        tail = " | ".join(told[-_TAIL_LINES:])
        return f". Its last words: {tail[-_MAX_TAIL_LENGTH:]}" if tail else ""

    def close(self) -> None:
        """Let the worker end by itself, then end what is left of it."""
        self._stdin.close()
        deadline = time.monotonic() + _CLOSE_S
        while not self._has_ended() and time.monotonic() < deadline:
            with contextlib.suppress(SqdrError):  # what it still says is of no use any more
                self._move(memoryview(b""), 0.02)
        self._end()

    def kill(self) -> None:
        """End the worker and everything it started, now."""
        self._end()

    def _end(self) -> None:
        # Detached last: after a second Ctrl-C in here, the finalizer does it once more.
        if self._finalizer.alive:
            _end(self._process, self.tag, self.folder, os.getpid())
            self._finalizer.detach()
            logger.info("Lava worker %d ended with code %s", self.pid, self._process.returncode)

    def _has_ended(self) -> bool:
        """Without reaping it: its process group keeps its number until everything in it is ended."""
        if self._process.returncode is not None:
            return True
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return found is not None

    def _move(self, unsent: memoryview, timeout_s: float) -> memoryview:
        """Write, read, or wait for up to ``timeout_s`` until one of them is possible."""
        with selectors.DefaultSelector() as selector:
            for pipe in (self._stdout, self._stderr_pipe):
                if not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ)
            if unsent and not self._stdin.closed:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            if not selector.get_map():
                time.sleep(timeout_s)
            ready = [key.fileobj for key, _ in selector.select(timeout_s)]
        for pipe in (self._stdout, self._stderr_pipe):
            if pipe in ready:
                self._read(pipe)
        if self._stdin in ready:
            try:
                unsent = unsent[os.write(self._stdin.fileno(), unsent[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                pass
            except OSError:  # nobody reads any more: the end is noticed by the next look
                self._stdin.close()
        return unsent

    def _read(self, pipe: IO[bytes]) -> None:
        while True:
            try:
                data = os.read(pipe.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not data:
                pipe.close()
                return
            if pipe is self._stderr_pipe:
                self._stderr = (self._stderr + data)[-_MAX_STDERR_BYTES:]
                continue
            try:
                self._received += self._decoder.feed(data)
            except FrameError as error:
                raise BackendCrashError(f"the Lava worker sent something else than frames: {error}") from error

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        process: Any = self._process
        return process.stdin, process.stdout, process.stderr

    @property
    def _stdin(self) -> IO[bytes]:
        return self._pipes()[0]

    @property
    def _stdout(self) -> IO[bytes]:
        return self._pipes()[1]

    @property
    def _stderr_pipe(self) -> IO[bytes]:
        return self._pipes()[2]


def _end(process: "subprocess.Popen[bytes]", tag: str, folder: Path, owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return  # a forked copy of the encoder: the worker is not its own
    if process.returncode is None:
        # The number cannot be anyone else's: the leader is not reaped before this.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GROUP_END_S)
    deadline = time.monotonic() + _GROUP_END_S
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    leftovers.remove(tag, folder)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _group_lives(group: int) -> bool:
    """Zombies do not count: where nothing reaps orphans, as in some containers, they stay."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stats = [_read_or_empty(path) for path in Path("/proc").glob("[0-9]*/stat")]
    # proc(5): pid (name) state ppid pgrp ...
    fields = [stat.rpartition(")")[2].split() for stat in stats if stat]
    return any(state not in "ZX" and int(pgrp) == group for state, _, pgrp, *_ in fields) or not stats


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
