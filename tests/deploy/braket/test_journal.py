"""The journal: what it answers after any end, one writer, and every kind of file that is none."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sqdr.deploy.braket.journal import Journal
from sqdr.deploy.braket.packing import ProgramSetLimits, pack
from sqdr.deploy.braket.request import CircuitRequest
from sqdr.deploy.braket.results import CircuitResult
from sqdr.errors import JournalError, StorageError

ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
RESULT = CircuitResult({"01": 60, "10": 40})


def request(number: int = 0, **changes: Any) -> CircuitRequest:
    options = {"device_arn": ARN, "source": "OPENQASM 3.0;", "inputs": {"x_0_1": float(number)}, "shots": 100}
    return CircuitRequest(**(options | {"sample_id": f"image-{number}"} | changes))


def fill(path: Path, n_circuits: int = 3) -> None:
    """One finished program set and one that may never have been submitted."""
    with Journal.open(path, "model") as journal:
        journal.begin_run({"shots": 100})
        (plan,) = pack([request(number) for number in range(n_circuits)], ProgramSetLimits(100, 10**6))
        task = journal.created(journal.intend(plan, ARN, "eu-north-1", Decimal("0.735")), "quantum-task/a")
        journal.completed(task, [RESULT] * n_circuits, cost_usd=Decimal("0.735"))
        (other,) = pack([request(99)], None)
        journal.intend(other, ARN, "eu-north-1", Decimal("0.445"))


def test_what_was_paid_for_is_answered_after_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.sqlite"
    fill(path)
    with Journal.open(path, "model") as journal:
        assert [journal.answer(request(number).key) for number in range(3)] == [RESULT] * 3
        assert journal.answer(request(99).key) is None
        assert journal.answer(request(0, shots=101).key) is None
        (lost,) = journal.open_tasks()
        assert (lost.status, lost.name, lost.sample_ids, lost.shots) == ("INTENDED", None, ("image-99",), (100,))
        assert len(lost.token) == 32
        assert "OPENQASM" in journal.action(lost)
        # what may exist at the service counts as spent until it is known
        assert journal.spent_usd() == Decimal("1.180")
        journal.ended(lost, "FAILED", "cold")
        assert journal.spent_usd() == Decimal("0.735")
        assert journal.open_tasks() == []
    with Journal.look(path) as journal:
        assert [(task.status, task.reason) for task in journal.tasks()] == [("COMPLETED", ""), ("FAILED", "cold")]
        (run,) = journal.runs()
        assert run["request"] == {"shots": 100}


@pytest.mark.parametrize(
    "change",
    [
        {"device_arn": ARN.replace("Garnet", "Emerald")},
        {"source": "OPENQASM 3.0; "},
        {"inputs": {"x_0_1": 5e-324}},
        {"inputs": {"x_0_2": 0.0}},
        {"shots": 101},
        {"part": 1},
    ],
    ids=["device", "source", "input", "name", "shots", "part"],
)
def test_key_tells_requests_apart(change: dict[str, Any]) -> None:
    assert request(0, **change).key != request(0).key
    assert request(0, sample_id="other", purpose="canary").key == request(0).key


def test_circuit_that_failed_is_not_answered_and_the_others_are(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", "model") as journal:
        journal.begin_run({})
        (plan,) = pack([request(0), request(1)], ProgramSetLimits(100, 10**6))
        task = journal.created(journal.intend(plan, ARN, "eu-north-1", None), "quantum-task/a")
        journal.completed(task, [RESULT, CircuitResult({}, failure="not routed")], cost_usd=None)
        assert journal.answer(request(0).key) == RESULT
        assert journal.answer(request(1).key) is None
        assert journal.tasks()[0].reason == "not routed"


def test_suspect_results_are_answered_only_where_they_are_asked_for(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", "model") as journal:
        journal.begin_run({})
        (plan,) = pack([request(0)], None)
        task = journal.created(journal.intend(plan, ARN, "eu-north-1", None), "quantum-task/a")
        journal.completed(task, [RESULT], cost_usd=None, suspect="canary")
        assert journal.answer(request(0).key) is None
        assert journal.answer(request(0).key, suspects=True) == RESULT


def test_broken_transaction_leaves_nothing_half_written(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", "model") as journal:
        journal.begin_run({})
        (plan,) = pack([request(0), request(1)], ProgramSetLimits(100, 10**6))
        task = journal.created(journal.intend(plan, ARN, "eu-north-1", None), "quantum-task/a")

        class Bomb(CircuitResult):
            def to_json(self) -> str:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            journal.completed(task, [RESULT, Bomb({})], cost_usd=None)
        assert journal.answer(request(0).key) is None
        assert [each.task_id for each in journal.open_tasks()] == [task.task_id]


def test_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    code = (
        "import sys, time\nfrom sqdr.deploy.braket.journal import Journal\n"
        "with Journal.open(sys.argv[1], 'model'):\n    print('open', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match=r"is in use by another process\. Wait"), Journal.open(path, "model"):
            pass
        with Journal.look(path) as journal:  # reading it is nobody's harm
            assert journal.tasks() == []
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait(10)
        other.stdout.close() if other.stdout else None
    with Journal.open(path, "model") as journal:
        assert journal.tasks() == []


def test_looking_at_a_journal_that_this_process_writes_does_not_unlock_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path, "model"):
        with Journal.look(path):
            pass
        with pytest.raises(JournalError, match="in use"), Journal.open(path, "model"):
            pass


def test_journal_of_another_bundle_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "j")
    with pytest.raises(JournalError, match="journal of another bundle"), Journal.open(tmp_path / "j", "other model"):
        pass


@pytest.mark.parametrize("size", [0, 1])
def test_text_file_is_no_journal(tmp_path: Path, size: int) -> None:
    path = tmp_path / "j"
    path.write_text("my results, do not touch\n" * (1 + 1000 * size))
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is damaged|no journal"), Journal.open(path, "model"):
        pass
    assert path.read_bytes() == before


def test_database_of_another_program_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(JournalError, match="is no journal of sqdr"), Journal.open(path, "model"):
        pass
    with pytest.raises(JournalError, match="is no journal of sqdr"), Journal.look(path):
        pass


def test_newer_journal_says_update(tmp_path: Path) -> None:
    fill(tmp_path / "j")
    with sqlite3.connect(tmp_path / "j") as newer:
        newer.execute("PRAGMA user_version = 7")
    newer.close()
    with pytest.raises(JournalError, match=r"newer sqdr \(schema 7\)\. Update"), Journal.look(tmp_path / "j"):
        pass


def test_missing_journal_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="does not exist"), Journal.look(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


def test_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"), Journal.open(tmp_path / "file" / "j", "model"):
        pass


@pytest.mark.parametrize(
    "change", ["cost_usd = 'abc'", "cost_usd = 'NaN'", "cost_usd = x'ff'", "cost_usd = '-1'", "intended_at = 'soon'"]
)
def test_value_that_sqlite_takes_and_the_journal_never_wrote_is_damage(tmp_path: Path, change: str) -> None:
    path = tmp_path / "j"
    fill(path)
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE tasks SET {change}")
    other.close()
    with pytest.raises(JournalError, match="is damaged"), Journal.look(path) as journal:
        journal.tasks()
    if change.startswith("cost_usd"):
        with pytest.raises(JournalError, match="is damaged"), Journal.look(path) as journal:
            journal.spent_usd()


def test_damage_anywhere_ends_in_one_line_or_changes_nothing(tmp_path: Path) -> None:
    """Every 397th byte of the file is turned over: the journal opens as it was, or says that it is damaged."""
    fill(tmp_path / "whole", n_circuits=40)
    whole = (tmp_path / "whole").read_bytes()
    refused = answered = 0
    for place in range(0, len(whole), 397):
        path = tmp_path / f"damaged-{place}"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        message = _use(path)
        assert "\n" not in message
        refused += message != ""
        answered += message == ""
    assert refused > 5
    assert answered > 5


def _use(path: Path) -> str:
    """Return why a journal is refused, empty if it is not."""
    try:
        with Journal.open(path, "model") as journal:
            # a flipped digit in a result is beyond what SQLite checks; its form is not
            assert len([journal.answer(request(number).key) for number in range(40)]) == 40
            journal.tasks()
    except JournalError as error:
        return str(error)
    return ""


def test_truncation_anywhere_ends_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path / "whole", n_circuits=40)
    whole = (tmp_path / "whole").read_bytes()
    for size in range(700, len(whole), 1499):
        path = tmp_path / f"cut-{size}"
        path.write_bytes(whole[:size])
        with pytest.raises(JournalError, match=r"journal|damaged|cannot be used"), Journal.open(path, "model"):
            pass


def _write_until_killed(path: str) -> None:
    with Journal.open(path, "model") as journal:
        journal.begin_run({})
        number = 0
        while True:
            (plan,) = pack([request(number)], None)
            task = journal.created(journal.intend(plan, ARN, "r", Decimal(1)), f"quantum-task/{number}")
            journal.completed(task, [RESULT], cost_usd=Decimal(1))
            print(number, flush=True)
            number += 1


def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    """Whatever the process said it had recorded is there after SIGKILL, in every round."""
    path = tmp_path / "journal.sqlite"
    confirmed = -1
    for round_ in range(5):
        read, write = os.pipe()
        process = multiprocessing.get_context("fork").Process(target=_child, args=(str(path), read, write))
        process.start()
        os.close(write)
        with os.fdopen(read) as lines:
            for _ in range(3 + round_):
                confirmed = int(lines.readline())
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join(10)
        with Journal.open(path, "model") as journal:
            assert all(journal.answer(request(number).key) == RESULT for number in range(confirmed + 1))
        path.unlink()
    assert confirmed > 0


def _child(path: str, read: int, write: int) -> None:
    os.close(read)
    os.dup2(write, 1)
    sys.stdout = open(1, "w", closefd=False)
    _write_until_killed(path)


def test_no_account_number_and_no_credential_is_written(tmp_path: Path) -> None:
    fill(tmp_path / "j")
    content = b"".join(path.read_bytes() for path in tmp_path.glob("j*"))
    assert b"quantum-task/a" in content
    assert b"123456789012" not in content
