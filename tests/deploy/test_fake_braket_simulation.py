"""The programs that the fake Braket service runs, against Braket's own simulator run afresh."""

from typing import Any

import numpy as np
import pytest

from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.fakes.braket.simulation import ProgramRunner, Readout

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

pytest.importorskip("braket.default_simulator", reason="needs Braket's local simulator")

REQUEST = "#pragma braket result probability all\n#pragma braket result expectation x(q[0])\n"
# what interpreting might change in a syntax tree that is kept: loops, own gates, modifiers, expressions
SOURCES = {
    "plain": "ry(a) q[0];\ncnot q[0], q[1];\n",
    "loop": "for int i in [0:1] { ry(a * (i + 1)) q[i]; }\ncz q[0], q[1];\nrx(a / 2) q[1];\n",
    "own gate": "gate mine(b) s, t { ry(b) s; cnot s, t; rx(-b / 2) t; }\nmine(a) q[0], q[1];\n",
    "modifiers": "h q[0];\nctrl @ ry(a) q[0], q[1];\ninv @ s q[0];\npow(2) @ rx(a) q[1];\n",
    "branch": "if (a > 1) { x q[0]; } else { ry(a) q[1]; }\nh q[0];\ni q[1];\n",
}
HEAD = "OPENQASM 3.0;\ninput float a;\nqubit[2] q;\n"
ANGLES = (0.3, 2.0, 0.3, -1.0)


def _fresh(source: str, angle: float) -> list[Any]:
    from braket.default_simulator import StateVectorSimulator
    from braket.ir.openqasm import Program

    result = StateVectorSimulator().run(Program(source=source, inputs={"a": angle}), shots=0)
    return [found.value for found in result.resultTypes]


@pytest.mark.parametrize("name", SOURCES)
def test_kept_syntax_tree_gives_what_a_fresh_run_gives(name: str) -> None:
    source = HEAD + SOURCES[name] + REQUEST
    runner = ProgramRunner(None, Readout())
    seen = []
    for angle in ANGLES:
        document = runner.run({"source": source, "inputs": {"a": angle}}, 0)
        probabilities, x = (found["value"] for found in document["resultTypes"])
        expected = _fresh(source, angle)
        np.testing.assert_allclose(probabilities, expected[0], rtol=0, atol=1e-12)
        assert x == pytest.approx(expected[1], abs=1e-12)
        seen.append(tuple(probabilities))
    assert seen[0] == seen[2]
    assert len(set(seen)) == 3


def test_seeded_shots_follow_the_exact_probabilities() -> None:
    source = HEAD + SOURCES["modifiers"]
    shots = 20_000
    runner = ProgramRunner(np.random.default_rng(4), Readout())
    document = runner.run({"source": source, "inputs": {"a": 0.7}}, shots)
    index = np.array(document["measurements"]) @ [2, 1]
    found = np.bincount(index, minlength=4) / shots
    exact = np.array(_fresh(source + REQUEST, 0.7)[0])
    # 5 standard deviations of a count, once in 2 million
    assert np.all(np.abs(found - exact) <= 5 * np.sqrt(exact * (1 - exact) / shots))


def test_sampled_result_types_have_the_values_of_the_read_bits() -> None:
    source = "OPENQASM 3.0;\nqubit[2] q;\nx q[0];\ni q[1];\n"
    request = (
        "#pragma braket result expectation z(q[0])\n#pragma braket result variance z(q[1])\n"
        "#pragma braket result sample z(q[0])\n#pragma braket result probability q[0]\n"
    )
    program = {"source": source + request}

    def values(readout: Readout) -> list[Any]:
        return [found["value"] for found in ProgramRunner(None, readout).run(program, 3)["resultTypes"]]

    assert values(Readout()) == [-1.0, 0.0, [-1.0] * 3, [0.0, 1.0]]
    # said, so the values stay; unsaid, so they are those of the other qubit; all bits flipped
    assert values(Readout(reverse_columns=True)) == values(Readout())
    assert values(Readout(scramble_columns=True)) == [1.0, 0.0, [1.0] * 3, [1.0, 0.0]]
    assert values(Readout(drift=1.0)) == [1.0, 0.0, [1.0] * 3, [1.0, 0.0]]


def test_sdk_reads_complex_values_of_an_exact_task(fake_braket: FakeBraket) -> None:
    from braket.aws import AwsDevice
    from braket.circuits import Circuit

    circuit = Circuit().h(0).s(0).state_vector().amplitude(["0", "1"])
    vector, amplitudes = AwsDevice(fake_braket.simulator_arn).run(circuit, shots=0).result().values
    np.testing.assert_allclose(vector, np.array([1, 1j]) / np.sqrt(2), rtol=0, atol=1e-12)
    assert amplitudes["1"] == pytest.approx(1j / np.sqrt(2))
