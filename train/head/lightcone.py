"""<Z> of one- and two-block circuits in closed form, linear in the number of qubits.

The CZ gates are diagonal and the last ones commute with Z, so with two blocks <Z_i> depends on
qubit i and its entangled neighbours only. With r_j the Bloch vector of qubit j after the first block
and m_i the Bloch vector of Z_i pulled back through the second block's rotations,

    <Z_i> = (m_x r_x + m_y r_y) * prod over neighbours k of i of r_z[k]  +  m_z r_z.
"""

import torch
from torch import Tensor

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.errors import ConfigError
from sqdr.specification import MAX_LIGHTCONE_BLOCKS

__all__ = ["expectations", "rotation_so3"]

MAX_BLOCKS = MAX_LIGHTCONE_BLOCKS


def rotation_so3(angles: Tensor) -> Tensor:
    """Return the rotation of the Bloch sphere that ``Rot(phi, theta, omega)`` makes.

    Args:
        angles: (..., 3) radians.

    Returns:
        (..., 3, 3): R_z(omega) R_y(theta) R_z(phi), acting on Bloch vectors.
    """
    phi, theta, omega = angles.unbind(-1)
    cp, sp = torch.cos(phi), torch.sin(phi)
    ct, st = torch.cos(theta), torch.sin(theta)
    co, so = torch.cos(omega), torch.sin(omega)
    rows = [
        co * ct * cp - so * sp,
        -co * ct * sp - so * cp,
        co * st,
        so * ct * cp + co * sp,
        -so * ct * sp + co * cp,
        so * st,
        -st * cp,
        st * sp,
        ct,
    ]
    return torch.stack(rows, dim=-1).reshape(*angles.shape[:-1], 3, 3)


def expectations(angles: Tensor, weights: Tensor, entangler: Entangler) -> Tensor:
    """Return <Z> (N, n_qubits); arguments as in `sqdr.train.head.statevector`.

    Raises:
        ConfigError: more than two blocks.
    """
    n_blocks = weights.shape[0]
    if n_blocks > MAX_BLOCKS:
        raise ConfigError(
            f"the light cone's closed form holds for at most {MAX_BLOCKS} blocks, got {n_blocks}. "
            "Use simulator: statevector."
        )
    upload, trained = rotation_so3(angles), rotation_so3(weights)
    # Bloch vector of |0> is +z: the third column of the first block's rotation
    bloch = (trained[0] @ upload)[..., :, 2]  # (N, n_qubits, 3)
    if n_blocks == 1:
        return bloch[..., 2]
    # Z pulled back: the third row of the second block's rotation
    pulled = (trained[1] @ upload)[..., 2, :]
    across = (pulled[..., :2] * bloch[..., :2]).sum(-1)
    along = pulled[..., 2] * bloch[..., 2]
    return across * _neighbour_product(bloch[..., 2], entangler) + along


def _neighbour_product(z: Tensor, entangler: Entangler) -> Tensor:
    """(N, n) -> (N, n): the product of z over the qubits that share a CZ with each qubit."""
    n_qubits = z.shape[-1]
    if not entangler_pairs(n_qubits, entangler):
        return torch.ones_like(z)
    before, after = torch.roll(z, 1, dims=-1), torch.roll(z, -1, dims=-1)
    if entangler == "chain" or n_qubits == 2:  # open ends have one neighbour
        ends = torch.ones_like(z[:, :1])
        before = torch.cat([ends, before[:, 1:]], dim=-1)
        after = torch.cat([after[:, :-1], ends], dim=-1)
    return before * after
