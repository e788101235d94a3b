"""The AWS head against the fake service: results, order, cost, and every refusal."""

import re
import sys
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.circuit import qnode
from sqdr.deploy.braket.aws_errors import clean, translate
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.heads import BraketAwsHead, open_head
from sqdr.errors import (
    BackendError,
    ConfigError,
    CredentialsError,
    DataError,
    DeviceError,
    MissingDependencyError,
    SqdrError,
    TaskError,
)
from sqdr.openqasm import to_openqasm

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

# AWS's own example keys and account, and a session token: none may show up in a message.
ACCOUNT = "123456789012"
SECRETS = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "planted-session-token",
    ACCOUNT,
)

RNG = np.random.default_rng(11)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (4, 3, 3))
SHOTS = 1000


@pytest.fixture
def fake(fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeBraket:
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRETS[2])
    monkeypatch.chdir(tmp_path)
    return fake_braket


def _options(**options: Any) -> BraketOptions:
    """A journal in the test's own folder, and no patience with a service that is broken for good."""
    return BraketOptions(
        **{
            "journal": Path("journal.sqlite"),
            "model": "m",
            "has_canary": False,
            "result_patience_s": 0.05,
            "service_patience_s": 0.05,
            **options,
        }
    )


def _open(device: str, *, shots: int | None = SHOTS, **options: Any) -> HeadBackend:
    return open_head(
        device,
        openqasm=to_openqasm(WEIGHTS, "ring"),
        weights=WEIGHTS,
        entangler="ring",
        n_qubits=3,
        shots=shots,
        braket=_options(**options),
    )


def _head(fake: FakeBraket, *, shots: int | None = SHOTS, text: str = "", arn: str = "", **options: Any) -> Any:
    return BraketAwsHead(
        text or to_openqasm(WEIGHTS, "ring"), arn or fake.simulator_arn, shots=shots, options=_options(**options)
    )


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
    # a device's own ARN names no account
    assert "arn:" not in re.sub(r"arn:aws:braket:[\w-]*::device/", "", str(error))


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
    # one program set
    assert head.report().cost_usd == Decimal("0.30") + 4 * SHOTS * Decimal("0.00145")
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
    with _head(fake, text=to_openqasm(WEIGHTS, "ring", features), arn=fake.qpu_arn) as head:
        _assert_within_5_sigma(head.expectations(angles), angles)
    (task,) = fake.tasks.values()
    source = task.action["programs"][0]["source"]
    # two blocks of three qubits and three pairs; each fused rotation is ry once, and rz twice
    n_fused = 2 * 3 * (2 if features == 3 else 1)
    n_uploads = 0 if features == 3 else 2 * 3
    words = [line.split("(")[0].split()[0] for line in source.splitlines()]
    assert words.count("U") == gates.get("U", 0) * n_fused
    assert words.count("rz") == gates.get("rz", 0) * 2 * n_fused
    assert words.count("ry") == gates.get("rz", 0) * n_fused + n_uploads
    # of the ring of the first block; that of the last is left out
    assert [words.count(name) for name in ("cz", "h", "cnot")] == [
        3 * gates.get(name, 0) for name in ("cz", "h", "cnot")
    ]


def test_what_a_device_gets_is_the_same_on_every_run(fake: FakeBraket) -> None:
    for journal in ("one", "two"):
        with _open(fake.qpu_arn, journal=Path(journal)) as head:
            head.expectations(ANGLES[:1])
    first, second = (task.action for task in fake.tasks.values())
    assert first == second


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


@pytest.mark.parametrize("status", ["OFFLINE", "RETIRED"])
def test_device_that_is_not_online_is_refused_before_submission(fake: FakeBraket, status: Any) -> None:
    fake.set_status(fake.qpu_arn, status)
    head = _open("braket_iqm_garnet")
    assert not Path("journal.sqlite").exists()
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
    head = _head(fake, text=text, arn=fake.qpu_arn, shots=shots)
    with pytest.raises(DeviceError, match=match), head:
        pass
    assert fake.tasks == {}


def test_unknown_device_is_a_device_error(fake: FakeBraket) -> None:
    for arn in (
        "arn:aws:braket:us-east-1::device/qpu/x/New",
        "arn:aws:braket:::device/quantum-simulator/amazon/tn9",
    ):
        head = _head(fake, arn=arn, shots=10)
        with pytest.raises(DeviceError, match="not found") as caught, head:
            pass
        _assert_tells_no_secret(caught.value)


def test_unused_angle_is_refused_before_submission(fake: FakeBraket) -> None:
    text = to_openqasm(WEIGHTS, "ring", 1)
    with (
        _head(fake, text=text, shots=10) as head,
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
    monkeypatch.setattr("sqdr.deploy.braket.service.MAX_ATTEMPTS", 1)
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


def test_missing_right_is_not_called_missing_credentials() -> None:
    from botocore.exceptions import ClientError

    error = translate(ClientError({"Error": {"Code": "AccessDeniedException"}}, "CreateQuantumTask"), "testing")
    assert "which it knows" in str(error) and "rights" in str(error)
    assert "AWS_SECRET_ACCESS_KEY" not in str(error)


def test_refused_submission_shows_no_secret_in_the_traceback(fake: FakeBraket) -> None:
    fake.faults.add("denied", "CreateQuantumTask")
    with _head(fake) as head, pytest.raises(CredentialsError, match="AccessDeniedException") as caught:
        head.expectations(ANGLES)
    assert [fault.kind for fault in fake.faults.fired] == ["denied"]
    _assert_tells_no_secret(caught.value)
    assert not [secret for secret in SECRETS if secret in repr(head)]


def test_clean_keeps_ordinary_text() -> None:
    text = "Validation failed: 2024 shots of 1000 (5f3c) at 127.0.0.1"
    assert clean(text) == text


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_in_flight", 0), ("max_in_flight", True), ("n_tries", 1.5), ("shots", 0), ("task_timeout_s", 0.0)],
)
def test_head_rejects_option_out_of_range(fake: FakeBraket, option: str, value: Any) -> None:
    with pytest.raises((ConfigError, DeviceError), match=f"`{option}` must be"):
        _head(fake, **{option: value})


def test_head_without_a_journal_cannot_be_opened(fake: FakeBraket) -> None:
    head = BraketAwsHead(to_openqasm(WEIGHTS, "ring"), fake.simulator_arn, shots=10)
    with pytest.raises(ConfigError, match="may cost money for every circuit: name a `journal` file"), head:
        pass
    assert fake.requests == []


def test_head_needs_the_sdk(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "braket.aws", None)
    with pytest.raises(MissingDependencyError, match=r"sqdr\[braket\]"):
        _open("braket_sv1")
