"""<Z> of noisy circuits of three and more blocks through light cones, exact, differentiable, batched.

Z is pulled back through the circuit (the Heisenberg picture), as a real vector over products of I, X, Y and Z, in which
gates and channels are real matrices (`sqdr.noise`). A channel pulled back leaves I alone, so that what acts outside an
operator's qubits drops out, its noise included. The last CZ gates leave Z on its qubit; each earlier layer adds a
neighbour on either side, and the first block's gates make a product state, with which the operator is contracted. With
L blocks that is 4^(2L - 1) numbers a qubit and sample, and 4^n where the cone covers the register of n qubits.

The CZ gates of a layer commute, but not with the noise between them: they are pulled back in the circuit's order, and
a CZ between the outermost qubit and one beyond it leaves its noise there.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from sqdr.circuit import Entangler, cone_reach, entangler_pairs
from sqdr.errors import ConfigError
from sqdr.hw_configs import NoiseModel
from sqdr.noise import pauli_channel
from sqdr.train.head.bloch import rotate

__all__ = ["MAX_WIDTH", "NoisyCone"]

# 4^7 numbers for each qubit and sample: 9 qubits and batch 64 take 38 MB a copy in float32.
MAX_WIDTH = 7

Layer = tuple[tuple[int, ...], ...]
"""What a layer of CZ gates does, last first: (a, b) a noisy CZ of two places, (a,) the noise of one place."""


class NoisyCone:
    """Callable (angles (N, n_qubits, 3), weights (n_blocks, n_qubits, 3)) -> noisy <Z> (N, n_qubits).

    Args:
        n_qubits: wires.
        n_blocks: L, at least 2.
        entangler: as in `sqdr.circuit`.
        noise: of gates and readout.

    Attributes:
        width: qubits that each <Z> is computed from.

    Raises:
        ConfigError: the cone is too wide.
    """

    def __init__(self, n_qubits: int, n_blocks: int, entangler: Entangler, noise: NoiseModel) -> None:
        reach = cone_reach(n_qubits, n_blocks, entangler)
        self._is_cone = 2 * reach + 1 <= n_qubits
        self.width = min(2 * reach + 1, n_qubits)
        if self.width > MAX_WIDTH:
            raise ConfigError(
                f"training under noise takes light cones of at most {MAX_WIDTH} qubits; {n_blocks} blocks of "
                f"{n_qubits} qubits take {self.width}. Use n_blocks: {MAX_WIDTH // 2 + 1} or less, or at most "
                f"{MAX_WIDTH} qubits, or leave `noise` out."
            )
        pairs = entangler_pairs(n_qubits, entangler)
        after_cz = pauli_channel(**noise.two_qubit_gate.model_dump())
        degrees = np.bincount(np.array(pairs, dtype=np.int64).ravel(), minlength=n_qubits)
        readout = noise.readout
        shift, contrast = readout.p0_given_1 - readout.p1_given_0, 1 - readout.p0_given_1 - readout.p1_given_0
        row = np.array([shift, 0, 0, contrast])
        self._rows = torch.from_numpy(np.stack([row @ np.linalg.matrix_power(after_cz, d) for d in degrees]))
        self._after_one = torch.from_numpy(pauli_channel(**noise.one_qubit_gate.model_dump()))
        self._after_cz = torch.from_numpy(after_cz)
        self._cz = torch.from_numpy((np.kron(after_cz, after_cz) @ _cz_matrix()).reshape(4, 4, 4, 4))
        self._n_blocks = n_blocks
        self._groups = _cone_groups(n_qubits, reach, n_blocks, pairs, entangler) if self._is_cone else []
        if not self._is_cone:
            layer = tuple(tuple(pair) for pair in reversed(pairs))
            places = np.tile(np.arange(n_qubits), (n_qubits, 1))
            self._groups = [(np.arange(n_qubits), places, (layer,) * (n_blocks - 1))]

    def __call__(self, angles: Tensor, weights: Tensor) -> Tensor:
        """Return noisy <Z> in the dtype of ``angles``, on its device."""
        gates = [self._gates(angles, block) for block in weights]
        found = [self._expectations(gates, *group) for group in self._groups]
        order = np.argsort(np.concatenate([observed for observed, _, _ in self._groups]))
        return torch.cat(found, dim=1)[:, torch.from_numpy(order).to(angles.device)]

    def _gates(self, angles: Tensor, weights: Tensor) -> Tensor:
        """(N, n_qubits + 1, 4, 4): one block's noisy rotations, and for no qubit one that does nothing."""
        noise = self._after_one.to(angles)
        gates = noise @ _turn(weights) @ noise @ _turn(angles)
        idle = torch.eye(4, dtype=angles.dtype, device=angles.device).expand(len(gates), 1, 4, 4)
        return torch.cat([gates, idle], dim=1)

    def _expectations(
        self, gates: list[Tensor], observed: NDArray[np.intp], qubits: NDArray[np.intp], layers: tuple[Layer, ...]
    ) -> Tensor:
        """(N, W): <Z> of the observed qubits, whose cones hold ``qubits`` (W, width) and have the same layers."""
        like, width = gates[0], qubits.shape[1]
        operator = self._rows[observed].to(like)[None]  # (1, W, 4)
        if not self._is_cone:
            operator = _spread(operator, width)
        for block in range(self._n_blocks - 1, 0, -1):
            n_places = round(np.log2(operator.shape[-1]) / 2)
            first = (width - n_places) // 2
            for place in range(n_places):
                chosen = gates[block][:, qubits[:, first + place]]
                operator = _apply(operator, place, chosen)
            if self._is_cone and width > 1:
                operator = pad(pad(operator[..., None], (0, 3)).flatten(-2)[:, :, None], (0, 0, 0, 3)).flatten(2)
            operator = self._pull_through(operator, layers[block - 1])
        # the first block's gates on |0>, whose vector is (1, 0, 0, 1)
        states = gates[0][..., 0] + gates[0][..., 3]
        for place in range(width):
            chosen = states[:, qubits[:, place]]
            operator = (operator.reshape(*operator.shape[:2], 4, -1) * chosen[..., None]).sum(2)
        return operator[..., 0]

    def _pull_through(self, operator: Tensor, layer: Layer) -> Tensor:
        one, two = self._after_cz.to(operator), self._cz.to(operator)
        shape = operator.shape
        for places in layer:
            if len(places) == 1:
                parted = operator.reshape(*shape[:2], 4 ** places[0], 4, -1)
                operator = torch.einsum("nwaic,ij->nwajc", parted, one).reshape(shape)
                continue
            a, b = sorted(places)
            parted = operator.reshape(*shape[:2], 4**a, 4, 4 ** (b - a - 1), 4, -1)
            operator = torch.einsum("nwaibjc,ijkl->nwakblc", parted, two).reshape(shape)
        return operator


def _turn(angles: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 4, 4): ``Rot`` on vectors (1, x, y, z)."""
    axes = torch.eye(3, dtype=angles.dtype, device=angles.device)
    spread = angles[..., None, :].expand(*angles.shape[:-1], 3, 3)
    # the rotated axes are the matrix's columns
    turned = torch.stack(rotate((axes[0], axes[1], axes[2]), spread), dim=-2)
    return pad(turned, (1, 0, 1, 0)) + torch.diag(torch.tensor([1, 0, 0, 0], dtype=angles.dtype, device=angles.device))


def _apply(operator: Tensor, place: int, gates: Tensor) -> Tensor:
    """Pull operators (N or 1, W, 4^k) back through gates (N, W, 4, 4) at one place."""
    parted = operator.reshape(*operator.shape[:2], 4**place, 4, -1)
    return torch.einsum("nwaic,nwij->nwajc", parted.expand(len(gates), *parted.shape[1:]), gates).flatten(2)


def _spread(rows: Tensor, width: int) -> Tensor:
    """(1, n, 4) -> (1, n, 4^n): each qubit's operator among I of all others."""
    n_before = [4 ** (width - 1 - qubit) for qubit in range(width)]
    spread = rows.new_zeros(1, width, 4**width)
    for qubit, step in enumerate(n_before):
        spread[0, qubit, [0, step, 2 * step, 3 * step]] = rows[0, qubit]
    return spread


def _cz_matrix() -> NDArray[np.float64]:
    """(16, 16): CZ on products of I, X, Y and Z."""
    paulis = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    products = np.array([np.kron(a, b) for a in paulis for b in paulis])
    cz = np.diag([1, 1, 1, -1])
    matrix: NDArray[np.float64] = np.einsum("aij,jk,bkl,li->ab", products, cz, products, cz).real / 4
    return matrix


def _cone_groups(
    n_qubits: int, reach: int, n_blocks: int, pairs: list[tuple[int, int]], entangler: Entangler
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], tuple[Layer, ...]]]:
    """Return the observed qubits whose cones look the same, their cones' qubits, and what each layer does in them."""
    on: list[list[int]] = [[] for _ in range(n_qubits + 1)]
    for index, pair in enumerate(pairs):
        for qubit in pair:
            on[qubit].append(index)
    groups: dict[tuple[Layer, ...], list[int]] = {}
    cones = np.arange(n_qubits)[:, None] + np.arange(-reach, reach + 1)
    if entangler == "ring":
        cones %= n_qubits
    cones[(cones < 0) | (cones >= n_qubits)] = n_qubits
    for qubit, cone in enumerate(cones):
        layers = []
        for block in range(n_blocks - 1):
            # the operator holds so many qubits on either side once it is pulled back through this layer
            margin = min(n_blocks - 1 - block, reach)
            inner = cone[reach - margin : reach + margin + 1].tolist()
            places = {each: place for place, each in enumerate(inner) if each < n_qubits}
            touching = sorted({index for each in places for index in on[each]}, reverse=True)
            layers.append(tuple(tuple(places[end] for end in pairs[i] if end in places) for i in touching))
        groups.setdefault(tuple(layers), []).append(qubit)
    return [(np.array(found), cones[found], layers) for layers, found in groups.items()]
