"""One circuit fitted to a device's connectivity and native gates by Qiskit's compiler.

The service compiles with the maker's own compiler and the day's calibration; this is an independent
count of what its connectivity costs. The angles are generic numbers: a gate whose angle happens to be
special may be dropped in a real run.
"""

from typing import Any

import numpy as np

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.deploy.plan.lattice import connectivity_of, coupled_pairs
from sqdr.deploy.plan.report import Mapping
from sqdr.errors import BackendError
from sqdr.hw_configs import BraketQpu
from sqdr.plugins import missing

__all__ = ["map_circuit", "qiskit_gates"]

LEVEL, SEED = 3, 0
CZ_PER_SWAP = 3
VIRTUAL_GATE = "rz"
# Braket's names of native gates -> Qiskit's, where Qiskit's compiler has the gate. IonQ's gpi and gpi2 are
# Qiskit's r at half turns and quarter turns: r counts no fewer one-qubit gates, and two-qubit gates alike.
QISKIT_GATES = {
    **{name: name for name in ("cz", "ecr", "h", "iswap", "rx", "ry", "rz")},
    "cnot": "cx",
    "gpi": "r",
    "gpi2": "r",
    "ms": "rxx",
    "prx": "r",
    "v": "sx",
    "xx": "rxx",
    "zz": "rzz",
}
TWO_QUBIT_GATES = ("cz", "cx", "ecr", "rxx", "rzz", "iswap")


def qiskit_gates(native: tuple[str, ...]) -> list[str] | None:
    """Return Qiskit's names of native gates; None if one is unknown or none acts on two qubits."""
    if any(name not in QISKIT_GATES for name in native):
        return None
    gates = sorted({QISKIT_GATES[name] for name in native})
    return gates if any(name in TWO_QUBIT_GATES for name in gates) else None


def map_circuit(hardware: BraketQpu, n_qubits: int, n_blocks: int, entangler: Entangler) -> Mapping | str:
    """Return the counts before and after mapping, or why there are none.

    Raises:
        MissingDependencyError: Qiskit is not installed.
        BackendError: Qiskit's compiler failed.
    """
    native = hardware.native_gates.value
    if native is None or hardware.topology.value is None:
        return f"not mapped: topology or native gates of {hardware.name} unknown"
    gates = qiskit_gates(native)
    if gates is None:
        return f"not mapped: Qiskit's compiler has no gates for {', '.join(native)}"
    try:
        import qiskit
        from qiskit.transpiler import CouplingMap
    except ImportError as error:
        raise missing(error, "mapping to the device") from error
    circuit = _circuit(n_qubits, n_blocks, entangler)
    pairs = coupled_pairs(hardware)
    # a coupling works both ways; without a map every pair of qubits is coupled
    coupling = None if pairs is None else CouplingMap([*pairs, *((second, first) for first, second in pairs)])
    try:
        mapped = qiskit.transpile(
            circuit, basis_gates=gates, coupling_map=coupling, optimization_level=LEVEL, seed_transpiler=SEED
        )
    except qiskit.exceptions.QiskitError as error:
        raise BackendError(f"Qiskit's compiler cannot map the circuit to {hardware.name}: {error}") from error
    before, after = circuit.num_nonlocal_gates(), mapped.num_nonlocal_gates()
    return Mapping(
        compiler=f"qiskit {qiskit.__version__}, level {LEVEL}, seed {SEED}",
        connectivity=connectivity_of(hardware),
        two_qubit_gate=", ".join(name for name in gates if name in TWO_QUBIT_GATES),
        depth_before=circuit.depth(),
        depth_after=mapped.depth(),
        n_two_qubit_gates_before=before,
        n_two_qubit_gates_after=after,
        n_one_qubit_gates_after=sum(mapped.count_ops().values()) - after - mapped.count_ops().get(VIRTUAL_GATE, 0),
        n_swaps=round(max(after - before, 0) / CZ_PER_SWAP, 2),
    )


def _circuit(n_qubits: int, n_blocks: int, entangler: Entangler) -> Any:
    """The circuit as a processor gets it (`ReuploadProgram.without_last_cz`), not measured, with generic angles."""
    from qiskit import QuantumCircuit

    angles = np.random.default_rng(SEED).uniform(0.3, 1.3, (n_blocks, n_qubits, 2, 3))
    circuit = QuantumCircuit(n_qubits)
    for number, block in enumerate(angles, start=1):
        for qubit, gates in enumerate(block):
            for theta, phi, lam in gates:
                circuit.u(theta, phi, lam, qubit)
        for pair in entangler_pairs(n_qubits, entangler) if number < n_blocks else ():
            circuit.cz(*pair)
    return circuit
