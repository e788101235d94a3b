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
from sqdr.train.head.bloch import inverse, north, rotate

__all__ = ["expectations"]

MAX_BLOCKS = MAX_LIGHTCONE_BLOCKS


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
    # Bloch vectors after the first block
    x, y, z = rotate(north(angles), weights[0])
    if n_blocks == 1:
        return z
    # Z pulled back through the second block
    m_x, m_y, m_z = rotate(north(inverse(weights[1])), inverse(angles))
    across = torch.addcmul(m_x * x, m_y, y)
    return torch.addcmul(m_z * z, across, _neighbour_product(z, entangler))


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
