"""The data-reupload circuit, defined once.

For each of L blocks: on every qubit ``Rot(angles)`` then ``Rot(weights)``, then the entangler's CZ
gates. Each qubit is read out as <Z>. Everything else in sqdr that runs or writes this circuit (the
batched state vector, OpenQASM, Braket) is tested against this definition.

Source: SQDR-CNN, arXiv 2512.03895; data re-uploading, arXiv 1907.02085. The published code and text
disagree on the entangler (open chain between blocks, ring after every block): ours is the ring after
every block by default.
"""

from collections.abc import Callable
from typing import Any, Literal

__all__ = ["Entangler", "cone_reach", "entangler_pairs", "qnode", "reupload"]

Entangler = Literal["ring", "chain", "none"]


def entangler_pairs(n_qubits: int, entangler: Entangler) -> list[tuple[int, int]]:
    """Return the qubit pairs of the CZ gates after each block.

    A ring of two qubits is one CZ: two would cancel.
    """
    if entangler == "none" or n_qubits < 2:
        return []
    pairs = [(qubit, qubit + 1) for qubit in range(n_qubits - 1)]
    if entangler == "ring" and n_qubits > 2:
        pairs.append((n_qubits - 1, 0))
    return pairs


def cone_reach(n_qubits: int, n_blocks: int, entangler: Entangler) -> int:
    """Return how many qubits on either side of a qubit its <Z> depends on, were the register wide enough."""
    return n_blocks - 1 if entangler_pairs(n_qubits, entangler) else 0


def reupload(angles: Any, weights: Any, entangler: Entangler) -> list[Any]:
    """Apply the circuit inside a PennyLane QNode and return its measurements.

    Args:
        angles: (..., n_qubits, 3) radians, the three angles of ``Rot``, uploaded again in every
            block. A leading axis is a broadcast batch.
        weights: (n_blocks, n_qubits, 3) radians.
        entangler: which pairs of qubits the CZ gates join.

    Returns:
        n_qubits expectations of Pauli Z.
    """
    import pennylane as qml

    n_blocks, n_qubits = weights.shape[:2]
    for block in range(n_blocks):
        for qubit in range(n_qubits):
            qml.Rot(angles[..., qubit, 0], angles[..., qubit, 1], angles[..., qubit, 2], wires=qubit)
            qml.Rot(weights[block, qubit, 0], weights[block, qubit, 1], weights[block, qubit, 2], wires=qubit)
        for pair in entangler_pairs(n_qubits, entangler):
            qml.CZ(wires=pair)
    return [qml.expval(qml.PauliZ(qubit)) for qubit in range(n_qubits)]


def qnode(device: Any, entangler: Entangler, **options: Any) -> Callable[[Any, Any], Any]:
    """Return the circuit as a PennyLane QNode ``f(angles, weights) -> n_qubits expectations``.

    Args:
        device: a PennyLane device with at least n_qubits wires.
        entangler: which pairs of qubits the CZ gates join.
        options: passed to ``pennylane.QNode`` (``interface``, ``diff_method``, ...).
    """
    import pennylane as qml

    def circuit(angles: Any, weights: Any) -> list[Any]:
        return reupload(angles, weights, entangler)

    return qml.QNode(circuit, device, **options)  # type: ignore[no-any-return]
