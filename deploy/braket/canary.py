"""A circuit with a known answer, to see wrong columns or a drifting device before its results are believed."""

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.braket.request import CircuitRequest
from sqdr.deploy.braket.results import CircuitResult

__all__ = [
    "CANARY_SHOTS",
    "canary_expectations",
    "canary_program",
    "canary_request",
    "check_canary",
    "product_program",
]

# How far <Z> of one qubit may be off beyond shot noise: readout errors of today's processors are a few percent, and one
# of p takes up to 2p off <Z>.
TOLERANCE = 0.3
# Beyond this many standard deviations once in two million readings.
SIGMAS = 5
# Where it is a task of its own; in a program set it takes the others' shots.
CANARY_SHOTS = 100


def canary_expectations(n_qubits: int) -> NDArray[np.float64]:
    """Return the known <Z> (n_qubits,): a ladder from -0.9 to 0.9 in an order that sets neighbours far apart.

    A column that is swapped with its neighbour, shifted, or a register that is read backwards, puts most
    qubits off by more than half of the range. Two columns whose known values are near, an even number of qubits
    apart, can be exchanged unseen.
    """
    ladder = np.linspace(-0.9, 0.9, n_qubits) if n_qubits > 1 else np.array([0.9])
    half = (n_qubits + 1) // 2
    order = np.empty(n_qubits)
    order[0::2], order[1::2] = ladder[:half], ladder[half:]
    return order


def canary_program(n_qubits: int) -> str:
    """Return the circuit."""
    return product_program(np.arccos(canary_expectations(n_qubits)))


def product_program(angles: NDArray[np.float64]) -> str:
    """Return a circuit of one ``ry`` on each qubit, angles (n_qubits,) in radians, and qubit i measured into bit i.

    Each qubit has its gate, also where the angle is 0: a circuit without any may be refused.
    """
    n_qubits = len(angles)
    lines = ["OPENQASM 3.0;", f"qubit[{n_qubits}] q;", f"bit[{n_qubits}] b;"]
    lines += [f"ry({float(angle)!r}) q[{qubit}];" for qubit, angle in enumerate(angles)]
    lines += [f"b[{qubit}] = measure q[{qubit}];" for qubit in range(n_qubits)]
    return "\n".join(lines) + "\n"


def check_canary(result: CircuitResult, n_qubits: int, name: str) -> str:
    """Return what is wrong with a canary's result, empty if nothing is."""
    rows, counts = result.bits(n_qubits)
    shots = int(counts.sum())
    known = canary_expectations(n_qubits)
    seen = 1 - 2 * (counts @ rows) / shots
    allowed = TOLERANCE + SIGMAS * np.sqrt((1 - known**2) / shots)
    wrong = np.abs(seen - known) > allowed
    if not wrong.any():
        return ""
    worst = int(np.argmax(np.abs(seen - known) - allowed))
    columns = ", read backwards they would be right" if not (np.abs(seen[::-1] - known) > allowed).any() else ""
    return (
        f"the canary circuit on {name} is wrong on {int(wrong.sum())} of {n_qubits} qubits{columns}: qubit {worst} "
        f"gave <Z> = {seen[worst]:+.2f} in {shots} shots, known is {known[worst]:+.2f} +- {allowed[worst]:.2f}"
    )


def canary_request(device_arn: str, n_qubits: int, shots: int, part: int = 0) -> CircuitRequest:
    """Return the request of a canary."""
    return CircuitRequest(
        device_arn=device_arn, source=canary_program(n_qubits), inputs={}, shots=shots, part=part, purpose="canary"
    )
