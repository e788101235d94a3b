"""The exported text: the same bytes everywhere, fused gates, and the circuit that the QNode defines."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sqdr.openqasm
from sqdr.circuit import entangler_pairs, qnode
from sqdr.deploy.heads.devices import open_head
from sqdr.openqasm import to_openqasm

ENTANGLERS = ("ring", "chain", "none")
# float64 on both sides, some hundred gates: rounding stays below 1e-13
TOLERANCE = 1e-10
OTHER_PYTHONS = tuple(f"python3.{minor}" for minor in range(10, 14))
# Angles that are easily written in more than one way.
AWKWARD = [0.1, -0.0, 5e-324, 1e16, 1e22, -1.7976931348623157e308, 2 / 3, 1e-5]

# The numbers travel as hexadecimal text, which no rounding touches.
WRITE = """
import sys
import numpy as np
from sqdr.openqasm import to_openqasm
weights = np.array([float.fromhex(value) for value in sys.argv[1:]]).reshape(2, 4, 3)
sys.stdout.write(to_openqasm(weights, "ring", 3) + to_openqasm(weights, "chain", 1))
"""
# All that the module asks of numpy is an annotation; an interpreter without numpy gets this in its place.
NUMPY_STAND_IN = {
    "numpy/__init__.py": """
float64 = float

class array:
    def __init__(self, values):
        self.values = values

    def reshape(self, *shape):
        self.shape = shape
        return self

    def __getitem__(self, index):
        return self.values[(index[0] * self.shape[1] + index[1]) * self.shape[2] + index[2]]
""",
    "numpy/typing.py": "NDArray = list\n",
}


def _weights() -> list[float]:
    return [*np.random.RandomState(5).normal(size=24 - len(AWKWARD)).tolist(), *AWKWARD]


def _expected() -> bytes:
    weights = np.array(_weights()).reshape(2, 4, 3)
    return (to_openqasm(weights, "ring", 3) + to_openqasm(weights, "chain", 1)).encode("ascii")


def _write(python: str, *, hash_seed: str = "0", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [python, "-W", "ignore", "-c", WRITE, *(value.hex() for value in _weights())],
        env=os.environ | {"PYTHONHASHSEED": hash_seed} | environment,
        check=False,
        capture_output=True,
        timeout=60,
    )


def _statements(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"U\(|r[xyz]\(|cz ", line)]


def test_bytes_are_the_same_in_every_process() -> None:
    written = [_write(sys.executable, hash_seed=seed) for seed in ("0", "1", "12345")]
    assert [done.returncode for done in written] == [0, 0, 0]
    assert {done.stdout for done in written} == {_expected()}


@pytest.mark.parametrize("name", OTHER_PYTHONS)
def test_bytes_are_the_same_on_every_python(name: str, tmp_path: Path) -> None:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH")
    # where the name is one of pyenv's shims, this says which version it stands for
    environment = {"PYENV_VERSION": name.removeprefix("python"), "PYTHONDONTWRITEBYTECODE": "1"}
    probe = subprocess.run(
        [found, "-c", "import numpy"], env=os.environ | environment, capture_output=True, check=False, timeout=60
    )
    if probe.returncode and b"numpy" not in probe.stderr:
        pytest.skip(f"{found} does not start: {probe.stderr.decode(errors='replace').strip()[:200]}")
    source = tmp_path / "source"
    if probe.returncode:
        for file, text in NUMPY_STAND_IN.items():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_text(text, encoding="utf-8")
    package = Path(sqdr.openqasm.__file__).parent
    shutil.copytree(package, source / "sqdr", ignore=shutil.ignore_patterns("__pycache__"))
    done = _write(found, PYTHONPATH=str(source), **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == _expected()


@pytest.mark.parametrize(
    ("features", "upload"),
    [
        (3, ["U(x_0_1, x_0_2, x_0_0) q[0];", "U(x_1_1, x_1_2, x_1_0) q[1];"]),
        (1, ["ry(x_0_1) q[0];", "ry(x_1_1) q[1];"]),
    ],
)
def test_text_of_a_small_circuit(features: Any, upload: list[str]) -> None:
    weights = np.array([[[0.5, -1.0, 1e-7], [2.0, 1e22, -0.0]]])
    lines = to_openqasm(weights, "ring", features).splitlines()
    assert lines[0] == "OPENQASM 3.0;"
    assert lines[-6:] == [
        "qubit[2] q;",
        upload[0],
        "U(-1.0, 1e-07, 0.5) q[0];",
        upload[1],
        "U(1e+22, -0.0, 2.0) q[1];",
        "cz q[0], q[1];",
    ]
    inputs = [f"input float x_{qubit}_{k};" for qubit in range(2) for k in ((1,) if features == 1 else range(3))]
    assert lines[1:-6] == inputs


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(1, 1), (2, 2), (9, 2), (5, 4)])
def test_each_block_has_two_gates_a_qubit_and_the_entangler(
    entangler: Any, features: Any, n_qubits: int, n_blocks: int
) -> None:
    text = to_openqasm(np.ones((n_blocks, n_qubits, 3)), entangler, features)
    found = _statements(text)
    n_pairs = len(entangler_pairs(n_qubits, entangler))
    assert len(found) == n_blocks * (2 * n_qubits + n_pairs)
    assert sum(line.startswith("cz ") for line in found) == n_blocks * n_pairs
    # the header, the inputs and the register are all that is left
    assert len(text.splitlines()) == len(found) + 2 + features * n_qubits


def test_numbers_read_back_equal() -> None:
    weights = np.array(_weights()).reshape(2, 4, 3)
    trained = [line for line in _statements(to_openqasm(weights, "none", 1)) if line.startswith("U(")]
    found = np.array([[float(number) for number in line[2 : line.index(")")].split(", ")] for line in trained])
    # U(theta, phi, lambda) holds Rot's (middle, last, first)
    expected = weights[..., [1, 2, 0]].reshape(-1, 3)
    assert np.array_equal(found, expected)
    assert np.array_equal(np.signbit(found), np.signbit(expected))


def test_float32_weights_are_written_as_the_numbers_they_are() -> None:
    weights = np.random.RandomState(1).normal(size=(1, 2, 3)).astype(np.float32)
    assert to_openqasm(weights, "ring") == to_openqasm(weights.astype(np.float64), "ring")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    features=st.sampled_from([1, 3]),
    n_qubits=st.integers(1, 6),
    n_blocks=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_braket_runs_it_as_the_qnode_does(
    entangler: Any, features: Any, n_qubits: int, n_blocks: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    weights = random.uniform(-np.pi, np.pi, size=(n_blocks, n_qubits, 3))
    angles = random.uniform(-np.pi, np.pi, size=(2, n_qubits, 3))
    if features == 1:
        angles[:, :, [0, 2]] = 0
    node = qnode(qml.device("default.qubit", wires=n_qubits), entangler)
    expected = np.array([node(sample, weights) for sample in angles])
    with open_head(
        "local:braket-sv",
        openqasm=to_openqasm(weights, entangler, features),
        weights=weights,
        entangler=entangler,
        n_qubits=n_qubits,
        shots=None,
    ) as head:
        assert np.abs(head.expectations(angles) - expected).max() < TOLERANCE


def test_one_gate_is_rot_up_to_a_global_phase() -> None:
    from braket.default_simulator.gate_operations import U

    phi, theta, omega = 0.3, 1.1, -2.0
    text = to_openqasm(np.array([[[phi, theta, omega]]]), "none", 1)
    (line,) = [line for line in _statements(text) if line.startswith("U(")]
    fused = U([0], *(float(number) for number in line[2 : line.index(")")].split(", ")))._base_matrix
    overlap = np.trace(qml.Rot.compute_matrix(phi, theta, omega).conj().T @ fused) / 2
    np.testing.assert_allclose(abs(overlap), 1, rtol=0, atol=TOLERANCE)


def test_parsers_of_the_sdk_read_it() -> None:
    from braket.circuits import Circuit
    from braket.ir.openqasm import Program

    text = to_openqasm(np.ones((2, 3, 3)), "ring")
    inputs = {f"x_{qubit}_{k}": 0.5 for qubit in range(3) for k in range(3)}
    program = Program(source=text, inputs=inputs)
    assert Program.parse_raw(program.json()) == program
    names = [instruction.operator.name for instruction in Circuit.from_ir(text, inputs=inputs).instructions]
    assert (names.count("U"), names.count("CZ"), len(names)) == (12, 6, 18)


def test_reference_parser_of_openqasm_reads_it() -> None:
    parser = pytest.importorskip("openqasm3.parser")
    program = parser.parse(to_openqasm(np.ones((2, 3, 3)), "ring"))
    kinds = [type(statement).__name__ for statement in program.statements]
    assert (kinds.count("QuantumGate"), kinds.count("IODeclaration"), len(kinds)) == (18, 9, 28)


@pytest.mark.parametrize("features", [1, 3])
def test_qiskit_runs_it_as_the_qnode_does(features: Any) -> None:
    qasm3 = pytest.importorskip("qiskit.qasm3")
    pytest.importorskip("qiskit_qasm3_import")
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    random = np.random.default_rng(4)
    weights, angles = random.normal(size=(2, 3, 3)), random.normal(size=(3, 3))
    if features == 1:
        angles[:, [0, 2]] = 0
    # Qiskit has ry and cz in a file, which Braket has not.
    text = to_openqasm(weights, "ring", features).replace("3.0;\n", '3.0;\ninclude "stdgates.inc";\n', 1)
    circuit = qasm3.loads(text)
    inputs = {name: float(angles[int(name.name[2]), int(name.name[4])]) for name in circuit.parameters}
    assert len(inputs) == 3 * features
    table = quantum_info.Statevector(circuit.assign_parameters(inputs)).probabilities().reshape(2, 2, 2)
    # Qiskit's first qubit is the last axis
    found = [np.subtract(*np.moveaxis(table, 2 - qubit, 0).sum(axis=(1, 2))) for qubit in range(3)]
    expected = qnode(qml.device("default.qubit", wires=3), "ring")(angles, weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
