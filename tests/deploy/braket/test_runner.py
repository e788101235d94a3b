"""The runner against the fake service: faults of every kind, nothing lost, nothing paid twice, nothing unasked."""

import datetime
import json
import threading
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.deploy.braket.journal import Journal
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.heads import BraketAwsHead, open_head
from sqdr.errors import (
    BackendTimeoutError,
    BudgetError,
    CanaryError,
    CredentialsError,
    DeviceError,
    SqdrError,
    TaskError,
)
from sqdr.openqasm import to_openqasm

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

RNG = np.random.default_rng(11)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 3, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (6, 3, 3))
SHOTS = 1000
SECRETS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "123456789012")
JOURNAL = Path("journal.sqlite")


@pytest.fixture
def fake(fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeBraket:
    monkeypatch.chdir(tmp_path)
    return fake_braket


def head(device: str, *, shots: int | None = SHOTS, **options: Any) -> BraketAwsHead:
    made = open_head(
        device,
        openqasm=to_openqasm(WEIGHTS, "ring"),
        weights=WEIGHTS,
        entangler="ring",
        n_qubits=3,
        shots=shots,
        braket=BraketOptions(**{"journal": JOURNAL, "model": "m", "result_patience_s": 0.05} | options),
    )
    assert isinstance(made, BraketAwsHead)
    made.name_samples(ANGLES, [f"image-{number}" for number in range(len(ANGLES))])
    return made


def exact() -> np.ndarray:
    with open_head("local:sv", openqasm="", weights=WEIGHTS, entangler="ring", n_qubits=3, shots=None) as local:
        return local.expectations(ANGLES)


def run(device: str, *, shots: int | None = SHOTS, n: int = len(ANGLES), **options: Any) -> np.ndarray:
    with head(device, shots=shots, **options) as opened:
        found = opened.expectations(ANGLES[:n])
    # a mean of shots of +-1 has a standard deviation of at most 1 / sqrt(shots); beyond 5 of them once in 2 million
    assert np.abs(found - exact()[:n]).max() < (1e-10 if shots is None else 5 / np.sqrt(shots))
    return found


def tokens(fake: FakeBraket) -> int:
    """How many tasks exist at the service: each would be paid for."""
    return len(fake.tasks)


# ---- answered from the journal


@pytest.mark.parametrize("device", ["braket_sv1", "braket_iqm_garnet"])
def test_same_request_again_costs_nothing(fake: FakeBraket, device: str) -> None:
    first = run(device)
    n_tasks, n_requests = tokens(fake), len(fake.requests)
    again = run(device)
    np.testing.assert_array_equal(again, first)
    assert tokens(fake) == n_tasks
    assert not [request for request in fake.requests[n_requests:] if "quantum-task" in request]
    with head(device) as opened:
        opened.expectations(ANGLES)
        assert opened.paid_now_usd() == 0
        assert opened.report().cost_usd > 0


def test_more_images_pay_for_the_new_ones_only(fake: FakeBraket) -> None:
    few = run("braket_sv1", n=4, has_canary=False)
    assert tokens(fake) == 4
    more = run("braket_sv1", n=6, has_canary=False)
    assert tokens(fake) == 6
    np.testing.assert_array_equal(more[:4], few)


def test_equal_images_are_paid_for_once(fake: FakeBraket) -> None:
    with head("braket_sv1", has_canary=False) as opened:
        found = opened.expectations(ANGLES[[0, 1, 0, 0]])
    assert tokens(fake) == 2
    np.testing.assert_array_equal(found[0], found[3])


def test_further_part_is_a_new_request(fake: FakeBraket) -> None:
    with head("braket_sv1", has_canary=False) as opened:
        first, second = (opened.sample(ANGLES[:2], 100, part=part) for part in (0, 1))
        again = opened.sample(ANGLES[:2], 100, part=0)
    assert tokens(fake) == 4
    np.testing.assert_array_equal(first.ones, again.ones)
    assert (first + second).shots.tolist() == [200, 200]


# ---- program sets


@pytest.mark.parametrize("form", ["inline", "by_reference"])
@pytest.mark.parametrize("reverse", [False, True])
def test_program_sets_are_cut_by_the_device_own_limits(fake: FakeBraket, form: Any, reverse: bool) -> None:
    fake.result_form, fake.reverse_columns = form, reverse
    fake.set_limits(fake.qpu_arn, max_executables=4, max_total_shots=3 * SHOTS)
    run("braket_iqm_garnet")
    # three circuits a set by the shots, one of them the canary
    assert [task.shots for task in fake.tasks.values()] == [3 * SHOTS] * 3
    with Journal.look(JOURNAL) as journal:
        assert [task.purposes for task in journal.tasks()] == [("sample", "sample", "canary")] * 3
        assert journal.tasks()[0].sample_ids[:2] == ("image-0", "image-1")


def test_circuits_that_fail_in_a_set_are_tried_again_and_the_others_kept(fake: FakeBraket) -> None:
    fake.executable_failures = [{1: "qubit 7 is cold", 4: "qubit 7 is cold"}]
    run("braket_iqm_garnet")
    assert [len(task.action["programs"][0]["inputs"]["x_0_1"]) for task in fake.tasks.values()] == [6, 2]


def test_circuit_that_fails_for_good_is_named_and_the_others_are_not_lost(fake: FakeBraket) -> None:
    fake.executable_failures = [{1: "no route"}, {0: "no route"}, {0: "no route"}]
    with pytest.raises(
        TaskError, match=r"1 of 6 circuits \(image-1\) have no result: .*no route.* The journal holds 3 finished"
    ):
        run("braket_iqm_garnet")
    fake.executable_failures = []
    run("braket_iqm_garnet")
    assert tokens(fake) == 4
    assert len(list(fake.tasks.values())[3].action["programs"][0]["inputs"]["x_0_1"]) == 1


def test_tasks_instead_of_program_sets_on_request(fake: FakeBraket) -> None:
    run("braket_iqm_garnet", has_program_sets=False, has_canary=False)
    assert [task.shots for task in fake.tasks.values()] == [SHOTS] * 6


# ---- a task that ends without a result


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELLED"])
def test_task_that_ends_without_result_is_tried_again_and_the_rest_goes_on(fake: FakeBraket, outcome: Any) -> None:
    fake.outcomes = [("COMPLETED", ""), (outcome, "cold"), ("COMPLETED", ""), (outcome, "cold")]
    run("braket_sv1", has_canary=False)
    assert tokens(fake) == 8
    with Journal.look(JOURNAL) as journal:
        ends = [task.status for task in journal.tasks()]
        assert (ends.count("COMPLETED"), ends.count(outcome)) == (6, 2)
        # what failed is not charged
        assert journal.spent_usd() == 6 * Decimal("0.005")


def test_tries_have_a_limit_and_the_reason_is_told_without_secrets(fake: FakeBraket) -> None:
    reason = f"no access for arn:aws:iam::{SECRETS[2]}:user/ann, {SECRETS[2]}, key {SECRETS[1]}"
    fake.outcomes = [("COMPLETED", ""), *[("FAILED", reason)] * 7]
    with pytest.raises(TaskError, match=r"2 of 3 circuits .* FAILED: no access for \[hidden\]") as caught:
        run("braket_sv1", n=3, has_canary=False, n_tries=3)
    assert_no_secret(caught.value)
    assert "Ask for the same again with this journal to go on." in str(caught.value)
    run("braket_sv1", n=3, has_canary=False)


# ---- faults on the way


TRANSIENT = ["throttle", "error", "unavailable", "reset_before", "reset_after", "lost", "slow", "garbage"]


@pytest.mark.parametrize("operation", ["GetDevice", "CreateQuantumTask", "GetQuantumTask", "S3Get"])
@pytest.mark.parametrize("kind", TRANSIENT)
def test_passing_fault_changes_nothing(fake: FakeBraket, kind: Any, operation: Any) -> None:
    # a device is asked once, and a slow answer is none to repeat
    times = 1 if (kind, operation) == ("slow", "GetDevice") else 2
    fake.faults.add(kind, operation, times=times)
    run("braket_sv1", n=3, has_canary=False, result_patience_s=20.0)
    assert tokens(fake) == 3
    assert len(fake.faults.fired) == times


@pytest.mark.parametrize("operation", ["CreateQuantumTask", "GetQuantumTask"])
def test_fault_that_outlasts_botocore_changes_nothing(
    fake: FakeBraket, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqdr.deploy.braket.service.MAX_ATTEMPTS", 1)
    fake.faults.add("error", operation, times=3)
    fake.faults.add("reset_after", operation, times=1)
    run("braket_sv1", n=2, has_canary=False)
    assert tokens(fake) == 2
    assert len(fake.faults.fired) == 4


@pytest.mark.parametrize("kind", ["missing", "truncated", "garbage"])
def test_result_that_is_late_or_cut_is_read_again(fake: FakeBraket, kind: Any) -> None:
    fake.faults.add(kind, "S3Get", times=3)
    run("braket_sv1", n=3, has_canary=False, result_patience_s=20.0)
    assert tokens(fake) == 3


@pytest.mark.parametrize("kind", ["missing", "truncated", "garbage"])
def test_result_that_stays_unreadable_stops_neither_the_rest_nor_a_later_look(fake: FakeBraket, kind: Any) -> None:
    first: list[str] = []

    def is_first(request: Any) -> bool:
        first.append(request.path)
        return bool(request.path == first[0])

    fake.faults.add(kind, "S3Get", times=None, match=is_first)
    with pytest.raises(
        TaskError, match=r"1 of 3 circuits .*COMPLETED, but its result cannot be read.*2 finished and 1"
    ):
        run("braket_sv1", n=3, has_canary=False)
    fake.faults.clear()
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


@pytest.mark.parametrize("operation", ["CreateQuantumTask", "GetQuantumTask", "S3Get"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [("expired", "AWS refused the credentials"), ("denied", "AWS refused"), ("skew", "Set this machine's clock")],
)
def test_refused_credentials_say_what_was_paid_and_how_to_go_on(
    fake: FakeBraket, kind: Any, said: str, operation: Any
) -> None:
    fake.faults.add(kind, operation, after=2, times=None)
    with pytest.raises(CredentialsError, match=said) as caught:
        run("braket_sv1", n=4, has_canary=False, max_in_flight=2)
    assert "Ask for the same again with this journal to go on." in str(caught.value)
    assert "about $0.0" in str(caught.value)
    assert_no_secret(caught.value)
    fake.faults.clear()
    run("braket_sv1", n=4, has_canary=False)
    assert tokens(fake) == 4


def test_quota_waits_for_a_task_to_end(fake: FakeBraket) -> None:
    fake.polls_before_done = 2
    fake.faults.add("quota", "CreateQuantumTask", after=2, times=2)
    run("braket_sv1", has_canary=False)
    assert len(fake.faults.fired) == 2
    assert tokens(fake) == 6


def test_quota_of_nothing_is_an_error_that_says_what_to_do(fake: FakeBraket) -> None:
    fake.faults.add("quota", "CreateQuantumTask", times=None)
    with pytest.raises(TaskError, match="Wait until tasks have ended, or ask AWS for a higher quota"):
        run("braket_sv1", has_canary=False)
    assert tokens(fake) == 0


def test_outage_in_the_middle_is_waited_for(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqdr.deploy.braket.service.MAX_ATTEMPTS", 1)
    fake.polls_before_done = 2

    outages: list[threading.Timer] = []

    def outage(done: int, total: int, said: str) -> None:
        if done == 1 and not outages:
            fake.stop_listening()
            outages.append(threading.Timer(2.0, fake.start_listening))
            outages[0].start()

    try:
        run("braket_sv1", n=3, has_canary=False, on_progress=outage)
    finally:
        for timer in outages:
            timer.join()
    assert outages
    assert tokens(fake) == 3


def test_outage_without_end_is_an_error_and_nothing_is_lost(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqdr.deploy.braket.service.MAX_ATTEMPTS", 1)

    def outage(done: int, total: int, said: str) -> None:
        if done == 1:
            fake.stop_listening()

    with pytest.raises(TaskError, match=r"EndpointConnectionError.*1 finished and 2 unfinished"):
        run("braket_sv1", n=3, has_canary=False, on_progress=outage, service_patience_s=0.2)
    fake.start_listening()
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


def test_task_that_does_not_end_times_out_and_is_picked_up_later(fake: FakeBraket) -> None:
    fake.polls_before_done = 10**6
    with pytest.raises(BackendTimeoutError, match=r"did not finish within 0\.05 s.*0 finished and 3 unfinished"):
        run("braket_sv1", n=3, has_canary=False, task_timeout_s=0.05)
    for task in fake.tasks.values():
        task.polls_left = 0
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


# ---- a submission whose answer was never recorded


def lose(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit one task and die before its name is written."""
    with monkeypatch.context() as patched:

        def die(*_: Any) -> Any:
            raise SystemExit("killed")

        patched.setattr(Journal, "created", die)
        with pytest.raises(SystemExit, match="killed"):
            run("braket_sv1", n=1, has_canary=False)
    assert tokens(fake) == 1


def test_lost_submission_is_found_by_its_tag(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fake, monkeypatch)
    (task,) = fake.tasks.values()
    run("braket_sv1", n=1, has_canary=False)
    assert list(fake.tasks.values()) == [task]
    assert "POST /quantum-tasks" in fake.requests
    assert fake.requests.count("POST /quantum-task") == 1


def test_lost_submission_that_the_search_does_not_show_is_asked_for_with_its_token(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(fake, monkeypatch)
    monkeypatch.setattr("sqdr.deploy.braket.service.BraketService.find", lambda self, token, since: None)
    run("braket_sv1", n=1, has_canary=False)
    assert fake.requests.count("POST /quantum-task") == 2
    assert tokens(fake) == 1


def test_lost_submission_is_not_guessed_at_without_the_right_to_search(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(fake, monkeypatch)
    fake.faults.add("denied", "SearchQuantumTasks", times=None)
    with pytest.raises(CredentialsError, match="looking for a lost task"):
        run("braket_sv1", n=1, has_canary=False)
    assert fake.requests.count("POST /quantum-task") == 1


def test_clock_that_is_hours_off_does_not_hide_a_lost_submission(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(fake, monkeypatch)
    ahead = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=20)
    import sqlite3

    with sqlite3.connect(JOURNAL) as database:
        database.execute("UPDATE tasks SET intended_at = ?", (ahead.isoformat(),))
    database.close()
    run("braket_sv1", n=1, has_canary=False)
    assert fake.requests.count("POST /quantum-task") == 1


def test_region_that_is_not_the_tasks_own_is_said(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fake, monkeypatch)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(
        DeviceError, match=r"submitted in us-west-2, this run is in us-east-1\. Set AWS_REGION=us-west-2"
    ):
        run("braket_sv1", n=1, has_canary=False)
    assert tokens(fake) == 1


# ---- the canary


def test_every_program_set_has_a_canary_and_tasks_have_one_before_them(fake: FakeBraket) -> None:
    run("braket_iqm_garnet")
    run("braket_sv1", journal=Path("other"))
    garnet, first, *others = fake.tasks.values()
    assert "x_0_0" not in garnet.action["programs"][-1]["source"]
    assert "x_0_0" not in first.action["source"]
    assert all("x_0_0" in task.action["source"] for task in others)
    assert len(others) == 6


def test_wrong_columns_stop_the_run_before_anything_else_is_paid(fake: FakeBraket) -> None:
    fake.scramble_columns = True
    with pytest.raises(CanaryError, match=r"canary circuit on braket:.*sv1 is wrong on . of 3 qubits.*--no-canary"):
        run("braket_sv1")
    assert tokens(fake) == 1
    fake.scramble_columns = False
    run("braket_sv1")  # a new canary, and the circuits
    assert tokens(fake) == 8


def test_drifting_device_is_seen_before_more_is_paid_and_its_results_answer_nothing(fake: FakeBraket) -> None:
    fake.set_limits(fake.qpu_arn, max_executables=3)
    fake.polls_before_done, fake.drift = 1, 0.3
    with pytest.raises(CanaryError, match="waiting tasks were cancelled"):
        run("braket_iqm_garnet")
    # the others were not submitted before the first canary was seen
    assert tokens(fake) == 1
    with Journal.look(JOURNAL) as journal:
        assert [task.is_suspect for task in journal.tasks()] == [True]
    fake.drift = 0.0
    run("braket_iqm_garnet")
    assert tokens(fake) == 1 + 3


def test_suspect_results_are_taken_on_request_without_paying_again(fake: FakeBraket) -> None:
    fake.drift = 0.3
    with pytest.raises(CanaryError):
        run("braket_iqm_garnet")
    with head("braket_iqm_garnet", has_canary=False) as opened:
        opened.expectations(ANGLES)
    assert tokens(fake) == 1


# ---- before anything is submitted


def closed_window() -> dict[str, str]:
    """A window of an hour, twelve hours from now."""
    start = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=12)).replace(minute=0, second=0)
    end = start.replace(minute=59)
    return {
        "executionDay": "Everyday",
        "windowStartHour": start.strftime("%H:%M:%S"),
        "windowEndHour": end.strftime("%H:%M:%S"),
    }


def test_device_outside_its_windows_is_said_and_can_be_queued_for(fake: FakeBraket) -> None:
    fake.set_execution_windows(fake.qpu_arn, [closed_window()])
    with pytest.raises(DeviceError, match=r"outside its execution windows \(Everyday ..:00 to ..:59 UTC.*--queue"):
        run("braket_iqm_garnet")
    assert tokens(fake) == 0
    run("braket_iqm_garnet", may_wait=True)


def test_ion_trap_gets_its_own_gates(fake: FakeBraket) -> None:
    run(fake.ion_arn, has_canary=True)
    for task in fake.tasks.values():
        text = json.dumps(task.action)
        assert "cz " not in text
        assert "U(" not in text


def test_exact_expectations_of_a_device_that_has_none_are_refused(fake: FakeBraket) -> None:
    fake.set_limits(fake.simulator_arn, shots=(1, 1000))
    with pytest.raises(DeviceError, match="gives no exact expectations"):
        run("braket_sv1", shots=None)
    assert tokens(fake) == 0


# ---- the budget


def test_budget_stops_before_the_task_that_exceeds_it(fake: FakeBraket) -> None:
    with pytest.raises(
        BudgetError, match=r"next task is estimated at \$0\.005 and the journal holds \$0\.015.*budget of \$0\.017"
    ):
        run("braket_sv1", has_canary=False, budget_usd=Decimal("0.017"), max_in_flight=1)
    assert tokens(fake) == 3
    run("braket_sv1", has_canary=False, budget_usd=Decimal("0.03"), max_in_flight=1)
    assert tokens(fake) == 6


def test_budget_counts_what_may_have_been_submitted(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fake, monkeypatch)
    with pytest.raises(BudgetError, match="the journal holds"):
        run("braket_sv1", n=3, has_canary=False, budget_usd=Decimal("0.004"))
    assert tokens(fake) == 1


# ---- Ctrl-C


def interrupted(fake: FakeBraket, answer: bool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []

    def stop(done: int, total: int, said: str) -> None:
        if fake.tasks and len(fake.tasks) == 3:
            raise KeyboardInterrupt

    def ask(n_open: int) -> bool:
        asked.append(n_open)
        return answer

    fake.polls_before_done = 10
    with pytest.raises(KeyboardInterrupt):
        run("braket_sv1", n=3, has_canary=False, on_progress=stop, on_interrupt=ask)
    fake.polls_before_done = 0
    return asked


def test_ctrl_c_keeps_tasks_that_are_then_picked_up(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted(fake, False, monkeypatch) == [3]
    assert {task.status for task in fake.tasks.values()} <= {"QUEUED", "RUNNING"}
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


def test_ctrl_c_cancels_on_request_and_the_same_circuits_run_later(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupted(fake, True, monkeypatch) == [3]
    assert [task.status for task in fake.tasks.values()] == ["CANCELLED"] * 3
    with Journal.look(JOURNAL) as journal:
        assert len(journal.open_tasks()) == 3  # until the service has said so
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 6


def test_task_that_completed_in_spite_of_its_cancellation_is_not_lost(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.faults.add("error", "CancelQuantumTask", times=None)
    monkeypatch.setattr("sqdr.deploy.braket.backoff.Backoff.call", _once)
    assert interrupted(fake, True, monkeypatch) == [3]
    fake.faults.clear()
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


def _once(self: Any, what: Callable[[], Any], doing: str, otherwise: type[Any] = TaskError) -> Any:
    try:
        return what()
    except SqdrError:
        raise
    except Exception as error:
        raise otherwise(f"{doing}: {type(error).__name__}") from None


# ---- polling


def test_long_waits_are_polled_ever_less_often(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqdr.deploy.braket.runner import TaskRunner

    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    original = TaskRunner.__post_init__

    def faster(self: Any) -> None:
        self.sleep, self.now = sleep, lambda: now[0]
        original(self)

    monkeypatch.setattr(TaskRunner, "__post_init__", faster)
    fake.polls_before_done = 400
    run("braket_sv1", n=1, has_canary=False)
    # 400 polls last 3.5 hours, no pause is longer than a minute, and the end is found within a twentieth of the wait
    assert now[0] > 3 * 3600
    assert now[0] < 400 * 60


def assert_no_secret(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error)) + JOURNAL.read_bytes().decode("latin-1")
    assert not [secret for secret in SECRETS if secret in text]
    assert "arn:" not in str(error)


# ---- what a bill must not be surprised by


def test_answers_need_neither_network_nor_an_open_device(fake: FakeBraket) -> None:
    first = run("braket_iqm_garnet")
    for status in ("OFFLINE", "RETIRED"):
        fake.set_status(fake.qpu_arn, status)  # type: ignore[arg-type]
        np.testing.assert_array_equal(run("braket_iqm_garnet"), first)
    fake.stop_listening()
    np.testing.assert_array_equal(run("braket_iqm_garnet"), first)


@pytest.mark.parametrize("status", ["OFFLINE", "RETIRED"])
def test_paid_results_are_picked_up_from_a_device_that_is_closed(fake: FakeBraket, status: Any) -> None:
    fake.polls_before_done = 10**6
    with pytest.raises(BackendTimeoutError):
        run("braket_iqm_garnet", task_timeout_s=0.05)
    fake.set_status(fake.qpu_arn, status)
    for task in fake.tasks.values():
        task.polls_left = 0
    run("braket_iqm_garnet")
    assert tokens(fake) == 1
    with pytest.raises(DeviceError, match=f"is {status}. Nothing was submitted"):
        run("braket_iqm_garnet", shots=SHOTS + 1)
    assert tokens(fake) == 1


def test_other_gates_listed_by_the_device_make_nothing_new(fake: FakeBraket) -> None:
    first = run("braket_sv1", has_canary=False)
    fake.set_operations(fake.simulator_arn, ["rz", "ry", "h", "cnot"])
    np.testing.assert_array_equal(run("braket_sv1", has_canary=False), first)
    assert tokens(fake) == 6


def test_refusal_after_a_lost_answer_is_no_proof_that_no_task_exists(fake: FakeBraket) -> None:
    fake.faults.add("reset_after", "CreateQuantumTask")
    fake.faults.add("quota", "CreateQuantumTask")
    with pytest.raises(TaskError, match="ServiceQuotaExceededException"):
        run("braket_sv1", n=3, has_canary=False)
    run("braket_sv1", n=3, has_canary=False)
    assert tokens(fake) == 3


def test_quota_in_the_middle_uses_the_same_token_again(fake: FakeBraket) -> None:
    fake.polls_before_done = 1
    fake.faults.add("reset_after", "CreateQuantumTask", after=1)
    fake.faults.add("quota", "CreateQuantumTask", after=1)
    run("braket_sv1", n=3, has_canary=False)
    assert len(fake.faults.fired) == 2
    assert tokens(fake) == 3


def test_quota_and_an_unreadable_result_end_in_an_error(fake: FakeBraket) -> None:
    fake.faults.add("quota", "CreateQuantumTask", after=1, times=None)
    fake.faults.add("missing", "S3Get", times=None)
    with pytest.raises(TaskError, match="ServiceQuotaExceededException"):
        run("braket_sv1", n=3, has_canary=False)


def test_quota_at_picking_up_is_one_line(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fake, monkeypatch)
    monkeypatch.setattr("sqdr.deploy.braket.service.BraketService.find", lambda self, token, since: None)
    fake.faults.add("quota", "CreateQuantumTask", times=None)
    with pytest.raises(TaskError, match="Wait until tasks have ended"):
        run("braket_sv1", n=1, has_canary=False)
    assert tokens(fake) == 1


def never_sent(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """A set of six circuits whose submission never left this machine, so long ago."""
    import sqlite3

    def die(*_: Any) -> Any:
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr("sqdr.deploy.braket.service.BraketService.create", die)
        with pytest.raises(SystemExit):
            run("braket_iqm_garnet")
    ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    with sqlite3.connect(JOURNAL) as database:
        database.execute("UPDATE tasks SET intended_at = ?", (ago.isoformat(),))
    database.close()


def test_submission_that_never_left_is_settled_and_costs_nothing(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_sent(fake, monkeypatch, hours=1)
    run("braket_iqm_garnet", n=1, budget_usd=Decimal(4))
    assert [task.shots for task in fake.tasks.values()] == [2 * SHOTS]  # one image and the canary
    with Journal.look(JOURNAL) as journal:
        assert journal.tasks()[0].reason == "the submission never reached the service"


def test_submission_of_a_moment_ago_is_not_sent_for_a_part_of_it(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_sent(fake, monkeypatch, hours=0)
    with pytest.raises(TaskError, match=r"a submission of 6 circuits, 0 minutes ago, got no answer"):
        run("braket_iqm_garnet", n=1)
    with pytest.raises(BudgetError, match="over the budget of"):
        run("braket_iqm_garnet", budget_usd=Decimal(2))
    assert tokens(fake) == 0
    run("braket_iqm_garnet")
    assert tokens(fake) == 1


def test_another_account_is_noticed(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.polls_before_done = 10**6
    with pytest.raises(BackendTimeoutError):
        run("braket_sv1", n=1, has_canary=False, task_timeout_s=0.05)
    monkeypatch.setattr("sqdr.deploy.braket.service.BraketService.account_check", lambda self, salt: "xx")
    with pytest.raises(CredentialsError, match="from another AWS account"):
        run("braket_sv1", n=1, has_canary=False)
    assert tokens(fake) == 1


def test_budget_on_a_simulator_takes_the_time_that_it_bills_into_account(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the fake says 4 s each; a service that says ten minutes is believed after one task
    monkeypatch.setattr("sqdr.deploy.fakes.braket.results.EXECUTION_MS", 600_000)
    with pytest.raises(BudgetError, match=r"next task is estimated at \$0\.75"):
        run("braket_sv1", has_canary=False, budget_usd=Decimal("0.03"))
    assert tokens(fake) == 1


def test_canary_without_a_result_stops_the_run(fake: FakeBraket) -> None:
    fake.outcomes = [("FAILED", "cold")] * 3
    with pytest.raises(CanaryError, match=r"canary circuit has no result: .*cold"):
        run("braket_sv1")
    assert tokens(fake) == 3


def test_set_whose_canary_failed_is_suspect(fake: FakeBraket) -> None:
    fake.executable_failures = [{6: "no route"}]
    with pytest.raises(CanaryError, match="the canary circuit on .* failed: no route"):
        run("braket_iqm_garnet")
    run("braket_iqm_garnet")
    assert tokens(fake) == 2


def test_reason_of_a_circuit_shows_no_secret(fake: FakeBraket) -> None:
    reason = f"no access for arn:aws:iam::{SECRETS[2]}:user/ann with {SECRETS[0]} {SECRETS[1]}"
    fake.executable_failures = [{1: reason}] + [{0: reason}] * 2
    with pytest.raises(TaskError, match=r"no access for \[hidden\]") as caught:
        run("braket_iqm_garnet")
    assert_no_secret(caught.value)


def test_result_given_up_is_run_and_paid_again(fake: FakeBraket) -> None:
    first: list[str] = []

    def is_first(request: Any) -> bool:
        first.append(request.path)
        return bool(request.path == first[0])

    fake.faults.add("missing", "S3Get", times=None, match=is_first)
    run("braket_sv1", n=3, has_canary=False, gives_up_unreadable=True)
    assert tokens(fake) == 4
    with Journal.look(JOURNAL) as journal:
        assert sorted(task.status for task in journal.tasks()) == ["COMPLETED"] * 3 + ["UNREADABLE"]
        assert journal.spent_usd() == 3 * Decimal("0.005") + Decimal("0.00375")


def test_calibration_is_paid_for_once_a_run_and_has_no_canary(fake: FakeBraket) -> None:
    bits = np.array([[0, 0, 0], [1, 1, 1]])
    for _ in range(2):
        with head("braket_iqm_garnet", started_on=700_000) as opened:
            counts = opened.prepare(bits, 200)
    assert counts.shots.tolist() == [200, 200]
    assert counts.ones.tolist() == [[0, 0, 0], [200, 200, 200]]
    assert [task.shots for task in fake.tasks.values()] == [400]
    with head("braket_iqm_garnet", started_on=700_001) as opened:
        opened.prepare(bits, 200)
    assert tokens(fake) == 2


def test_disk_that_is_full_says_what_is_open(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    from sqdr.errors import JournalError

    fake.polls_before_done = 1

    def full(*_: Any, **__: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    with head("braket_sv1", has_canary=False) as opened:
        monkeypatch.setattr("sqdr.deploy.braket.journal.Journal.completed", Journal.completed)
        assert opened._journal is not None
        original = opened._journal._transaction
        calls: list[int] = []

        def transaction() -> Any:
            calls.append(1)
            if len(calls) > 3:
                full()
            return original()

        monkeypatch.setattr(opened._journal, "_transaction", transaction)
        with pytest.raises(JournalError, match=r"disk is full.*unfinished tasks"):
            opened.expectations(ANGLES[:3])


def test_first_set_goes_alone_also_after_a_calibration(fake: FakeBraket) -> None:
    fake.set_limits(fake.qpu_arn, max_executables=3)
    with head("braket_iqm_garnet") as opened:
        opened.prepare(np.array([[0, 0, 0], [1, 1, 1]]), 200)
        fake.scramble_columns = True
        with pytest.raises(CanaryError):
            opened.expectations(ANGLES)
    assert tokens(fake) == 2  # the calibration, and the first of three sets


def test_submissions_in_doubt_and_a_full_quota_end_in_one_task_each(
    fake: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Any:
        raise SystemExit("killed")

    for n in (1, 2, 3):  # none reached the service
        with monkeypatch.context() as patched:
            patched.setattr("sqdr.deploy.braket.service.BraketService.create", lost)
            patched.setattr("sqdr.deploy.braket.runner.TaskRunner._pick_up", lambda self: None)
            with pytest.raises(SystemExit), head("braket_sv1", has_canary=False) as opened:
                opened.expectations(ANGLES[n - 1 : n])
    fake.polls_before_done = 1
    # room for the first only: the second and the third wait with their tokens until it has ended
    fake.faults.add("quota", "CreateQuantumTask", after=1, times=2)
    run("braket_sv1", n=3, has_canary=False)
    assert len(fake.faults.fired) == 2
    assert tokens(fake) == 3
    with Journal.look(JOURNAL) as journal:
        assert [task.status for task in journal.tasks()] == ["COMPLETED"] * 3  # and none in doubt beside them


def test_long_batches_read_the_journal_once_a_task(fake: FakeBraket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through all tasks at every submission would take hours over a thousand of them."""
    calls: list[int] = []
    original = Journal.tasks

    def counted(self: Journal) -> Any:
        calls.append(1)
        return original(self)

    monkeypatch.setattr(Journal, "tasks", counted)
    run("braket_sv1", has_canary=False, budget_usd=Decimal(1))
    assert tokens(fake) == 6
    assert len(calls) <= 3
