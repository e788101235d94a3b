"""The NumPy state vector head: exact, bounded in memory, repeatable, and without PennyLane or Braket."""

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

from sqdr.circuit import Entangler, qnode
from sqdr.deploy.heads import StatevectorHead, lightcone, open_head
from sqdr.errors import ConfigError, DataError, DeviceError, ShapeError
from sqdr.openqasm import to_openqasm

# Double precision and at most some hundred operations: errors stay near 1e-14.
TOLERANCE = 1e-10
ENTANGLERS = ("ring", "chain", "none")

Floats = NDArray[np.float64]


def _case(n_blocks: int, n_qubits: int, n_samples: int = 2, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-np.pi, np.pi, (n_blocks, n_qubits, 3))
    return weights, rng.uniform(-np.pi, np.pi, (n_samples, n_qubits, 3))


def _head(weights: Floats, entangler: Entangler = "ring", **options: Any) -> StatevectorHead:
    return StatevectorHead(weights=weights, entangler=entangler, **options)


def _reference(weights: Floats, angles: Floats, entangler: Entangler = "ring") -> Floats:
    import pennylane as qml

    circuit = qnode(qml.device("default.qubit", wires=weights.shape[1]), entangler)
    return np.array([np.stack(circuit(sample, weights)) for sample in angles])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    n_qubits=st.integers(1, 7),
    n_blocks=st.integers(1, 4),
    n_samples=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_exact_head_equals_qnode(entangler: Any, n_qubits: int, n_blocks: int, n_samples: int, seed: int) -> None:
    weights, angles = _case(n_blocks, n_qubits, n_samples, seed)
    found = _head(weights, entangler).expectations(angles)
    np.testing.assert_allclose(found, _reference(weights, angles, entangler), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n_qubits", [8, 9, 10, 13])
def test_wide_circuit_equals_qnode(n_qubits: int) -> None:
    # two, three and four groups of qubits, even and uneven
    weights, angles = _case(3, n_qubits)
    found = _head(weights).expectations(angles)
    np.testing.assert_allclose(found, _reference(weights, angles), rtol=0, atol=TOLERANCE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    entangler=st.sampled_from(ENTANGLERS),
    n_qubits=st.integers(1, 9),
    n_blocks=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_closed_form_equals_state_vector(entangler: Any, n_qubits: int, n_blocks: int, seed: int) -> None:
    weights, angles = _case(n_blocks, n_qubits, 3, seed)
    found = lightcone.expectations(angles, weights, entangler)
    np.testing.assert_allclose(found, _head(weights, entangler).expectations(angles), rtol=0, atol=TOLERANCE)


def test_closed_form_is_refused_for_three_blocks() -> None:
    weights, angles = _case(3, 2)
    with pytest.raises(ConfigError, match="at most 2 blocks, got 3"):
        lightcone.expectations(angles, weights, "ring")


def test_twenty_qubits_are_simulated_at_any_depth_and_equal_the_closed_form() -> None:
    weights, angles = _case(2, 20, 1)
    found = _head(weights).expectations(angles)
    np.testing.assert_allclose(found, lightcone.expectations(angles, weights, "ring"), rtol=0, atol=TOLERANCE)
    deep, _ = _case(3, 20, 1)
    assert np.abs(_head(deep).expectations(angles) - found).max() > 0.01


@pytest.mark.parametrize("n_qubits", [21, 500])
def test_wider_ring_equals_windows_of_three_qubits(n_qubits: int) -> None:
    # Two blocks: <Z_i> depends on qubits i-1, i and i+1 only, and a chain of these three is the same circuit.
    weights, angles = _case(2, n_qubits, 1)
    head = _head(weights)
    assert head.accuracy == "exact"
    found = head.expectations(angles)[0]
    for qubit in (0, 1, n_qubits // 2, n_qubits - 1):
        window = [(qubit + shift) % n_qubits for shift in (-1, 0, 1)]
        expected = _reference(weights[:, window], angles[:, window], "chain")[0, 1]
        np.testing.assert_allclose(found[qubit], expected, rtol=0, atol=TOLERANCE)
    assert head.report().n_circuits == 1


@pytest.mark.parametrize("entangler", ["ring", "chain", "none"])
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(21, 3), (30, 4), (200, 3)])
def test_wider_and_deeper_circuits_equal_the_cones_of_training(n_qubits: int, n_blocks: int, entangler: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    from sqdr.train.head import cone

    weights, angles = _case(n_blocks, n_qubits, 2)
    found = _head(weights, entangler).expectations(angles)
    expected = cone.expectations(torch.from_numpy(angles), torch.from_numpy(weights), entangler).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("entangler", ["ring", "chain"])
def test_wider_circuits_of_three_blocks_equal_windows_of_five_qubits(entangler: Any) -> None:
    weights, angles = _case(3, 40, 1)
    found = _head(weights, entangler).expectations(angles)[0]
    for qubit in (2, 20, 37, *((0, 39) if entangler == "ring" else ())):
        window = [(qubit + shift) % 40 for shift in (-2, -1, 0, 1, 2)]
        expected = _reference(weights[:, window], angles[:, window], "chain")[0, 2]
        np.testing.assert_allclose(found[qubit], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("n_blocks", "n_qubits", "shots", "match"),
    [
        (9, 21, None, "has 20 qubits for more than 8 blocks, the circuit needs 21 for 9"),
        (3, 21, 100, "`shots` take at most 20 qubits"),
        (2, 21, 100, "`shots` take at most 20 qubits on local:sv, got 21: above that each <Z> is computed by itself"),
        (1, 1000, 1, "`shots` take at most 20 qubits"),
        (1, 2, 2**31, "`shots` must be 1 to 2147483647 on local:sv, got 2147483648"),
        (1, 2, 0, "`shots` must be a positive integer"),
        (1, 2, True, "`shots` must be a positive integer"),
    ],
)
def test_what_it_cannot_do_is_refused_at_once(n_blocks: int, n_qubits: int, shots: Any, match: str) -> None:
    with pytest.raises(DeviceError, match=match):
        _head(np.zeros((n_blocks, n_qubits, 3)), shots=shots)


@pytest.mark.parametrize("weights", [np.zeros((3, 3)), np.zeros((1, 3, 2)), np.zeros((0, 3, 3)), np.zeros((1, 0, 3))])
def test_weights_of_another_shape_are_refused(weights: Floats) -> None:
    with pytest.raises(ShapeError, match=r"`weights` must be \(n_blocks, n_qubits, 3\)"):
        _head(weights)


def test_weights_that_are_not_finite_and_unknown_entangler_are_refused() -> None:
    with pytest.raises(DataError, match="`weights` must be finite"):
        _head(np.full((1, 2, 3), np.nan))
    with pytest.raises(ConfigError, match="`entangler` must be one of ring, chain, none, got 'star'"):
        _head(np.zeros((1, 2, 3)), "star")  # type: ignore[arg-type]


def test_first_qubit_comes_first() -> None:
    angles = np.zeros((1, 5, 3))
    angles[0, 0, 1] = np.pi
    for shots in (None, 10):
        found = _head(np.zeros((2, 5, 3)), "none", shots=shots).expectations(angles / 2)
        np.testing.assert_allclose(found, [[-1, 1, 1, 1, 1]], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("split", [1, 3, 7, 40])
def test_seeded_shots_do_not_depend_on_how_samples_are_split(split: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, angles = _case(3, 5, 40)
    whole = _head(weights, shots=77, seed=3).expectations(angles)
    # batches of two, whatever the call holds
    monkeypatch.setattr("sqdr.deploy.heads.statevector.MAX_BATCH_AMPLITUDES", 2**6)
    head = _head(weights, shots=77, seed=3)
    parts = [head.expectations(angles[start : start + split]) for start in range(0, 40, split)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert (head.report().n_circuits, head.report().n_shots) == (40, 40 * 77)
    assert head.report().cost_usd == Decimal(0)


def test_seed_decides_the_shots_and_no_seed_draws_afresh() -> None:
    weights, angles = _case(2, 3, 20)
    drawn = [_head(weights, shots=100, seed=seed).expectations(angles) for seed in (1, 1, 2, None, None)]
    assert np.array_equal(drawn[0], drawn[1])
    for first, second in ((0, 2), (3, 4), (0, 3)):
        assert np.any(drawn[first] != drawn[second])


def test_shots_follow_the_joint_distribution() -> None:
    # After one block of <Z> = 0 rotations two qubits joined by CZ and turned back are correlated: X X and Z Z
    # of a Bell pair. 4 sigma of a correlation over 20,000 draws of +-1.
    weights = np.array([[[0, np.pi / 2, 0], [0, np.pi / 2, 0]], [[0, 0, 0], [0, -np.pi / 2, 0]]])
    head = _head(weights, shots=1, seed=5)
    found = head.expectations(np.zeros((20_000, 2, 3)))
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert np.array_equal(found[:, 0], found[:, 1])
    assert abs(found[:, 0].mean()) < 4 / np.sqrt(20_000)


def test_seeded_shots_are_those_of_the_seeded_braket_head() -> None:
    # Both draw from the same probabilities with the same generator; they differ by rounding, which decides
    # about a draw with a chance of about 1e-14.
    weights, angles = _case(2, 4, 5)
    text = to_openqasm(weights, "ring")
    drawn = [
        open_head(
            device, openqasm=text, weights=weights, entangler="ring", n_qubits=4, shots=500, seed=11
        ).expectations(angles)
        for device in ("local:sv", "local:braket-sv")
    ]
    # the counts are equal, and divided in another order
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=0, atol=TOLERANCE)


def test_memory_stays_bounded_whatever_the_number_of_samples() -> None:
    weights, angles = _case(2, 10, 20_000)
    head = _head(weights)
    head.expectations(angles[:1])
    tracemalloc.start()
    try:
        head.expectations(angles)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All states at once are 330 MB. One batch is 1 MiB, of which some arrays live at a time; the rest is results.
    assert peak < 20e6


def test_it_needs_neither_pennylane_nor_braket_nor_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('pennylane', 'braket', 'boto3', 'botocore', 'torch', 'lava'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "from sqdr.deploy.heads import open_head\n"
        "from sqdr.openqasm import to_openqasm\n"
        "weights = np.zeros((2, 2, 3))\n"
        "head = open_head('local:sv', openqasm=to_openqasm(weights, 'ring'), weights=weights, entangler='ring',\n"
        "                 n_qubits=2, shots=None)\n"
        "print(head.expectations(np.full((1, 2, 3), 0.0)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("[[1.0, 1.0]]\n", "")
