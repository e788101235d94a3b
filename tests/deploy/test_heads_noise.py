"""The noise model: where its channels stand, and that two independent simulators agree on them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.circuit import entangler_pairs
from sqdr.deploy.heads import BraketLocalHead
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import BundleError
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

NOISE = NoiseModel(
    one_qubit_gate=GateNoise(bit_flip=0.01, depolarizing=0.02, amplitude_damping=0.03),
    two_qubit_gate=GateNoise(bit_flip=0.04, depolarizing=0.05, amplitude_damping=0.06),
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


def _head(noise: NoiseModel | None, **options: Any) -> BraketLocalHead:
    return BraketLocalHead(to_openqasm(WEIGHTS, "ring"), _hardware(noise), **options)


def _channels(qml: Any, rates: GateNoise, wire: int) -> None:
    qml.BitFlip(rates.bit_flip, wires=wire)
    qml.DepolarizingChannel(rates.depolarizing, wires=wire)
    qml.AmplitudeDamping(rates.amplitude_damping, wires=wire)


def _by_pennylane(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    import pennylane as qml

    def circuit() -> Any:
        for block in WEIGHTS:
            for qubit in range(3):
                for rotation in (angles[qubit], block[qubit]):
                    for gate, angle in zip((qml.RZ, qml.RY, qml.RZ), rotation, strict=True):
                        gate(angle, wires=qubit)
                        _channels(qml, NOISE.one_qubit_gate, qubit)
            for pair in entangler_pairs(3, "ring"):
                qml.CZ(wires=pair)
                for qubit in pair:
                    _channels(qml, NOISE.two_qubit_gate, qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(3)]

    return np.stack(qml.QNode(circuit, qml.device("default.mixed", wires=3))())


def test_noise_equals_pennylane_default_mixed() -> None:
    expected = np.stack([_by_pennylane(sample) for sample in ANGLES])
    np.testing.assert_allclose(_head(NOISE).expectations(ANGLES), expected, rtol=0, atol=TOLERANCE)


def test_noise_equals_noise_model_of_the_sdk() -> None:
    from braket.circuits import Circuit, Gate, noises
    from braket.circuits.noise_model import GateCriteria
    from braket.circuits.noise_model import NoiseModel as SdkNoiseModel
    from braket.devices import LocalSimulator

    model = SdkNoiseModel()
    for rates, gates in ((NOISE.one_qubit_gate, [Gate.Rz, Gate.Ry]), (NOISE.two_qubit_gate, [Gate.CZ])):
        model.add_noise(noises.BitFlip(rates.bit_flip), GateCriteria(gates))
        model.add_noise(noises.Depolarizing(rates.depolarizing), GateCriteria(gates))
        model.add_noise(noises.AmplitudeDamping(rates.amplitude_damping), GateCriteria(gates))
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, "ring"))
    circuit = model.apply(Circuit.from_ir(program.source, inputs=program.bind(ANGLES[0])))
    circuit.probability()
    table = np.reshape(LocalSimulator("braket_dm").run(circuit, shots=0).result().values[0], (2, 2, 2))
    expected = [np.subtract(*np.moveaxis(table, qubit, 0).sum(axis=(1, 2))) for qubit in range(3)]
    np.testing.assert_allclose(_head(NOISE).expectations(ANGLES[:1])[0], expected, rtol=0, atol=TOLERANCE)


def test_noise_lowers_expectations_and_zero_noise_does_not() -> None:
    clean, zero, noisy = (_head(noise).expectations(ANGLES) for noise in (None, NoiseModel(), NOISE))
    np.testing.assert_allclose(zero, clean, rtol=0, atol=TOLERANCE)
    assert np.mean(np.abs(noisy)) < np.mean(np.abs(clean))


def test_depolarizing_shrinks_each_expectation_by_its_closed_form() -> None:
    # One block is six one-qubit gates a qubit, then CZ, which leaves <Z> alone. A depolarizing
    # channel of probability p scales the Bloch vector by 1 - 4p/3 and commutes with the rotations.
    text, p = to_openqasm(WEIGHTS[:1], "ring"), 0.05
    clean = BraketLocalHead(text, _hardware(None)).expectations(ANGLES)
    noise = NoiseModel(one_qubit_gate=GateNoise(depolarizing=p))
    found = BraketLocalHead(text, _hardware(noise)).expectations(ANGLES)
    np.testing.assert_allclose(found, clean * (1 - 4 * p / 3) ** 6, rtol=0, atol=TOLERANCE)


def test_noisy_head_says_so_and_its_shots_lie_within_5_sigma() -> None:
    exact, shots = _head(NOISE).expectations(ANGLES), 2000
    for seed in (None, 3):
        head = _head(NOISE, shots=shots, seed=seed)
        assert head.accuracy == "noisy"
        # The variance of a mean of +-1 is (1 - z^2) / shots; beyond 5 sigma once in 2 million.
        bound = 5 * np.sqrt((1 - exact**2) / shots)
        assert np.all(np.abs(head.expectations(ANGLES) - exact) <= bound)


def test_with_noise_puts_channels_after_each_gate_in_the_stated_order() -> None:
    text = "OPENQASM 3.0;\ninput float x_0_1;\nqubit[2] q;\nry(x_0_1) q[0]; rz(-1.5e-3) q[1];\ncz q[0], q[1];\n"
    noise = NoiseModel(
        one_qubit_gate=GateNoise(bit_flip=0.1, amplitude_damping=0.2),
        two_qubit_gate=GateNoise(depolarizing=0.3),
    )
    lines = ReuploadProgram.from_text(text).with_noise(noise).source.splitlines()
    assert [line.strip() for line in lines[3:] if line.strip()] == [
        "ry(x_0_1) q[0];",
        "#pragma braket noise bit_flip(0.1) q[0]",
        "#pragma braket noise amplitude_damping(0.2) q[0]",
        "rz(-1.5e-3) q[1];",
        "#pragma braket noise bit_flip(0.1) q[1]",
        "#pragma braket noise amplitude_damping(0.2) q[1]",
        "cz q[0], q[1];",
        "#pragma braket noise depolarizing(0.3) q[0]",
        "#pragma braket noise depolarizing(0.3) q[1]",
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "one register"),
        ("qubit[0] q;", "one register"),
        ("qubit[2] q; qubit[2] q;", "one register"),
        ("qubit[2] r;", "one register"),
        ("// qubit[2] q;", "one register"),
        ("qubit[2] q; bit[2] b;", "no measurement"),
        ("qubit[2] q; b[0] = measure q[0];", "no measurement"),
        ("qubit[2] q;\n#pragma braket result probability all\n", "no pragma"),
        ("input float theta; qubit[2] q;", "input `theta` must be"),
        ("input float x_2_1; qubit[2] q;", "input `x_2_1` must be .* below 2"),
        ("input float x_0_3; qubit[2] q;", "input `x_0_3` must be"),
    ],
)
def test_program_rejects_text_that_the_exporter_does_not_write(text: str, match: str) -> None:
    with pytest.raises(BundleError, match=match):
        ReuploadProgram.from_text(text)


def test_program_ignores_comments_and_reads_sized_floats() -> None:
    text = "OPENQASM 3.0; /* measure */\n// bit\ninput float[64] x_0_1;\nqubit[1] q;\nry(x_0_1) q[0];\n"
    program = ReuploadProgram.from_text(text)
    assert (program.n_qubits, program.inputs) == (1, (("x_0_1", 0, 1),))
