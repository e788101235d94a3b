"""Subject ``noisy-head``: the circuit under the noise of hw_configs/local_dm.yaml against density matrices.

The same gates with the same channels in the same places on all sides. PennyLane and Braket take one sample at a time;
at 9 qubits they are timed forward only, for the density matrices that a backward pass keeps do not fit in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.errors import ConfigError, MissingDependencyError
from sqdr.plugins import missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sqdr.hw_configs import GateNoise, NoiseModel

__all__ = ["bench_noisy_head"]

SUBJECT = "noisy-head"
HARDWARE, BRAKET_HARDWARE = "local_dm", "braket_local_dm"
ENTANGLER: Entangler = "ring"
N_BLOCKS, WIDE, NARROW, N_SHOTS = 2, 9, 4, 1000
MIXED, MIXED_BACKWARD = "default.mixed forward", "default.mixed forward + backward"
BRAKET, BRAKET_SHOTS = "braket_dm", f"braket_dm, {N_SHOTS} shots"
TORCH, TORCH_BACKWARD = "torch forward", "torch forward + backward"
NUMPY, NUMPY_ONE, NUMPY_SHOTS = "numpy", "numpy, one sample", f"numpy, {N_SHOTS} shots"
TOLERANCE = 1e-6
# A mean of 1,000 shots is off by at most 1 / sqrt(1,000) standard deviations; six of them never happen.
SHOT_TOLERANCE = 6 / N_SHOTS**0.5
MIN_S = 0.25


def bench_noisy_head(
    batch: int, repeats: int, skipped: list[str], progress: Callable[[int, int], None]
) -> list[BenchRow]:
    """Return a row for each of our ways and each peer: processor milliseconds for each sample.

    Args:
        batch: samples of each call of ours.
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (registers done, of all).
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = _gradient_rows(batch, repeats, skipped)
        progress(1, 2)
        rows += _forward_rows(batch, repeats, skipped)
        progress(2, 2)
    finally:
        torch.set_num_threads(n_threads)
    return rows


def _gradient_rows(batch: int, repeats: int, skipped: list[str]) -> list[BenchRow]:
    """At 4 qubits, where PennyLane's backward pass fits in memory."""
    angles, weights = _inputs(NARROW, batch)
    ours = _ours(NARROW)
    try:
        peer = _default_mixed(NARROW, _noise())
    except MissingDependencyError as error:
        skipped.append(str(error))
        return []
    found, expected = _gradients(ours, angles[:1], weights), _gradients(peer, angles[:1], weights)
    n_different = sum(int(((a - b).abs() > TOLERANCE).sum()) for a, b in zip(found, expected, strict=True))
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        TORCH_BACKWARD: (partial(_gradients, ours, angles, weights), batch),
        MIXED_BACKWARD: (partial(_gradients, peer, angles[:1], weights), 1),
    }
    times = time_in_turn(calls, repeats, True, MIN_S)
    n_compared = sum(tensor.numel() for tensor in expected)
    pair = [(name, times[name]) for name in (TORCH_BACKWARD, MIXED_BACKWARD)]
    return [BenchRow.of(SUBJECT, _what(NARROW), pair[0], pair[1], n_compared, n_different)]


def _forward_rows(batch: int, repeats: int, skipped: list[str]) -> list[BenchRow]:
    import torch

    angles, weights = _inputs(WIDE, batch)
    circuit, exact, shots = _ours(WIDE), _head(HARDWARE, weights), _head(HARDWARE, weights, N_SHOTS)
    many = angles.detach().numpy()
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        TORCH: (partial(circuit, angles.detach(), weights.detach()), batch),
        TORCH_BACKWARD: (partial(_gradients, circuit, angles, weights), batch),
        NUMPY: (partial(exact.expectations, many), batch),
        NUMPY_ONE: (partial(exact.expectations, many[:1]), 1),
        NUMPY_SHOTS: (partial(shots.expectations, many), batch),
    }
    peers: dict[str, Callable[[], NDArray[np.float64]]] = {}
    try:
        mixed = _default_mixed(WIDE, _noise())
        peers[MIXED] = lambda: _without_gradients(mixed, angles[:1], weights)
    except MissingDependencyError as error:
        skipped.append(str(error))
    try:
        for name, n_shots in ((BRAKET, None), (BRAKET_SHOTS, N_SHOTS)):
            peers[name] = partial(_head(BRAKET_HARDWARE, weights, n_shots).expectations, many[:1])
            peers[name]()
    except MissingDependencyError as error:
        skipped.append(str(error))
        peers.pop(BRAKET, None)
    ours = {name: calls[name][0] for name in (TORCH, NUMPY, NUMPY_ONE, NUMPY_SHOTS)}
    ours[TORCH_BACKWARD] = lambda: _gradients(circuit, angles, weights)[0]
    first = {name: torch.as_tensor(call())[0].detach() for name, call in ours.items()}
    compared = [(name, MIXED) for name in (TORCH_BACKWARD, TORCH, NUMPY, NUMPY_ONE)]
    compared += [(NUMPY, BRAKET), (NUMPY_ONE, BRAKET), (NUMPY_SHOTS, BRAKET_SHOTS)]
    differing = {
        pair: int(((first[pair[0]] - torch.as_tensor(peers[pair[1]]())[0]).abs() > _tolerance(pair[1])).sum())
        for pair in compared
        if pair[1] in peers
    }
    times = time_in_turn(calls | {name: (call, 1) for name, call in peers.items()}, repeats, True, MIN_S)
    return [
        BenchRow.of(SUBJECT, _what(WIDE), (ours, times[ours]), (peer, times[peer]), WIDE, n)
        for (ours, peer), n in differing.items()
    ]


def _tolerance(peer: str) -> float:
    return 2 * SHOT_TOLERANCE if peer == BRAKET_SHOTS else TOLERANCE


def _what(n_qubits: int) -> str:
    return f"{n_qubits} qubits x {N_BLOCKS} blocks"


def _inputs(n_qubits: int, batch: int) -> "tuple[Tensor, Tensor]":
    import torch

    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(batch, n_qubits, 3, generator=generator, dtype=torch.float64) * 4 - 2
    weights = torch.rand(N_BLOCKS, n_qubits, 3, generator=generator, dtype=torch.float64) * 6 - 3
    return angles.requires_grad_(), weights.requires_grad_()


def _noise() -> "NoiseModel":
    from sqdr.hw_configs import BraketLocal
    from sqdr.hw_configs.loader import packaged_hardware

    hardware = packaged_hardware(HARDWARE)
    if not isinstance(hardware, BraketLocal) or hardware.noise is None:
        raise ConfigError(f"hw_configs/{HARDWARE}.yaml must have a noise model, got none. Install sqdr again.")
    return hardware.noise


def _ours(n_qubits: int) -> Any:
    from sqdr.train.head.noisy_lightcone import NoisyCircuit

    return NoisyCircuit(n_qubits, N_BLOCKS, ENTANGLER, _noise())


def _head(device: str, weights: "Tensor", shots: int | None = None) -> Any:
    from sqdr.deploy.heads import open_head
    from sqdr.openqasm import to_openqasm

    array = weights.detach().numpy()
    return open_head(
        device,
        openqasm=to_openqasm(array, ENTANGLER),
        weights=array,
        entangler=ENTANGLER,
        n_qubits=array.shape[1],
        shots=shots,
    )


def _default_mixed(n_qubits: int, noise: "NoiseModel") -> Any:
    """PennyLane's density matrix, one sample after the other; channels of probability 0 are left out."""
    try:
        import pennylane as qml
    except ImportError as error:
        raise missing(error, "default.mixed") from error
    import torch

    kinds = (qml.BitFlip, qml.PhaseFlip, qml.DepolarizingChannel, qml.AmplitudeDamping, qml.PhaseDamping)

    def channels(rates: "GateNoise", wire: int) -> None:
        for kind, (_, rate) in zip(kinds, rates, strict=True):
            if rate > 0:
                kind(rate, wires=wire)

    def circuit(angles: "Tensor", weights: "Tensor") -> Any:
        for block in weights:
            for qubit in range(n_qubits):
                for gate in (angles[qubit], block[qubit]):
                    qml.Rot(gate[0], gate[1], gate[2], wires=qubit)
                    channels(noise.one_qubit_gate, qubit)
            for pair in entangler_pairs(n_qubits, ENTANGLER):
                qml.CZ(wires=pair)
                for qubit in pair:
                    channels(noise.two_qubit_gate, qubit)
        gamma = noise.readout.p1_given_0 + noise.readout.p0_given_1
        for qubit in range(n_qubits):  # right before a measurement, the channel of its wrong readouts
            qml.GeneralizedAmplitudeDamping(gamma, noise.readout.p0_given_1 / gamma, wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(n_qubits)]

    node = qml.QNode(circuit, qml.device("default.mixed", wires=n_qubits), interface="torch", diff_method="backprop")
    return lambda angles, weights: torch.stack([torch.stack(list(node(sample, weights))) for sample in angles])


def _without_gradients(circuit: Any, angles: "Tensor", weights: "Tensor") -> Any:
    import torch

    with torch.no_grad():
        return circuit(angles.detach(), weights.detach())


def _gradients(circuit: Any, angles: "Tensor", weights: "Tensor") -> "tuple[Tensor, ...]":
    """<Z>, and the gradients of a sum over it in which no two factors are alike."""
    import torch

    z = circuit(angles, weights)
    factors = torch.linspace(0.1, 1.0, z.numel(), dtype=z.dtype).reshape(z.shape)
    return (z.detach(), *torch.autograd.grad((factors * z).sum(), [angles, weights]))
