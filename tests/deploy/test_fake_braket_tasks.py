"""Tasks of the fake Braket service over time: tokens, clock, queue, search, identity."""

import json
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sqdr.deploy.fakes import FakeBraket, FakeClock
from sqdr.deploy.fakes.braket import Clock
from sqdr.deploy.fakes.braket.clock import iso_time
from sqdr.errors import ConfigError, DeviceError

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

SOURCE = "OPENQASM 3.0;\nqubit[2] q;\nx q[0];\nz q[1];\n"
START = datetime(2026, 11, 1, tzinfo=timezone.utc)


def _client() -> Any:
    import boto3

    return boto3.client("braket")


def _create(fake: FakeBraket, token: str, *, arn: str | None = None, **options: Any) -> str:
    from braket.ir.openqasm import Program

    request = {
        "deviceArn": arn or fake.simulator_arn,
        "shots": 5,
        "action": Program(source=SOURCE).json(),
        "outputS3Bucket": "amazon-braket-fake",
        "outputS3KeyPrefix": "tasks",
        "clientToken": token,
    }
    return str(_client().create_quantum_task(**(request | options))["quantumTaskArn"])


def _search(*filters: tuple[str, str, list[str]], **options: Any) -> dict[str, Any]:
    asked = [{"name": name, "operator": operator, "values": values} for name, operator, values in filters]
    found: dict[str, Any] = _client().search_quantum_tasks(filters=asked, **options)
    return found


def test_same_token_is_one_task_and_other_parameters_are_refused(fake_braket: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    arn = _create(fake_braket, "token")
    fake_braket.set_status(fake_braket.simulator_arn, "OFFLINE")
    assert _create(fake_braket, "token") == arn
    for options in ({"shots": 6}, {"arn": fake_braket.qpu_arn}, {"tags": {"a": "b"}}):
        with pytest.raises(ClientError, match="ValidationException.*clientToken"):
            _create(fake_braket, "token", **options)
    assert list(fake_braket.tasks) == [arn]


def test_task_is_in_the_region_of_its_device(fake_braket: FakeBraket) -> None:
    regions = [
        _create(fake_braket, arn[-8:], arn=arn).split(":")[3] for arn in (fake_braket.qpu_arn, fake_braket.ion_arn)
    ]
    assert regions == ["eu-north-1", "us-east-1"]


def test_ions_take_what_they_list_and_no_cz(fake_braket: FakeBraket) -> None:
    from botocore.exceptions import ClientError
    from braket.aws import AwsDevice
    from braket.circuits import Circuit

    device = AwsDevice(fake_braket.ion_arn)
    circuit = Circuit().rx(0, 3.141592653589793).cnot(0, 1)
    assert device.run(circuit, shots=5).result().measurement_counts == {"11": 5}
    with pytest.raises(ClientError, match="uses a gate: cz which is not supported"):
        device.run(Circuit().h(0).cz(0, 1), shots=5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shots": 0}, "shots must be between 1 and 20000, got 0"),
        ({"shots": 20001}, "shots must be between 1 and 20000, got 20001"),
        ({"action": "{"}, "The request is malformed"),
        ({"action": "[]"}, "The request is malformed"),
        ({"action": '{"source": ""}'}, "does not support the action None"),
        (
            {
                "action": json.dumps(
                    {"braketSchemaHeader": {"name": "braket.ir.openqasm.program"}, "source": "qubit[21] q;"}
                )
            },
            "uses 21 qubits, the device has 20",
        ),
    ],
)
def test_task_that_the_device_does_not_take_is_refused(
    fake_braket: FakeBraket, options: dict[str, Any], match: str
) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match=f"ValidationException.*{match}"):
        _create(fake_braket, "token", arn=fake_braket.qpu_arn, **options)
    assert fake_braket.tasks == {}


def test_set_limits_and_windows_show_and_hold(fake_braket: FakeBraket) -> None:
    from botocore.exceptions import ClientError
    from braket.aws import AwsDevice

    windows = [{"executionDay": "Monday", "windowStartHour": "09:00:00", "windowEndHour": "10:00:00"}]
    fake_braket.set_execution_windows(fake_braket.qpu_arn, windows)
    fake_braket.set_limits(fake_braket.qpu_arn, shots=(2, 4), max_executables=7, max_total_shots=20)
    properties = AwsDevice(fake_braket.qpu_arn).properties
    (window,) = properties.service.executionWindows
    assert (window.executionDay.value, str(window.windowStartHour)) == ("Monday", "09:00:00")
    assert tuple(properties.service.shotsRange) == (2, 4)
    action = properties.action["braket.ir.openqasm.program_set"]
    assert (action.maximumExecutables, action.maximumTotalShots) == (7, 20)
    with pytest.raises(ClientError, match="between 2 and 4, got 5"):
        _create(fake_braket, "token", arn=fake_braket.qpu_arn)


def test_setters_know_their_devices(fake_braket: FakeBraket) -> None:
    calls: list[Any] = [
        lambda arn: fake_braket.set_status(arn, "OFFLINE"),
        lambda arn: fake_braket.set_operations(arn, []),
        lambda arn: fake_braket.set_execution_windows(arn, []),
        lambda arn: fake_braket.set_limits(arn, shots=(1, 2)),
    ]
    for call in calls:
        with pytest.raises(DeviceError, match="`device_arn` must be one of .*Garnet.*got Garnet"):
            call("Garnet")


def test_program_the_simulator_cannot_run_fails_with_the_reason(fake_braket: FakeBraket) -> None:
    from braket.aws import AwsDevice
    from braket.ir.openqasm import Program

    source = "OPENQASM 3.0;\ninput float a;\nqubit[1] q;\nrx(a) q[0];\n"
    task = AwsDevice(fake_braket.simulator_arn).run(Program(source=source), shots=5)
    assert task.state() == "FAILED"
    assert "NameError" in task.metadata()["failureReason"]


def test_clock_drives_the_life_of_a_task(fake_braket: FakeBraket) -> None:
    fake_braket.clock = clock = FakeClock()
    fake_braket.queue_s, fake_braket.run_s = 60.0, 5.0
    arn = _create(fake_braket, "token")

    def told() -> dict[str, Any]:
        answer: dict[str, Any] = _client().get_quantum_task(quantumTaskArn=arn, additionalAttributeNames=["QueueInfo"])
        return answer

    assert [told()["status"] for _ in range(3)] == ["QUEUED"] * 3
    assert told()["queueInfo"]["position"] == "1"
    assert "endedAt" not in told()
    clock.advance(60)
    running = told()
    assert (running["status"], running["queueInfo"]["position"]) == ("RUNNING", "None")
    clock.advance(100)
    ended = told()
    assert ended["status"] == "COMPLETED"
    assert ended["createdAt"] == START
    # it ended when it was due, not when it was asked for
    assert ended["endedAt"] == START + timedelta(seconds=65)
    assert ended["numSuccessfulShots"] == 5


def test_search_sees_the_clock_without_a_poll(fake_braket: FakeBraket) -> None:
    fake_braket.clock = clock = FakeClock()
    fake_braket.run_s = 5.0
    _create(fake_braket, "token")
    assert [task["status"] for task in _search()["quantumTasks"]] == ["RUNNING"]
    clock.advance(5)
    assert [task["status"] for task in _search()["quantumTasks"]] == ["COMPLETED"]
    assert [task["status"] for task in _search(("status", "EQUAL", ["RUNNING"]))["quantumTasks"]] == []


def test_searching_is_no_poll(fake_braket: FakeBraket) -> None:
    arn = _create(fake_braket, "token")
    assert [task["status"] for task in _search()["quantumTasks"]] == ["QUEUED"]
    assert _client().get_quantum_task(quantumTaskArn=arn)["status"] == "COMPLETED"


def test_queue_shows_in_the_device_and_in_each_task(fake_braket: FakeBraket) -> None:
    from braket.aws import AwsDevice, AwsQuantumTask

    fake_braket.clock = FakeClock()
    fake_braket.queue_s = 10.0
    arns = [_create(fake_braket, str(number), arn=fake_braket.qpu_arn) for number in range(3)]
    _create(fake_braket, "elsewhere")
    assert [AwsQuantumTask(arn).queue_position().queue_position for arn in arns] == ["1", "2", "3"]
    depth = AwsDevice(fake_braket.qpu_arn).queue_depth()
    assert {str(kind.value): size for kind, size in depth.quantum_tasks.items()} == {"Normal": "3", "Priority": "0"}
    assert depth.jobs == "0"
    # as with Braket, the place in the queue is told only when asked for
    assert "queueInfo" not in _client().get_quantum_task(quantumTaskArn=arns[0])


def test_search_finds_by_device_time_and_status_with_tags(fake_braket: FakeBraket) -> None:
    fake_braket.clock = clock = FakeClock()
    first = _create(fake_braket, "1", tags={"run": "a"})
    clock.advance(10)
    second = _create(fake_braket, "2", tags={"run": "b", "chunk": "0"})
    third = _create(fake_braket, "3", arn=fake_braket.qpu_arn)
    later = iso_time(START + timedelta(seconds=10))

    def found(*filters: tuple[str, str, list[str]]) -> list[str]:
        return [task["quantumTaskArn"] for task in _search(*filters)["quantumTasks"]]

    # newest first
    assert found() == [third, second, first]
    assert found(("deviceArn", "EQUAL", [fake_braket.simulator_arn])) == [second, first]
    assert found(("createdAt", "GTE", [later])) == [third, second]
    assert found(("createdAt", "GT", [later])) == []
    assert found(("createdAt", "LT", [later])) == [first]
    assert found(("createdAt", "BETWEEN", [iso_time(START), later])) == [third, second, first]
    assert found(("deviceArn", "EQUAL", [fake_braket.simulator_arn]), ("createdAt", "GTE", [later])) == [second]
    assert found(("quantumTaskArn", "EQUAL", [first, third])) == [third, first]
    assert found(("status", "EQUAL", ["COMPLETED"])) == []
    summaries = {task["quantumTaskArn"]: task for task in _search()["quantumTasks"]}
    assert summaries[second]["tags"] == {"run": "b", "chunk": "0"}
    assert (summaries[first]["createdAt"], summaries[first]["shots"]) == (START, 5)
    assert _client().get_quantum_task(quantumTaskArn=first)["tags"] == {"run": "a"}


def test_search_comes_in_pages(fake_braket: FakeBraket) -> None:
    arns = [_create(fake_braket, str(number)) for number in range(5)]
    pages = [_search(maxResults=2)]
    while "nextToken" in pages[-1]:
        pages.append(_search(maxResults=2, nextToken=pages[-1]["nextToken"]))
    assert [len(page["quantumTasks"]) for page in pages] == [2, 2, 1]
    assert [task["quantumTaskArn"] for page in pages for task in page["quantumTasks"]] == arns[::-1]
    paginator = _client().get_paginator("search_quantum_tasks")
    found = paginator.paginate(filters=[], PaginationConfig={"PageSize": 3})
    assert [len(page["quantumTasks"]) for page in found] == [3, 2]


@pytest.mark.parametrize(
    ("filter_", "options"),
    [
        (("shots", "EQUAL", ["5"]), {}),
        (("deviceArn", "GT", ["a"]), {}),
        (("createdAt", "GTE", ["yesterday"]), {}),
        (("createdAt", "GTE", ["2026-11-01T00:00:00"]), {}),
        (("createdAt", "BETWEEN", ["2026-11-01T00:00:00Z"]), {}),
        (("status", "EQUAL", ["QUEUED"]), {"nextToken": "nonsense"}),
    ],
)
def test_malformed_search_is_refused(fake_braket: FakeBraket, filter_: Any, options: dict[str, Any]) -> None:
    from botocore.exceptions import ClientError

    _create(fake_braket, "token")
    with pytest.raises(ClientError, match="ValidationException"):
        _search(filter_, **options)


def test_session_knows_the_account(fake_braket: FakeBraket) -> None:
    from braket.aws import AwsSession

    assert AwsSession().account_id == "123456789012"


def test_fake_clock_advances_only_when_told() -> None:
    clock = FakeClock(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=timezone.utc)
    clock.advance(0.25)
    assert iso_time(clock.now()) == "2026-01-01T00:00:00.250Z"
    with pytest.raises(ConfigError, match="must not be negative"):
        clock.advance(-1)
    with pytest.raises(ConfigError, match="must have a time zone"):
        FakeClock(datetime(2026, 1, 1))
    assert Clock().now().tzinfo is not None


def test_seed_makes_a_task_the_same_whatever_was_submitted_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from braket.aws import AwsDevice
    from braket.circuits import Circuit

    def found(circuits: list[Any]) -> list[Any]:
        with FakeBraket(seed=1) as fake:
            for name, value in fake.environment().items():
                monkeypatch.setenv(name, value)
            device = AwsDevice(fake.simulator_arn)
            return [device.run(circuit, shots=500).result().measurements.tolist() for circuit in circuits]

    coin, other = Circuit().h(0), Circuit().rx(0, 1.0)
    first, second, third = found([coin, other, coin])
    assert first != third
    assert found([other, coin]) == [second, first]


def test_polls_from_many_threads_end_a_task_once(fake_braket: FakeBraket) -> None:
    arn = _create(fake_braket, "token")
    client = _client()
    statuses: list[str] = []

    def poll() -> None:
        statuses.append(client.get_quantum_task(quantumTaskArn=arn)["status"])

    threads = [threading.Thread(target=poll) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert statuses == ["COMPLETED"] * 8
