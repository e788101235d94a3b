import os
import subprocess
import sys

import numpy as np
import pennylane as qml
import pytest

from sqdr.circuit import qnode
from sqdr.deploy.heads.devices import open_head
from sqdr.openqasm import to_openqasm

PROGRAM = """
import numpy as np
from sqdr.openqasm import to_openqasm
weights = np.random.RandomState(5).normal(size=(2, 4, 3))
print(to_openqasm(weights, "ring"), end="")
"""


def test_bytes_are_the_same_in_every_process() -> None:
    texts = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(texts) == 1
    weights = np.random.RandomState(5).normal(size=(2, 4, 3))
    assert texts == {to_openqasm(weights, "ring").encode()}


def test_one_feature_per_qubit_has_one_input_per_qubit() -> None:
    text = to_openqasm(np.zeros((2, 3, 3)), "ring", 1)
    assert [line for line in text.splitlines() if line.startswith("input")] == [
        f"input float x_{qubit}_1;" for qubit in range(3)
    ]


@pytest.mark.parametrize("entangler", ["ring", "chain", "none"])
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(1, 1), (2, 2), (5, 3)])
def test_braket_runs_it_as_the_qnode_does(entangler: str, features: int, n_qubits: int, n_blocks: int) -> None:
    random = np.random.default_rng(n_qubits)
    weights = random.normal(size=(n_blocks, n_qubits, 3))
    angles = random.normal(size=(2, n_qubits, 3))
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
        # float64 on both sides, some tens of gates: rounding stays below 1e-14 each
        assert np.abs(head.expectations(angles) - expected).max() < 1e-10
