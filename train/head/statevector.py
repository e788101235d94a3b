"""Batched, differentiable state vector of the reupload circuit in torch.

Each block's one-qubit unitaries are fused into one 2x2 per qubit, joined into two Kronecker halves
and applied to the state as two matrix products; the CZ gates are one vector of signs.
"""

import torch
from torch import Tensor

from sqdr.circuit import Entangler, entangler_pairs

__all__ = ["cz_signs", "expectations", "rotation"]


def rotation(angles: Tensor) -> Tensor:
    """Return ``Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi)``.

    Args:
        angles: (..., 3) radians.

    Returns:
        (..., 2, 2) complex.

    Source: PennyLane, ``qml.Rot``.
    """
    phi, theta, omega = angles.unbind(-1)
    cos, sin = torch.cos(theta / 2), torch.sin(theta / 2)
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    matrix = torch.stack(
        [
            # not torch.polar: its gradient is wrong where the modulus is zero or negative
            torch.complex(cos * torch.cos(plus), -cos * torch.sin(plus)),
            torch.complex(-sin * torch.cos(minus), -sin * torch.sin(minus)),
            torch.complex(sin * torch.cos(minus), -sin * torch.sin(minus)),
            torch.complex(cos * torch.cos(plus), cos * torch.sin(plus)),
        ],
        dim=-1,
    )
    return matrix.reshape(*matrix.shape[:-1], 2, 2)


def expectations(angles: Tensor, weights: Tensor, entangler: Entangler) -> Tensor:
    """Return <Z> of every qubit.

    Args:
        angles: (N, n_qubits, 3) radians.
        weights: (n_blocks, n_qubits, 3) radians.
        entangler: as in `sqdr.circuit`.

    Returns:
        (N, n_qubits), the dtype of ``angles``.
    """
    n_blocks, n_qubits = weights.shape[:2]
    n_left = n_qubits // 2
    signs = cz_signs(n_qubits, entangler, angles)
    upload, trained = rotation(angles), rotation(weights)
    state = torch.zeros(len(angles), 2**n_left, 2 ** (n_qubits - n_left), dtype=upload.dtype, device=angles.device)
    state[:, 0, 0] = 1
    for block in range(n_blocks):
        gates = trained[block] @ upload  # (N, n_qubits, 2, 2), the upload acts first
        left, right = _kron(gates[:, :n_left]), _kron(gates[:, n_left:])
        state = left @ state @ right.transpose(1, 2)
        if block < n_blocks - 1:  # the last CZ gates commute with Z
            state = state * signs
    probabilities = (state.real**2 + state.imag**2).reshape(len(angles), -1)
    z: Tensor = probabilities @ _z_signs(n_qubits, angles)
    return z


def _kron(gates: Tensor) -> Tensor:
    """(N, m, 2, 2) -> (N, 2^m, 2^m), the first qubit the most significant."""
    n = len(gates)
    product = torch.ones(n, 1, 1, dtype=gates.dtype, device=gates.device)
    for qubit in range(gates.shape[1]):
        gate = gates[:, qubit]
        size = 2 * product.shape[1]
        product = (product[:, :, None, :, None] * gate[:, None, :, None, :]).reshape(n, size, size)
    return product


def _bits(n_qubits: int, like: Tensor) -> Tensor:
    """(2^n, n) of 0 and 1, the first qubit the most significant."""
    index = torch.arange(2**n_qubits, device=like.device)
    return (index[:, None] >> torch.arange(n_qubits - 1, -1, -1, device=like.device)) & 1


def _z_signs(n_qubits: int, like: Tensor) -> Tensor:
    signs: Tensor = 1 - 2 * _bits(n_qubits, like).to(like.dtype)
    return signs


def cz_signs(n_qubits: int, entangler: Entangler, like: Tensor) -> Tensor:
    """Return the diagonal of all CZ gates of one block, (2^(n // 2), 2^(n - n // 2)), each 1 or -1."""
    bits = _bits(n_qubits, like)
    parity = torch.zeros(2**n_qubits, dtype=torch.long, device=like.device)
    for first, second in entangler_pairs(n_qubits, entangler):
        parity = parity + bits[:, first] * bits[:, second]
    n_left = n_qubits // 2
    signs: Tensor = (1 - 2 * (parity % 2)).to(like.dtype).reshape(2**n_left, -1)
    return signs
