"""<Z> of noisy one- and two-block circuits in closed form, linear in the number of qubits.

Z_i is pulled back through the circuit. The last CZ gates commute with it and their noise maps it to
a Z_i + b. The one-qubit gates and channels of the second block make it m_x X_i + m_y Y_i + m_z Z_i + m_0. Before
that lie the first block's CZ gates, each with its noise, pulled through one by one, last first:

- Z_i stays among I and Z_i: a Z_i + b again.
- X_i and Y_i get a factor on each qubit k that shares a CZ with i. That CZ multiplies the factor by Z_k;
  the noise after any CZ on k maps Z_k to d Z_k + t. It stays among I and Z_k and so does not see any other
  CZ: the factor is alpha_ik + beta_ik Z_k, with numbers that depend on the circuit alone. Every CZ on i
  scales X_i and Y_i themselves by d_x and d_y. Folded CZ gates do all this as often as they stand there.

What is left is read off a product state with the Bloch vector r_j of each qubit after the first block:

    <Z_i> = (m_x d_x^n r_x + m_y d_y^n r_y) * prod over k of (alpha_ik + beta_ik r_z[k]) + m_z (a r_z + b) + m_0.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.heads.noisy_circuit import NoisyCircuit, rotation
from sqdr.errors import ConfigError
from sqdr.noise import neighbour_factors
from sqdr.specification import MAX_LIGHTCONE_BLOCKS

__all__ = ["NoisyLightcone"]

Floats = NDArray[np.float64]


class NoisyLightcone:
    """The closed form, with all that does not depend on the sample made once."""

    def __init__(self, circuit: NoisyCircuit) -> None:
        """Prepare the circuit.

        Raises:
            ConfigError: it has more than two blocks.
        """
        if circuit.n_blocks > MAX_LIGHTCONE_BLOCKS:
            raise ConfigError(
                f"the light cone's closed form holds for at most {MAX_LIGHTCONE_BLOCKS} blocks, got "
                f"{circuit.n_blocks}. Use the density matrix."
            )
        self._circuit = circuit
        # Z before the last CZ gates, as a row over I, X, Y, Z: P(0) - P(1)
        self._row = circuit.readout[:, 0] - circuit.readout[:, 1]
        if circuit.n_blocks == 2:
            self._row = (self._row[:, None] @ circuit.trained[1])[:, 0]
            # X, Y and Z pulled through the first CZ gates: from what to read Z_i off at the product state.
            self._through = circuit.after_all_cz
            self._neighbours, self._alpha, self._beta = neighbour_factors(
                circuit.n_qubits, circuit.pairs, circuit.after_cz, circuit.n_folds
            )

    def expectations(self, angles: Floats) -> Floats:
        """Return <Z> (N, n_qubits) for angles (N, n_qubits, 3) in radians."""
        upload = rotation(angles)
        # |0> is (1, 0, 0, 1): columns 0 and 3. (N, n_qubits, 4)
        state = (self._circuit.trained[0] @ (upload[..., 0] + upload[..., 3])[..., None])[..., 0]
        if self._circuit.n_blocks == 1:
            return np.asarray((self._row * state).sum(axis=-1))
        row = (self._row[:, None] @ upload)[..., 0, :]
        row = (row[..., None, :] @ self._through)[..., 0, :]
        z = state[..., 3][:, self._neighbours]  # (N, n_qubits, most neighbours)
        across = (row[..., 1:3] * state[..., 1:3]).sum(axis=-1) * (self._alpha + self._beta * z).prod(axis=-1)
        return np.asarray(across + row[..., 3] * state[..., 3] + row[..., 0])
