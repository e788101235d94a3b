"""Every simulator of the head computes what the one QNode definition says."""

import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sqdr.circuit import qnode
from sqdr.errors import ConfigError
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.specification import HeadSpec
from sqdr.train.head import cone, lightcone, statevector
from sqdr.train.head.pennylane_device import PennyLaneCircuit
from sqdr.train.head.reupload import ReuploadHead
from sqdr.train.head.simulator import choose_circuit

# float64 rounding over some hundred operations; float32 as promised in the design
TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 1e-4)}
ENTANGLERS = ("ring", "chain", "none")


def circuit_inputs(
    n: int, n_qubits: int, n_blocks: int, dtype: torch.dtype, seed: int, features: int = 3
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(n, n_qubits, 3, dtype=dtype, generator=generator) * 4 - 2
    if features == 1:
        angles = angles * torch.tensor([0, 1, 0], dtype=dtype)
    angles[0, 0] = 0  # a sample with zero angles: a feature without spikes
    weights = torch.rand(n_blocks, n_qubits, 3, dtype=dtype, generator=generator) * 6 - 3
    return angles.requires_grad_(), weights.requires_grad_()


def value_and_gradients(circuit, angles: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z = circuit(angles, weights)
    factors = torch.arange(1, z.numel() + 1, dtype=z.dtype).reshape(z.shape) / z.numel()
    gradients = torch.autograd.grad((factors * z).sum(), [angles, weights])
    return z.detach(), *gradients


def reference(entangler: str, n_qubits: int):
    node = qnode(qml.device("default.qubit", wires=n_qubits), entangler, interface="torch", diff_method="backprop")
    return lambda angles, weights: torch.stack(list(node(angles, weights)), dim=-1).to(angles)


def assert_agree(found, expected, dtype: torch.dtype) -> None:
    z_tolerance, gradient_tolerance = TOLERANCE[dtype]
    assert found[0].dtype == dtype
    assert (found[0] - expected[0]).abs().max() <= z_tolerance
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert (a - b).abs().max() <= gradient_tolerance


@settings(max_examples=50, deadline=None)
@given(
    n_qubits=st.integers(1, 9),
    n_blocks=st.integers(1, 6),
    entangler=st.sampled_from(ENTANGLERS),
    features=st.sampled_from([1, 3]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**20),
)
def test_exact_methods_agree_with_the_qnode(n_qubits, n_blocks, entangler, features, dtype, seed) -> None:
    inputs = circuit_inputs(3, n_qubits, n_blocks, dtype, seed, features)
    expected = value_and_gradients(reference(entangler, n_qubits), *inputs)
    spec = HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, entangler=entangler, features_per_qubit=features)
    for simulator in ("auto", "lightcone", "statevector"):
        _, circuit = choose_circuit(spec, simulator)
        assert_agree(value_and_gradients(circuit, *inputs), expected, dtype)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    n_qubits=st.integers(10, 14),
    n_blocks=st.integers(1, 6),
    entangler=st.sampled_from(ENTANGLERS),
    seed=st.integers(0, 2**20),
)
def test_wide_registers_agree_with_the_qnode(n_qubits, n_blocks, entangler, seed) -> None:
    inputs = circuit_inputs(1, n_qubits, n_blocks, torch.float64, seed)
    expected = value_and_gradients(reference(entangler, n_qubits), *inputs)
    for simulator in ("auto", "statevector"):
        _, circuit = choose_circuit(HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, entangler=entangler), simulator)
        assert_agree(value_and_gradients(circuit, *inputs), expected, torch.float64)


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize(
    ("n_qubits", "n_blocks"), [(1, 1), (3, 2), (5, 3), (6, 3), (7, 4), (9, 4), (9, 5), (10, 5), (11, 6)]
)
def test_cones_up_to_the_register_agree_with_the_state_vector(n_qubits, n_blocks, entangler) -> None:
    inputs = circuit_inputs(2, n_qubits, n_blocks, torch.float64, seed=5)
    expected = value_and_gradients(lambda a, w: statevector.expectations(a, w, entangler), *inputs)
    found = value_and_gradients(lambda a, w: cone.expectations(a, w, entangler), *inputs)
    assert_agree(found, expected, torch.float64)


@pytest.mark.parametrize(
    ("n_qubits", "n_blocks", "entangler", "simulator", "method"),
    [
        (9, 2, "ring", "auto", "lightcone"),
        (1000, 2, "ring", "auto", "lightcone"),
        (6, 3, "ring", "auto", "statevector"),
        (6, 3, "ring", "lightcone", "cone of width 5"),
        (4, 3, "ring", "lightcone", "statevector"),
        (9, 3, "ring", "auto", "cone of width 5"),
        (9, 4, "chain", "auto", "statevector"),
        (12, 4, "chain", "auto", "cone of width 7"),
        (9, 6, "none", "auto", "cone of width 1"),
        (9, 2, "ring", "statevector", "statevector"),
    ],
)
def test_cheapest_exact_method_is_chosen_by_itself(n_qubits, n_blocks, entangler, simulator, method) -> None:
    spec = HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, entangler=entangler)
    assert choose_circuit(spec, simulator)[0] == method


@pytest.mark.parametrize("n_blocks", [3, 4])
def test_wider_cones_reach_registers_no_state_vector_holds(n_blocks: int) -> None:
    angles, weights = circuit_inputs(2, 60, n_blocks, torch.float64, seed=6)
    wide = cone.expectations(angles, weights, "chain")
    # a chain's qubits do not know how long it is, but for those within the cone of its end
    exact = statevector.expectations(angles[:, :11], weights[:, :11], "chain")
    known = 11 - (n_blocks - 1)
    assert (wide[:, :known] - exact[:, :known]).abs().max() < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "braket.local.qubit"])
def test_pennylane_devices_agree_with_the_state_vector(device: str, dtype: torch.dtype) -> None:
    n_qubits = 2 if device == "braket.local.qubit" else 4  # parameter shift there: 40 circuits a sample
    inputs = circuit_inputs(2, n_qubits, 2, dtype, seed=1)
    expected = value_and_gradients(lambda a, w: statevector.expectations(a, w, "ring"), *inputs)
    found = value_and_gradients(PennyLaneCircuit(device, n_qubits, "ring"), *inputs)
    assert_agree(found, expected, dtype)


def test_light_cone_reaches_registers_no_state_vector_holds() -> None:
    angles, weights = circuit_inputs(2, 200, 2, torch.float64, seed=2)
    wide = lightcone.expectations(angles, weights, "chain")
    # a chain's middle qubits do not know how long it is
    narrow = lightcone.expectations(angles[:, :9], weights[:, :9], "chain")
    exact = statevector.expectations(angles[:, :9], weights[:, :9], "chain")
    assert (wide[:, :8] - exact[:, :8]).abs().max() < 1e-10
    assert (narrow - exact).abs().max() < 1e-10


@pytest.mark.parametrize("features_per_qubit", [1, 3])
@pytest.mark.parametrize("has_readout", [True, False])
def test_deployed_head_gives_the_trained_logits(features_per_qubit: int, has_readout: bool) -> None:
    torch.manual_seed(3)
    spec = HeadSpec(
        n_qubits=5, features_per_qubit=features_per_qubit, has_readout=has_readout, n_classes=4, is_scale_learned=True
    )
    head = ReuploadHead(spec).double()
    with torch.no_grad():
        head.scale_rad.add_(torch.rand_like(head.scale_rad))
    counts = torch.randint(0, 9, (6, spec.n_features))
    trained = head(counts.double() / 8).detach().numpy()
    parameters: HeadParameters = head.parameters_for_deployment()
    angles = torch.from_numpy(counts_to_angles(counts.numpy(), 8, parameters.scale_rad, spec))
    z = statevector.expectations(angles, torch.from_numpy(parameters.weights), "ring").numpy()
    # float64 on both sides, differing only in the order of a product
    assert abs(readout(z, parameters, spec) - trained).max() < 1e-12


@pytest.mark.parametrize("is_learned", [True, False])
def test_angle_scale_is_trained_only_when_asked(is_learned: bool) -> None:
    head = ReuploadHead(HeadSpec(n_qubits=3, n_classes=2, is_scale_learned=is_learned))
    head(torch.rand(4, 3)).sum().backward()
    assert (head.scale_rad.grad is not None) == is_learned


@pytest.mark.parametrize("kind", ["normal_half_pi", "uniform", "truncated_normal"])
def test_weight_initialisations_have_their_distribution(kind: str) -> None:
    torch.manual_seed(4)
    weights = ReuploadHead(HeadSpec(n_qubits=1000, weight_init=kind), "lightcone").weights.detach()
    middle, outer = weights[..., 1], weights[..., [0, 2]]
    # five standard errors of the mean of 2,000 draws
    if kind == "uniform":
        assert weights.min() >= 0 and weights.max() <= 2 * torch.pi
        assert abs(weights.mean() - torch.pi) < 5 * 1.82 / 6000**0.5
    elif kind == "truncated_normal":
        assert weights.abs().max() <= 0.6
        assert abs(weights.mean()) < 5 * 0.3 / 6000**0.5
    else:
        assert abs(middle.mean() - torch.pi / 2) < 5 * 0.3 / 2000**0.5
        assert abs(outer.mean()) < 5 * 0.3 / 4000**0.5


@pytest.mark.parametrize(
    ("options", "simulator", "message"),
    [
        ({"n_qubits": 17}, "statevector", "at most 16 qubits for 2 blocks, got 17. Use simulator: auto"),
        ({"n_qubits": 4}, "gpu", "must be auto, statevector, lightcone or pennylane:<device>, got 'gpu'"),
        ({"n_qubits": 4}, "pennylane:no.such.device", "not a device that PennyLane can load"),
    ],
)
def test_head_that_no_simulator_can_run_is_refused_when_built(options, simulator, message) -> None:
    with pytest.raises(ConfigError, match=message):
        ReuploadHead(HeadSpec(**options), simulator)
