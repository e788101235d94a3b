"""From device strings to heads, and every refusal before anything runs."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.backends import HeadBackend
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.heads import (
    BraketAwsHead,
    BraketLocalHead,
    DensityMatrixHead,
    PennyLaneHead,
    StatevectorHead,
    list_devices,
    open_head,
)
from sqdr.deploy.heads.devices import find_hardware
from sqdr.errors import BundleError, ConfigError, DeviceError, MissingDependencyError
from sqdr.openqasm import to_openqasm

GARNET = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"


def _open(device: str, *, n_qubits: int = 2, shots: int | None = None, **options: Any) -> HeadBackend:
    weights = np.zeros((1, n_qubits, 3))
    arguments: dict[str, Any] = {
        "openqasm": to_openqasm(weights, "ring"),
        "weights": weights,
        "entangler": "ring",
        "n_qubits": n_qubits,
        "shots": shots,
    }
    return open_head(device, **(arguments | options))


@pytest.mark.parametrize(
    ("device", "shots", "kind", "name", "accuracy"),
    [
        ("local:sv", None, StatevectorHead, "local:sv", "exact"),
        ("local:sv", 10, StatevectorHead, "local:sv", "sampled"),
        ("local:dm", None, DensityMatrixHead, "local:dm", "exact"),
        ("local:dm", 10, DensityMatrixHead, "local:dm", "sampled"),
        ("local_dm", None, DensityMatrixHead, "local_dm", "noisy"),
        ("local_dm", 10, DensityMatrixHead, "local_dm", "noisy"),
        ("local:braket-sv", None, BraketLocalHead, "local:braket-sv", "exact"),
        ("local:braket-dm", None, BraketLocalHead, "local:braket-dm", "exact"),
        ("local:braket-dm", 10, BraketLocalHead, "local:braket-dm", "sampled"),
        ("braket_local_sv", 10, BraketLocalHead, "braket_local_sv", "sampled"),
        ("braket_local_dm", None, BraketLocalHead, "braket_local_dm", "noisy"),
        ("pennylane:default.qubit", 10, PennyLaneHead, "pennylane:default.qubit", "sampled"),
        ("braket_sv1", None, BraketAwsHead, "braket:quantum-simulator/amazon/sv1", "exact"),
        ("braket_sv1", 10, BraketAwsHead, "braket:quantum-simulator/amazon/sv1", "sampled"),
        ("braket_iqm_garnet", 10, BraketAwsHead, "braket:qpu/iqm/Garnet", "hardware"),
        (GARNET, 10, BraketAwsHead, "braket:qpu/iqm/Garnet", "hardware"),
        ("arn:aws:braket:::device/qpu/x/New", 10, BraketAwsHead, "braket:qpu/x/New", "hardware"),
    ],
)
def test_open_head_returns_head_of_the_device(
    device: str, shots: int | None, kind: type, name: str, accuracy: str
) -> None:
    head = _open(device, shots=shots)
    assert type(head) is kind
    assert isinstance(head, HeadBackend)
    assert (head.name, head.accuracy) == (name, accuracy)


def test_open_head_takes_own_hardware_file(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "schema_version: 1\nkind: braket_local\nname: small\ndescription: two qubits\nsimulator: braket_sv\n"
        "n_qubits: {value: 2, source: here, as_of: 2026-11}\n"
        "shots: {value: {min: 5, max: 10}, source: here, as_of: 2026-11}\n",
        encoding="utf-8",
    )
    assert _open(str(path)).name == "small"
    with pytest.raises(DeviceError, match="small has 2 qubits, the circuit needs 3"):
        _open(str(path), n_qubits=3)
    for shots in (4, 11):
        with pytest.raises(DeviceError, match=f"`shots` must be 5 to 10 on small, got {shots}"):
            _open(str(path), shots=shots)


def test_local_device_ignores_file_of_its_hardware_name_in_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "braket_local_sv.yaml").write_text("kind: braket_qpu\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert _open("local:braket-sv").name == "local:braket-sv"


@pytest.mark.parametrize(
    ("device", "near"),
    [
        ("local:vs", "local:sv"),
        ("local:braket-vs", "local:braket-sv"),
        ("braket_local", "braket_local_"),
        ("braket_iqm_garnt", "braket_iqm_garnet"),
        ("sv1", "braket_sv1"),
    ],
)
def test_open_head_names_nearest_device(device: str, near: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{device}' is unknown. Did you mean '{near}"):
        _open(device)


@pytest.mark.parametrize("device", ["", "?", "qiskit", "local:", "../x", "a\x00b", "x" * 5000])
def test_open_head_lists_devices_when_unknown(device: str) -> None:
    with pytest.raises(
        DeviceError, match=r"is unknown.*Known: local:sv, local:dm, local:braket-sv, .*braket_iqm_garnet"
    ):
        _open(device)


def test_list_devices_opens_each() -> None:
    names = list_devices()
    assert len(names) >= 7
    assert names[0] == "local:sv"
    assert "loihi2_sim" not in names
    # IonQ takes 100 shots at least
    assert all(_open(name, shots=100).n_qubits == 2 for name in names)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("device", "options", "match"),
    [
        ("loihi2_sim", {}, "is a loihi2 chip, not a quantum device"),
        ("pennylane:defalt.qubit", {}, r"no device 'defalt.qubit'. Did you mean 'default.qubit'"),
        ("pennylane:", {}, "PennyLane has no device ''"),
        ("pennylane:braket.aws.qubit", {}, "is refused: .* Pass the device's ARN"),
        ("pennylane:braket.aws.ahs", {}, "is refused: .* Pass the device's ARN"),
        (f"pennylane:braket.aws.qubit:{GARNET}", {"shots": 10}, "is refused: .* Pass the device's ARN"),
        ("pennylane:default.gaussian", {"shots": 10, "seed": 1}, "takes no seed"),
        ("arn:aws:braket:::quantum-task/1", {"shots": 10}, "`device` must be an ARN such as"),
        ("arn:", {"shots": 10}, "`device` must be an ARN such as"),
        (GARNET, {}, "is a quantum processor: it needs `shots`"),
        ("braket_iqm_garnet", {"shots": 20001}, "`shots` must be 1 to 20000 on .*got 20001"),
        (GARNET, {"shots": 20001}, "`shots` must be 1 to 20000 on .*got 20001"),
        (GARNET, {"shots": 10, "n_qubits": 21}, "has 20 qubits, the circuit needs 21"),
        (GARNET, {"shots": 10, "seed": 1}, "'qpu/iqm/Garnet' takes no seed"),
        ("braket_sv1", {"n_qubits": 35}, "has 34 qubits, the circuit needs 35"),
        ("braket_sv1", {"shots": 100001}, "`shots` must be 1 to 100000"),
        ("braket_tn1", {}, "braket_tn1 gives no exact expectations: it needs `shots`"),
        ("braket_ionq_forte_1", {"shots": 99}, "`shots` must be 100 to 5000"),
        ("local:sv", {"n_qubits": 21, "shots": 10}, "`shots` take at most 20 qubits on local:sv, got 21"),
        ("local:sv", {"shots": 2**31}, "`shots` must be 1 to 2147483647 on local:sv"),
        ("local:sv", {"shots": 0}, "`shots` must be a positive integer, or None"),
        ("local:sv", {"shots": True}, "`shots` must be a positive integer, or None"),
        ("local:dm", {"n_qubits": 21, "shots": 10}, "`shots` take at most 20 qubits on local:dm, got 21"),
        ("local:dm", {"shots": 2**31}, "`shots` must be 1 to 2147483647 on local:dm"),
        ("local:dm", {"shots": 0}, "`shots` must be a positive integer, or None"),
        ("local_dm", {"shots": 1000001}, "`shots` must be 1 to 1000000 on local_dm"),
        ("local_dm", {"n_qubits": 1001}, "local_dm has 1000 qubits, the circuit needs 1001"),
        ("local:braket-sv", {"n_qubits": 27}, "has 26 qubits, the circuit needs 27"),
        ("local:braket-dm", {"n_qubits": 13}, "has 12 qubits, the circuit needs 13"),
        ("local:braket-sv", {"shots": 1000001}, "`shots` must be 1 to 1000000"),
        ("local:braket-sv", {"shots": 0}, "`shots` must be a positive integer, or None"),
        ("local:braket-sv", {"shots": -1}, "`shots` must be a positive integer, or None"),
        ("local:braket-sv", {"shots": 1.5}, "`shots` must be a positive integer, or None"),
        ("local:braket-sv", {"shots": True}, "`shots` must be a positive integer, or None"),
        ("pennylane:default.qubit", {"shots": 0}, "`shots` must be a positive integer, or None"),
        ("arn:aws:braket:::device/qpu/x/New", {"shots": 0}, "`shots` must be a positive integer, or None"),
    ],
)
def test_open_head_refuses_what_the_device_cannot_do(device: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(DeviceError, match=match):
        _open(device, **options)


@pytest.mark.parametrize("device", ["local:sv", "local:dm", "local_dm", "pennylane:default.qubit"])
def test_open_head_rejects_entangler_of_another_name(device: str) -> None:
    with pytest.raises(ConfigError, match="`entangler` must be one of ring, chain, none, got 'star'"):
        _open(device, entangler="star")


@pytest.mark.parametrize("device", ["local:sv", "local_dm", "local:braket-sv", "pennylane:default.qubit", "braket_sv1"])
def test_open_head_rejects_circuit_of_another_width(device: str) -> None:
    other = np.zeros((1, 3, 3))
    with pytest.raises(DeviceError, match="`n_qubits` must be the circuit's 3, got 2"):
        _open(device, openqasm=to_openqasm(other, "ring"), weights=other, shots=10)


def test_open_head_rejects_text_that_is_no_circuit() -> None:
    with pytest.raises(BundleError, match=r"circuit\.qasm must declare one register"):
        _open("local:braket-sv", openqasm="OPENQASM 3.0;")


def test_open_head_names_extra_when_plugin_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import pennylane as qml

    def missing(name: str, **options: Any) -> None:
        raise qml.exceptions.DeviceError(f"Device {name} does not exist.")

    monkeypatch.setattr(qml, "device", missing)
    with pytest.raises(MissingDependencyError, match=r"Braket plugin.*sqdr\[braket\]"):
        _open("pennylane:braket.local.qubit")


def test_open_head_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeBraket() as fake:
        for key, value in fake.environment().items():
            monkeypatch.setenv(key, value)
        _open("braket_sv1", shots=10)
        assert fake.requests == []


def test_device_in_another_region_than_its_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    moved = GARNET.replace("eu-north-1", "us-west-2")
    with pytest.raises(DeviceError, match=f"'{moved}' is not where braket_iqm_garnet.yaml .* Use {GARNET}"):
        find_hardware(moved)
    text = (files("sqdr.hw_configs") / "braket_iqm_garnet.yaml").read_text(encoding="utf-8")
    Path("moved.yaml").write_text(text.replace(GARNET, moved).replace("name: braket_iqm_garnet", "name: moved"))
    assert find_hardware(moved).name == "moved"
    assert find_hardware("arn:aws:braket:us-west-2::device/qpu/iqm/Unheard") is None
