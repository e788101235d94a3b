"""The noise model: where its channels stand, and that two independent simulators agree on them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.circuit import entangler_pairs
from sqdr.deploy.heads import BraketLocalHead
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

NOISE = NoiseModel(
    one_qubit_gate=GateNoise(
        bit_flip=0.01, phase_flip=0.015, depolarizing=0.02, amplitude_damping=0.03, phase_damping=0.035
    ),
    two_qubit_gate=GateNoise(
        bit_flip=0.04, phase_flip=0.045, depolarizing=0.05, amplitude_damping=0.06, phase_damping=0.065
    ),
)
RNG = np.random.default_rng(5)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
# Both sides compute in double precision.
TOLERANCE = 1e-10


def _hardware(noise: NoiseModel | None) -> BraketLocal:
    hardware = packaged_hardware("braket_local_dm")
    assert isinstance(hardware, BraketLocal)
    return hardware.model_copy(update={"noise": noise})


def _head(noise: NoiseModel | None, features: Any = 3, **options: Any) -> BraketLocalHead:
    return BraketLocalHead(to_openqasm(WEIGHTS, "ring", features), _hardware(noise), **options)


def _angles(features: int) -> NDArray[np.float64]:
    return ANGLES if features == 3 else ANGLES * [0, 1, 0]


def _channels(qml: Any, rates: GateNoise, wire: int) -> None:
    qml.BitFlip(rates.bit_flip, wires=wire)
    qml.PhaseFlip(rates.phase_flip, wires=wire)
    qml.DepolarizingChannel(rates.depolarizing, wires=wire)
    qml.AmplitudeDamping(rates.amplitude_damping, wires=wire)
    qml.PhaseDamping(rates.phase_damping, wires=wire)


def _by_pennylane(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    import pennylane as qml

    def circuit() -> Any:
        for block in WEIGHTS:
            for qubit in range(3):
                for rotation in (angles[qubit], block[qubit]):
                    qml.Rot(*rotation, wires=qubit)
                    _channels(qml, NOISE.one_qubit_gate, qubit)
            for pair in entangler_pairs(3, "ring"):
                qml.CZ(wires=pair)
                for qubit in pair:
                    _channels(qml, NOISE.two_qubit_gate, qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(3)]

    return np.stack(qml.QNode(circuit, qml.device("default.mixed", wires=3))())


@pytest.mark.parametrize("features", [1, 3])
def test_noise_equals_pennylane_default_mixed(features: int) -> None:
    angles = _angles(features)
    expected = np.stack([_by_pennylane(sample) for sample in angles])
    np.testing.assert_allclose(_head(NOISE, features).expectations(angles), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("operations", [None, ["rz", "ry", "cz"], ["rz", "ry", "h", "cnot"]], ids=str)
def test_noise_equals_noise_model_of_the_sdk(features: Any, operations: list[str] | None) -> None:
    from braket.circuits import Circuit, Gate, noises
    from braket.circuits.noise_model import GateCriteria
    from braket.circuits.noise_model import NoiseModel as SdkNoiseModel
    from braket.devices import LocalSimulator

    model = SdkNoiseModel()
    one_qubit, two_qubit = [Gate.U, Gate.Rz, Gate.Ry, Gate.H], [Gate.CZ, Gate.CNot]
    for rates, gates in ((NOISE.one_qubit_gate, one_qubit), (NOISE.two_qubit_gate, two_qubit)):
        model.add_noise(noises.BitFlip(rates.bit_flip), GateCriteria(gates))
        model.add_noise(noises.PhaseFlip(rates.phase_flip), GateCriteria(gates))
        model.add_noise(noises.Depolarizing(rates.depolarizing), GateCriteria(gates))
        model.add_noise(noises.AmplitudeDamping(rates.amplitude_damping), GateCriteria(gates))
        model.add_noise(noises.PhaseDamping(rates.phase_damping), GateCriteria(gates))
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, "ring", features))
    if operations is not None:
        program = program.spelled_for(operations)
    inputs = program.bind(_angles(features)[0])
    circuit = model.apply(Circuit.from_ir(program.source, inputs=inputs))
    channels = [item for item in circuit.instructions if item.operator.name in ("BitFlip", "Depolarizing")]
    circuit.probability()
    table = np.reshape(LocalSimulator("braket_dm").run(circuit, shots=0).result().values[0], (2, 2, 2))
    expected = [np.subtract(*np.moveaxis(table, qubit, 0).sum(axis=(1, 2))) for qubit in range(3)]
    noisy = program.with_noise(NOISE).source
    assert noisy.count("bit_flip") + noisy.count("depolarizing") == len(channels) > 0
    found = BraketLocalHead(program.source, _hardware(NOISE)).expectations(_angles(features)[:1])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_noise_lowers_expectations_and_zero_noise_does_not() -> None:
    clean, zero, noisy = (_head(noise).expectations(ANGLES) for noise in (None, NoiseModel(), NOISE))
    np.testing.assert_allclose(zero, clean, rtol=0, atol=TOLERANCE)
    assert np.mean(np.abs(noisy)) < np.mean(np.abs(clean))


@pytest.mark.parametrize(
    ("features", "is_fused", "n_gates"), [(3, True, 2), (1, True, 2), (3, False, 6), (1, False, 4)]
)
def test_depolarizing_shrinks_each_expectation_once_per_gate_of_the_text(
    features: Any, is_fused: bool, n_gates: int
) -> None:
    # One block is n_gates one-qubit gates a qubit, then CZ, which leaves <Z> alone. A depolarizing
    # channel of probability p scales the Bloch vector by 1 - 4p/3 and commutes with the rotations.
    p = 0.05
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS[:1], "ring", features))
    if not is_fused:
        program = program.spelled_for(["rz", "ry", "cz"])
    noise = NoiseModel(one_qubit_gate=GateNoise(depolarizing=p))
    angles = _angles(features)
    clean = BraketLocalHead(program.source, _hardware(None)).expectations(angles)
    found = BraketLocalHead(program.source, _hardware(noise)).expectations(angles)
    np.testing.assert_allclose(found, clean * (1 - 4 * p / 3) ** n_gates, rtol=0, atol=TOLERANCE)


def test_noisy_head_says_so_and_its_shots_lie_within_5_sigma() -> None:
    exact, shots = _head(NOISE).expectations(ANGLES), 2000
    for seed in (None, 3):
        head = _head(NOISE, shots=shots, seed=seed)
        assert head.accuracy == "noisy"
        # The variance of a mean of +-1 is (1 - z^2) / shots; beyond 5 sigma once in 2 million.
        bound = 5 * np.sqrt((1 - exact**2) / shots)
        assert np.all(np.abs(head.expectations(ANGLES) - exact) <= bound)


def test_with_noise_puts_channels_after_each_gate_in_the_stated_order() -> None:
    gates = "ry(x_0_1) q[0]; U(-1.5e-3, x_0_1, 2.0) q[1];\ncz q[0], q[1];\n"
    text = "OPENQASM 3.0;\ninput float x_0_1;\nqubit[2] q;\n" + gates
    noise = NoiseModel(
        one_qubit_gate=GateNoise(bit_flip=0.1, amplitude_damping=0.2),
        two_qubit_gate=GateNoise(phase_damping=0.4, depolarizing=0.3, phase_flip=0.5),
    )
    lines = ReuploadProgram.from_text(text).with_noise(noise).source.splitlines()
    assert [line.strip() for line in lines[3:] if line.strip()] == [
        "ry(x_0_1) q[0];",
        "#pragma braket noise bit_flip(0.1) q[0]",
        "#pragma braket noise amplitude_damping(0.2) q[0]",
        "U(-1.5e-3, x_0_1, 2.0) q[1];",
        "#pragma braket noise bit_flip(0.1) q[1]",
        "#pragma braket noise amplitude_damping(0.2) q[1]",
        "cz q[0], q[1];",
        "#pragma braket noise phase_flip(0.5) q[0]",
        "#pragma braket noise depolarizing(0.3) q[0]",
        "#pragma braket noise phase_damping(0.4) q[0]",
        "#pragma braket noise phase_flip(0.5) q[1]",
        "#pragma braket noise depolarizing(0.3) q[1]",
        "#pragma braket noise phase_damping(0.4) q[1]",
    ]
