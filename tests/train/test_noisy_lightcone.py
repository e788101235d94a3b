"""The differentiable noisy light cone: equal to PennyLane's density matrix, and to inference in NumPy."""

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sqdr.circuit import entangler_pairs
from sqdr.deploy.heads import DensityMatrixHead
from sqdr.errors import ConfigError
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel, ReadoutNoise
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.specification import HeadSpec
from sqdr.train.head import cone, lightcone
from sqdr.train.head.noisy_cone import NoisyCone
from sqdr.train.head.noisy_lightcone import NoisyCircuit
from sqdr.train.head.reupload import ReuploadHead

# float64 on both sides
TOLERANCE = 1e-10
ENTANGLERS = ("ring", "chain", "none")
TOPS = {"bit_flip": 0.5, "phase_flip": 0.5, "depolarizing": 0.75, "amplitude_damping": 1.0, "phase_damping": 1.0}
GATES = st.builds(
    GateNoise, **{name: st.one_of(st.sampled_from([0.0, t]), st.floats(0, t)) for name, t in TOPS.items()}
)
READOUTS = st.builds(ReadoutNoise, p1_given_0=st.floats(0, 0.5), p0_given_1=st.floats(0, 0.5))
NOISES = st.builds(NoiseModel, one_qubit_gate=GATES, two_qubit_gate=GATES, readout=READOUTS)
# All twelve numbers differ.
NOISE = NoiseModel(
    one_qubit_gate=GateNoise(
        bit_flip=0.01, phase_flip=0.015, depolarizing=0.02, amplitude_damping=0.03, phase_damping=0.035
    ),
    two_qubit_gate=GateNoise(
        bit_flip=0.04, phase_flip=0.045, depolarizing=0.05, amplitude_damping=0.06, phase_damping=0.065
    ),
    readout=ReadoutNoise(p1_given_0=0.03, p0_given_1=0.08),
)


def inputs(n: int, n_qubits: int, n_blocks: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(n, n_qubits, 3, dtype=torch.float64, generator=generator) * 4 - 2
    weights = torch.rand(n_blocks, n_qubits, 3, dtype=torch.float64, generator=generator) * 6 - 3
    return angles.requires_grad_(), weights.requires_grad_()


def density_matrix(angles: Tensor, weights: Tensor, entangler: Any, noise: NoiseModel) -> np.ndarray:
    """What inference computes, in NumPy."""
    hardware = packaged_hardware("local_dm")
    assert isinstance(hardware, BraketLocal)
    head = DensityMatrixHead(
        weights=weights.detach().numpy(), entangler=entangler, hardware=hardware.model_copy(update={"noise": noise})
    )
    return np.asarray(head.expectations(angles.detach().numpy()))


def default_mixed(n_qubits: int, entangler: Any, noise: NoiseModel) -> Any:
    def channels(rates: GateNoise, wire: int) -> None:
        qml.BitFlip(rates.bit_flip, wires=wire)
        qml.PhaseFlip(rates.phase_flip, wires=wire)
        qml.DepolarizingChannel(rates.depolarizing, wires=wire)
        qml.AmplitudeDamping(rates.amplitude_damping, wires=wire)
        qml.PhaseDamping(rates.phase_damping, wires=wire)

    def circuit(angles: Tensor, weights: Tensor) -> Any:
        for block in weights:
            for qubit in range(n_qubits):
                for gate in (angles[qubit], block[qubit]):
                    qml.Rot(gate[0], gate[1], gate[2], wires=qubit)
                    channels(noise.one_qubit_gate, qubit)
            for pair in entangler_pairs(n_qubits, entangler):
                qml.CZ(wires=pair)
                for qubit in pair:
                    channels(noise.two_qubit_gate, qubit)
        wrong = noise.readout.p1_given_0 + noise.readout.p0_given_1
        for qubit in range(n_qubits):  # right before a measurement, the channel of its wrong readouts
            qml.GeneralizedAmplitudeDamping(wrong, noise.readout.p0_given_1 / wrong, wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(n_qubits)]

    return qml.QNode(circuit, qml.device("default.mixed", wires=n_qubits), interface="torch", diff_method="backprop")


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(1, 2), (2, 2), (3, 1), (3, 2), (4, 2)])
def test_values_and_gradients_equal_default_mixed(n_qubits: int, n_blocks: int, entangler: Any) -> None:
    angles, weights = inputs(1, n_qubits, n_blocks, seed=n_qubits)
    factors = torch.arange(1.0, n_qubits + 1, dtype=torch.float64)
    found = NoisyCircuit(n_qubits, n_blocks, entangler, NOISE)(angles, weights)[0]
    expected = torch.stack(list(default_mixed(n_qubits, entangler, NOISE)(angles[0], weights)))
    assert (found - expected).abs().max() < TOLERANCE
    slopes = [torch.autograd.grad((factors * z).sum(), [angles, weights]) for z in (found, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        assert (ours - theirs).abs().max() < TOLERANCE


@settings(max_examples=40, deadline=None)
@given(
    n_qubits=st.integers(1, 9),
    n_blocks=st.integers(1, 2),
    entangler=st.sampled_from(ENTANGLERS),
    noise=NOISES,
    seed=st.integers(0, 2**20),
)
def test_training_computes_what_inference_computes(n_qubits, n_blocks, entangler, noise, seed) -> None:
    angles, weights = inputs(3, n_qubits, n_blocks, seed)
    found = NoisyCircuit(n_qubits, n_blocks, entangler, noise)(angles, weights)
    expected = density_matrix(angles, weights, entangler, noise)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_no_noise_is_the_noiseless_light_cone(n_blocks: int) -> None:
    angles, weights = inputs(4, 7, n_blocks, seed=8)
    found = NoisyCircuit(7, n_blocks, "ring", NoiseModel())(angles, weights)
    assert (found - lightcone.expectations(angles, weights, "ring")).abs().max() < TOLERANCE


def test_head_trains_in_float32_under_noise() -> None:
    torch.manual_seed(0)
    head = ReuploadHead(HeadSpec(n_qubits=5, n_classes=2), noise=NOISE)
    quiet = ReuploadHead(HeadSpec(n_qubits=5, n_classes=2))
    quiet.load_state_dict(head.state_dict())
    rates = torch.rand(4, 5)
    noisy, clean = head.expectations(rates), quiet.expectations(rates)
    assert noisy.dtype == torch.float32
    assert (noisy - clean).abs().max() > 0.01
    head(rates).sum().backward()
    assert head.weights.grad is not None and head.weights.grad.abs().max() > 0


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(2, 4), (4, 3), (5, 3)])
def test_more_blocks_equal_default_mixed_with_their_gradients(n_qubits: int, n_blocks: int, entangler: Any) -> None:
    angles, weights = inputs(1, n_qubits, n_blocks, seed=n_qubits)
    factors = torch.arange(1.0, n_qubits + 1, dtype=torch.float64)
    found = NoisyCone(n_qubits, n_blocks, entangler, NOISE)(angles, weights)[0]
    expected = torch.stack(list(default_mixed(n_qubits, entangler, NOISE)(angles[0], weights)))
    assert (found - expected).abs().max() < TOLERANCE
    slopes = [torch.autograd.grad((factors * z).sum(), [angles, weights]) for z in (found, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        assert (ours - theirs).abs().max() < TOLERANCE


@settings(max_examples=25, deadline=None)
@given(
    n_qubits=st.integers(1, 7),
    n_blocks=st.integers(2, 6),
    entangler=st.sampled_from(ENTANGLERS),
    features=st.sampled_from([1, 3]),
    noise=NOISES,
    seed=st.integers(0, 2**20),
)
def test_any_blocks_compute_what_inference_computes(n_qubits, n_blocks, entangler, features, noise, seed) -> None:
    angles, weights = inputs(2, n_qubits, n_blocks, seed)
    if features == 1:
        angles = angles * torch.tensor([0, 1, 0])
    found = NoisyCone(n_qubits, n_blocks, entangler, noise)(angles, weights)
    np.testing.assert_allclose(
        found.detach().numpy(), density_matrix(angles, weights, entangler, noise), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("n_qubits", [8, 9])
def test_cones_narrower_than_the_register_compute_what_inference_computes(n_qubits: int, entangler: Any) -> None:
    angles, weights = inputs(2, n_qubits, 3, seed=7)
    circuit = NoisyCone(n_qubits, 3, entangler, NOISE)
    assert circuit.width == (1 if entangler == "none" else 5)
    expected = density_matrix(angles, weights, entangler, NOISE)
    np.testing.assert_allclose(circuit(angles, weights).detach().numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_blocks", [3, 4])
def test_noisy_cones_reach_registers_no_density_matrix_holds(n_blocks: int) -> None:
    angles, weights = inputs(1, 40, n_blocks, seed=3)
    without = NoisyCone(40, n_blocks, "ring", NoiseModel())(angles, weights)
    # float64 rounding over some hundred operations
    assert (without - cone.expectations(angles, weights, "ring")).abs().max() < TOLERANCE
    noisy = NoisyCone(40, n_blocks, "chain", NOISE)(angles, weights)
    # a chain's first qubits do not know how long it is
    short = NoisyCone(12, n_blocks, "chain", NOISE)(angles[:, :12], weights[:, :12])
    known = 12 - n_blocks
    assert (noisy[:, :known] - short[:, :known]).abs().max() < TOLERANCE


def test_head_of_three_blocks_trains_under_noise() -> None:
    torch.manual_seed(0)
    head = ReuploadHead(HeadSpec(n_qubits=9, n_blocks=3, n_classes=2), noise=NOISE)
    head(torch.rand(4, 9)).sum().backward()
    assert head.weights.grad is not None and head.weights.grad.abs().max() > 0


@pytest.mark.parametrize(("n_qubits", "n_blocks", "width"), [(9, 5, 9), (16, 6, 11), (8, 5, 8)])
def test_cones_too_wide_for_noise_are_refused_in_one_line(n_qubits: int, n_blocks: int, width: int) -> None:
    message = (
        f"at most 7 qubits; {n_blocks} blocks of {n_qubits} qubits take {width}. Use n_blocks: 4 or less, or at most 7 "
        "qubits, or leave `noise` out"
    )
    with pytest.raises(ConfigError, match=message):
        ReuploadHead(HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, n_classes=2), noise=NOISE)
