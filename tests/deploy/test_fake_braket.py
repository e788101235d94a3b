"""The fake Braket service, as the real SDK and boto3 see it."""

import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqdr.deploy.fakes
from sqdr.deploy.fakes import FakeBraket
from sqdr.hw_configs import load_hardware
from sqdr.openqasm import to_openqasm

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@pytest.fixture
def fake(fake_braket: FakeBraket) -> FakeBraket:
    return fake_braket


def _program() -> Any:
    from braket.ir.openqasm import Program

    # no fused gate, which the processor does not take
    source = "OPENQASM 3.0;\ninput float x_0_1;\ninput float x_1_1;\nqubit[2] q;\nry(x_0_1) q[0];\nry(x_1_1) q[1];\n"
    return Program(source=source, inputs={"x_0_1": np.pi, "x_1_1": 0.0})


def _device(arn: str) -> Any:
    from braket.aws import AwsDevice

    return AwsDevice(arn)


def _finish(task: Any) -> str:
    for _ in range(100):
        if task.state() in ENDED:
            return str(task.state(use_cached_value=True))
    raise AssertionError("the task did not end")


def test_module_exports_only_names_it_has() -> None:
    assert sqdr.deploy.fakes.__all__
    assert all(hasattr(sqdr.deploy.fakes, name) for name in sqdr.deploy.fakes.__all__)


def test_sdk_reads_devices(fake: FakeBraket) -> None:
    lattice, ions, simulator = (_device(arn) for arn in (fake.qpu_arn, fake.ion_arn, fake.simulator_arn))
    assert (lattice.name, lattice.status, lattice.type.value, lattice.provider_name) == (
        "Garnet",
        "ONLINE",
        "QPU",
        "IQM",
    )
    assert (simulator.name, simulator.type.value) == ("SV1", "SIMULATOR")
    assert (ions.name, ions.provider_name) == ("Forte 1", "IonQ")
    assert [device.properties.paradigm.qubitCount for device in (lattice, ions, simulator)] == [20, 36, 34]
    for device, price, unit in ((lattice, 0.00145, "shot"), (ions, 0.08, "shot"), (simulator, 0.075, "minute")):
        service = device.properties.service
        assert (service.deviceCost.price, service.deviceCost.unit) == (price, unit)
        assert service.deviceLocation
        assert len(service.executionWindows) == 1
        assert device.queue_depth().quantum_tasks


def test_lattice_is_that_of_the_hardware_file(fake: FakeBraket) -> None:
    properties = _device(fake.qpu_arn).properties
    graph = properties.paradigm.connectivity.connectivityGraph
    assert not properties.paradigm.connectivity.fullyConnected
    hardware = load_hardware("braket_iqm_garnet")
    lengths = [row.length for row in hardware.lattice.value]
    assert sum(lengths) == len(graph) == 20
    assert (graph["1"], graph["2"], graph["20"]) == (["2", "4"], ["1", "5"], ["16", "19"])
    assert all(qubit in graph[other] for qubit, near in graph.items() for other in near)
    # within rows, and between rows of 2, 5, 5, 5 and 3
    assert sum(map(len, graph.values())) == 2 * ((1 + 4 + 4 + 4 + 2) + (2 + 5 + 5 + 3))
    assert set(properties.standardized.oneQubitProperties) == set(graph)
    assert len(properties.standardized.twoQubitProperties) == 30
    assert properties.paradigm.nativeGateSet == list(hardware.native_gates.value)
    sets = properties.action["braket.ir.openqasm.program_set"]
    assert sets.maximumExecutables == hardware.program_sets.max_circuits.value == 100
    assert sets.maximumTotalShots == 1_000_000


def test_ions_are_all_connected_and_take_neither_cz_nor_u(fake: FakeBraket) -> None:
    properties = _device(fake.ion_arn).properties
    assert properties.paradigm.connectivity.fullyConnected
    assert properties.provider.fidelity["2Q"]["mean"] < properties.provider.fidelity["1Q"]["mean"] < 1
    assert not {"cz", "U", "u"} & set(properties.action["braket.ir.openqasm.program"].supportedOperations)
    assert "braket.ir.openqasm.program_set" not in properties.action


def test_sdk_finds_devices(fake: FakeBraket) -> None:
    from braket.aws import AwsDevice, AwsSession

    fake.set_status(fake.ion_arn, "OFFLINE")
    assert {found["deviceName"] for found in AwsSession().search_devices()} == {"SV1", "Garnet", "Forte 1"}
    online = AwsDevice.get_devices(types=["QPU"], statuses=["ONLINE"])
    assert {device.name for device in online} == {"Garnet"}


def test_sdk_runs_task_with_shots(fake: FakeBraket) -> None:
    fake.polls_before_done = 2
    task = _device(fake.qpu_arn).run(_program(), shots=20)
    states = [task.state() for _ in range(3)]
    assert states == ["RUNNING", "RUNNING", "COMPLETED"]
    assert task.result().measurement_counts == {"10": 20}
    (made,) = fake.tasks.values()
    assert (made.device_arn, made.shots, made.action["inputs"]["x_1_1"]) == (fake.qpu_arn, 20, 0.0)


def test_sdk_runs_exact_task(fake: FakeBraket) -> None:
    from braket.ir.openqasm import Program

    program = _program()
    exact = Program(source=program.source + "#pragma braket result expectation z(q[0])\n", inputs=program.inputs)
    task = _device(fake.simulator_arn).run(exact, shots=0)
    assert _finish(task) == "COMPLETED"
    assert task.result().values == pytest.approx([-1.0])


def test_gate_that_the_device_does_not_list_is_refused(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError
    from braket.circuits import Circuit
    from braket.ir.openqasm import Program

    exported = Program(source=to_openqasm(np.zeros((1, 2, 3)), "ring", 1), inputs=_program().inputs)
    message = r"ValidationException.*\[line 6\] uses a gate: U which is not supported by the device"
    with pytest.raises(ClientError, match=message):
        _device(fake.qpu_arn).run(exported, shots=5)
    # the SDK's own text, with the qubits as it writes them
    with pytest.raises(ClientError, match="uses a gate: U which"):
        _device(fake.qpu_arn).run(Circuit().h(0).u(1, 0.1, 0.2, 0.3), shots=5)
    assert fake.tasks == {}
    _device(fake.simulator_arn).run(exported, shots=5)
    _device(fake.qpu_arn).run(Circuit().h(0).cz(0, 1), shots=5)
    assert len(fake.tasks) == 2


def test_set_operations_changes_what_the_device_lists_and_takes(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    fake.set_operations(fake.qpu_arn, ["rx"])
    device = _device(fake.qpu_arn)
    assert device.properties.action["braket.ir.openqasm.program"].supportedOperations == ["rx"]
    with pytest.raises(ClientError, match=r"\[line 5\] uses a gate: ry which is not supported"):
        device.run(_program(), shots=5)


def test_reverse_columns_says_so_in_measured_qubits(fake: FakeBraket) -> None:
    fake.reverse_columns = True
    task = _device(fake.simulator_arn).run(_program(), shots=5)
    assert _finish(task) == "COMPLETED"
    assert task.result().measured_qubits == [1, 0]
    assert task.result().measurements.tolist() == [[0, 1]] * 5


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELLED"])
def test_task_ends_as_asked(fake: FakeBraket, outcome: Any) -> None:
    fake.outcomes = [(outcome, "it rained")]
    device = _device(fake.simulator_arn)
    first, second = device.run(_program(), shots=5), device.run(_program(), shots=5)
    assert (_finish(first), _finish(second)) == (outcome, "COMPLETED")
    assert first.metadata().get("failureReason") == ("it rained" if outcome == "FAILED" else None)
    assert first.result() is None


def test_task_can_be_cancelled_until_it_ends(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    device = _device(fake.simulator_arn)
    task = device.run(_program(), shots=5)
    device.aws_session.cancel_quantum_task(task.id)
    assert task.state() == "CANCELLED"
    with pytest.raises(ClientError, match="ConflictException"):
        device.aws_session.cancel_quantum_task(task.id)


def test_same_client_token_makes_one_task(fake: FakeBraket) -> None:
    import boto3

    client = boto3.client("braket")
    request = {
        "deviceArn": fake.simulator_arn,
        "shots": 5,
        "action": _program().json(),
        "outputS3Bucket": "amazon-braket-fake",
        "outputS3KeyPrefix": "tasks",
        "clientToken": "the-same",
    }
    arns = {client.create_quantum_task(**request)["quantumTaskArn"] for _ in range(2)}
    assert arns == set(fake.tasks)
    assert len(arns) == 1


def test_offline_device_refuses_tasks(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    device = _device(fake.simulator_arn)
    fake.set_status(fake.simulator_arn, "OFFLINE")
    with pytest.raises(ClientError, match="DeviceOfflineException"):
        device.run(_program(), shots=5)
    assert fake.tasks == {}
    assert _device(fake.simulator_arn).status == "OFFLINE"


def test_unknown_arns_are_not_found(fake: FakeBraket) -> None:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("braket")
    arn = "arn:aws:braket:us-west-2:123456789012:quantum-task/none"
    calls: list[Any] = [
        lambda: client.get_device(deviceArn="arn:aws:braket:::device/qpu/x/y"),
        lambda: client.get_quantum_task(quantumTaskArn=arn),
        lambda: client.cancel_quantum_task(quantumTaskArn=arn),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            call()


def test_s3_keeps_objects(fake: FakeBraket) -> None:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("s3")
    client.put_object(Bucket="some-bucket", Key="a/b c", Body=b"text")
    assert client.head_object(Bucket="some-bucket", Key="a/b c")["ContentLength"] == 4
    assert client.get_object(Bucket="some-bucket", Key="a/b c")["Body"].read() == b"text"
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket="some-bucket", Key="none")


def test_fake_listens_on_loopback_only_and_stops() -> None:
    service = FakeBraket()
    with pytest.raises(RuntimeError, match="listens only inside"):
        _ = service.url
    with service:
        url = service.url
        assert url.startswith("http://127.0.0.1:")
        request = urllib.request.Request(f"{url}/devices", data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert len(json.load(answer)["devices"]) == 3
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/devices", timeout=5)


def test_s3_keeps_uploaded_files(fake: FakeBraket, tmp_path: Path) -> None:
    import boto3
    from braket.aws import AwsSession

    (tmp_path / "file").write_bytes(bytes(range(256)) * 100)
    AwsSession().upload_to_s3(str(tmp_path / "file"), "s3://some-bucket/folder/file")
    boto3.client("s3").upload_fileobj(io.BytesIO(b"streamed"), "some-bucket", "streamed")
    AwsSession().download_from_s3("s3://some-bucket/folder/file", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
    assert AwsSession().retrieve_s3_object_body("some-bucket", "streamed") == "streamed"
