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
from sqdr.train.head import lightcone
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
    hardware = packaged_hardware("local_dm")
    assert isinstance(hardware, BraketLocal)
    head = DensityMatrixHead(
        weights=weights.detach().numpy(), entangler=entangler, hardware=hardware.model_copy(update={"noise": noise})
    )
    expected = head.expectations(angles.detach().numpy())
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


def test_more_than_two_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 2 blocks, got 3"):
        ReuploadHead(HeadSpec(n_qubits=4, n_blocks=3, n_classes=2), noise=NOISE)
