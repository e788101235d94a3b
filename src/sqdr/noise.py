"""Noisy gates as real matrices on Pauli components: what inference in NumPy and training in torch share.

A qubit's state is the real vector (1, x, y, z) of the expectations of I, X, Y and Z; a channel is a real 4 x 4
matrix on it (its Pauli transfer matrix).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["neighbour_factors", "pauli_channel"]

Floats = NDArray[np.float64]


def pauli_channel(
    *,
    bit_flip: float = 0.0,
    phase_flip: float = 0.0,
    depolarizing: float = 0.0,
    amplitude_damping: float = 0.0,
    phase_damping: float = 0.0,
) -> Floats:
    """Return the five channels after a gate, one after the other in this order, (4, 4).

    The channels are those of ``braket.circuits.noises`` and of PennyLane: bit flip p keeps X and scales Y, Z by
    1 - 2p; phase flip p keeps Z and scales X, Y by 1 - 2p; depolarizing p scales X, Y, Z by 1 - 4p/3; amplitude damping
    g scales X, Y by sqrt(1 - g), Z by 1 - g, and adds g to Z; phase damping g scales X, Y by sqrt(1 - g).
    """
    flipped, mixed, damped = 1 - 2 * bit_flip, 1 - 4 * depolarizing / 3, 1 - amplitude_damping
    across = (1 - 2 * phase_flip) * mixed * np.sqrt(damped * (1 - phase_damping))
    matrix: Floats = np.diag([1, across, across * flipped, mixed * flipped * damped])
    matrix[3, 0] = amplitude_damping
    return matrix


def neighbour_factors(
    n_qubits: int, pairs: list[tuple[int, int]], after_cz: Floats, n_folds: int = 1
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return what X_i and Y_i get from the noisy CZ gates of one block, pulled back through them, last first.

    For each neighbour k of qubit i, that is a factor alpha_ik + beta_ik Z_k: the CZ that the two share multiplies it
    by Z_k, and the noise after any CZ on k maps Z_k to d Z_k + t.

    Args:
        n_qubits: wires.
        pairs: of the CZ gates, in order.
        after_cz: (4, 4), the channel on each qubit of a CZ.
        n_folds: how many CZ gates stand for each, odd.

    Returns:
        The neighbours k of each qubit i, alpha_ik and beta_ik, each (n_qubits, most neighbours); a missing neighbour
        has the factor 1.
    """
    on: list[list[int]] = [[] for _ in range(n_qubits)]  # the places of the CZ gates on each qubit
    for place, pair in enumerate(pairs):
        for qubit in pair:
            on[qubit].append(place)
    width = max(map(len, on), default=0)
    noise = after_cz[np.ix_([0, 3], [0, 3])]
    # Pulled through another CZ of the neighbour, and through the shared one, which swaps I and Z.
    another = np.linalg.matrix_power(noise, n_folds)
    shared = np.linalg.matrix_power(noise[:, ::-1], n_folds)
    neighbours = np.zeros((n_qubits, width), dtype=np.int64)
    alpha, beta = np.ones((2, n_qubits, width))
    beta[:] = 0
    for qubit, places in enumerate(on):
        for slot, place in enumerate(places):
            other = sum(pairs[place]) - qubit
            # As a row over I and Z of the neighbour, I to start with.
            row = np.array([1.0, 0.0])
            for later in reversed(on[other]):
                row = row @ (shared if later == place else another)
            neighbours[qubit, slot], alpha[qubit, slot], beta[qubit, slot] = other, *row
    return neighbours, alpha, beta
