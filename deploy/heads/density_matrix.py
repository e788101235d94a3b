"""The noisy circuit in NumPy: a head with the noise of a hardware file that needs neither PennyLane nor Braket.

The same channels in the same places as `sqdr.deploy.heads.openqasm.ReuploadProgram.with_noise` puts them for
Braket's density matrix simulator, against which it is tested.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy
from sqdr.circuit import Entangler
from sqdr.deploy.heads.base import HeadBase, check_entangler, check_limits, check_weights
from sqdr.deploy.heads.noisy_circuit import NoisyCircuit
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
    ) -> None:
        """Check the circuit and prepare what does not depend on the sample.

        Args:
            weights: (n_blocks, n_qubits, 3) radians.
            entangler: which pairs of qubits the CZ gates join.
            hardware: limits and noise; None is ``local:dm``, without noise.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable; without effect on an exact run.

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
        self._circuit = NoisyCircuit(checked, joined, noise or NoiseModel())
        self._shots, self._rng = shots, np.random.default_rng(seed)
        self._is_small_cone = n_blocks <= MAX_LIGHTCONE_BLOCKS
        if not self._is_small_cone:
            width = 4**n_qubits
        elif shots is None:
            self._lightcone = NoisyLightcone(self._circuit)
            width = 16 * n_qubits
        else:
            self._sites = ring_sites(self._circuit)
            width = max(2**n_qubits, 64 * n_qubits)
        self._batch = max(1, MAX_BATCH_NUMBERS // width)

    def _run(self, angles: Floats) -> Floats:
        rows = []
        for start in range(0, len(angles), self._batch):
            batch = angles[start : start + self._batch]
            rows.append(self._run_batch(batch))
            self._count(len(batch), self._shots)
        return np.concatenate(rows)

    def _run_batch(self, angles: Floats) -> Floats:
        if self._shots is None and self._is_small_cone:
            return self._lightcone.expectations(angles)
        table = self._probabilities(angles)
        if self._shots is None:
            return signed_sums(table, self.n_qubits)
        # Rounding leaves -1e-17 here and there, and a sum that is not quite 1. Counts are summed as integers: no
        # order of summation shows.
        clipped = np.clip(table, 0, None)
        counts = np.stack([self._rng.multinomial(self._shots, row / row.sum()) for row in clipped])
        return signed_sums(counts, self.n_qubits) / self._shots

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
