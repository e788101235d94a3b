"""The density matrix of a noisy circuit of any depth, as its 4^n real Pauli components.

A one-qubit gate with its noise is one real 4 x 4 matrix, a CZ with the noise on both its qubits one real
16 x 16 matrix. The first block acts on |0...0>, which stays a product state. The last CZ gates commute with Z and only
their noise is applied, with the readout, which makes 2^n probabilities of 4^n components qubit by qubit.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.heads.noisy_circuit import NoisyCircuit, rotation

__all__ = ["pauli_probabilities"]

Floats = NDArray[np.float64]


def pauli_probabilities(circuit: NoisyCircuit, angles: Floats) -> Floats:
    """Return the probabilities (N, 2^n) of all outcomes, the first qubit the most significant bit.

    Args:
        circuit: of any depth; a sample takes 8 * 4^n bytes, of which three live at a time.
        angles: (N, n_qubits, 3) radians.
    """
    upload = rotation(angles)
    vectors = circuit.trained[0] @ (upload[..., 0] + upload[..., 3])[..., None]  # (N, n_qubits, 4, 1)
    state = np.ones((len(angles), 1))
    for qubit in range(circuit.n_qubits):
        state = (state[:, :, None] * vectors[:, qubit, None, :, 0]).reshape(len(angles), -1)
    entangle = np.asarray(sum(map(np.kron, *circuit.cz_terms)))
    for trained in circuit.trained[1:]:
        for first, second in circuit.pairs:
            state = _apply_pair(entangle, state, circuit.n_qubits, first, second)
        state = _apply(trained @ upload, state)
    return _apply(np.broadcast_to(circuit.readout, (len(angles), *circuit.readout.shape)), state)


def _apply_pair(matrix: Floats, state: Floats, n_qubits: int, first: int, second: int) -> Floats:
    """Apply a matrix (16, 16) to two qubits of states (N, 4^n)."""
    cube = np.moveaxis(state.reshape(-1, *(4,) * n_qubits), (1 + first, 1 + second), (1, 2))
    found = (matrix @ cube.reshape(len(state), 16, -1)).reshape(cube.shape)
    return np.moveaxis(found, (1, 2), (1 + first, 1 + second)).reshape(len(state), -1)


def _apply(matrices: Floats, state: Floats) -> Floats:
    """Apply one matrix to each qubit: matrices (N, n_qubits, rows, 4), states (N, 4^n) -> (N, rows^n)."""
    n_samples, n_qubits, _, n_columns = matrices.shape
    for qubit in range(n_qubits):
        # The qubit leads and goes to the end: after all qubits the order is as before.
        state = (matrices[:, qubit] @ state.reshape(n_samples, n_columns, -1)).swapaxes(1, 2)
        state = state.reshape(n_samples, -1)
    return state
