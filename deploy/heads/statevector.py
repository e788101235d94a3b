"""The circuit's state vector in NumPy: an exact head that needs neither PennyLane nor Braket.

The upload and the trained rotation of a qubit are one 2x2 matrix; those of a few neighbouring qubits are
joined into one Kronecker product and applied to a whole batch of states as a matrix product; the CZ
gates of a block are one vector of signs. The first block acts on |0...0>, which stays a product state,
and the last CZ gates commute with Z: neither costs anything. Tested against `sqdr.circuit`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import ShotCounts
from sqdr.circuit import Entangler, cone_reach, entangler_pairs
from sqdr.deploy.heads import lightcone
from sqdr.deploy.heads.base import HeadBase, check_angles, check_entangler, check_shots, check_weights
from sqdr.deploy.heads.drawing import check_bits, draw, tally
from sqdr.errors import DeviceError
from sqdr.specification import MAX_LIGHTCONE_BLOCKS, MAX_STATEVECTOR_QUBITS

__all__ = ["StatevectorHead", "signed_sums"]

NAME = "local:sv"
MAX_QUBITS = 20
# Amplitudes (16 bytes) of one batch, of which a few arrays live at a time: 1 MiB stays in the cache, and
# 64 MiB was up to 1.8 times as slow. One state of more than 16 qubits is a batch by itself.
MAX_BATCH_AMPLITUDES = 1 << 16
# Qubits of one Kronecker product. Measured at 4, 9, 12, 16 and 20 qubits: 16 x 16 matrices are the fastest
# or close to it; two halves whatever the width are 5 times as slow at 20.
MAX_GROUP = 4
# numpy's binomial takes a C long, which has 32 bits on some systems.
MAX_SHOTS = 2**31 - 1

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


class StatevectorHead(HeadBase):
    """Exact <Z> from the state vector in float64, or shots drawn from its exact probabilities.

    The shots are drawn by ``numpy.random.default_rng(seed)``, sample after sample: with a seed they are
    repeatable, and the same however the samples are split over calls.

    Up to 20 qubits at any depth. Above that each <Z> is computed by itself, exactly, but there is no joint state to
    draw shots from: one or two blocks have a closed form (`sqdr.deploy.heads.lightcone`); with more, <Z> of a qubit
    comes from the state vector of its light cone, all other gates cancel.
    """

    def __init__(
        self, *, weights: Floats, entangler: Entangler, shots: int | None = None, seed: int | None = None
    ) -> None:
        """Check the circuit and prepare what does not depend on the sample.

        Args:
            weights: (n_blocks, n_qubits, 3) radians.
            entangler: which pairs of qubits the CZ gates join.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable; without effect on an exact run.

        Raises:
            ShapeError: the weights are not (n_blocks, n_qubits, 3).
            DataError: a weight is not finite.
            ConfigError: there is no such entangler.
            DeviceError: the circuit is too large, or the shots are not possible.
        """
        self._weights = check_weights(weights)
        self._entangler = check_entangler(entangler)
        n_blocks, n_qubits = self._weights.shape[:2]
        check_shots(shots)
        _check_size(n_blocks, n_qubits, shots, self._entangler)
        super().__init__(NAME, "exact" if shots is None else "sampled", n_qubits)
        self._shots = shots
        self._rng = np.random.default_rng(seed)
        self._is_closed_form = n_qubits > MAX_QUBITS
        if not self._is_closed_form:
            self._trained = _rotation(self._weights)
            self._signs = _cz_signs(n_qubits, self._entangler)
        width = n_qubits if self._is_closed_form else 2**n_qubits
        self._batch = max(1, MAX_BATCH_AMPLITUDES // width)

    def _run(self, angles: Floats) -> Floats:
        rows = []
        for start in range(0, len(angles), self._batch):
            batch = angles[start : start + self._batch]
            rows.append(self._run_batch(batch))
            self._count(len(batch), self._shots)
        return np.concatenate(rows)

    def _run_batch(self, angles: Floats) -> Floats:
        if self._is_closed_form and len(self._weights) <= MAX_LIGHTCONE_BLOCKS:
            return lightcone.expectations(angles, self._weights, self._entangler)
        if self._is_closed_form:
            return self._cones(angles)
        table = self._probabilities(angles)
        if self._shots is None:
            return signed_sums(table, self.n_qubits)
        # Counts are summed as integers: no order of summation shows.
        return signed_sums(draw(self._rng, table, self._shots), self.n_qubits) / self._shots

    def _cones(self, angles: Floats) -> Floats:
        """<Z> of every qubit from the state vector of its light cone: 2L - 1 qubits, or fewer at a chain's end."""
        reach = cone_reach(self.n_qubits, len(self._weights), self._entangler)
        found = np.empty(angles.shape[:2])
        for qubit in range(self.n_qubits):
            cone = np.arange(qubit - reach, qubit + reach + 1)
            cone = cone % self.n_qubits if self._entangler == "ring" else cone[(cone >= 0) & (cone < self.n_qubits)]
            # a cone narrower than the register is a chain, also out of a ring
            head = StatevectorHead(weights=self._weights[:, cone], entangler="chain" if reach else "none")
            found[:, qubit] = head.expectations(angles[:, cone])[:, int(np.flatnonzero(cone == qubit)[0])]
        return found

    def sample(self, angles: Floats, shots: int, part: int = 0) -> ShotCounts:
        """Draw shots, each time further ones; see `sqdr.backends.SamplingHead`."""
        checked = check_angles(angles, self.n_qubits)
        check_shots(shots)
        _check_size(len(self._weights), self.n_qubits, shots, self._entangler)
        parts = [ShotCounts.empty(0, self.n_qubits)]
        for start in range(0, len(checked), self._batch):
            batch = checked[start : start + self._batch]
            parts.append(tally(draw(self._rng, self._probabilities(batch), shots), self.n_qubits))
            self._count(len(batch), shots)
        return ShotCounts.concatenate(parts)

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Return what a register prepared in these bits measures; see `sqdr.backends.PreparingHead`."""
        ones = check_bits(bits, self.n_qubits) * shots
        check_shots(shots)
        self._count(len(ones), shots)
        return ShotCounts(ones=ones, both=ones[:, :, None] * (ones[:, None] > 0), shots=np.full(len(ones), shots))

    def outcome_probabilities(self, angles: Floats) -> Floats:
        """Return the joint distribution of all qubits, (N, 2^n), the first qubit the most significant bit.

        Args:
            angles: (N, n_qubits, 3) radians.

        Raises:
            ShapeError: the angles are not (N, n_qubits, 3).
            DeviceError: the circuit is too wide to have one.
        """
        checked = check_angles(angles, self.n_qubits)
        _check_size(len(self._weights), self.n_qubits, 1, self._entangler)
        batches = (checked[start : start + self._batch] for start in range(0, len(checked), self._batch))
        return np.concatenate([np.empty((0, 1 << self.n_qubits)), *map(self._probabilities, batches)])

    def _probabilities(self, angles: Floats) -> Floats:
        """(N, n_qubits, 3) -> (N, 2^n), the first qubit the most significant bit."""
        upload = _rotation(angles)
        gates = self._trained[0] @ upload  # (N, n_qubits, 2, 2), the upload acts first
        state = _product_state(gates[..., 0])
        for trained in self._trained[1:]:
            state *= self._signs
            state = _apply(trained @ upload, state)
        return np.asarray(state.real**2 + state.imag**2)


def _check_size(n_blocks: int, n_qubits: int, shots: int | None, entangler: Entangler) -> None:
    if shots is not None and shots > MAX_SHOTS:
        raise DeviceError(f"`shots` must be 1 to {MAX_SHOTS} on {NAME}, got {shots}.")
    if n_qubits <= MAX_QUBITS:
        return
    width = 2 * cone_reach(n_qubits, n_blocks, entangler) + 1
    if width > MAX_STATEVECTOR_QUBITS:
        raise DeviceError(
            f"{NAME} has {MAX_QUBITS} qubits for more than {MAX_STATEVECTOR_QUBITS // 2} blocks, the circuit needs "
            f"{n_qubits} for {n_blocks}. Choose a larger device."
        )
    if shots is not None:
        raise DeviceError(
            f"`shots` take at most {MAX_QUBITS} qubits on {NAME}, got {n_qubits}: above that each <Z> is computed by "
            "itself and there is no state to draw from. Leave `shots` out."
        )


def _rotation(angles: Floats) -> Complexes:
    """(..., 3) radians -> (..., 2, 2): ``Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi)``."""
    phi, theta, omega = np.moveaxis(angles, -1, 0)
    cos, sin = np.cos(theta / 2), np.sin(theta / 2)
    plus, minus = np.exp(0.5j * (phi + omega)), np.exp(0.5j * (phi - omega))
    rows = [cos * plus.conj(), -sin * minus, sin * minus.conj(), cos * plus]
    matrices: Complexes = np.stack(rows, axis=-1).reshape(*theta.shape, 2, 2)
    return matrices


def _product_state(columns: Complexes) -> Complexes:
    """(N, n_qubits, 2) -> (N, 2^n): the state in which each qubit has an amplitude vector of its own."""
    state = np.ones((len(columns), 1), dtype=np.complex128)
    for qubit in range(columns.shape[1]):
        state = (state[:, :, None] * columns[:, qubit, None, :]).reshape(len(columns), -1)
    return state


def _apply(gates: Complexes, state: Complexes) -> Complexes:
    """Apply one gate to each qubit: gates (N, n_qubits, 2, 2), state (N, 2^n)."""
    n_samples, n_qubits = gates.shape[:2]
    n_groups = -(-n_qubits // MAX_GROUP)
    for qubits in np.array_split(np.arange(n_qubits), n_groups):
        joined = _kron(gates[:, qubits])
        # The group's qubits lead, and go to the end: after all groups the order is as before.
        state = (joined @ state.reshape(n_samples, joined.shape[1], -1)).swapaxes(1, 2)
        state = state.reshape(n_samples, -1)
    return state


def _kron(gates: Complexes) -> Complexes:
    """(N, m, 2, 2) -> (N, 2^m, 2^m), the first qubit the most significant."""
    product = np.ones((len(gates), 1, 1), dtype=np.complex128)
    for qubit in range(gates.shape[1]):
        size = 2 * product.shape[1]
        product = product[:, :, None, :, None] * gates[:, qubit, None, :, None, :]
        product = product.reshape(len(gates), size, size)
    return product


def _bits(n_qubits: int) -> NDArray[np.int64]:
    """(2^n, n) of 0 and 1, the first qubit the most significant."""
    return np.asarray((np.arange(2**n_qubits)[:, None] >> np.arange(n_qubits - 1, -1, -1)) & 1)


def _cz_signs(n_qubits: int, entangler: Entangler) -> Floats:
    """(2^n,): the diagonal of all CZ gates of one block."""
    index = np.arange(2**n_qubits)
    parity = np.zeros_like(index)
    for first, second in entangler_pairs(n_qubits, entangler):
        parity ^= (index >> (n_qubits - 1 - first)) & (index >> (n_qubits - 1 - second)) & 1
    return np.asarray(1.0 - 2.0 * parity)


def signed_sums(table: NDArray[Any], n_qubits: int) -> NDArray[Any]:
    """(N, 2^n) -> (N, n): entries with the qubit at 0 less those with it at 1, from the marginals of two halves."""
    n_left = n_qubits // 2
    cube = table.reshape(len(table), 2**n_left, -1)
    halves = ((cube.sum(axis=2), n_left), (cube.sum(axis=1), n_qubits - n_left))
    return np.concatenate([half @ (1 - 2 * _bits(n)) for half, n in halves], axis=1)
