"""What keeps a worker from outliving its parent or hanging on a dead Lava process.

Lava forks one process per process model. A model that raises, exits or is killed leaves the others,
and Lava's own calls, waiting for ever; so a thread of the worker looks at all of them many times a
second, and at the parent, and ends everything at the first fault.
"""

import contextlib
import ctypes
import multiprocessing
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import process, resource_tracker, shared_memory
from pathlib import Path
from typing import NoReturn

from sqdr.deploy.encoders.lava import leftovers
from sqdr.deploy.encoders.lava.frames import Frame, FrameDecoder, to_error_frame

__all__ = ["Channel", "Warden", "name_shared_memory", "tie_children"]

_LOOK_EVERY_S = 0.05
_CHUNK_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1  # Linux prctl(2)
_RANDOM_NAME_BYTES = 8


class Channel:
    """The worker's end of the pipes: frames from the parent, frames to the parent."""

    def __init__(self, fd_in: int, fd_out: int) -> None:
        self.fd_in = fd_in
        self._fd_out = fd_out
        self._lock = threading.Lock()

    @classmethod
    def take_standard_streams(cls) -> "Channel":
        """Return a channel on standard input and output, which then lead to nowhere and to stderr."""
        fd_in, fd_out = os.dup(0), os.dup(1)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        os.dup2(2, 1)
        return cls(fd_in, fd_out)

    def send(self, frame: Frame) -> None:
        """Write ``frame``; a parent that is gone is the warden's business, not the caller's."""
        data = memoryview(frame.encode())
        with self._lock, contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd_out, data) :]

    def close_in_child(self) -> None:
        """Close the pipes in a forked child, or the parent would never see their end."""
        for fd in (self.fd_in, self._fd_out):
            with contextlib.suppress(OSError):
                os.close(fd)


class Warden:
    """A thread that receives requests and ends the worker when anything it watches is gone.

    Args:
        channel: the pipes to the parent.
        parent_pid: the process that must stay alive.
        tag: what the names of the worker's shared memory start with.
        folder: the worker's temporary folder.
    """

    def __init__(self, channel: Channel, parent_pid: int, tag: str, folder: Path) -> None:
        self.requests: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.find_fault: Callable[[], str | None] = lambda: None
        self._channel = channel
        self._parent_pid = parent_pid
        self._tag, self._folder = tag, folder
        self._decoder = FrameDecoder()
        self._ending = threading.Lock()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._watch, name="warden", daemon=True).start()

    def end(self, error: Frame | None = None) -> NoReturn:
        """Tell the parent why, kill every process of the worker, remove leftovers, and exit."""
        self._ending.acquire()  # never released: only one thread may do this, the other waits for its end
        try:
            if error is not None:
                self._channel.send(error)
            _kill_children()
            leftovers.remove(self._tag, self._folder)
            _kill_tracker()
        finally:
            os.killpg(0, signal.SIGKILL)
            os._exit(1)

    def _watch(self) -> None:
        try:
            while os.getppid() == self._parent_pid:
                readable, _, _ = select.select([self._channel.fd_in], [], [], _LOOK_EVERY_S)
                if readable:
                    data = os.read(self._channel.fd_in, _CHUNK_BYTES)
                    if not data:
                        break
                    for frame in self._decoder.feed(data):
                        self.requests.put(frame)
                fault = self.find_fault()
                if fault is not None:
                    self.end(to_error_frame("crash", fault))
        except Exception as error:  # without a watch the worker must not go on
            self.end(to_error_frame("crash", f"the watch failed: {type(error).__name__}: {error}"))
        finally:
            self.end()


def _kill_children(timeout_s: float = 1.0) -> None:
    children = multiprocessing.active_children()
    for child in children:
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout_s
    for child in children:
        # Reap them here: in a container nobody else may. Lava's own `join` takes no time-out.
        with contextlib.suppress(ValueError, AssertionError):
            process.BaseProcess.join(child, max(0.0, deadline - time.monotonic()))


def _kill_tracker() -> None:
    """End multiprocessing's resource tracker, which ignores SIGTERM; what it tracks is removed already."""
    pid = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def tie_children(channel: Channel) -> None:
    """Make every process forked from now on die with this one, even when this one is killed outright."""
    worker_pid = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        channel.close_in_child()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != worker_pid:  # it died before the call above
            os._exit(1)

    os.register_at_fork(after_in_child=tie)


def name_shared_memory(tag: str) -> None:
    """Make the names of shared memory and semaphores created from now on start with ``tag``."""
    # The standard library limits names to 14 characters for FreeBSD's sake; Linux allows 255.
    shared_memory._SHM_NAME_PREFIX = f"/{tag}"  # type: ignore[attr-defined]
    shared_memory._SHM_SAFE_NAME_LENGTH = len(tag) + 1 + 2 * _RANDOM_NAME_BYTES  # type: ignore[attr-defined]
    process.current_process()._config["semprefix"] = f"/{tag}"  # type: ignore[attr-defined]
