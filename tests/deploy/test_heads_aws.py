"""The AWS head against the fake service: results, order, cost, and every refusal."""

import sys
import traceback
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.circuit import qnode
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.heads import BraketAwsHead, open_head
from sqdr.deploy.heads.aws_errors import clean, translate
from sqdr.errors import (
    BackendError,
    BackendTimeoutError,
    CredentialsError,
    DataError,
    DeviceError,
    MissingDependencyError,
    SqdrError,
    TaskError,
)
from sqdr.openqasm import to_openqasm

# AWS's own example keys and account, and a session token: none may show up in a message.
ACCOUNT = "123456789012"
SECRETS = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "planted-session-token",
    ACCOUNT,
)
OTHER_VARIABLES = ("AWS_PROFILE", "AMZN_BRAKET_TASK_RESULTS_S3_URI", "AMZN_BRAKET_JOB_TOKEN")

RNG = np.random.default_rng(11)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (4, 3, 3))
SHOTS = 1000


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBraket]:
    for name in OTHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with FakeBraket() as service:
        for key, value in service.environment().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("AWS_SESSION_TOKEN", SECRETS[2])
        yield service


def _open(device: str, *, shots: int | None = SHOTS) -> HeadBackend:
    return open_head(
        device,
        openqasm=to_openqasm(WEIGHTS, "ring"),
        weights=WEIGHTS,
        entangler="ring",
        n_qubits=3,
        shots=shots,
    )


def _head(fake: FakeBraket, **options: Any) -> BraketAwsHead:
    options = {"shots": SHOTS} | options
    return BraketAwsHead(to_openqasm(WEIGHTS, "ring"), fake.simulator_arn, **options)


def _reference(angles: NDArray[np.float64] = ANGLES) -> NDArray[np.float64]:
    import pennylane as qml

    circuit = qnode(qml.device("default.qubit", wires=3), "ring")
    return np.array([np.stack(circuit(sample, WEIGHTS)) for sample in angles])


def _assert_within_5_sigma(found: NDArray[np.float64], angles: NDArray[np.float64] = ANGLES) -> None:
    """A mean of shots of +-1 has variance (1 - z^2) / shots; beyond 5 sigma once in 2 million."""
    exact = _reference(angles)
    assert np.all(np.abs(found - exact) <= 5 * np.sqrt((1 - exact**2) / SHOTS) + 5 / SHOTS)


def _assert_tells_no_secret(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error)) + repr(error)
    assert not [secret for secret in SECRETS if secret in text]
    assert "arn:" not in str(error)


def test_simulator_gives_exact_expectations(fake: FakeBraket) -> None:
    with _open("braket_sv1", shots=None) as head:
        found = head.expectations(ANGLES)
    assert head.accuracy == "exact"
    # JSON keeps all digits of a double.
    np.testing.assert_allclose(found, _reference(), rtol=0, atol=1e-10)
    assert len(fake.tasks) == 4
    # The fake says 4 s each, above the minimum of 3 s, at $0.075 a minute.
    assert head.report().cost_usd == 4 * 4 * Decimal("0.075") / 60
    assert (head.report().n_circuits, head.report().n_shots) == (4, 0)


@pytest.mark.parametrize("reverse", [False, True])
def test_simulator_gives_sampled_expectations_by_measured_qubit(fake: FakeBraket, reverse: bool) -> None:
    fake.reverse_columns = reverse
    with _open(fake.simulator_arn) as head:
        _assert_within_5_sigma(head.expectations(ANGLES))
    assert head.accuracy == "sampled"


@pytest.mark.parametrize("reverse", [False, True])
def test_qpu_gives_expectations_in_qubit_order_and_an_estimate(fake: FakeBraket, reverse: bool) -> None:
    fake.reverse_columns, fake.polls_before_done = reverse, 1
    with _open("braket_iqm_garnet") as head:
        _assert_within_5_sigma(head.expectations(ANGLES))
    assert head.accuracy == "hardware"
    assert head.report().cost_usd == 4 * Decimal("0.30") + 4 * SHOTS * Decimal("0.00145")
    assert {task.device_arn for task in fake.tasks.values()} == {fake.qpu_arn}
    assert isinstance(head, HeadBackend)


def test_cost_is_unknown_without_prices(fake: FakeBraket) -> None:
    assert _head(fake).report().cost_usd is None


def test_every_task_carries_the_same_text_and_its_own_inputs(fake: FakeBraket) -> None:
    with _head(fake) as head:
        head.expectations(ANGLES)
    actions = [task.action for task in fake.tasks.values()]
    assert len({action["source"] for action in actions}) == 1
    assert [action["inputs"]["x_1_2"] for action in actions] == ANGLES[:, 1, 2].tolist()


def test_simulator_that_lists_the_fused_gate_gets_the_exported_bytes(fake: FakeBraket) -> None:
    with _head(fake) as head:
        head.expectations(ANGLES[:1])
    (task,) = fake.tasks.values()
    text = to_openqasm(WEIGHTS, "ring")
    assert task.action["source"].startswith(text)
    assert task.action["source"].removeprefix(text).splitlines() == [
        "bit[3] b;",
        *(f"b[{qubit}] = measure q[{qubit}];" for qubit in range(3)),
    ]


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize(
    ("operations", "gates"),
    [
        (None, {"rz": 1, "cz": 1}),
        # IonQ's list in the Braket developer guide
        ("x y z rx ry rz h cnot s si t ti v vi xx yy zz swap".split(), {"rz": 1, "h": 2, "cnot": 1}),
        (["U", "cz", "ry"], {"U": 1, "cz": 1}),
        (["cz", "rz", "ry"], {"rz": 1, "cz": 1}),
    ],
    ids=["iqm", "ionq", "fused", "least"],
)
def test_qpu_gets_gates_that_it_lists(
    fake: FakeBraket, operations: list[str] | None, gates: dict[str, int], features: Any
) -> None:
    if operations is not None:
        fake.set_operations(fake.qpu_arn, operations)
    angles = ANGLES if features == 3 else ANGLES * [0, 1, 0]
    with BraketAwsHead(to_openqasm(WEIGHTS, "ring", features), fake.qpu_arn, shots=SHOTS) as head:
        _assert_within_5_sigma(head.expectations(angles), angles)
    (source,) = {task.action["source"] for task in fake.tasks.values()}
    # two blocks of three qubits and three pairs; each fused rotation is ry once, and rz twice
    n_fused = 2 * 3 * (2 if features == 3 else 1)
    n_uploads = 0 if features == 3 else 2 * 3
    words = [line.split("(")[0].split()[0] for line in source.splitlines()]
    assert words.count("U") == gates.get("U", 0) * n_fused
    assert words.count("rz") == gates.get("rz", 0) * 2 * n_fused
    assert words.count("ry") == gates.get("rz", 0) * n_fused + n_uploads
    assert [words.count(name) for name in ("cz", "h", "cnot")] == [
        6 * gates.get(name, 0) for name in ("cz", "h", "cnot")
    ]


def test_what_a_device_gets_is_the_same_on_every_run(fake: FakeBraket) -> None:
    for _ in range(2):
        with _open(fake.qpu_arn) as head:
            head.expectations(ANGLES[:1])
    assert len({task.action["source"] for task in fake.tasks.values()}) == 1
    assert len(fake.tasks) == 2


@pytest.mark.parametrize(
    ("operations", "missing"), [([], "cnot, h, ry, rz"), (["cz", "rz"], "ry"), (["prx", "U"], "cnot, h")]
)
def test_device_without_the_gates_is_refused_before_submission(
    fake: FakeBraket, operations: list[str], missing: str
) -> None:
    fake.set_operations(fake.qpu_arn, operations)
    head = _open(fake.qpu_arn)
    for _ in range(2):
        with pytest.raises(DeviceError, match=f"does not list the gates that the circuit needs: {missing}\\. Nothing"):
            head.expectations(ANGLES)
    assert fake.tasks == {}


def test_device_that_takes_no_openqasm_is_refused_before_submission(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from braket.aws import AwsDevice

    original = AwsDevice.properties.fget

    def without_action(device: Any) -> Any:
        properties = original(device)
        properties.action.clear()
        return properties

    monkeypatch.setattr(AwsDevice, "properties", property(without_action))
    with pytest.raises(DeviceError, match="takes no OpenQASM programs"), _head(fake):
        pass
    assert fake.tasks == {}


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_tasks_in_flight_than_allowed_and_order_kept(fake: FakeBraket, limit: int) -> None:
    fake.polls_before_done = 1
    with _head(fake, max_in_flight=limit) as head:
        _assert_within_5_sigma(head.expectations(ANGLES))
    open_tasks = most = 0
    for request in fake.requests:
        open_tasks += request == "POST /quantum-task"
        open_tasks -= request.startswith("GET /amazon-braket-fake/")
        most = max(most, open_tasks)
    assert most == limit
    assert open_tasks == 0


def test_nothing_is_submitted_for_no_samples_or_before_the_first(fake: FakeBraket) -> None:
    with _head(fake) as head:
        assert head.expectations(np.empty((0, 3, 3))).shape == (0, 3)
    assert fake.tasks == {}


@pytest.mark.parametrize(
    ("outcome", "reason", "match"),
    [
        (
            "FAILED",
            "the qubits were cold",
            r"quantum task [0-9a-f-]+ on .* ended FAILED: the qubits were cold",
        ),
        ("FAILED", "", "ended FAILED: the service gives no reason"),
        ("CANCELLED", "", "ended CANCELLED"),
        (
            "FAILED",
            f"no access for arn:aws:iam::{ACCOUNT}:user/ann, {ACCOUNT}",
            "FAILED: no access for .hidden., .h",
        ),
    ],
)
def test_task_without_result_raises_and_cancels_the_others(
    fake: FakeBraket, outcome: Any, reason: str, match: str
) -> None:
    fake.outcomes = [("COMPLETED", ""), (outcome, reason)]
    with _head(fake) as head, pytest.raises(TaskError, match=match) as caught:
        head.expectations(ANGLES)
    assert [task.status for task in fake.tasks.values()] == ["COMPLETED", outcome, "CANCELLED", "CANCELLED"]
    _assert_tells_no_secret(caught.value)


def test_interrupt_cancels_what_is_in_flight(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    fake.polls_before_done = 5
    monkeypatch.setattr("sqdr.deploy.heads.braket_aws.time.sleep", interrupt)
    with _head(fake) as head, pytest.raises(KeyboardInterrupt):
        head.expectations(ANGLES)
    assert [task.status for task in fake.tasks.values()] == ["CANCELLED"] * 4


def test_task_that_does_not_end_times_out(fake: FakeBraket) -> None:
    fake.polls_before_done = 10**6
    with (
        _head(fake, task_timeout_s=0.05) as head,
        pytest.raises(BackendTimeoutError, match=r"within 0\.05 s"),
    ):
        head.expectations(ANGLES[:1])
    assert [task.status for task in fake.tasks.values()] == ["CANCELLED"]


def test_lost_result_is_a_task_error(fake: FakeBraket) -> None:
    fake.drop_results = True
    with (
        _head(fake) as head,
        pytest.raises(TaskError, match=r"waiting for quantum task .*NoSuchKey") as caught,
    ):
        head.expectations(ANGLES[:1])
    _assert_tells_no_secret(caught.value)


def test_result_of_none_is_a_task_error(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    from braket.aws import AwsQuantumTask

    monkeypatch.setattr(AwsQuantumTask, "result", lambda self: None)
    with _head(fake) as head, pytest.raises(TaskError, match="COMPLETED but has no result"):
        head.expectations(ANGLES[:1])


def test_result_of_other_qubits_is_a_task_error(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    from braket.tasks import GateModelQuantumTaskResult

    original = GateModelQuantumTaskResult.from_object

    def shifted(result: Any) -> Any:
        made = original(result)
        made.measured_qubits = [1, 2, 3]
        return made

    monkeypatch.setattr(GateModelQuantumTaskResult, "from_object", staticmethod(shifted))
    with _head(fake) as head, pytest.raises(TaskError, match="does not cover all 3 qubits"):
        head.expectations(ANGLES[:1])


@pytest.mark.parametrize("status", ["OFFLINE", "RETIRED"])
def test_device_that_is_not_online_is_refused_before_submission(fake: FakeBraket, status: Any) -> None:
    fake.set_status(fake.qpu_arn, status)
    head = _open("braket_iqm_garnet")
    with pytest.raises(DeviceError, match=f"is {status}. Nothing was submitted"), head:
        pass
    with pytest.raises(DeviceError, match=f"is {status}. Nothing was submitted"):
        head.expectations(ANGLES)
    assert fake.tasks == {}


def test_device_that_goes_offline_in_between_is_a_device_error(fake: FakeBraket) -> None:
    with _head(fake) as head:
        fake.set_status(fake.simulator_arn, "OFFLINE")
        with pytest.raises(DeviceError, match=r"submitting to .*DeviceOfflineException"):
            head.expectations(ANGLES)
    assert fake.tasks == {}


@pytest.mark.parametrize(
    ("n_qubits", "shots", "match"),
    [(21, 10, "has 20 qubits, the circuit needs 21"), (2, 20001, "`shots` must be 1 to 20000")],
)
def test_limits_of_the_device_itself_hold_without_hardware_file(
    fake: FakeBraket, n_qubits: int, shots: int, match: str
) -> None:
    text = to_openqasm(np.zeros((1, n_qubits, 3)), "chain", 1)
    head = BraketAwsHead(text, fake.qpu_arn, shots=shots)
    with pytest.raises(DeviceError, match=match), head:
        pass
    assert fake.tasks == {}


def test_unknown_device_is_a_device_error(fake: FakeBraket) -> None:
    for arn in (
        "arn:aws:braket:us-east-1::device/qpu/x/New",
        "arn:aws:braket:::device/quantum-simulator/amazon/tn9",
    ):
        head = BraketAwsHead(to_openqasm(WEIGHTS, "ring"), arn, shots=10)
        with pytest.raises(DeviceError, match="not found") as caught, head:
            pass
        _assert_tells_no_secret(caught.value)


def test_unused_angle_is_refused_before_submission(fake: FakeBraket) -> None:
    text = to_openqasm(WEIGHTS, "ring", 1)
    with (
        BraketAwsHead(text, fake.simulator_arn, shots=10) as head,
        pytest.raises(DataError, match="no input"),
    ):
        head.expectations(ANGLES)
    assert fake.tasks == {}


def test_missing_credentials_say_how_to_provide_them(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with (
        pytest.raises(CredentialsError, match=r"no AWS credentials found.*AWS_ACCESS_KEY_ID.*AWS_PROFILE"),
        _head(fake),
    ):
        pass
    assert fake.requests == []


def test_half_of_the_credentials_is_a_credentials_error(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="missing or incomplete") as caught, _head(fake):
        pass
    _assert_tells_no_secret(caught.value)


def test_unknown_profile_is_a_credentials_error(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "planted-profile")
    with pytest.raises(CredentialsError, match="ProfileNotFound") as caught, _head(fake):
        pass
    assert "planted-profile" not in "".join(traceback.format_exception(caught.value))


def test_missing_region_is_said(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(DeviceError, match="Set AWS_REGION"), _head(fake):
        pass


def test_unreachable_service_is_a_backend_error(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 1 of the loopback refuses at once; one attempt spares the waits between retries.
    monkeypatch.setattr("sqdr.deploy.heads.braket_aws.MAX_ATTEMPTS", 1)
    for name in ("AWS_ENDPOINT_URL_BRAKET", "BRAKET_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(BackendError, match=r"opening .*EndpointConnectionError") as caught, _head(fake):
        pass
    assert type(caught.value) is BackendError
    _assert_tells_no_secret(caught.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", CredentialsError),
        ("ExpiredTokenException", CredentialsError),
        ("UnrecognizedClientException", CredentialsError),
        ("DeviceRetiredException", DeviceError),
        ("ThrottlingException", TaskError),
        ("ServiceQuotaExceededException", TaskError),
    ],
)
def test_translate_gives_sqdr_error_without_secrets(fake: FakeBraket, code: str, kind: type[SqdrError]) -> None:
    from botocore.exceptions import ClientError

    message = f"User: arn:aws:iam::{ACCOUNT}:user/ann with {SECRETS[0]} {SECRETS[1]} {SECRETS[2]}\nis not welcome"
    error = translate(ClientError({"Error": {"Code": code, "Message": message}}, "CreateQuantumTask"), "testing")
    assert type(error) is kind
    assert str(error).startswith("testing: ")
    assert code in str(error)
    assert "\n" not in str(error)
    _assert_tells_no_secret(error)


def test_refused_submission_shows_no_secret_in_the_traceback(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"arn:aws:iam::{ACCOUNT}:user/ann may not"
    answer = (403, {"__type": "AccessDeniedException", "message": message})
    monkeypatch.setattr(FakeBraket, "_create_task", lambda self, body: answer)
    with _head(fake) as head, pytest.raises(CredentialsError, match="AccessDeniedException") as caught:
        head.expectations(ANGLES)
    _assert_tells_no_secret(caught.value)
    assert not [secret for secret in SECRETS if secret in repr(head)]


def test_clean_keeps_ordinary_text() -> None:
    text = "Validation failed: 2024 shots of 1000 (5f3c) at 127.0.0.1"
    assert clean(text) == text


@pytest.mark.parametrize(("option", "value"), [("max_in_flight", 0), ("shots", 0)])
def test_head_rejects_option_out_of_range(fake: FakeBraket, option: str, value: int) -> None:
    with pytest.raises(DeviceError, match=f"`{option}` must be"):
        _head(fake, **{option: value})


def test_head_needs_the_sdk(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "braket.aws", None)
    with pytest.raises(MissingDependencyError, match=r"sqdr\[braket\]"):
        _open("braket_sv1")
