"""Every fault of the fake Braket service, as boto3 and the real SDK meet it."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.fakes.braket.faults import Kind, Operation
from sqdr.errors import ConfigError

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

BUCKET = "amazon-braket-fake"
SOURCE = "OPENQASM 3.0;\nqubit[2] q;\nx q[0];\nz q[1];\n"
ACCOUNT = "123456789012"


@pytest.fixture
def fake(fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> FakeBraket:
    """The service, and clients that do not retry: each fault is seen as it comes."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return fake_braket


def _program() -> Any:
    from braket.ir.openqasm import Program

    return Program(source=SOURCE)


def _client(name: str = "braket") -> Any:
    import boto3

    return boto3.client(name)


def _create(fake: FakeBraket, token: str = "t") -> str:
    made = _client().create_quantum_task(
        deviceArn=fake.simulator_arn,
        shots=5,
        action=_program().json(),
        outputS3Bucket=BUCKET,
        outputS3KeyPrefix="tasks",
        clientToken=token,
    )
    return str(made["quantumTaskArn"])


def _calls(fake: FakeBraket) -> dict[str, Callable[[], Any]]:
    """A call of each operation that succeeds without faults; made before any fault is planted."""
    arn = _create(fake, "before")
    _client("s3").put_object(Bucket=BUCKET, Key="k", Body=b"text")
    return {
        "GetDevice": lambda: _client().get_device(deviceArn=fake.simulator_arn),
        "SearchDevices": lambda: _client().search_devices(filters=[]),
        "CreateQuantumTask": lambda: _create(fake),
        "GetQuantumTask": lambda: _client().get_quantum_task(quantumTaskArn=arn),
        "SearchQuantumTasks": lambda: _client().search_quantum_tasks(filters=[]),
        "CancelQuantumTask": lambda: _client().cancel_quantum_task(quantumTaskArn=arn),
        "S3Get": lambda: _client("s3").get_object(Bucket=BUCKET, Key="k")["Body"].read(),
        "S3Put": lambda: _client("s3").put_object(Bucket=BUCKET, Key="k", Body=b"other"),
        "GetCallerIdentity": lambda: _client("sts").get_caller_identity(),
    }


# what the client raises: an error with this code, or another exception by name
BRAKET = {
    "throttle": "ThrottlingException",
    "error": "InternalServiceException",
    "unavailable": "ServiceUnavailableException",
    "expired": "ExpiredTokenException",
    "skew": "InvalidSignatureException",
    "denied": "AccessDeniedException",
}
S3 = {
    "throttle": "SlowDown",
    "error": "InternalError",
    "unavailable": "ServiceUnavailable",
    "expired": "ExpiredToken",
    "skew": "RequestTimeTooSkewed",
    "denied": "AccessDenied",
}
STS = {
    "throttle": "Throttling",
    "error": "InternalFailure",
    "unavailable": "ServiceUnavailable",
    "expired": "ExpiredToken",
    "skew": "SignatureDoesNotMatch",
    "denied": "AccessDenied",
}


def _codes(operation: str) -> dict[str, str]:
    return S3 if operation.startswith("S3") else STS if operation == "GetCallerIdentity" else BRAKET


@pytest.mark.parametrize("operation", get_args(Operation))
def test_refusals_have_the_code_of_the_service_and_no_effect(fake: FakeBraket, operation: Any) -> None:
    from botocore.exceptions import ClientError

    call = _calls(fake)[operation]
    n_tasks = len(fake.tasks)
    for kind, code in _codes(operation).items():
        fake.faults.add(kind, operation)  # type: ignore[arg-type]
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code
        assert (ACCOUNT in str(caught.value)) == (kind == "denied")
    assert [fault.kind for fault in fake.faults.fired] == list(_codes(operation))
    assert {fault.operation for fault in fake.faults.fired} == {operation}
    assert len(fake.tasks) == n_tasks
    assert call()


@pytest.mark.parametrize("operation", get_args(Operation))
@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "lost"])
def test_broken_connections_are_no_refusals(fake: FakeBraket, kind: Any, operation: Any) -> None:
    from botocore.exceptions import ClientError, ConnectionClosedError

    call = _calls(fake)[operation]
    fake.faults.add(kind, operation)
    with pytest.raises(ConnectionClosedError) as caught:
        call()
    assert ("ConnectionResetError" in repr(caught.value.kwargs)) == (kind != "lost")
    assert [fault[:2] for fault in fake.faults.fired] == [(kind, operation)]
    if operation == "CancelQuantumTask" and kind != "reset_before":
        with pytest.raises(ClientError, match="ConflictException"):
            call()
    else:
        assert call()


@pytest.mark.parametrize("operation", get_args(Operation))
def test_garbage_is_an_answer_without_what_was_asked(fake: FakeBraket, operation: Any) -> None:
    from botocore.exceptions import ClientError
    from botocore.parsers import ResponseParserError

    # botocore takes any body of Braket's with status 200 for an answer and finds nothing in it; S3 may fail
    # after its 200, in the body
    raised: dict[str, tuple[type[Exception], str]] = {
        "CreateQuantumTask": (KeyError, "quantumTaskArn"),
        "S3Put": (ClientError, "500"),
        "GetCallerIdentity": (ResponseParserError, "XML"),
    }
    call = _calls(fake)[operation]
    fake.faults.add("garbage", operation)
    if operation in raised:
        kind, match = raised[operation]
        with pytest.raises(kind, match=match):
            call()
    else:
        answer = call()
        assert b"not a document" in answer if operation == "S3Get" else not set(answer) - {"ResponseMetadata"}
    assert [fault[:2] for fault in fake.faults.fired] == [("garbage", operation)]


@pytest.mark.parametrize(
    ("kind", "is_done"), [("reset_before", False), ("reset_after", True), ("lost", True), ("garbage", True)]
)
def test_task_is_created_though_the_answer_is_lost(fake: FakeBraket, kind: Any, is_done: bool) -> None:
    fake.faults.add(kind, "CreateQuantumTask")
    with pytest.raises(Exception, match="."):
        _create(fake)
    assert len(fake.tasks) == is_done
    # asked again with the same token, there is one task
    assert _create(fake) in fake.tasks
    assert len(fake.tasks) == 1


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "lost", "throttle", "error", "unavailable"])
def test_sdk_retries_a_submission_into_one_task(fake: FakeBraket, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from braket.aws import AwsDevice

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    device = AwsDevice(fake.simulator_arn)
    fake.faults.add(kind, "CreateQuantumTask", times=2)
    task = device.run(_program(), shots=5)
    assert list(fake.tasks) == [task.id]
    assert fake.requests.count("POST /quantum-task") == 3
    assert task.result().measurement_counts == {"10": 5}


def test_lost_cancellation_is_asked_again_in_vain_and_in_peace(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    arn = _create(fake)
    fake.faults.add("reset_after", "CancelQuantumTask")
    assert _client().cancel_quantum_task(quantumTaskArn=arn)["cancellationStatus"] == "CANCELLING"
    assert len(fake.faults.fired) == 1
    assert fake.tasks[arn].status == "CANCELLED"


def test_quota_refuses_a_submission(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    fake.faults.add("quota", "CreateQuantumTask")
    with pytest.raises(ClientError, match="ServiceQuotaExceededException") as caught:
        _create(fake)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert fake.tasks == {}


def test_slow_answer_comes_when_the_client_waits_and_times_out_when_not(fake: FakeBraket) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ReadTimeoutError

    fake.faults.add("slow", "GetDevice", seconds=0.3)
    assert _client().get_device(deviceArn=fake.qpu_arn)["deviceName"] == "Garnet"
    fake.faults.add("slow", "GetDevice", seconds=30.0)
    hasty = boto3.client("braket", config=Config(read_timeout=0.2))
    started = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        hasty.get_device(deviceArn=fake.qpu_arn)
    # leaving does not wait for the 30 s either
    fake.stop_listening()
    assert time.monotonic() - started < 25


def _finished(fake: FakeBraket) -> Any:
    from braket.aws import AwsDevice

    return AwsDevice(fake.simulator_arn).run(_program(), shots=5)


def test_missing_result_is_no_such_key_and_comes_back(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    task = _finished(fake)
    fake.faults.add("missing", "S3Get")
    with pytest.raises(ClientError, match="NoSuchKey"):
        task.result()
    assert task.result().measurement_counts == {"10": 5}


@pytest.mark.parametrize("kind", ["truncated", "garbage"])
def test_damaged_result_does_not_parse_and_is_whole_the_next_time(fake: FakeBraket, kind: Any) -> None:
    task = _finished(fake)
    fake.faults.add(kind, "S3Get")
    with pytest.raises(ValueError, match="JSON|json|Expecting|Unterminated"):
        task.result()
    assert task.result().measurement_counts == {"10": 5}


def test_fault_in_one_file_of_a_result_by_reference(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError
    from braket.aws import AwsDevice
    from braket.ir.openqasm import Program, ProgramSet

    fake.result_form = "by_reference"
    task = AwsDevice(fake.qpu_arn).run(ProgramSet(programs=[Program(source=SOURCE)] * 3), shots=9)
    fake.faults.add("missing", "S3Get", match="programs/1/executables/0.json")
    with pytest.raises(ClientError, match="NoSuchKey"):
        task.result()
    (fired,) = fake.faults.fired
    assert fired.path.endswith("programs/1/executables/0.json")
    assert len(task.result().entries) == 3


def test_fault_waits_its_turn_and_fires_as_often_as_asked(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    def outcomes(n: int) -> list[bool]:
        seen = []
        for _ in range(n):
            try:
                _client().get_device(deviceArn=fake.qpu_arn)
                seen.append(True)
            except ClientError:
                seen.append(False)
        return seen

    fake.faults.add("error", "GetDevice", after=1, times=2)
    assert outcomes(5) == [True, False, False, True, True]
    fake.faults.add("error", "GetDevice", times=None)
    assert outcomes(3) == [False] * 3
    fake.faults.clear()
    assert outcomes(1) == [True]
    assert len(fake.faults.fired) == 5


def test_match_picks_requests_by_text_or_by_function(fake: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    fake.faults.add("error", "GetDevice", match="ionq")
    fake.faults.add("throttle", "CreateQuantumTask", match='"shots": 7')
    fake.faults.add("denied", "GetDevice", match=lambda request: request.path.endswith("Garnet"))
    assert _client().get_device(deviceArn=fake.simulator_arn)
    assert _create(fake)
    for arn, code in ((fake.ion_arn, "InternalServiceException"), (fake.qpu_arn, "AccessDeniedException")):
        with pytest.raises(ClientError, match=code):
            _client().get_device(deviceArn=arn)
    assert len(fake.faults.fired) == 2


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        (("explode", "GetDevice"), {}, "`kind` must be one of throttle"),
        (("error", "DeleteDevice"), {}, "`operation` must be one of GetDevice"),
        (("quota", "GetDevice"), {}, "`kind` quota must be with CreateQuantumTask, got GetDevice"),
        (("missing", "S3Put"), {}, "`kind` missing must be with S3Get"),
        (("error", "GetDevice"), {"times": 0}, "`times` must be at least 1"),
        (("slow", "GetDevice"), {"seconds": 1e9}, "`seconds` 0 to 60"),
        (("slow", "GetDevice"), {"seconds": float("nan")}, "`seconds` 0 to 60"),
    ],
)
def test_fault_that_cannot_be_is_refused(fake: FakeBraket, arguments: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        fake.faults.add(*arguments, **options)


def test_every_kind_is_seen_above() -> None:
    seen = {*BRAKET, "reset_before", "reset_after", "lost", "garbage", "quota", "slow", "missing", "truncated"}
    assert seen == set(get_args(Kind))


@pytest.mark.parametrize("status", ["OFFLINE", "RETIRED"])
def test_device_that_is_not_online_refuses(fake: FakeBraket, status: Any) -> None:
    from botocore.exceptions import ClientError

    fake.set_status(fake.simulator_arn, status)
    with pytest.raises(ClientError, match=f"Device{status.capitalize()}Exception"):
        _create(fake)
    assert fake.tasks == {}


def test_outage_refuses_connections_and_ends_on_the_same_port(fake: FakeBraket) -> None:
    from botocore.exceptions import EndpointConnectionError

    task, url = _finished(fake), fake.url
    fake.stop_listening()
    with pytest.raises(EndpointConnectionError):
        _client().get_quantum_task(quantumTaskArn=task.id)
    fake.start_listening()
    assert fake.url == url
    assert task.result().measurement_counts == {"10": 5}


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fake-braket"]


def test_nothing_is_left_behind() -> None:
    import boto3

    assert _threads() == []
    with FakeBraket() as fake:
        options = {"endpoint_url": fake.url, "region_name": "us-west-2"}
        keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "EXAMPLEKEY"}
        clients = [boto3.client("braket", **options, **keys) for _ in range(3)]
        for client in clients:
            client.get_device(deviceArn=fake.qpu_arn)
        # each keeps its connection alive
        assert len(_threads()) == 1 + 3
    assert _threads() == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(options["endpoint_url"].rpartition(":")[2])), timeout=5)


def test_process_that_forgets_to_stop_still_ends(tmp_path: Path) -> None:
    program = "from sqdr.deploy.fakes import FakeBraket; fake = FakeBraket(); fake.start_listening(); print(fake.url)"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.startswith("http://127.0.0.1:")


def test_many_clients_at_once_get_their_own_tasks(fake: FakeBraket) -> None:
    found: list[str] = []
    errors: list[Exception] = []

    def submit(number: int) -> None:
        try:
            found.append(_create(fake, f"token {number % 8}"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert len(found) == 16
    assert set(found) == set(fake.tasks)
    assert len(fake.tasks) == 8
