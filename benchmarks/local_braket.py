"""What the head costs on this machine: `local:sv` against PennyLane's `braket.local.qubit` and Braket's own simulator.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/local_braket.py

1,000 circuits of 9 qubits, 2 blocks and the ring, one for each image: exact expectations, and 1,000 shots. Ours
runs all of them; the others run a few, alone and as one batch, for a circuit costs them the same each time: what is
compared is the time of one circuit, with the faster of a peer's two. All in one process on one core, in turn; medians,
with the fastest and the slowest repeat. The time is that of the processor, which other programs on the machine do not
lengthen by much; what the clock says stands beside it, with the load of the machine. Before timing, all must give the
same <Z>.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sqdr.cli.bench.harness import machine, one_core
from sqdr.deploy.heads import open_head
from sqdr.openqasm import to_openqasm

RESULTS = Path(__file__).parent / "results" / "local_braket.json"
N_QUBITS, N_BLOCKS, N_CIRCUITS, N_SHOTS = 9, 2, 1000, 1000
OURS = "local:sv"
PEERS = ("pennylane:braket.local.qubit", "local:braket-sv")
# All in float64.
TOLERANCE = 1e-10
# One standard deviation of a mean of 1,000 shots is at most 1 / sqrt(1,000); six of them do not happen.
SHOT_TOLERANCE = 6 / math.sqrt(N_SHOTS)
TARGET_RATIO = 25
BRAKET = ("amazon-braket-default-simulator", "amazon-braket-pennylane-plugin")


def head(name: str, weights: Any, shots: int | None) -> Any:
    text = to_openqasm(weights, "ring")
    return open_head(name, openqasm=text, weights=weights, entangler="ring", n_qubits=N_QUBITS, shots=shots)


def check(heads: dict[str, Any], angles: Any, tolerance: float) -> dict[str, float]:
    """Return the largest difference of each peer from ours; stop at one that is too large."""
    expected = heads[OURS].expectations(angles)
    found = {name: float(np.abs(heads[name].expectations(angles) - expected).max()) for name in PEERS}
    if max(found.values()) > tolerance:
        sys.exit(f"the simulators differ: {found}; not timed")
    return found


def one_by_one(run: Any, angles: Any) -> None:
    for index in range(len(angles)):
        run(angles[index : index + 1])


def time_in_turn(calls: dict[str, Any], repeats: int) -> dict[str, dict[str, float]]:
    """Return milliseconds for each circuit, after one warm-up of each call."""
    for call, _ in calls.values():
        call()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, (call, n) in calls.items():
            start = time.process_time(), time.perf_counter()
            call()
            end = time.process_time(), time.perf_counter()
            found[name].append((1000 * (end[0] - start[0]) / n, 1000 * (end[1] - start[1]) / n))
    return {name: summary(*zip(*pairs, strict=True)) for name, pairs in found.items()}


def summary(cpu_ms: tuple[float, ...], wall_ms: tuple[float, ...]) -> dict[str, float]:
    values = {
        "median": statistics.median(cpu_ms),
        "min": min(cpu_ms),
        "max": max(cpu_ms),
        "wall_median": statistics.median(wall_ms),
    }
    return {name: float(f"{value:.3g}") for name, value in values.items()}


def compare(weights: Any, angles: Any, shots: int | None, n_peer: int, repeats: int) -> dict[str, Any]:
    heads = {name: head(name, weights, shots) for name in (OURS, *PEERS)}
    exact = {name: head(name, weights, None) for name in (OURS, *PEERS)} if shots else heads
    few = angles[:n_peer]
    differences = check(exact, few, TOLERANCE)
    if shots:
        check({**heads, OURS: exact[OURS]}, few, SHOT_TOLERANCE)
    run = {name: found.expectations for name, found in heads.items()}
    calls: dict[str, Any] = {
        OURS: (partial(run[OURS], angles), len(angles)),
        f"{OURS}, alone": (partial(one_by_one, run[OURS], few), n_peer),
    }
    for name in PEERS:
        calls[f"{name}, batch"] = (partial(run[name], few), n_peer)
        calls[f"{name}, alone"] = (partial(one_by_one, run[name], few), n_peer)
    times = time_in_turn(calls, repeats)
    fastest = {name: min(times[f"{name}, {way}"]["median"] for way in ("batch", "alone")) for name in PEERS}
    return {
        "what": f"{N_SHOTS} shots" if shots else "exact <Z>",
        "max_difference_of_exact_z": differences,
        "ms_per_circuit": times,
        "ratio": {name: round(ms / times[OURS]["median"]) for name, ms in fastest.items()},
        "ratio_alone": {
            name: round(times[f"{name}, alone"]["median"] / times[f"{OURS}, alone"]["median"]) for name in PEERS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--circuits", type=int, default=4, help="that each peer runs")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    weights = rng.uniform(-np.pi, np.pi, (N_BLOCKS, N_QUBITS, 3))
    angles = rng.uniform(-np.pi, np.pi, (N_CIRCUITS, N_QUBITS, 3))
    with one_core():
        rows = [compare(weights, angles, shots, options.circuits, options.repeats) for shots in (None, N_SHOTS)]
    about = machine()
    about["versions"] |= {name: version(name) for name in BRAKET}
    result = {
        "subject": f"{N_QUBITS} qubits, {N_BLOCKS} blocks, ring",
        "n_circuits": N_CIRCUITS,
        "n_circuits_of_peers": options.circuits,
        "n_repeats": options.repeats,
        "target_ratio": TARGET_RATIO,
        "load_average": round(os.getloadavg()[0], 1),
        "rows": rows,
        **about,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
