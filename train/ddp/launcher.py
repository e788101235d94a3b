"""Starts one process for each device, and ends all of them at the first fault.

Lightning's own launcher would run the user's script once more for each device, and kill this process for a fault of
another. Here the process that was asked to train is none of those that do: it can always tell what went wrong.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqdr import errors
from sqdr.errors import BackendCrashError, SqdrError
from sqdr.strict import StrictModel

__all__ = ["END_S", "Job", "launch"]

# The path of this process, before anything is looked for: a file of the working folder must not stand for a package.
START = "import sys; sys.path[:] = sys.argv[2:]; from sqdr.train.ddp.process import main; main(sys.argv[1])"
# What a process gets to end by itself, and how long more it takes to be killed.
END_S = 3.0
KILL_AFTER_S = END_S + 2.0
# How long after the first fault the other processes' are waited for: that of the cause counts.
CAUSE_S = 1.0


class Job(StrictModel):
    """What a process is told.

    Args:
        run: the run's folder, with configuration and model.
        n_devices: how many processes there are.
        accelerator: ``cpu`` or ``cuda``.
        is_resumed: go on from the last checkpoint.
        progress: show a progress bar on standard error.
        timeout_s: after which waiting for another process is an error.
        log_level: of the messages wanted.
    """

    run: Path
    n_devices: int
    accelerator: Literal["cpu", "cuda"]
    is_resumed: bool
    progress: bool
    timeout_s: float
    log_level: int


@dataclass(frozen=True)
class _Fault:
    """Why a process ended. The smaller ``order``, the likelier it is the cause and not a consequence."""

    order: int
    error: SqdrError


def launch(job: Job) -> None:
    """Train with one process for each device, and return when all have finished.

    Raises:
        SqdrError: that of the first process that raised one; none is left.
        BackendCrashError: a process was killed, or failed in another way.
    """
    reports: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    processes: list[subprocess.Popen[bytes]] = []
    port = _free_port()
    try:
        for rank in range(job.n_devices):
            processes.append(_start(job, rank, port))
            threading.Thread(target=_read, args=(rank, processes[rank], reports), daemon=True).start()
        n_ended = 0
        while n_ended < job.n_devices:
            rank, report = reports.get()
            fault = _handle(rank, report, job)
            if fault is not None:
                raise _cause(fault, reports, job)
            n_ended += report[0] == "end"
    finally:
        _end(processes)


def _start(job: Job, rank: int, port: int) -> "subprocess.Popen[bytes]":
    is_shown = (rank == 0 and job.progress) or bool(os.environ.get("SQDR_DEBUG"))
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # OMP_NUM_THREADS: Lightning sets the threads by itself where it is missing
    n_threads = str(max(1, _n_cpus() // job.n_devices))
    preset = {"OMP_NUM_THREADS": n_threads, "GLOO_SOCKET_IFNAME": _loopback(), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.Popen(
        [sys.executable, "-c", START, job.model_dump_json(), *map(str, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if is_shown else subprocess.DEVNULL,
        env=preset | os.environ | address | {"NODE_RANK": "0", "LOCAL_RANK": str(rank)},
        # Ctrl-C is for this process alone
        start_new_session=True,
    )


def _read(rank: int, process: "subprocess.Popen[bytes]", reports: "queue.SimpleQueue[tuple[int, Any]]") -> None:
    """Pass on what a process reports; at last, its exit code."""
    has_told = False
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            with contextlib.suppress(ValueError):  # a line that was being written when the process was killed
                report = json.loads(line)
                has_told |= report[0] in ("error", "done")
                reports.put((rank, report))
    reports.put((rank, ["end", process.wait(), has_told]))


def _handle(rank: int, report: Any, job: Job) -> _Fault | None:
    kind, *content = report
    if kind == "log":
        name, level, message = content
        logging.getLogger(name).log(level, "%s", message)
    elif kind == "error":
        name, message = content
        known = getattr(errors, name) if name in errors.__all__ else None
        if known is not None:
            return _Fault(0, known(message))
        return _Fault(2, BackendCrashError(f"the process of device {rank} failed: {name}: {message}"))
    elif kind == "end":
        code, has_told = content
        if not has_told:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return _Fault(
                1,
                BackendCrashError(
                    f"the process of device {rank} {how}. Continue with `sqdr train --resume {job.run}`; "
                    "SQDR_DEBUG=1 shows what the process says."
                ),
            )
    return None


def _cause(first: _Fault, reports: "queue.SimpleQueue[tuple[int, Any]]", job: Job) -> SqdrError:
    """Return the error to raise: a process whose partner is gone fails, too, and may be heard first."""
    faults = [first]
    deadline = time.monotonic() + CAUSE_S
    with contextlib.suppress(queue.Empty):
        while True:
            fault = _handle(*reports.get(timeout=max(0.0, deadline - time.monotonic())), job)
            faults += [] if fault is None else [fault]
    return min(faults, key=lambda each: each.order).error


def _end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Let what still runs end by itself, which it does when its input is closed; then kill it."""
    for each in processes:
        with contextlib.suppress(OSError):
            if each.stdin is not None:
                each.stdin.close()
    deadline = time.monotonic() + KILL_AFTER_S
    for each in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.wait(max(0.0, deadline - time.monotonic()))
        if each.returncode is None:
            each.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            each.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _loopback() -> str:
    return next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "")


def _n_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
