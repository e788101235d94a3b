"""The PennyLane plugin against the fake Braket service, its known fault, and the head that refuses it."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.heads import PennyLaneHead, open_head
from sqdr.errors import DeviceError
from sqdr.openqasm import to_openqasm

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

PLUGIN = "amazon-braket-pennylane-plugin"
pytest.importorskip("braket.pennylane_plugin", reason="needs the Braket plugin of PennyLane")
ANGLES = np.array([0.3, 1.5, 2.9])
SHOTS = 1000


def _expectations(arn: str, shots: int) -> list[float]:
    """Run ry(angle) on three qubits through the plugin; <Z> is cos(angle)."""
    import pennylane as qml

    device = qml.device("braket.aws.qubit", device_arn=arn, wires=3, shots=shots)

    @qml.qnode(device, diff_method=None)
    def circuit() -> Any:
        for wire, angle in enumerate(ANGLES):
            qml.RY(angle, wires=wire)
        return [qml.expval(qml.PauliZ(wire)) for wire in range(3)]

    return [float(z) for z in circuit()]


def _assert_within_5_sigma(found: list[float]) -> None:
    """A mean of shots of +-1 has variance (1 - z^2) / shots."""
    exact = np.cos(ANGLES)
    assert np.all(np.abs(found - exact) <= 5 * np.sqrt((1 - exact**2) / SHOTS))


@pytest.mark.filterwarnings("ignore:.*shots on device is deprecated")
@pytest.mark.parametrize("shots", [0, SHOTS])
def test_plugin_runs_on_the_simulator(fake_braket: FakeBraket, shots: int) -> None:
    fake_braket.seed = 1
    found = _expectations(fake_braket.simulator_arn, shots)
    if shots:
        _assert_within_5_sigma(found)
    else:
        np.testing.assert_allclose(found, np.cos(ANGLES), rtol=0, atol=1e-10)
    (task,) = fake_braket.tasks.values()
    assert (task.shots, task.status) == (shots, "COMPLETED")


@pytest.mark.filterwarnings("ignore:.*shots on device is deprecated")
def test_plugin_is_right_on_a_processor_without_program_sets(fake_braket: FakeBraket) -> None:
    fake_braket.seed = 1
    _assert_within_5_sigma(_expectations(fake_braket.ion_arn, SHOTS))


@pytest.mark.skipif(importlib.metadata.version(PLUGIN) != "1.33.7", reason="shows a fault of plugin 1.33.7")
@pytest.mark.filterwarnings("ignore:.*shots on device is deprecated")
def test_plugin_1_33_7_gives_every_qubit_qubit_0_on_a_processor_with_program_sets(fake_braket: FakeBraket) -> None:
    """Upstream issue 333: why the head refuses the plugin there."""
    fake_braket.seed = 1
    found = _expectations(fake_braket.qpu_arn, SHOTS)
    assert found[0] == found[1] == found[2]
    assert abs(found[1] - np.cos(ANGLES[1])) > 0.5
    # what the service sent is right: the fault is the plugin's
    (task,) = fake_braket.tasks.values()
    assert task.action["braketSchemaHeader"]["name"] == "braket.ir.openqasm.program_set"
    from braket.aws import AwsQuantumTask

    (program,) = AwsQuantumTask(task.arn).result().entries
    bits = program.entries[0].measurements
    _assert_within_5_sigma(list(1 - 2 * bits.mean(axis=0)))


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.33.7", r"1\.33\.7 gives every qubit the expectation of qubit 0 .*issue 333, in versions below 1\.35\.2"),
        ("1.35.1.post1", r"1\.35\.1\.post1 gives every qubit the expectation of qubit 0"),
        ("1.35.2", "what it costs is neither counted nor limited"),
        (None, r"\(not installed\) gives every qubit"),
    ],
)
def test_head_refuses_the_plugin_on_braket_with_the_reason(
    fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch, version: str | None, reason: str
) -> None:
    def installed(name: str) -> str:
        assert name == PLUGIN
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    weights = np.zeros((1, 2, 3))
    for name in ("braket.aws.qubit", f"braket.aws.qubit:{fake_braket.qpu_arn}"):
        with pytest.raises(DeviceError, match=f"{name} is refused: .*{reason}.*Pass the device's ARN as the device"):
            PennyLaneHead(name, weights=weights, entangler="ring", shots=10)
    assert fake_braket.requests == []


def test_head_takes_the_arn_and_goes_through_the_sdk(fake_braket: FakeBraket, tmp_path: Path) -> None:
    fake_braket.seed = 1
    weights = np.zeros((1, 3, 3))
    angles = np.stack([np.zeros(3), ANGLES, np.zeros(3)], axis=-1)[None]
    with open_head(
        fake_braket.qpu_arn,
        openqasm=to_openqasm(weights, "none"),
        weights=weights,
        entangler="none",
        n_qubits=3,
        shots=SHOTS,
        braket=BraketOptions(journal=tmp_path / "journal.sqlite", model="m"),
    ) as head:
        _assert_within_5_sigma(list(head.expectations(angles)[0]))
