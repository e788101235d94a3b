"""Heads on this machine: all agree with the circuit's one definition, exactly and by shots."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sqdr.deploy.heads
import sqdr.deploy.heads.base
from sqdr.backends import HeadBackend
from sqdr.circuit import Entangler, qnode
from sqdr.deploy.heads import BraketLocalHead, PennyLaneHead, open_head
from sqdr.errors import DataError, DeviceError, MissingDependencyError, ShapeError
from sqdr.hw_configs import BraketLocal
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.openqasm import to_openqasm

EXACT = [
    "local:sv",
    "local:dm",
    "local:braket-sv",
    "local:braket-dm",
    "pennylane:default.qubit",
    "pennylane:lightning.qubit",
    "pennylane:default.mixed",
    "pennylane:braket.local.qubit",
]
# Double precision everywhere, and at most a few hundred operations: errors stay near 1e-14.
EXACT_TOLERANCE = 1e-10
SHOTS = 2000


def _case(
    *, n_blocks: int = 2, n_qubits: int = 3, n_samples: int = 2, features: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-np.pi, np.pi, (n_samples, n_qubits, 3))
    if features == 1:
        angles[:, :, [0, 2]] = 0
    return rng.uniform(-np.pi, np.pi, (n_blocks, n_qubits, 3)), angles


def _open(
    device: str,
    weights: NDArray[np.float64],
    *,
    entangler: Entangler = "ring",
    features: Any = 3,
    shots: int | None = None,
    seed: int | None = None,
) -> HeadBackend:
    return open_head(
        device,
        openqasm=to_openqasm(weights, entangler, features),
        weights=weights,
        entangler=entangler,
        n_qubits=weights.shape[1],
        shots=shots,
        seed=seed,
    )


def _reference(
    weights: NDArray[np.float64], angles: NDArray[np.float64], entangler: Entangler = "ring"
) -> NDArray[np.float64]:
    import pennylane as qml

    circuit = qnode(qml.device("default.qubit", wires=weights.shape[1]), entangler)
    return np.array([np.stack(circuit(sample, weights)) for sample in angles])


def _assert_within_5_sigma(found: Any, exact: NDArray[np.float64], shots: int) -> None:
    """A mean of `shots` values +-1 has variance (1 - z^2) / shots; 5 sigma is missed once in 2 million.

    The second term covers z near +-1, where the normal distribution is a poor one.
    """
    assert np.all(np.abs(found - exact) <= 5 * np.sqrt((1 - exact**2) / shots) + 5 / shots)


@pytest.mark.parametrize("entangler", ["ring", "chain", "none"])
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("n_qubits", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "device", ["local:sv", "local:braket-sv", "pennylane:default.qubit", "pennylane:lightning.qubit"]
)
def test_exact_head_equals_qnode(device: str, n_qubits: int, features: int, entangler: Entangler) -> None:
    weights, angles = _case(n_qubits=n_qubits, features=features)
    with _open(device, weights, entangler=entangler, features=features) as head:
        found = head.expectations(angles)
    assert head.accuracy == "exact"
    np.testing.assert_allclose(found, _reference(weights, angles, entangler), rtol=0, atol=EXACT_TOLERANCE)


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("n_qubits", [1, 4])
@pytest.mark.parametrize("device", EXACT)
def test_every_exact_head_equals_qnode_at_each_depth(device: str, n_qubits: int, n_blocks: int) -> None:
    weights, angles = _case(n_qubits=n_qubits, n_blocks=n_blocks, features=1, seed=n_blocks)
    found = _open(device, weights, features=1).expectations(angles)
    np.testing.assert_allclose(found, _reference(weights, angles), rtol=0, atol=EXACT_TOLERANCE)


def test_state_vector_beyond_table_equals_table(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, angles = _case(n_qubits=4)
    by_table = _open("local:braket-sv", weights).expectations(angles)
    monkeypatch.setattr("sqdr.deploy.heads.braket_local.MAX_TABLE_QUBITS", 3)
    by_pragma = _open("local:braket-sv", weights).expectations(angles)
    np.testing.assert_allclose(by_pragma, by_table, rtol=0, atol=EXACT_TOLERANCE)


@pytest.mark.parametrize("shots", [None, 100])
@pytest.mark.parametrize("device", [*EXACT, "braket_local_dm"])
def test_head_keeps_qubit_order(device: str, shots: int | None) -> None:
    # Only the first of three qubits is turned over: <Z> is (-1, 1, 1), and must not come back reversed.
    weights = np.zeros((1, 3, 3))
    angles = np.zeros((2, 3, 3))
    angles[:, 0, 1] = np.pi
    found = _open(device, weights, shots=shots).expectations(angles)
    # 0.5: the packaged noise moves <Z> by less than a tenth.
    np.testing.assert_allclose(found, [[-1, 1, 1]] * 2, rtol=0, atol=0.5)


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("device", [device for device in EXACT if device != "pennylane:braket.local.qubit"])
def test_sampled_head_lies_within_5_sigma(device: str, seed: int | None) -> None:
    weights, angles = _case(n_samples=3)
    head = _open(device, weights, shots=SHOTS, seed=seed)
    assert head.accuracy == "sampled"
    _assert_within_5_sigma(head.expectations(angles), _reference(weights, angles), SHOTS)
    assert (head.report().n_circuits, head.report().n_shots) == (3, 3 * SHOTS)
    assert head.report().cost_usd == 0


def test_sampled_plugin_lies_within_5_sigma() -> None:
    weights, angles = _case()
    found = _open("pennylane:braket.local.qubit", weights, shots=SHOTS).expectations(angles)
    _assert_within_5_sigma(found, _reference(weights, angles), SHOTS)


@pytest.mark.parametrize(
    "device", ["local:sv", "local_dm", "local:braket-sv", "braket_local_dm", "pennylane:default.qubit"]
)
def test_seed_makes_shots_repeatable(device: str) -> None:
    weights, angles = _case()
    first, again = (_open(device, weights, shots=50, seed=3).expectations(angles) for _ in range(2))
    other = _open(device, weights, shots=50, seed=4).expectations(angles)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("device", ["local:sv", "local:braket-sv"])
def test_seeded_local_shots_do_not_depend_on_how_samples_are_split(device: str) -> None:
    weights, angles = _case(n_samples=4)
    whole = _open(device, weights, shots=50, seed=3).expectations(angles)
    head = _open(device, weights, shots=50, seed=3)
    parts = [head.expectations(angles[:1]), head.expectations(angles[1:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_seed_is_without_effect_when_exact() -> None:
    weights, angles = _case()
    for device in ("local:sv", "local:braket-sv", "pennylane:braket.local.qubit"):
        found = _open(device, weights, seed=1).expectations(angles)
        np.testing.assert_allclose(found, _reference(weights, angles), rtol=0, atol=EXACT_TOLERANCE)


def test_seed_is_refused_when_pennylane_device_takes_none() -> None:
    weights, _ = _case()
    with pytest.raises(DeviceError, match=r"pennylane:braket\.local\.qubit takes no seed"):
        _open("pennylane:braket.local.qubit", weights, shots=10, seed=1)


def test_pennylane_batches_equal_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, angles = _case(n_samples=5)
    monkeypatch.setattr("sqdr.deploy.heads.pennylane_device.MAX_BATCH_AMPLITUDES", 16)
    head = _open("pennylane:default.qubit", weights)
    found = head.expectations(angles)
    np.testing.assert_allclose(found, _reference(weights, angles), rtol=0, atol=EXACT_TOLERANCE)
    assert head.report().n_circuits == 5


@pytest.mark.parametrize("device", ["local:sv", "local:braket-sv", "pennylane:default.qubit"])
@pytest.mark.parametrize(
    ("angles", "error", "match"),
    [
        (np.zeros((2, 3)), ShapeError, r"must be \(N, 3, 3\), got \(2, 3\)"),
        (np.zeros((2, 4, 3)), ShapeError, r"must be \(N, 3, 3\), got \(2, 4, 3\)"),
        (np.zeros((2, 3, 1)), ShapeError, r"must be \(N, 3, 3\)"),
        (np.full((1, 3, 3), np.nan), DataError, r"must be finite, got nan at \[0, 0, 0\]"),
        (np.full((1, 3, 3), np.inf), DataError, "must be finite, got inf"),
        ("angles", DataError, "must be real numbers, got str"),
        (np.zeros((1, 3, 3), dtype=complex), DataError, "must be real numbers"),
    ],
)
def test_head_rejects_angles(device: str, angles: Any, error: type[Exception], match: str) -> None:
    head = _open(device, _case()[0])
    with pytest.raises(error, match=match):
        head.expectations(angles)
    assert head.report().n_circuits == 0


def test_head_rejects_angle_that_circuit_has_no_input_for() -> None:
    weights, angles = _case(features=1)
    angles[1, 2, 0] = 0.5
    with pytest.raises(DataError, match=r"must be 0 where the circuit has no input, got 0.5 at \[1, 2, 0\]"):
        _open("local:braket-sv", weights, features=1).expectations(angles)


@pytest.mark.parametrize("device", EXACT)
def test_head_returns_nothing_for_no_samples(device: str) -> None:
    head = _open(device, _case()[0])
    assert head.expectations(np.empty((0, 3, 3))).shape == (0, 3)
    assert head.report().n_circuits == 0


def test_head_close_is_safe_to_call_twice_and_repr_is_short() -> None:
    head = _open("local:braket-sv", _case()[0])
    head.close()
    head.close()
    assert repr(head) == "BraketLocalHead('local:braket-sv', exact, n_qubits=3)"


@pytest.mark.parametrize("weights", [np.zeros((3, 3)), np.zeros((1, 3, 2)), np.zeros((0, 3, 3)), np.zeros((1, 0, 3))])
def test_pennylane_head_rejects_weights_of_another_shape(weights: NDArray[np.float64]) -> None:
    with pytest.raises(ShapeError, match=r"`weights` must be \(n_blocks, n_qubits, 3\)"):
        PennyLaneHead("default.qubit", weights=weights, entangler="ring")


def test_pennylane_head_rejects_weights_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="`weights` must be finite"):
        PennyLaneHead("default.qubit", weights=np.full((1, 2, 3), np.nan), entangler="ring")


def test_missing_dependency_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, _ = _case()
    monkeypatch.setitem(sys.modules, "braket.devices", None)
    monkeypatch.setitem(sys.modules, "pennylane", None)
    for device in ("local:braket-sv", "pennylane:default.qubit"):
        with pytest.raises(MissingDependencyError, match=r"pip install 'sqdr\[braket\]'"):
            _open(device, weights)


def test_import_is_light() -> None:
    code = (
        "import sys, sqdr.deploy.heads, sqdr.deploy.fakes\n"
        "heavy = {'braket', 'pennylane', 'boto3', 'botocore', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_module_exports_only_names_it_has() -> None:
    for module in (sqdr.deploy.heads, sqdr.deploy.heads.base):
        assert module.__all__
        assert all(hasattr(module, name) for name in module.__all__)


def test_braket_local_head_is_a_head_backend() -> None:
    hardware = packaged_hardware("braket_local_sv")
    assert isinstance(hardware, BraketLocal)
    assert isinstance(BraketLocalHead(to_openqasm(_case()[0], "ring"), hardware), HeadBackend)
