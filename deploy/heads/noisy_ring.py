"""The joint distribution of a noisy one- or two-block circuit, without its density matrix.

A CZ with its noise is a sum of four products of one-qubit matrices (`NoisyCircuit.cz_terms`), so that the state
after the first CZ gates is a sum over one index of four values per CZ. Every entangler is a ring or a part of
one: the sum is a trace of a product of 4 x 4 matrices, one for each qubit and outcome,

    P(z_0, ..., z_n-1) = trace(A_0[z_0] A_1[z_1] ... A_n-1[z_n-1]),

exact, and for all 2^n outcomes it is one matrix product of the left half of the qubits with the right half.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.heads.noisy_circuit import NoisyCircuit, rotation

__all__ = ["ring_probabilities", "ring_sites"]

Floats = NDArray[np.float64]


def ring_sites(circuit: NoisyCircuit) -> Floats:
    """Return the first block's CZ gates and their noise, (n_qubits, 4, 4, 4, 4).

    Axes 1 and 2 count the terms of the CZ gates with the qubit before and the qubit after; the last two are a
    matrix on the qubit. Where there is no such CZ, the first term is the identity and the others are 0.
    """
    n_qubits = circuit.n_qubits
    absent = np.zeros((4, 4, 4))
    absent[0] = np.eye(4)
    sites: list[Floats] = []
    for qubit in range(n_qubits):
        site = np.eye(4)[None, None]  # (terms before, terms after, 4, 4)
        is_before = is_after = False
        for first, second in circuit.pairs:  # in order: noise does not commute with a later CZ
            if second == qubit:
                site, is_before = circuit.cz_terms[1][:, None] @ site, True
            elif first == qubit:
                site, is_after = circuit.cz_terms[0][None, :] @ site, True
        site = site if is_before else absent[:, None] @ site
        sites.append(site if is_after else absent[None, :] @ site)
    return np.stack(sites)


def ring_probabilities(circuit: NoisyCircuit, sites: Floats, angles: Floats) -> Floats:
    """Return the probabilities (N, 2^n) of all outcomes, the first qubit the most significant bit.

    Args:
        circuit: of one or two blocks.
        sites: of `ring_sites`; not used for one block.
        angles: (N, n_qubits, 3) radians.
    """
    upload = rotation(angles)
    state = circuit.trained[0] @ (upload[..., 0] + upload[..., 3])[..., None]  # (N, n_qubits, 4, 1)
    if circuit.n_blocks == 1:
        matrices = (circuit.readout @ state)[..., None]  # (N, n_qubits, 2, 1, 1)
    else:
        rows = circuit.readout @ circuit.trained[1] @ upload  # (N, n_qubits, 2, 4)
        through = sites.reshape(circuit.n_qubits, 64, 4) @ state
        matrices = rows @ through.reshape(*state.shape[:2], 16, 4).swapaxes(2, 3)
        matrices = matrices.reshape(*matrices.shape[:3], 4, 4)
    middle = circuit.n_qubits // 2
    left, right = _products(matrices[:, :middle]), _products(matrices[:, middle:])
    n_samples, bond = len(angles), left.shape[-1] ** 2
    right = right.swapaxes(2, 3).reshape(n_samples, -1, bond)  # trace(L R) = sum of L * R transposed
    return np.asarray((left.reshape(n_samples, -1, bond) @ right.swapaxes(1, 2)).reshape(n_samples, -1))


def _products(matrices: Floats) -> Floats:
    """(N, m, 2, b, b) -> (N, 2^m, b, b): the product for each outcome of m qubits."""
    n_samples, n_qubits, _, bond, _ = matrices.shape
    product = np.broadcast_to(np.eye(bond), (n_samples, 1, bond, bond))
    for qubit in range(n_qubits):
        product = (product[:, :, None] @ matrices[:, qubit, None]).reshape(n_samples, -1, bond, bond)
    return product
