"""What every subject shares: one core, warm-up, repeats in turn, medians and their spread."""

import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqdr.machine import cpu_name

__all__ = ["BenchRow", "Timing", "machine", "one_core", "time_in_turn"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIBRARIES = (
    "sqdr",
    "numpy",
    "torch",
    "lava-nc",
    "lava-dl",
    "onnx",
    "onnxruntime",
    "pennylane",
    "pennylane-lightning",
    "torchquantum-ng",
    "tensorcircuit-ng",
    "pyqtorch",
    "amazon-braket-sdk",
    "spikingjelly",
    "triton",
    "lightning",
    "amazon-braket-default-simulator",
    "amazon-braket-pennylane-plugin",
)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds for each item over some repeats."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One side by side.

    Args:
        subject: of the benchmark.
        network: what was run.
        name: ours.
        peer: what it is compared with.
        ms: median milliseconds for each item.
        ms_min: the fastest repeat.
        ms_max: the slowest repeat.
        peer_ms: likewise the peer's.
        peer_ms_min: likewise.
        peer_ms_max: likewise.
        ratio: peer_ms / ms: how many times as fast ours is.
        n_compared: values that both computed before the timing.
        n_different: of them, those that differ.
    """

    subject: str
    network: str
    name: str
    peer: str
    ms: float
    ms_min: float
    ms_max: float
    peer_ms: float
    peer_ms_min: float
    peer_ms_max: float
    ratio: float
    n_compared: int
    n_different: int

    @classmethod
    def of(
        cls,
        subject: str,
        network: str,
        ours: tuple[str, Timing],
        peer: tuple[str, Timing],
        n_compared: int,
        n_different: int,
    ) -> "BenchRow":
        """Return the row of two timings."""
        return cls(
            subject=subject,
            network=network,
            name=ours[0],
            peer=peer[0],
            ms=ours[1].median,
            ms_min=ours[1].min,
            ms_max=ours[1].max,
            peer_ms=peer[1].median,
            peer_ms_min=peer[1].min,
            peer_ms_max=peer[1].max,
            ratio=peer[1].median / ours[1].median,
            n_compared=n_compared,
            n_different=n_different,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return asdict(self)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keep this process and what it starts on one core, with one thread in every library.

    Call it before NumPy or torch is imported: they read their thread count once.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    cores = os.sched_getaffinity(0)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def time_in_turn(
    calls: Mapping[str, tuple[Callable[[], Any], int]],
    repeats: int,
    is_processor_time: bool = False,
    min_s: float = 0.0,
) -> dict[str, Timing]:
    """Time each call ``repeats`` times after one warm-up, all of them in turn, so that they share the noise.

    Args:
        calls: name to (call, items that it handles).
        repeats: at least 1.
        is_processor_time: count the time of this process on the processor, which others on a busy machine hardly
            lengthen, not that of the clock; for calls on one thread that start no process.
        min_s: call as often in a row as takes about so long: a short call right after a long one finds its code and
            data gone from the caches, and a loop over batches is what is asked for.
    """
    clock = time.process_time if is_processor_time else time.perf_counter
    n_calls: dict[str, int] = {}
    for name, (call, _) in calls.items():
        start = clock()
        call()
        n_calls[name] = max(1, round(min_s / max(clock() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, (call, n_items) in calls.items():
            start = clock()
            for _ in range(n_calls[name]):
                call()
            times[name].append(1000 * (clock() - start) / (n_items * n_calls[name]))
    return {
        name: Timing(median=statistics.median(values), min=min(values), max=max(values))
        for name, values in times.items()
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, threads, load, versions; nothing that names the machine."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "cpu": cpu_name(),
        "n_threads": 1,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": versions,
    }
