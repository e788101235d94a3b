"""Write the trained circuit as OpenQASM 3 with named inputs, the same bytes every time.

``x_<qubit>_<k>`` is angle k of the qubit's ``Rot``; with one feature per qubit only k = 1 exists.
There is no measurement: who runs the circuit adds what it reads out.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import entangler_pairs
from sqdr.specification import HeadSpec

__all__ = ["to_openqasm"]

# Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi): the first angle acts first
ROT_GATES = ("rz", "ry", "rz")


def to_openqasm(weights: NDArray[np.float64], spec: HeadSpec) -> str:
    """Return the program.

    Args:
        weights: (n_blocks, n_qubits, 3) radians.
        spec: of the head.
    """
    angles = range(3) if spec.features_per_qubit == 3 else (1,)
    qubits = range(spec.n_qubits)
    lines = ["OPENQASM 3.0;"]
    lines += [f"input float x_{qubit}_{k};" for qubit in qubits for k in angles]
    lines.append(f"qubit[{spec.n_qubits}] q;")
    pairs = entangler_pairs(spec.n_qubits, spec.entangler)
    for block in range(spec.n_blocks):
        for qubit in qubits:
            lines += [f"{ROT_GATES[k]}(x_{qubit}_{k}) q[{qubit}];" for k in angles]
            # repr of a Python float is the shortest text that reads back equal, on every version
            lines += [f"{ROT_GATES[k]}({float(weights[block, qubit, k])!r}) q[{qubit}];" for k in range(3)]
        lines += [f"cz q[{first}], q[{second}];" for first, second in pairs]
    return "\n".join(lines) + "\n"
