"""The noisy circuit as real matrices on Pauli components: what does not depend on the sample, made once.

A qubit's state is the real vector (1, x, y, z) of the expectations of I, X, Y and Z; a gate or a channel is
a real 4 x 4 matrix on it (its Pauli transfer matrix), and a register's state is in the tensor product of
these. The program is the exported one: for each block and qubit one upload gate and one trained gate,
then the CZ gates in the entangler's order; after each gate, on each qubit that it acts on, the channels of
`sqdr.hw_configs.GateNoise` in its order; and each qubit's readout may be wrong.

Folding, for zero-noise extrapolation, makes each CZ an odd number of noisy ones. A CZ is a sum of four products
(`CZ_TERMS`), each of which keeps both qubits in their I, Z or in their X, Y parts, as the noise does. Of two
different terms one qubit's parts differ, so that their product is 0: the power of the noisy CZ is the sum of its
terms' powers.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.hw_configs import GateNoise, NoiseModel, ReadoutNoise
from sqdr.noise import pauli_channel

__all__ = ["CZ_TERMS", "NoisyCircuit", "channel", "confusion", "rotation"]

Floats = NDArray[np.float64]

# CZ leaves I and Z of either qubit alone, and turns X and Y of one into X Z and Y Z. Of pairs it turns XX into
# YY, YY into XX, XY into -YX and YX into -XY. This is a sum of four products, first qubit x second:
# keep diagonal x keep diagonal + keep X, Y x swap I, Z + swap I, Z x keep X, Y + turn x turn.
_DIAGONAL, _ACROSS, _SWAP, _TURN = np.zeros((4, 4, 4))
_DIAGONAL[[0, 3], [0, 3]] = 1
_ACROSS[[1, 2], [1, 2]] = 1
_SWAP[[0, 3], [3, 0]] = 1
_TURN[[2, 1], [1, 2]] = 1, -1
CZ_TERMS: tuple[Floats, Floats] = (
    np.stack([_DIAGONAL, _ACROSS, _SWAP, _TURN]),
    np.stack([_DIAGONAL, _SWAP, _ACROSS, _TURN]),
)
"""(4, 4, 4) for the first and the second qubit: CZ is the sum over the leading axis of their products."""


class NoisyCircuit:
    """The circuit with its noise.

    Attributes:
        pairs: of the CZ gates of one block, in order.
        n_folds: how many CZ gates stand for each, odd.
        after_one: (4, 4), the noise of a one-qubit gate.
        after_cz: (4, 4), the noise on one qubit of a two-qubit gate.
        cz_terms: (2, 4, 4, 4), for the first and the second qubit of a CZ: with folds and noise, it is
            the sum over the second axis of their products.
        trained: (n_blocks, n_qubits, 4, 4), from right after the upload gate to right before the CZ gates:
            the upload's noise, the trained gate, and its noise.
        measured: (2, 4), the probabilities of reading 0 and 1.
        readout: (n_qubits, 2, 4), from right before the last CZ gates to the probabilities of 0 and 1. The CZ
            gates themselves commute with Z; their noise does not.
    """

    def __init__(self, weights: Floats, entangler: Entangler, noise: NoiseModel, n_folds: int = 1) -> None:
        """Make the matrices of checked weights (n_blocks, n_qubits, 3) in radians."""
        self.n_blocks, self.n_qubits = weights.shape[:2]
        self.pairs = entangler_pairs(self.n_qubits, entangler)
        self.n_folds = n_folds
        self.after_cz = channel(noise.two_qubit_gate)
        self.cz_terms: Floats = np.linalg.matrix_power(self.after_cz @ np.stack(CZ_TERMS), n_folds)
        self.after_one = channel(noise.one_qubit_gate)
        self.trained = self.after_one @ rotation(weights) @ self.after_one
        self.measured: Floats = confusion(noise.readout) @ [[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]]
        self.readout: Floats = self.measured @ self.after_all_cz

    @property
    def after_all_cz(self) -> Floats:
        """(n_qubits, 4, 4), the noise of all CZ gates of one block on each qubit, without the gates."""
        degrees = np.bincount(np.array(self.pairs, dtype=np.int64).ravel(), minlength=self.n_qubits)
        return np.stack([np.linalg.matrix_power(self.after_cz, degree * self.n_folds) for degree in degrees])


def confusion(rates: ReadoutNoise) -> Floats:
    """Return the probabilities (read, true) of reading 0 or 1, (2, 2)."""
    return np.array([[1 - rates.p1_given_0, rates.p0_given_1], [rates.p1_given_0, 1 - rates.p0_given_1]])


def channel(rates: GateNoise) -> Floats:
    """Return the channels after a gate, (4, 4); see `sqdr.noise.pauli_channel`."""
    return pauli_channel(**rates.model_dump())


def rotation(angles: Floats) -> Floats:
    """(..., 3) radians -> (..., 4, 4): ``Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi)``."""
    cos_phi, cos_theta, cos_omega = np.moveaxis(np.cos(angles), -1, 0)
    sin_phi, sin_theta, sin_omega = np.moveaxis(np.sin(angles), -1, 0)
    matrix = np.zeros((*angles.shape[:-1], 4, 4))
    matrix[..., 0, 0] = 1
    # After RY RZ the images of X, Y and Z lie at x and y; RZ(omega) turns these two.
    columns = ((cos_theta * cos_phi, sin_phi), (-cos_theta * sin_phi, cos_phi), (sin_theta, 0.0))
    for column, (x, y) in enumerate(columns, start=1):
        matrix[..., 1, column] = cos_omega * x - sin_omega * y
        matrix[..., 2, column] = sin_omega * x + cos_omega * y
    matrix[..., 3, 1], matrix[..., 3, 2], matrix[..., 3, 3] = -sin_theta * cos_phi, sin_theta * sin_phi, cos_theta
    return matrix
