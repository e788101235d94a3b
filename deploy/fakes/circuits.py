"""A circuit as the exporter writes it, for trying a head without a bundle."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs

__all__ = ["reupload_openqasm"]

# Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi): applied in this order.
ROT = ("rz", "ry", "rz")


def reupload_openqasm(
    weights: NDArray[np.float64], entangler: Entangler, n_features_per_qubit: Literal[1, 3] = 3
) -> str:
    """Return the circuit as OpenQASM 3 with named inputs, without measurement.

    Args:
        weights: (n_blocks, n_qubits, 3) radians.
        entangler: which pairs of qubits the CZ gates join.
        n_features_per_qubit: 3 uploads all angles of ``Rot``, 1 only the middle one.
    """
    n_qubits = weights.shape[1]
    uploaded = range(3) if n_features_per_qubit == 3 else (1,)
    lines = ["OPENQASM 3.0;"]
    lines += [f"input float x_{qubit}_{k};" for qubit in range(n_qubits) for k in uploaded]
    lines += [f"qubit[{n_qubits}] q;"]
    for block in weights.tolist():
        for qubit, trained in enumerate(block):
            lines += [f"{ROT[k]}(x_{qubit}_{k}) q[{qubit}];" for k in uploaded]
            lines += [f"{gate}({angle!r}) q[{qubit}];" for gate, angle in zip(ROT, trained, strict=True)]
        lines += [f"cz q[{a}], q[{b}];" for a, b in entangler_pairs(n_qubits, entangler)]
    return "\n".join(lines) + "\n"
