"""The text of the exported circuit: what is read of it, and its spelling for devices without its gates."""

from typing import Any

import numpy as np
import pytest

from sqdr.circuit import qnode
from sqdr.deploy.heads import BraketLocalHead
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import BundleError
from sqdr.hw_configs import BraketLocal
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

RNG = np.random.default_rng(5)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
# Both sides compute in double precision.
TOLERANCE = 1e-10


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


@pytest.mark.parametrize("features", [1, 3])
def test_spelling_of_each_gate(features: Any) -> None:
    weights = np.array([[[0.5, -1.0, 1e-7], [2.0, 3.0, -0.0]]])
    program = ReuploadProgram.from_text(to_openqasm(weights, "chain", features))
    upload = ["ry(x_0_1) q[0];"] if features == 1 else ["rz(x_0_0) q[0];", "ry(x_0_1) q[0];", "rz(x_0_2) q[0];"]
    spelled = program.spelled_for(["rz", "ry", "h", "cnot"])
    lines = spelled.source.splitlines()
    assert lines[2 + 2 * features :] == [
        *upload,
        *("rz(0.5) q[0];", "ry(-1.0) q[0];", "rz(1e-07) q[0];"),
        *(line.replace("x_0", "x_1").replace("q[0]", "q[1]") for line in upload),
        *("rz(2.0) q[1];", "ry(3.0) q[1];", "rz(-0.0) q[1];"),
        *("h q[1];", "cnot q[0], q[1];", "h q[1];"),
    ]
    assert (spelled.n_qubits, spelled.inputs) == (program.n_qubits, program.inputs)
    assert spelled.gates == {"rz", "ry", "h", "cnot"}
    assert spelled.spelled_for(["rz", "ry", "h", "cnot"]) == spelled


def test_spelling_changes_nothing_that_the_device_lists() -> None:
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, "ring"))
    for operations in (["u", "cz"], ["CZ", "U", "rx"], program.gates):
        assert program.spelled_for(operations) == program


def test_spelling_does_not_depend_on_the_order_of_the_list() -> None:
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, "ring"))
    lists = (["rz", "ry", "cz"], ["cz", "ry", "rz"], ("ry", "cz", "rz", "x"), {"rz": 1, "ry": 1, "cz": 1})
    assert len({program.spelled_for(operations).source for operations in lists}) == 1


def test_gate_without_another_spelling_stays_for_the_caller_to_see() -> None:
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, "ring"))
    assert program.gates == {"U", "cz"}
    assert program.spelled_for(["prx"]).gates == {"rz", "ry", "h", "cnot"}


@pytest.mark.parametrize("gate", ["U(1.0) q[0];", "U(1, 2, 3, 4) q[0];", "U(f(1, 2), 3) q[0];", "cz(1) q[0], q[1];"])
def test_spelling_refuses_a_gate_that_the_exporter_does_not_write(gate: str) -> None:
    program = ReuploadProgram.from_text(f"qubit[2] q;\n{gate}\n")
    with pytest.raises(BundleError, match=r"must have [03] plain arguments\. Export the bundle again"):
        program.spelled_for(["rz", "ry", "h", "cnot"])


@pytest.mark.parametrize("entangler", ["ring", "chain", "none"])
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("operations", [["rz", "ry", "cz"], ["rz", "ry", "h", "cnot"]], ids=str)
def test_spelled_program_is_the_circuit(entangler: Any, features: Any, operations: list[str]) -> None:
    import pennylane as qml

    angles = ANGLES if features == 3 else ANGLES * [0, 1, 0]
    program = ReuploadProgram.from_text(to_openqasm(WEIGHTS, entangler, features)).spelled_for(operations)
    circuit = qnode(qml.device("default.qubit", wires=3), entangler)
    expected = np.array([np.stack(circuit(sample, WEIGHTS)) for sample in angles])
    hardware = packaged_hardware("braket_local_sv")
    assert isinstance(hardware, BraketLocal)
    found = BraketLocalHead(program.source, hardware).expectations(angles)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_program_ignores_comments_and_reads_sized_floats() -> None:
    text = "OPENQASM 3.0; /* measure */\n// bit\ninput float[64] x_0_1;\nqubit[1] q;\nry(x_0_1) q[0];\n"
    program = ReuploadProgram.from_text(text)
    assert (program.n_qubits, program.inputs) == (1, (("x_0_1", 0, 1),))


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("entangler", ["ring", "chain", "none"])
def test_last_cz_gates_change_no_probability(n_blocks: int, entangler: Any) -> None:
    weights = RNG.uniform(-np.pi, np.pi, (n_blocks, 3, 3))
    program = ReuploadProgram.from_text(to_openqasm(weights, entangler))
    trimmed = program.without_last_cz()
    n_pairs = {"ring": 3, "chain": 2, "none": 0}[entangler]
    assert program.source.count("cz ") - trimmed.source.count("cz ") == n_pairs
    assert trimmed.source.count("cz ") == n_pairs * (n_blocks - 1)
    assert program.source.startswith(trimmed.source)
    for angles in ANGLES:
        first, second = (_probabilities(each, angles) for each in (program, trimmed))
        np.testing.assert_allclose(first, second, rtol=0, atol=TOLERANCE)


def _probabilities(program: ReuploadProgram, angles: np.ndarray) -> np.ndarray:
    from braket.devices import LocalSimulator
    from braket.ir.openqasm import Program

    text = Program(source=program.with_probabilities(), inputs=program.bind(angles))
    return np.asarray(LocalSimulator().run(text, shots=0).result().values[0])
