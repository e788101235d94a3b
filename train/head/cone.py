"""<Z> of circuits of any depth through light cones: small state vectors, one for each qubit, all in one batch.

The CZ gates join neighbours only, are diagonal, and the last ones commute with Z. So with L blocks <Z_i> depends
on the 2L - 1 qubits around qubit i only, and block k (from 1) on the 2(L - k) + 1 around it: the other gates
cancel. Its cost is linear in the number of qubits. Past the end of a chain the window holds qubits in 0 without gates,
on which a CZ does nothing. One and two blocks have a closed form (`sqdr.train.head.lightcone`).
"""

import torch
from torch import Tensor

from sqdr.circuit import Entangler, cone_reach
from sqdr.errors import ConfigError
from sqdr.train.head.bloch import inverse, north, rotate
from sqdr.train.head.statevector import cz_signs, rotation

__all__ = ["expectations"]


def expectations(angles: Tensor, weights: Tensor, entangler: Entangler) -> Tensor:
    """Return <Z> (N, n_qubits); arguments as in `sqdr.train.head.statevector`.

    Raises:
        ConfigError: the cone is wider than the register, so that it would meet itself around the ring.
    """
    n_blocks, n_qubits = weights.shape[:2]
    reach = cone_reach(n_qubits, n_blocks, entangler)
    if 2 * reach + 1 > n_qubits:
        raise ConfigError(
            f"the light cone of {n_blocks} blocks takes {2 * reach + 1} qubits, got {n_qubits}. "
            "Use simulator: statevector."
        )
    windows = _windows(n_qubits, reach, entangler, angles)
    angles, weights = _with_idle_qubit(angles), _with_idle_qubit(weights)
    upload, trained = rotation(angles), rotation(weights)
    # what the first block makes of |0>: the first column
    state = _product((trained[0] @ upload)[..., 0][:, windows])  # (N, n_qubits, 2^width)
    signs = cz_signs(2 * reach + 1, "chain", angles).reshape(-1)
    for block in range(1, n_blocks - 1):
        margin = min(n_blocks - 1 - block, reach)
        gates = trained[block] @ upload
        state = state * signs
        for place in range(reach - margin, reach + margin + 1):
            state = _apply(gates[:, windows[:, place]], state, place)
    if n_blocks == 1:
        return _bloch(state, reach)[..., 2]
    # Z pulled back through the last block
    row = rotate(north(inverse(weights[-1, :n_qubits])), inverse(angles[:, :n_qubits]))
    return (torch.stack(row, dim=-1) * _bloch(state * signs, reach)).sum(-1)


def _windows(n_qubits: int, reach: int, entangler: Entangler, like: Tensor) -> Tensor:
    """(n_qubits, width): the qubits around each; n_qubits stands for one past the end of a chain."""
    around = torch.arange(-reach, reach + 1, device=like.device)
    windows = torch.arange(n_qubits, device=like.device)[:, None] + around
    if entangler == "ring":
        return windows % n_qubits
    return torch.where((windows < 0) | (windows >= n_qubits), n_qubits, windows)


def _with_idle_qubit(angles: Tensor) -> Tensor:
    """(..., n, 3) -> (..., n + 1, 3): the last one is never turned."""
    return torch.cat([angles, torch.zeros_like(angles[..., :1, :])], dim=-2)


def _product(qubits: Tensor) -> Tensor:
    """(N, n, width, 2) -> (N, n, 2^width), the first qubit the most significant."""
    state = qubits[:, :, 0]
    for place in range(1, qubits.shape[2]):
        state = (state[..., :, None] * qubits[:, :, place, None, :]).flatten(-2)
    return state


def _apply(gates: Tensor, state: Tensor, place: int) -> Tensor:
    """Apply gates (N, n, 2, 2) to the qubit at one place of the windows of states (N, n, 2^width)."""
    parted = _parted(state, place)
    turned = gates[:, :, None, :, :, None] * parted[:, :, :, None]  # (N, n, before, 2 out, 2 in, after)
    return turned.sum(4).reshape(state.shape)


def _bloch(state: Tensor, place: int) -> Tensor:
    """(N, n, 2^width) -> (N, n, 3): the Bloch vector of the qubit at one place."""
    parted = _parted(state, place)
    across = 2 * (parted[:, :, :, 0].conj() * parted[:, :, :, 1]).sum((2, 3))
    z = _parted(state.real.square() + state.imag.square(), place).sum((2, 4))
    return torch.stack([across.real, across.imag, z[..., 0] - z[..., 1]], dim=-1)


def _parted(state: Tensor, place: int) -> Tensor:
    """(N, n, 2^width) -> (N, n, 2^place, 2, the rest)."""
    return state.reshape(*state.shape[:2], 2**place, 2, -1)
