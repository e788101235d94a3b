"""The trained circuit as OpenQASM 3 with named inputs, the same bytes every time.

``x_<qubit>_<k>`` is angle k of the qubit's ``Rot``; with one feature per qubit only k = 1 exists.
Each ``Rot`` is one gate, so that a block has two gates per qubit, the upload and the trained one, and
its CZ gates: the fewer the gates, the less there is to parse, which is what most of a local run of a
small circuit goes into.

There is no measurement: who runs the circuit adds what it reads out. Export writes this text; whoever
opens a bundle writes it again from the trained weights and refuses a file that differs, so that
nothing but this circuit ever runs. There is no ``include`` either: Braket knows ``ry`` and ``cz`` by
itself and has no ``stdgates.inc``. Qiskit's reader needs ``include "stdgates.inc";`` put after the first
line; PennyLane's (``from_qasm3``, up to 0.45) has no ``U``.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs

__all__ = ["to_openqasm"]


def to_openqasm(weights: NDArray[np.float64], entangler: Entangler, features_per_qubit: Literal[1, 3] = 3) -> str:
    """Return the program.

    Args:
        weights: (n_blocks, n_qubits, 3) radians.
        entangler: which pairs of qubits the CZ gates join.
        features_per_qubit: 3 uploads all angles of ``Rot``, 1 only the middle one.
    """
    n_blocks, n_qubits = weights.shape[:2]
    angles = range(3) if features_per_qubit == 3 else (1,)
    lines = ["OPENQASM 3.0;"]
    lines += [f"input float x_{qubit}_{k};" for qubit in range(n_qubits) for k in angles]
    lines.append(f"qubit[{n_qubits}] q;")
    pairs = entangler_pairs(n_qubits, entangler)
    for block in range(n_blocks):
        for qubit in range(n_qubits):
            names = [f"x_{qubit}_{k}" for k in angles]
            upload = _rot(*names) if features_per_qubit == 3 else f"ry({names[0]})"
            # repr of a Python float is the shortest text that reads back equal, on every version
            trained = _rot(*(repr(float(weights[block, qubit, k])) for k in range(3)))
            lines += [f"{upload} q[{qubit}];", f"{trained} q[{qubit}];"]
        lines += [f"cz q[{first}], q[{second}];" for first, second in pairs]
    return "\n".join(lines) + "\n"


def _rot(phi: str, theta: str, omega: str) -> str:
    """Return ``Rot(phi, theta, omega)`` as OpenQASM's built-in gate, equal up to a global phase.

    ``Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi)``, and ``U(theta, phi, lambda)`` is
    ``RZ(phi) RY(theta) RZ(lambda)``. Source: PennyLane, ``qml.Rot``; OpenQASM 3, "Built-in gates".
    """
    return f"U({theta}, {omega}, {phi})"
