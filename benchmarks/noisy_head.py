"""What an exact noisy circuit costs: our closed form against PennyLane default.mixed and Braket's density matrix.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/noisy_head.py

The circuit has 9 qubits, 2 blocks and the ring, with the noise of hw_configs/local_dm.yaml: the same gates
with the same channels in the same places on all three. Before timing, they must give the same <Z>. Ours runs a
batch of 64, and one sample as well; the others take one sample at a time. Times are medians of single calls after
a warm-up; the ratios are for the batch.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from sqdr.circuit import entangler_pairs
from sqdr.deploy.heads import open_head
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

RESULTS = Path(__file__).parent / "results" / "noisy_head.json"
N_QUBITS, N_BLOCKS, BATCH, N_SHOTS = 9, 2, 64, 1000
# All in float64.
TOLERANCE = 1e-10

Floats = NDArray[np.float64]


def default_mixed(weights: Floats, noise: NoiseModel) -> Callable[[Floats], Floats]:
    """Return the circuit on PennyLane's density matrix, for angles (n_qubits, 3)."""

    def channels(rates: GateNoise, wire: int) -> None:
        qml.BitFlip(rates.bit_flip, wires=wire)
        qml.DepolarizingChannel(rates.depolarizing, wires=wire)
        qml.AmplitudeDamping(rates.amplitude_damping, wires=wire)

    def circuit(angles: Floats) -> Any:
        for block in weights:
            for qubit in range(N_QUBITS):
                for gate in (angles[qubit], block[qubit]):
                    qml.Rot(*gate, wires=qubit)
                    channels(noise.one_qubit_gate, qubit)
            for pair in entangler_pairs(N_QUBITS, "ring"):
                qml.CZ(wires=pair)
                for qubit in pair:
                    channels(noise.two_qubit_gate, qubit)
        gamma = noise.readout.p1_given_0 + noise.readout.p0_given_1
        for qubit in range(N_QUBITS):  # right before a measurement, the channel of its wrong readouts
            qml.GeneralizedAmplitudeDamping(gamma, noise.readout.p0_given_1 / gamma, wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(N_QUBITS)]

    node = qml.QNode(circuit, qml.device("default.mixed", wires=N_QUBITS), diff_method=None)
    return lambda angles: np.stack(node(angles))


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    """Return the median of single calls, in ms, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5, help="calls of each slow simulator")
    options = parser.parse_args()
    hardware = packaged_hardware("local_dm")
    if not isinstance(hardware, BraketLocal) or hardware.noise is None:
        sys.exit("hw_configs/local_dm.yaml has no noise; not timed")
    rng = np.random.default_rng(0)
    weights = rng.uniform(-np.pi, np.pi, (N_BLOCKS, N_QUBITS, 3))
    angles = rng.uniform(-np.pi, np.pi, (BATCH, N_QUBITS, 3))

    def head(name: str, shots: int | None = None) -> Any:
        text = to_openqasm(weights, "ring")
        return open_head(name, openqasm=text, weights=weights, entangler="ring", n_qubits=N_QUBITS, shots=shots, seed=0)

    ours, sampled, braket = head("local_dm"), head("local_dm", N_SHOTS), head("braket_local_dm")
    mixed = default_mixed(weights, hardware.noise)
    found = ours.expectations(angles)[0]
    peers = {"pennylane default.mixed": mixed(angles[0]), "braket_dm": braket.expectations(angles[:1])[0]}
    differences = {name: float(np.abs(found - expected).max()) for name, expected in peers.items()}
    if max(differences.values()) > TOLERANCE:
        sys.exit(f"the simulators differ: {differences}; not timed")
    our_ms = median_ms(lambda: ours.expectations(angles), 50) / BATCH
    alone_ms = median_ms(lambda: ours.expectations(angles[:1]), 50)
    shots_ms = median_ms(lambda: sampled.expectations(angles), 20) / BATCH
    mixed_ms = median_ms(lambda: mixed(angles[0]), options.repeats)
    braket_ms = median_ms(lambda: braket.expectations(angles[:1]), options.repeats)
    row = {
        "subject": "noisy circuit, exact <Z>",
        "name": f"{N_QUBITS} qubits, {N_BLOCKS} blocks, ring, noise of local_dm, batch {BATCH}",
        "ms_per_circuit": float(f"{our_ms:.3g}"),
        "one_sample_ms": float(f"{alone_ms:.3g}"),
        "one_thousand_shots_ms_per_circuit": float(f"{shots_ms:.3g}"),
        "default_mixed_ms_per_circuit": round(mixed_ms, 1),
        "braket_dm_ms_per_circuit": round(braket_ms, 1),
        "default_mixed_ratio": round(mixed_ms / our_ms),
        "braket_dm_ratio": round(braket_ms / our_ms),
        "max_difference": differences,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "versions": {
            name: version(name)
            for name in ("numpy", "pennylane", "amazon-braket-sdk", "amazon-braket-default-simulator")
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(row, indent=1))
    sys.stdout.write(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
