"""The noisy NumPy head: equal to Braket's and PennyLane's density matrices, repeatable, bounded in memory."""

import subprocess
import sys
import tracemalloc
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.deploy.heads import BraketLocalHead, DensityMatrixHead, StatevectorHead, open_head
from sqdr.deploy.heads.noisy_circuit import CZ_TERMS, NoisyCircuit, channel, rotation
from sqdr.deploy.heads.noisy_lightcone import NoisyLightcone
from sqdr.deploy.heads.noisy_ring import ring_probabilities, ring_sites
from sqdr.deploy.heads.pauli_state import pauli_probabilities
from sqdr.deploy.heads.statevector import signed_sums
from sqdr.errors import ConfigError, DataError, DeviceError, ShapeError
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel, ReadoutNoise
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

# Double precision and at most some hundred operations: errors stay near 1e-14.
TOLERANCE = 1e-10
ENTANGLERS = ("ring", "chain", "none")
RATES = {"bit_flip": 0.5, "phase_flip": 0.5, "depolarizing": 0.75, "amplitude_damping": 1.0, "phase_damping": 1.0}
# All twelve numbers of the matrices differ.
NOISE = NoiseModel(
    one_qubit_gate=GateNoise(
        bit_flip=0.01, phase_flip=0.015, depolarizing=0.02, amplitude_damping=0.03, phase_damping=0.035
    ),
    two_qubit_gate=GateNoise(
        bit_flip=0.04, phase_flip=0.045, depolarizing=0.05, amplitude_damping=0.06, phase_damping=0.065
    ),
)
PAULIS = np.array([np.eye(2), [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

Floats = NDArray[np.float64]


def _case(n_blocks: int, n_qubits: int, n_samples: int = 2, seed: int = 0, features: int = 3) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-np.pi, np.pi, (n_blocks, n_qubits, 3))
    angles = rng.uniform(-np.pi, np.pi, (n_samples, n_qubits, 3))
    return weights, angles if features == 3 else angles * [0, 1, 0]


def _hardware(noise: NoiseModel | None, name: str = "local_dm") -> BraketLocal:
    hardware = packaged_hardware(name)
    assert isinstance(hardware, BraketLocal)
    return hardware.model_copy(update={"noise": noise})


def _head(
    weights: Floats, entangler: Entangler = "ring", noise: NoiseModel | None = NOISE, **options: Any
) -> DensityMatrixHead:
    return DensityMatrixHead(weights=weights, entangler=entangler, hardware=_hardware(noise), **options)


def _braket(
    weights: Floats, entangler: Entangler = "ring", noise: NoiseModel = NOISE, features: Any = 3, **options: Any
) -> BraketLocalHead:
    return BraketLocalHead(to_openqasm(weights, entangler, features), _hardware(noise, "braket_local_dm"), **options)


def _gate_noise() -> st.SearchStrategy[GateNoise]:
    """Any rates, with none and the largest of each often."""
    rates = {name: st.one_of(st.sampled_from([0.0, top]), st.floats(0, top)) for name, top in RATES.items()}
    return st.builds(GateNoise, **rates)


READOUTS = st.builds(ReadoutNoise, p1_given_0=st.floats(0, 0.5), p0_given_1=st.sampled_from([0.0, 0.03, 0.5]))
NOISES = st.builds(NoiseModel, one_qubit_gate=_gate_noise(), two_qubit_gate=_gate_noise(), readout=READOUTS)
FOLDS = st.sampled_from([1, 3, 5])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    n_qubits=st.integers(1, 6),
    n_blocks=st.integers(1, 2),
    features=st.sampled_from([1, 3]),
    noise=NOISES,
    folds=FOLDS,
    seed=st.integers(0, 2**32 - 1),
)
def test_closed_form_equals_brakets_density_matrix(
    entangler: Any, n_qubits: int, n_blocks: int, features: int, noise: NoiseModel, folds: int, seed: int
) -> None:
    weights, angles = _case(n_blocks, n_qubits, 1, seed, features)
    found = _head(weights, entangler, noise, cz_folds=folds).expectations(angles)
    expected = _braket(weights, entangler, noise, features, cz_folds=folds).expectations(angles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("gate", ["one_qubit_gate", "two_qubit_gate"])
@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_one_channel_at_a_time_equals_brakets_density_matrix(
    gate: str, name: str, entangler: Any, n_blocks: int
) -> None:
    noise = NoiseModel.model_validate({gate: {name: 0.2}})
    weights, angles = _case(n_blocks, 4)
    found = _head(weights, entangler, noise).expectations(angles)
    expected = _braket(weights, entangler, noise).expectations(angles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    clean = _head(weights, entangler, None).expectations(angles)
    is_absent = gate == "two_qubit_gate" and entangler == "none"
    # right before a measurement, phases do not matter
    is_unseen = gate == "two_qubit_gate" and n_blocks == 1 and name.startswith("phase")
    assert (is_absent or is_unseen) == (np.abs(found - clean).max() < 1e-3)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    n_qubits=st.integers(1, 5),
    n_blocks=st.integers(3, 4),
    noise=NOISES,
    folds=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_deep_circuit_equals_brakets_density_matrix(
    entangler: Any, n_qubits: int, n_blocks: int, noise: NoiseModel, folds: int, seed: int
) -> None:
    weights, angles = _case(n_blocks, n_qubits, 1, seed)
    found = _head(weights, entangler, noise, cz_folds=folds).expectations(angles)
    expected = _braket(weights, entangler, noise, cz_folds=folds).expectations(angles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    n_qubits=st.integers(1, 7),
    n_blocks=st.integers(1, 2),
    noise=NOISES,
    folds=FOLDS,
    seed=st.integers(0, 2**32 - 1),
)
def test_three_ways_to_compute_agree(
    entangler: Any, n_qubits: int, n_blocks: int, noise: NoiseModel, folds: int, seed: int
) -> None:
    weights, angles = _case(n_blocks, n_qubits, 3, seed)
    circuit = NoisyCircuit(weights, entangler, noise, folds)
    table = pauli_probabilities(circuit, angles)
    assert table.min() > -TOLERANCE
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=0, atol=TOLERANCE)
    found = ring_probabilities(circuit, ring_sites(circuit), angles)
    np.testing.assert_allclose(found, table, rtol=0, atol=TOLERANCE)
    closed = NoisyLightcone(circuit).expectations(angles)
    np.testing.assert_allclose(closed, signed_sums(table, n_qubits), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_without_noise_it_is_the_state_vector(n_blocks: int) -> None:
    weights, angles = _case(n_blocks, 7)
    expected = StatevectorHead(weights=weights, entangler="ring").expectations(angles)
    for noise in (None, NoiseModel()):
        found = _head(weights, noise=noise).expectations(angles)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("n_blocks", "n_qubits"), [(1, 3), (2, 4), (3, 3)])
def test_it_equals_pennylane_default_mixed(n_blocks: int, n_qubits: int) -> None:
    import pennylane as qml

    weights, angles = _case(n_blocks, n_qubits, 1)

    def channels(rates: GateNoise, wire: int) -> None:
        qml.BitFlip(rates.bit_flip, wires=wire)
        qml.PhaseFlip(rates.phase_flip, wires=wire)
        qml.DepolarizingChannel(rates.depolarizing, wires=wire)
        qml.AmplitudeDamping(rates.amplitude_damping, wires=wire)
        qml.PhaseDamping(rates.phase_damping, wires=wire)

    def circuit() -> Any:
        for block in weights:
            for qubit in range(n_qubits):
                for gate in (angles[0, qubit], block[qubit]):
                    qml.Rot(*gate, wires=qubit)
                    channels(NOISE.one_qubit_gate, qubit)
            for pair in entangler_pairs(n_qubits, "ring"):
                qml.CZ(wires=pair)
                for qubit in pair:
                    channels(NOISE.two_qubit_gate, qubit)
        for qubit in range(n_qubits):  # right before a measurement, the channel of its wrong readouts
            qml.GeneralizedAmplitudeDamping(0.03 + 0.08, 0.08 / (0.03 + 0.08), wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(n_qubits)]

    expected = np.stack(qml.QNode(circuit, qml.device("default.mixed", wires=n_qubits))())
    noise = NOISE.model_copy(update={"readout": ReadoutNoise(p1_given_0=0.03, p0_given_1=0.08)})
    np.testing.assert_allclose(_head(weights, noise=noise).expectations(angles)[0], expected, rtol=0, atol=TOLERANCE)


def test_packaged_file_has_the_noise_of_brakets_and_gives_the_same() -> None:
    weights, angles = _case(2, 5)
    text = to_openqasm(weights, "ring")
    found, expected = (
        open_head(name, openqasm=text, weights=weights, entangler="ring", n_qubits=5, shots=None)
        for name in ("local_dm", "braket_local_dm")
    )
    assert (type(found), type(expected)) == (DensityMatrixHead, BraketLocalHead)
    assert found.accuracy == expected.accuracy == "noisy"
    np.testing.assert_allclose(found.expectations(angles), expected.expectations(angles), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_wrong_readouts_are_those_of_each_outcome(n_blocks: int) -> None:
    weights, angles = _case(n_blocks, 4)
    before = _head(weights).expectations(angles)
    readout = ReadoutNoise(p1_given_0=0.03, p0_given_1=0.08)
    found = _head(weights, noise=NOISE.model_copy(update={"readout": readout})).expectations(angles)
    zero = (1 + before) / 2 * (1 - 0.03) + (1 - before) / 2 * 0.08  # the probability of reading 0
    np.testing.assert_allclose(found, 2 * zero - 1, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_folded_cz_gates_are_the_same_circuit_without_noise_and_noisier_with_it(n_blocks: int) -> None:
    weights, angles = _case(n_blocks, 4)
    exact = StatevectorHead(weights=weights, entangler="ring").expectations(angles)
    np.testing.assert_allclose(
        _head(weights, noise=None, cz_folds=5).expectations(angles), exact, rtol=0, atol=TOLERANCE
    )
    noise = NoiseModel(two_qubit_gate=GateNoise(depolarizing=0.02))
    errors = [
        np.abs(_head(weights, noise=noise, cz_folds=folds).expectations(angles) - exact).max() for folds in (1, 3, 5)
    ]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("folds", [0, 2, -1, 11, 1.0, True])
def test_cz_folds_that_are_not_odd_are_refused(folds: Any) -> None:
    for make in (_head, _braket):
        with pytest.raises(ConfigError, match="`cz_folds` must be an odd number from 1 to 9"):
            make(np.zeros((1, 2, 3)), cz_folds=folds)


@pytest.mark.parametrize("n_blocks", [2, 3])
def test_prepared_bits_are_read_with_the_stated_mistakes_on_both_simulators(n_blocks: int) -> None:
    # One noisy gate makes a 1; no gate acts on a 0.
    readout = ReadoutNoise(p1_given_0=0.1, p0_given_1=0.3)
    noise = NoiseModel(one_qubit_gate=GateNoise(bit_flip=0.2), readout=readout)
    weights, shots = np.zeros((n_blocks, 3, 3)), 4000
    one_read = {0: 0.1, 1: 0.8 * 0.7 + 0.2 * 0.1}
    bits = np.array([[0, 1, 0], [1, 1, 0]])
    expected = np.vectorize(one_read.get)(bits)
    for head in (
        _head(weights, noise=noise, seed=0),
        _braket(weights, noise=noise, seed=0),
        _braket(weights, noise=noise),
    ):
        found = head.prepare(bits, shots).ones / shots
        # 5 standard deviations of a rate over `shots`
        assert np.all(np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / shots))


@pytest.mark.parametrize("bits", [np.zeros((1, 2)), np.zeros(3), np.zeros((0, 3))])
def test_bits_of_another_shape_are_refused(bits: Any) -> None:
    for make in (_head, _braket):
        with pytest.raises(ShapeError, match=r"`bits` must be \(M, 3\)"):
            make(np.zeros((1, 3, 3))).prepare(bits, 10)
        with pytest.raises(DataError, match="`bits` must be 0 or 1"):
            make(np.zeros((1, 3, 3))).prepare(np.array([[0, 2, 0]]), 10)


def test_pairs_of_qubits_are_counted_from_the_joint_distribution() -> None:
    weights, angles = _case(2, 3, 1)
    head = _head(weights, seed=0)
    table = ring_probabilities(head._circuit, ring_sites(head._circuit), angles)[0].reshape(2, 2, 2)
    counts, shots = head.sample(angles, 20_000), 20_000
    expected = np.array([[table[1].sum(), table[1, 1].sum(), table[1, :, 1].sum()]])
    # 5 standard deviations of a rate over `shots`
    assert np.all(np.abs(counts.both[0, 0] / shots - expected) <= 5 * np.sqrt(expected * (1 - expected) / shots))


def test_rotation_and_cz_are_those_of_the_operators() -> None:
    rng = np.random.default_rng(1)
    phi, theta, omega = angles = rng.uniform(-np.pi, np.pi, 3)
    cos, sin = np.cos(theta / 2), np.sin(theta / 2)
    turn = np.diag(np.exp([-0.5j * omega, 0.5j * omega])) @ [[cos, -sin], [sin, cos]]
    gate = turn @ np.diag(np.exp([-0.5j * phi, 0.5j * phi]))
    expected = np.einsum("iab,bc,jcd,da->ij", PAULIS, gate, PAULIS, gate.conj().T).real / 2
    np.testing.assert_allclose(rotation(angles), expected, rtol=0, atol=1e-14)
    cz, pairs = np.diag([1, 1, 1, -1]), np.stack([np.kron(a, b) for a in PAULIS for b in PAULIS])
    expected = np.einsum("iab,bc,jcd,da->ij", pairs, cz, pairs, cz).real / 4
    assert np.array_equal(sum(map(np.kron, *CZ_TERMS)), expected)


def test_channels_act_in_the_stated_order() -> None:
    # Damping last leaves z = g of what a bit flip has mixed; damping first would leave z = 0.
    found = channel(GateNoise(bit_flip=0.5, amplitude_damping=0.4)) @ [1, 0.3, 0.2, 0.7]
    np.testing.assert_allclose(found, [1, 0.3 * np.sqrt(0.6), 0, 0.4], rtol=0, atol=1e-15)


@pytest.mark.parametrize("n_qubits", [21, 500])
def test_wider_ring_equals_windows_of_its_own_ring(n_qubits: int) -> None:
    # <Z_i> depends on i and its neighbours, the noise on them, and on where the ring's last gate stands in
    # their order: a qubit in the middle is one in the middle of a ring of 5, and the first the first.
    weights, angles = _case(2, n_qubits, 1)
    found = _head(weights).expectations(angles)[0]
    for qubit, window, place in (
        (n_qubits // 2, [n_qubits // 2 + shift for shift in (-2, -1, 0, 1, 2)], 2),
        (0, [0, 1, 2, n_qubits - 2, n_qubits - 1], 0),
        (n_qubits - 1, [0, 1, n_qubits - 3, n_qubits - 2, n_qubits - 1], 4),
    ):
        expected = _braket(weights[:, window]).expectations(angles[:, window])[0, place]
        np.testing.assert_allclose(found[qubit], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("n_blocks", "n_qubits", "shots", "match"),
    [
        (3, 11, None, r"has 10 qubits for more than 2 blocks, the circuit needs 11 for 3: .*Use Braket's simulator"),
        (3, 11, 5, "has 10 qubits for more than 2 blocks"),
        (2, 21, 100, "`shots` take at most 20 qubits on local_dm, got 21: above that each <Z> is computed by itself"),
        (1, 1001, None, "local_dm has 1000 qubits, the circuit needs 1001"),
        (1, 2, 1_000_001, "`shots` must be 1 to 1000000 on local_dm"),
        (1, 2, 0, "`shots` must be a positive integer"),
        (1, 2, True, "`shots` must be a positive integer"),
    ],
)
def test_what_it_cannot_do_is_refused_at_once(n_blocks: int, n_qubits: int, shots: Any, match: str) -> None:
    with pytest.raises(DeviceError, match=match):
        _head(np.zeros((n_blocks, n_qubits, 3)), shots=shots)


def test_weights_and_entangler_that_are_wrong_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"`weights` must be \(n_blocks, n_qubits, 3\)"):
        _head(np.zeros((2, 3)))
    with pytest.raises(DataError, match="`weights` must be finite"):
        _head(np.full((1, 2, 3), np.nan))
    with pytest.raises(ConfigError, match="`entangler` must be one of ring, chain, none, got 'star'"):
        _head(np.zeros((1, 2, 3)), "star")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at most 2 blocks, got 3"):
        NoisyLightcone(NoisyCircuit(np.zeros((3, 2, 3)), "ring", NOISE))


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("split", [1, 3, 7, 20])
def test_seeded_shots_do_not_depend_on_how_samples_are_split(
    n_blocks: int, split: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, angles = _case(n_blocks, 4, 20)
    whole = _head(weights, shots=77, seed=3).expectations(angles)
    monkeypatch.setattr("sqdr.deploy.heads.density_matrix.MAX_BATCH_NUMBERS", 2**9)  # batches of two
    head = _head(weights, shots=77, seed=3)
    parts = [head.expectations(angles[start : start + split]) for start in range(0, 20, split)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert (head.report().n_circuits, head.report().n_shots) == (20, 20 * 77)
    assert head.report().cost_usd == Decimal(0)


def test_seed_decides_the_shots_and_no_seed_draws_afresh() -> None:
    weights, angles = _case(2, 3, 20)
    drawn = [_head(weights, shots=100, seed=seed).expectations(angles) for seed in (1, 1, 2, None, None)]
    assert np.array_equal(drawn[0], drawn[1])
    for first, second in ((0, 2), (3, 4), (0, 3)):
        assert np.any(drawn[first] != drawn[second])


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_seeded_shots_are_those_of_the_seeded_braket_head(n_blocks: int, entangler: Any) -> None:
    # Both draw from the same joint probabilities with the same generator; they differ by rounding, which
    # decides about a draw with a chance of about 1e-14.
    weights, angles = _case(n_blocks, 4, 3)
    found = _head(weights, entangler, shots=500, seed=11)
    assert found.accuracy == "noisy"
    expected = _braket(weights, entangler, shots=500, seed=11).expectations(angles)
    # the counts are equal, and divided in another order
    np.testing.assert_allclose(found.expectations(angles), expected, rtol=0, atol=TOLERANCE)


def test_shots_follow_the_noisy_joint_distribution() -> None:
    # A Bell pair of which every CZ depolarizes both qubits by 1 - 4p/3, twice: Z Z is correlated by the fourth
    # power. The first CZ acts before the pair is turned back, the second on Z Z itself.
    p = 0.1
    noise = NoiseModel(two_qubit_gate=GateNoise(depolarizing=p))
    weights = np.array([[[0, np.pi / 2, 0], [0, np.pi / 2, 0]], [[0, 0, 0], [0, -np.pi / 2, 0]]])
    found = _head(weights, noise=noise, shots=1, seed=5).expectations(np.zeros((20_000, 2, 3)))
    assert set(np.unique(found)) == {-1.0, 1.0}
    # 4 sigma of a mean over 20,000 draws of +-1
    assert abs((found[:, 0] * found[:, 1]).mean() - (1 - 4 * p / 3) ** 4) < 4 / np.sqrt(20_000)
    assert abs(found[:, 0].mean()) < 4 / np.sqrt(20_000)


@pytest.mark.parametrize(
    ("n_blocks", "n_qubits", "n_samples", "shots", "bound"),
    [
        # 2^9 outcomes of each are 41 MB, and 10,000 x 9 matrices 4 x 4 are 12 MB; one batch is 1 MiB.
        (2, 9, 10_000, None, 10e6),
        (2, 9, 10_000, 10, 10e6),
        # 4^8 numbers of each are 21 MB; a batch is 1 MiB.
        (3, 8, 40, None, 10e6),
    ],
)
def test_memory_stays_bounded_whatever_the_number_of_samples(
    n_blocks: int, n_qubits: int, n_samples: int, shots: int | None, bound: float
) -> None:
    weights, angles = _case(n_blocks, n_qubits, n_samples)
    head = _head(weights, shots=shots, seed=0)
    head.expectations(angles[:1])
    tracemalloc.start()
    try:
        head.expectations(angles)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bound


def test_it_needs_neither_pennylane_nor_braket_nor_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('pennylane', 'braket', 'boto3', 'botocore', 'torch', 'lava'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "from sqdr.deploy.heads import open_head\n"
        "from sqdr.openqasm import to_openqasm\n"
        "weights = np.zeros((1, 1, 3))\n"
        "head = open_head('local_dm', openqasm=to_openqasm(weights, 'ring'), weights=weights, entangler='ring',\n"
        "                 n_qubits=1, shots=None)\n"
        "print(np.round(head.expectations(np.zeros((1, 1, 3))), 6).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    kept = (1 - 2 * 0.0005) * (1 - 4 * 0.001 / 3) * (1 - 0.0005)  # of Z, for each of two gates
    before = (kept + 0.0005) * kept + 0.0005
    expected = before * (1 - 0.01 - 0.02) + 0.02 - 0.01  # wrong readouts
    assert (done.stdout, done.stderr) == (f"[[{round(expected, 6)}]]\n", "")
