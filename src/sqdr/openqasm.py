"""The trained circuit as OpenQASM 3 with named inputs, the same bytes every time.

``x_<qubit>_<k>`` is angle k of the qubit's ``Rot``; with one feature per qubit only k = 1 exists.
There is no measurement: who runs the circuit adds what it reads out. Export writes this text; whoever
opens a bundle writes it again from the trained weights and refuses a file that differs, so that
nothing but this circuit ever runs.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs

__all__ = ["to_openqasm"]

# Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi): the first angle acts first
ROT_GATES = ("rz", "ry", "rz")


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
            lines += [f"{ROT_GATES[k]}(x_{qubit}_{k}) q[{qubit}];" for k in angles]
            # repr of a Python float is the shortest text that reads back equal, on every version
            lines += [f"{ROT_GATES[k]}({float(weights[block, qubit, k])!r}) q[{qubit}];" for k in range(3)]
        lines += [f"cz q[{first}], q[{second}];" for first, second in pairs]
    return "\n".join(lines) + "\n"
