"""<Z> of one- and two-block circuits in closed form, in NumPy, linear in the number of qubits.

The CZ gates are diagonal and the last ones commute with Z, so with two blocks <Z_i> depends on
qubit i and its entangled neighbours only. With r_j the Bloch vector of qubit j after the first block
and m_i the Bloch vector of Z_i pulled back through the second block's rotations,

    <Z_i> = (m_x r_x + m_y r_y) * prod over neighbours k of i of r_z[k]  +  m_z r_z.

Training has the same in torch; here it is for a host without torch.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.errors import ConfigError
from sqdr.specification import MAX_LIGHTCONE_BLOCKS

__all__ = ["bloch_vectors", "expectations"]

Floats = NDArray[np.float64]


def expectations(angles: Floats, weights: Floats, entangler: Entangler) -> Floats:
    """Return <Z> (N, n_qubits).

    Args:
        angles: (N, n_qubits, 3) radians.
        weights: (n_blocks, n_qubits, 3) radians.
        entangler: as in `sqdr.circuit`.

    Raises:
        ConfigError: more than two blocks.
    """
    n_blocks = len(weights)
    if n_blocks > MAX_LIGHTCONE_BLOCKS:
        raise ConfigError(
            f"the light cone's closed form holds for at most {MAX_LIGHTCONE_BLOCKS} blocks, got {n_blocks}. "
            "Use the state vector."
        )
    upload, trained = _rotation_so3(angles), _rotation_so3(weights)
    bloch = bloch_vectors(angles, weights)
    if n_blocks == 1:
        return np.asarray(bloch[..., 2])
    # Z pulled back: the third row of the second block's rotation.
    pulled = (trained[1] @ upload)[..., 2, :]
    across = (pulled[..., :2] * bloch[..., :2]).sum(axis=-1)
    return np.asarray(across * _neighbour_product(bloch[..., 2], entangler) + pulled[..., 2] * bloch[..., 2])


def bloch_vectors(angles: Floats, weights: Floats) -> Floats:
    """Return each qubit's Bloch vector after the first block's rotations, (N, n_qubits, 3).

    The state is still a product there, so every vector has length 1. The CZ gates come after.

    Args:
        angles: (N, n_qubits, 3) radians.
        weights: (n_blocks, n_qubits, 3) radians.
    """
    # The Bloch vector of |0> is +z: the third column of the rotation.
    return np.asarray((_rotation_so3(weights[0]) @ _rotation_so3(angles))[..., :, 2])


def _rotation_so3(angles: Floats) -> Floats:
    """(..., 3) radians -> (..., 3, 3): R_z(omega) R_y(theta) R_z(phi), acting on Bloch vectors."""
    phi, theta, omega = np.moveaxis(angles, -1, 0)
    return _about_z(omega) @ _about_y(theta) @ _about_z(phi)


def _about_z(angle: Floats) -> Floats:
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return _matrix(cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1)


def _about_y(angle: Floats) -> Floats:
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return _matrix(cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos)


def _matrix(*entries: Floats) -> Floats:
    return np.stack(entries, axis=-1).reshape(*entries[0].shape, 3, 3)


def _neighbour_product(z: Floats, entangler: Entangler) -> Floats:
    """(N, n) -> (N, n): the product of z over the qubits that share a CZ with each qubit."""
    product = np.ones_like(z)
    for first, second in entangler_pairs(z.shape[1], entangler):
        product[:, first] *= z[:, second]
        product[:, second] *= z[:, first]
    return product
