"""<Z> of noisy one- and two-block circuits in closed form, differentiable, linear in the number of qubits.

The noise is that of a hardware file: after each gate, on each qubit that it acts on, the channels of
`sqdr.hw_configs.GateNoise` in its order, and wrong readouts. The program is the exported one, in which the upload and
the trained rotation are one gate each. A channel maps Bloch vectors v to e v + t, with t along z; pulled back, it
maps an observable m_x X + m_y Y + m_z Z + m_0 to e_x m_x X + e_y m_y Y + e_z m_z Z + (m_0 + t m_z). With the factors of
`sqdr.noise.neighbour_factors`,

    <Z_i> = (m_x r_x + m_y r_y) * prod over neighbours k of i of (alpha_ik + beta_ik r_z[k])  +  m_z r_z  +  m_0.

Inference has the same in NumPy (`sqdr.deploy.heads.noisy_lightcone`).
"""

import numpy as np
import torch
from torch import Tensor

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.errors import ConfigError
from sqdr.hw_configs import NoiseModel
from sqdr.noise import neighbour_factors, pauli_channel
from sqdr.specification import MAX_LIGHTCONE_BLOCKS
from sqdr.train.head.bloch import Vector, inverse, north, rotate

__all__ = ["NoisyCircuit"]


class NoisyCircuit:
    """Callable (angles (N, n_qubits, 3), weights (n_blocks, n_qubits, 3)) -> noisy <Z> (N, n_qubits).

    Args:
        n_qubits: wires.
        n_blocks: L, at most 2.
        entangler: as in `sqdr.circuit`.
        noise: of gates and readout.

    Raises:
        ConfigError: more than two blocks.
    """

    def __init__(self, n_qubits: int, n_blocks: int, entangler: Entangler, noise: NoiseModel) -> None:
        if n_blocks > MAX_LIGHTCONE_BLOCKS:
            raise ConfigError(
                f"training under noise takes at most {MAX_LIGHTCONE_BLOCKS} blocks, got {n_blocks}. "
                "Use n_blocks: 2 or leave `noise` out."
            )
        pairs = entangler_pairs(n_qubits, entangler)
        after_one = pauli_channel(**noise.one_qubit_gate.model_dump())
        after_cz = pauli_channel(**noise.two_qubit_gate.model_dump())
        degrees = np.bincount(np.array(pairs, dtype=np.int64).ravel(), minlength=n_qubits)
        through = np.stack([np.linalg.matrix_power(after_cz, degree) for degree in degrees])
        self._n_blocks = n_blocks
        self._scale, self._shift = tuple(np.diag(after_one)[1:].tolist()), float(after_one[3, 0])
        self._neighbours, *factors = neighbour_factors(n_qubits, pairs, after_cz)
        # E[Z] of a bit that is read wrongly is p0_given_1 - p1_given_0 + (1 - p0_given_1 - p1_given_0) <Z>
        readout = noise.readout
        contrast = 1 - readout.p0_given_1 - readout.p1_given_0
        measured = (contrast * through[:, 3, 3], readout.p0_given_1 - readout.p1_given_0 + contrast * through[:, 3, 0])
        across = (through[:, 1, 1], through[:, 2, 2], through[:, 3, 3], through[:, 3, 0])
        self._constants = [torch.from_numpy(np.ascontiguousarray(values)) for values in (*measured, *across, *factors)]

    def __call__(self, angles: Tensor, weights: Tensor) -> Tensor:
        """Return noisy <Z> in the dtype of ``angles``, on its device."""
        z_scale, z_shift, *across, alpha, beta = (constant.to(angles) for constant in self._constants)
        bloch = self._decay(rotate(self._decay(north(angles)), weights[0]))
        if self._n_blocks == 1:
            return torch.addcmul(z_shift, z_scale, bloch[2])
        # Z pulled back through the readout and the last CZ gates is z_scale Z + z_shift; then through the second block
        x, y, z = (z_scale * self._scale[2] * value for value in north(inverse(weights[1])))
        constant = z_shift + z_scale * self._shift + z * self._shift
        row = self._scale[0] * x, self._scale[1] * y, self._scale[2] * z
        x, y, z = rotate(row, inverse(angles))
        # through the first CZ gates
        d_x, d_y, d_z, t_z = across
        factor = (alpha + beta * bloch[2][:, self._neighbours]).prod(-1)
        found: Tensor = (d_x * x * bloch[0] + d_y * y * bloch[1]) * factor + z * (d_z * bloch[2] + t_z) + constant
        return found

    def _decay(self, bloch: Vector) -> Vector:
        x, y, z = bloch
        return self._scale[0] * x, self._scale[1] * y, self._scale[2] * z + self._shift
