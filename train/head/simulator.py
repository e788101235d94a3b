"""Which exact method computes the head's circuit: named, or the cheapest one.

The light cone has a closed form for one and two blocks, which is the cheapest at any width. From three blocks on
it is n small state vectors of 2L - 1 qubits, against one of n qubits.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from sqdr.circuit import cone_reach
from sqdr.errors import ConfigError
from sqdr.hw_configs import NoiseModel
from sqdr.specification import MAX_LIGHTCONE_BLOCKS, MAX_STATEVECTOR_QUBITS, HeadSpec
from sqdr.train.head import cone, lightcone, statevector
from sqdr.train.head.noisy_cone import NoisyCone
from sqdr.train.head.noisy_lightcone import NoisyCircuit
from sqdr.train.head.pennylane_device import PennyLaneCircuit

__all__ = ["Circuit", "choose_circuit"]

Circuit = Callable[[Tensor, Tensor], Tensor]
"""(angles (N, n_qubits, 3), weights (n_blocks, n_qubits, 3)) -> <Z> (N, n_qubits)."""

EXACT = ("auto", "statevector", "lightcone")
PENNYLANE = "pennylane:"
# Cones may hold so many times the amplitudes of the register: they apply fewer gates. Measured with 3 to 5 blocks and
# 5 to 13 qubits, forward and backward, batch 64: cones are faster from 7, 10 and 12 qubits on.
CONE_ADVANTAGE = 2


def choose_circuit(spec: HeadSpec, simulator: str = "auto", noise: NoiseModel | None = None) -> tuple[str, Circuit]:
    """Return the method's name and the circuit.

    Args:
        spec: of the head.
        simulator: one of

            - ``auto``: the cheapest of the exact ones;
            - ``lightcone``: the closed form up to two blocks, then wider cones, and the state vector where a cone
              covers the register;
            - ``statevector``: of all qubits;
            - ``pennylane:<device>``.
        noise: of gates and readout, which only the light cone has; None for none.

    Returns:
        ``lightcone``, ``cone of width <w>``, either of them ``noisy``, ``statevector`` or ``pennylane:<device>``; and
        the circuit.

    Raises:
        ConfigError: there is no such method, the circuit is too wide for it or it has no noise, or PennyLane does
            not know the device.
        MissingDependencyError: PennyLane is not installed.
    """
    if noise is not None:
        if simulator not in ("auto", "lightcone"):
            raise ConfigError(f"`noise` takes simulator auto or lightcone, got '{simulator}'. Use one of them.")
        if spec.n_blocks <= MAX_LIGHTCONE_BLOCKS:
            return "noisy lightcone", NoisyCircuit(spec.n_qubits, spec.n_blocks, spec.entangler, noise)
        noisy_cone = NoisyCone(spec.n_qubits, spec.n_blocks, spec.entangler, noise)
        return f"noisy cone of width {noisy_cone.width}", noisy_cone
    if simulator.startswith(PENNYLANE):
        device = simulator.removeprefix(PENNYLANE)
        return simulator, PennyLaneCircuit(device, spec.n_qubits, spec.entangler)
    if simulator not in EXACT:
        raise ConfigError(f"`simulator` must be {', '.join(EXACT)} or {PENNYLANE}<device>, got '{simulator}'.")
    if simulator != "statevector" and spec.n_blocks <= MAX_LIGHTCONE_BLOCKS:
        return "lightcone", partial(lightcone.expectations, entangler=spec.entangler)
    width = 2 * cone_reach(spec.n_qubits, spec.n_blocks, spec.entangler) + 1
    if simulator != "statevector" and _is_cone_chosen(spec.n_qubits, width, simulator):
        return f"cone of width {width}", partial(cone.expectations, entangler=spec.entangler)
    if spec.n_qubits > MAX_STATEVECTOR_QUBITS:
        fix = "Use simulator: auto" if simulator == "statevector" else "Use fewer blocks"
        raise ConfigError(
            f"`simulator` {simulator} takes at most {MAX_STATEVECTOR_QUBITS} qubits for {spec.n_blocks} blocks, got "
            f"{spec.n_qubits}. {fix} or fewer qubits."
        )
    return "statevector", partial(statevector.expectations, entangler=spec.entangler)


def _is_cone_chosen(n_qubits: int, width: int, simulator: str) -> bool:
    if width > min(n_qubits, MAX_STATEVECTOR_QUBITS):
        return False
    return simulator == "lightcone" or n_qubits << width <= CONE_ADVANTAGE << n_qubits
