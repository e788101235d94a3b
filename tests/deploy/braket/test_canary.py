"""The canary: right columns pass with shot noise and readout error, wrong ones do not."""

import numpy as np
import pytest

from sqdr.deploy.braket.canary import canary_expectations, canary_program, canary_request, check_canary
from sqdr.deploy.braket.results import CircuitResult


def drawn(expectations: np.ndarray, shots: int, seed: int) -> CircuitResult:
    rng = np.random.default_rng(seed)
    bits = rng.random((shots, len(expectations))) < (1 - expectations) / 2
    rows, counts = np.unique(bits.astype(int), axis=0, return_counts=True)
    return CircuitResult({"".join(map(str, row)): int(n) for row, n in zip(rows, counts, strict=True)})


@pytest.mark.parametrize("n_qubits", [1, 2, 3, 9, 20])
def test_program_has_the_known_expectations(n_qubits: int) -> None:
    from braket.devices import LocalSimulator
    from braket.ir.openqasm import Program

    if n_qubits > 12:
        pytest.skip("Braket's table of all probabilities grows with 2^n")
    lines = canary_program(n_qubits).splitlines(keepends=True)
    source = "".join(line for line in lines if not line.startswith(("bit[", "b[")))
    source += "".join(f"#pragma braket result expectation z(q[{qubit}])\n" for qubit in range(n_qubits))
    values = LocalSimulator().run(Program(source=source), shots=0).result().values
    np.testing.assert_allclose(values, canary_expectations(n_qubits), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_qubits", [2, 3, 9, 20])
@pytest.mark.parametrize("shots", [100, 1000])
def test_good_device_passes_also_with_readout_errors(n_qubits: int, shots: int) -> None:
    known = canary_expectations(n_qubits)
    for seed in range(50):
        # 5 % of zeros read as one, 8 % of ones as zero
        seen = (1 - 0.05 - 0.08) * known + (0.08 - 0.05)
        assert check_canary(drawn(seen, shots, seed), n_qubits, "d") == ""


@pytest.mark.parametrize("n_qubits", [2, 3, 9, 20])
@pytest.mark.parametrize("what", ["backwards", "shifted", "inverted", "decayed", "neighbours"])
def test_wrong_device_is_seen(n_qubits: int, what: str) -> None:
    known = canary_expectations(n_qubits)
    swapped = known.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    seen = {
        "backwards": known[::-1],
        "shifted": np.roll(known, 1),
        "inverted": -known,
        "decayed": np.ones(n_qubits),
        "neighbours": swapped,
    }[what]
    n_found = sum(check_canary(drawn(seen, 1000, seed), n_qubits, "d") != "" for seed in range(20))
    # three qubits have their middle one where it was when they are read backwards, and still two wrong ones
    assert n_found == 20
    message = check_canary(drawn(seen, 1000, 0), n_qubits, "garnet")
    assert message.startswith("the canary circuit on garnet is wrong on ")
    assert ("read backwards they would be right" in message) == np.allclose(seen[::-1], known)


def test_request_is_known_by_its_part() -> None:
    arn = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
    assert canary_request(arn, 3, 10, part=1).key != canary_request(arn, 3, 10, part=2).key
