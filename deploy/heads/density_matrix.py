"""The noisy circuit in NumPy: a head with the noise of a hardware file that needs neither PennyLane nor Braket.

The same channels in the same places as `sqdr.deploy.heads.openqasm.ReuploadProgram.with_noise` puts them for
Braket's density matrix simulator, against which it is tested.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy, ShotCounts
from sqdr.circuit import Entangler
from sqdr.deploy.heads.base import (
    HeadBase,
    check_angles,
    check_entangler,
    check_folds,
    check_limits,
    check_shots,
    check_weights,
)
from sqdr.deploy.heads.drawing import check_bits, draw, tally
from sqdr.deploy.heads.noisy_circuit import NoisyCircuit, rotation
from sqdr.deploy.heads.noisy_lightcone import NoisyLightcone
from sqdr.deploy.heads.noisy_ring import ring_probabilities, ring_sites
from sqdr.deploy.heads.pauli_state import pauli_probabilities
from sqdr.deploy.heads.statevector import MAX_SHOTS, signed_sums
from sqdr.errors import DeviceError
from sqdr.hw_configs import BraketLocal, NoiseModel
from sqdr.specification import MAX_LIGHTCONE_BLOCKS

__all__ = ["DensityMatrixHead"]

NAME = "local:dm"
# More than two blocks: 8 MiB a state. One circuit took 0.06 s (9 qubits, 2 blocks) and 0.5 s (10, 3).
MAX_DENSE_QUBITS = 10
# Shots of one or two blocks: a table of 8 MiB.
MAX_TABLE_QUBITS = 20
# Numbers (8 bytes) in the largest array of one batch, a few of which live at a time; one state is a batch at least.
MAX_BATCH_NUMBERS = 1 << 17

Floats = NDArray[np.float64]


class DensityMatrixHead(HeadBase):
    """Exact <Z> of the noisy circuit in float64, or shots drawn from its exact joint distribution.

    One or two blocks take a closed form at any width (`sqdr.deploy.heads.noisy_lightcone`); their shots a product
    of small matrices, up to 20 qubits (`sqdr.deploy.heads.noisy_ring`). More blocks take the density matrix,
    up to 10 qubits (`sqdr.deploy.heads.pauli_state`).

    The shots are drawn by ``numpy.random.default_rng(seed)``, sample after sample: with a seed they are
    repeatable, and the same however the samples are split over calls.
    """

    def __init__(
        self,
        *,
        weights: Floats,
        entangler: Entangler,
        hardware: BraketLocal | None = None,
        shots: int | None = None,
        seed: int | None = None,
        cz_folds: int = 1,
    ) -> None:
        """Check the circuit and prepare what does not depend on the sample.

        Args:
            weights: (n_blocks, n_qubits, 3) radians.
            entangler: which pairs of qubits the CZ gates join.
            hardware: limits and noise; None is ``local:dm``, without noise.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable; without effect on an exact run.
            cz_folds: CZ gates that stand for each, odd: more noise in the same circuit
                (`sqdr.deploy.heads.zero_noise`).

        Raises:
            ShapeError: the weights are not (n_blocks, n_qubits, 3).
            DataError: a weight is not finite.
            ConfigError: there is no such entangler.
            DeviceError: the circuit is too large, or the shots are not possible.
        """
        checked, joined = check_weights(weights), check_entangler(entangler)
        n_blocks, n_qubits = checked.shape[:2]
        name = NAME if hardware is None else hardware.name
        noise = None if hardware is None else hardware.noise
        _check_size(name, n_blocks, n_qubits, shots, hardware)
        noiseless: Accuracy = "exact" if shots is None else "sampled"
        super().__init__(name, noiseless if noise is None else "noisy", n_qubits)
        self._circuit = NoisyCircuit(checked, joined, noise or NoiseModel(), check_folds(cz_folds))
        self._hardware, self._shots, self._rng = hardware, shots, np.random.default_rng(seed)
        self._is_small_cone = n_blocks <= MAX_LIGHTCONE_BLOCKS

    def _run(self, angles: Floats) -> Floats:
        is_closed_form = self._shots is None and self._is_small_cone
        rows = []
        for batch in self._batches(angles, 16 * self.n_qubits if is_closed_form else self._table_width):
            rows.append(self._lightcone.expectations(batch) if is_closed_form else self._from_table(batch))
            self._count(len(batch), self._shots)
        return np.concatenate(rows)

    def _from_table(self, angles: Floats) -> Floats:
        table = self._probabilities(angles)
        if self._shots is None:
            return signed_sums(table, self.n_qubits)
        # Counts are summed as integers: no order of summation shows.
        return signed_sums(draw(self._rng, table, self._shots), self.n_qubits) / self._shots

    def sample(self, angles: Floats, shots: int, part: int = 0) -> ShotCounts:
        """Draw shots, each time further ones; see `sqdr.backends.SamplingHead`."""
        checked = check_angles(angles, self.n_qubits)
        check_shots(shots)
        _check_size(self.name, self._circuit.n_blocks, self.n_qubits, shots, self._hardware)
        parts = [ShotCounts.empty(0, self.n_qubits)]
        for batch in self._batches(checked, self._table_width):
            parts.append(tally(draw(self._rng, self._probabilities(batch), shots), self.n_qubits))
            self._count(len(batch), shots)
        return ShotCounts.concatenate(parts)

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Turn the 1 bits over, by one noisy gate each, and measure; see `sqdr.backends.PreparingHead`."""
        checked = check_bits(bits, self.n_qubits)
        check_shots(shots)
        _check_size(self.name, self._circuit.n_blocks, self.n_qubits, shots, self._hardware)
        flip = self._circuit.after_one @ rotation(np.array([0, np.pi, 0]))
        states = np.where(checked[..., None] == 1, flip @ [1, 0, 0, 1], [1.0, 0, 0, 1])  # (M, n_qubits, 4)
        rates = states @ self._circuit.measured.T  # each qubit is independent, (M, n_qubits, 2)
        table = np.ones((len(checked), 1))
        for qubit in range(self.n_qubits):
            table = (table[:, :, None] * rates[:, qubit, None]).reshape(len(checked), -1)
        self._count(len(checked), shots)
        return tally(draw(self._rng, table, shots), self.n_qubits)

    def outcome_probabilities(self, angles: Floats) -> Floats:
        """Return the joint distribution of all qubits, (N, 2^n), the first qubit the most significant bit.

        Args:
            angles: (N, n_qubits, 3) radians.

        Raises:
            ShapeError: the angles are not (N, n_qubits, 3).
            DeviceError: the circuit is too wide to have one.
        """
        checked = check_angles(angles, self.n_qubits)
        _check_size(self.name, self._circuit.n_blocks, self.n_qubits, 1, None)
        batches = self._batches(checked, self._table_width)
        return np.concatenate([np.empty((0, 1 << self.n_qubits)), *map(self._probabilities, batches)])

    def _batches(self, angles: Floats, width: int) -> Iterator[Floats]:
        size = max(1, MAX_BATCH_NUMBERS // width)
        return (angles[start : start + size] for start in range(0, len(angles), size))

    @property
    def _table_width(self) -> int:
        """Numbers that the table of outcomes of one sample takes."""
        return max(1 << self.n_qubits, 64 * self.n_qubits) if self._is_small_cone else 1 << 2 * self.n_qubits

    @cached_property
    def _lightcone(self) -> NoisyLightcone:
        return NoisyLightcone(self._circuit)

    @cached_property
    def _sites(self) -> Floats:
        return ring_sites(self._circuit)

    def _probabilities(self, angles: Floats) -> Floats:
        """(N, n_qubits, 3) -> (N, 2^n), the first qubit the most significant bit."""
        if self._is_small_cone:
            return ring_probabilities(self._circuit, self._sites, angles)
        return pauli_probabilities(self._circuit, angles)


def _check_size(name: str, n_blocks: int, n_qubits: int, shots: int | None, hardware: BraketLocal | None) -> None:
    """Check the hardware file's limits, then this simulator's own."""
    if hardware is not None:
        range_ = range(hardware.shots.value.min, hardware.shots.value.max + 1)
        check_limits(name, n_qubits=n_qubits, max_qubits=hardware.n_qubits.value, shots=shots, range_=range_)
    check_limits(name, n_qubits=n_qubits, max_qubits=n_qubits, shots=shots, range_=range(1, MAX_SHOTS + 1))
    if n_blocks > MAX_LIGHTCONE_BLOCKS and n_qubits > MAX_DENSE_QUBITS:
        raise DeviceError(
            f"{name} has {MAX_DENSE_QUBITS} qubits for more than {MAX_LIGHTCONE_BLOCKS} blocks, the circuit needs "
            f"{n_qubits} for {n_blocks}: its density matrix has 4^{n_qubits} numbers. Use Braket's simulator "
            "(`simulator: braket_dm` in the hardware file), which is slower and has 12 qubits."
        )
    if shots is not None and n_qubits > MAX_TABLE_QUBITS:
        raise DeviceError(
            f"`shots` take at most {MAX_TABLE_QUBITS} qubits on {name}, got {n_qubits}: above that each <Z> is "
            "computed by itself and there is no table of outcomes to draw from. Leave `shots` out."
        )
