"""The reupload circuit on other people's simulators, each written as its own documentation would.

Every peer is a function of (angles (N, n_qubits, 3), weights (n_blocks, n_qubits, 3)) that returns <Z>
(N, n_qubits), in float32 or complex64 where it has the choice. Nothing is imitated: a package that is not
installed is not measured.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqdr.circuit import Entangler, entangler_pairs, qnode
from sqdr.plugins import missing

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PEERS", "Circuit", "open_peer"]

Circuit = Callable[["Tensor", "Tensor"], "Tensor"]


def open_peer(name: str, n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
    """Return the circuit on a peer of `PEERS`.

    Raises:
        MissingDependencyError: its package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages, about each other
            return PEERS[name](n_qubits, n_blocks, entangler)
    except ImportError as error:
        raise missing(error, name) from error


def _torchquantum(n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
    import torchquantum as tq
    import torchquantum.functional as tqf

    measure = tq.MeasureAll(tq.PauliZ)

    def rotate(device: Any, qubit: int, angles: "Tensor") -> None:
        # its Rot takes 1.02 of the time of its U3, which is the same rotation up to a global phase
        tqf.u3(device, wires=qubit, params=angles[:, [1, 2, 0]])

    def circuit(angles: "Tensor", weights: "Tensor") -> "Tensor":
        device = tq.QuantumDevice(n_wires=n_qubits, bsz=len(angles))
        for block in weights:
            for qubit in range(n_qubits):
                rotate(device, qubit, angles[:, qubit])
                rotate(device, qubit, block[None, qubit])
            for pair in entangler_pairs(n_qubits, entangler):
                tqf.cz(device, wires=list(pair))
        return measure(device)  # type: ignore[no-any-return]

    return circuit


def _pyqtorch(n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
    import pyqtorch as pyq
    import torch

    gates: list[Any] = []
    for block in range(n_blocks):
        for qubit in range(n_qubits):
            gates += [pyq.U(qubit, *(f"{name}_{qubit}_{k}" for k in range(3))) for name in ("x", f"w{block}")]
        gates += [pyq.CZ(*pair) for pair in entangler_pairs(n_qubits, entangler)]
    program = pyq.QuantumCircuit(n_qubits, gates).to(torch.complex64)
    readouts = [pyq.Observable(pyq.Z(qubit)).to(torch.complex64) for qubit in range(n_qubits)]

    def named(name: str, values: "Tensor") -> dict[str, "Tensor"]:
        return {f"{name}_{qubit}_{k}": values[..., qubit, k] for qubit in range(n_qubits) for k in range(3)}

    def circuit(angles: "Tensor", weights: "Tensor") -> "Tensor":
        values = named("x", angles)
        for block, row in enumerate(weights):
            values |= named(f"w{block}", row)
        state = pyq.run(program, values=values)
        return torch.stack([readout.expectation(state) for readout in readouts], dim=-1).to(angles)

    return circuit


def _tensorcircuit(n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
    import tensorcircuit as tc
    import torch

    backend = tc.set_backend("pytorch")

    def sample(angles: "Tensor", weights: "Tensor") -> "Tensor":
        program = tc.Circuit(n_qubits)
        for block in range(n_blocks):
            for qubit in range(n_qubits):
                for phi, theta, omega in (angles[qubit], weights[block, qubit]):
                    program.rz(qubit, theta=phi)
                    program.ry(qubit, theta=theta)
                    program.rz(qubit, theta=omega)
            for pair in entangler_pairs(n_qubits, entangler):
                program.cz(*pair)
        z = [backend.real(program.expectation_ps(z=[qubit])) for qubit in range(n_qubits)]
        return torch.stack(z)

    return torch.vmap(sample, in_dims=(0, None))  # type: ignore[no-any-return]


def _pennylane(device: str, diff_method: str) -> Callable[[int, int, Entangler], Circuit]:
    """The QNode on a batch: default.qubit broadcasts it, lightning.qubit takes its samples in turn itself."""

    def start(n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
        import pennylane as qml
        import torch

        node = qnode(qml.device(device, wires=n_qubits), entangler, interface="torch", diff_method=diff_method)
        return lambda angles, weights: torch.stack(list(node(angles, weights)), dim=-1).to(angles)

    return start


def _pennylane_loop(n_qubits: int, n_blocks: int, entangler: Entangler) -> Circuit:
    """One execution for each sample, as the published reference of SQDR-CNN composes it."""
    import torch

    one = _pennylane("default.qubit", "backprop")(n_qubits, n_blocks, entangler)
    return lambda angles, weights: torch.stack([one(sample, weights) for sample in angles])


PEERS: dict[str, Callable[[int, int, Entangler], Circuit]] = {
    "TorchQuantum": _torchquantum,
    "PennyLane broadcast": _pennylane("default.qubit", "backprop"),
    "tensorcircuit-ng": _tensorcircuit,
    "pyqtorch": _pyqtorch,
    "lightning.qubit adjoint": _pennylane("lightning.qubit", "adjoint"),
    "PennyLane loop": _pennylane_loop,
}
"""Name to a function of (n_qubits, n_blocks, entangler), fastest first on 9 qubits and 2 blocks.

TorchQuantum is its kept fork torchquantum-ng; PennyLane is default.qubit, with backpropagation.
"""
