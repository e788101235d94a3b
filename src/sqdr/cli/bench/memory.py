"""Subject ``memory``: peak memory of a joint training step and of encoding, each side in a process of its own."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqdr.cli.bench.harness import BenchRow, Timing
from sqdr.cli.bench.memory_child import SIDES
from sqdr.doctor import installed_version
from sqdr.errors import BackendCrashError

__all__ = ["bench_memory"]

SUBJECT = "memory"
PRESETS = ("tiny", "small", "base")
BATCHES = {"step": 64, "encode": 1000}
OURS = {"step": "sqdr step", "encode": "integer encode"}
TIMEOUT_S = 300.0


def bench_memory(
    repeats: int,
    skipped: list[str],
    progress: Callable[[int, int], None],
    presets: tuple[str, ...] = PRESETS,
    batches: dict[str, int] = BATCHES,
) -> tuple[list[BenchRow], dict[str, dict[str, dict[str, float]]]]:
    """Return a row for each preset, kind of call and peer in processor milliseconds per call, and the memory by side.

    Memory is the process's peak during five calls (`peak_mb`) and how far that is above what it held before them
    (`call_mb`): libraries, model and the batch are in `peak_mb` alone. What building the model freed and
    the process still holds is used again unseen: `call_mb` is a lower bound.

    Args:
        repeats: processes of each side, in turn.
        skipped: gets a line if SpikingJelly is not installed.
        progress: called with (processes done, of all).
        presets: of the encoder.
        batches: images of a call, by kind.

    Raises:
        BackendCrashError: a side cannot start.
    """
    sides = [side for side in SIDES if _is_there(side, skipped)]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    places = [(repeat, preset, side) for repeat in range(repeats) for preset in presets for side in sides]
    with tempfile.TemporaryDirectory(prefix="sqdr-bench-") as folder:
        for index, (_, preset, side) in enumerate(places):
            measured = _child(side, preset, batches[side.split()[-1]], Path(folder) / f"{preset} {side}.npy")
            runs.setdefault((preset, side), []).append(measured)
            progress(index + 1, len(places))
        rows = [
            _row(preset, side, batches, runs, Path(folder))
            for preset in presets
            for side in sides
            if side not in OURS.values()
        ]
    memory: dict[str, dict[str, dict[str, float]]] = {}
    for (preset, side), found in runs.items():
        peak = statistics.median(run["peak_mb"] for run in found)
        added = statistics.median(run["peak_mb"] - run["held_mb"] for run in found)
        memory.setdefault(preset, {})[side] = {"peak_mb": round(peak, 1), "call_mb": round(added, 1)}
    return rows, memory


def _row(
    preset: str, side: str, batches: dict[str, int], runs: dict[tuple[str, str], list[dict[str, Any]]], folder: Path
) -> BenchRow:
    import numpy as np

    kind = side.split()[-1]
    ours = OURS[kind]
    compared = (0, 0)
    if not side.startswith("spikingjelly"):  # other neurons: there is nothing to compare
        first, second = (np.load(folder / f"{preset} {name}.npy", allow_pickle=False) for name in (ours, side))
        compared = (first.size, int((first != second).sum()))
    timings = [_timing([run["ms"] for run in runs[preset, name]]) for name in (ours, side)]
    what = f"{preset}, 28x28, T=8, batch {batches[kind]}"
    return BenchRow.of(SUBJECT, what, (ours, timings[0]), (side, timings[1]), *compared)


def _is_there(side: str, skipped: list[str]) -> bool:
    if side.startswith("spikingjelly") and installed_version("spikingjelly") is None:
        skipped.append("SpikingJelly: pip install 'sqdr[bench]'")
        return False
    return True


def _child(side: str, preset: str, batch: int, spikes: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "sqdr.cli.bench.memory_child", side, preset, str(batch), str(spikes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing on standard error"]
        raise BackendCrashError(f"{side} ended with {done.returncode}: {last[0]}. Run `sqdr doctor`.")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _timing(values: list[float]) -> Timing:
    return Timing(median=statistics.median(values), min=min(values), max=max(values))
