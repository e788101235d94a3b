"""The journal of a paid run: written ahead of every call, forced to disk, and read first of all.

One SQLite file in WAL mode with full synchronisation. What is about to be submitted is written before it
is submitted, the task's name as soon as it is known, and results as soon as they are read. So a process
that was killed at any point leaves a journal that says which task may exist, and a request that was paid
for once is answered from here ever after. Neither credentials nor account numbers are written.
"""

import contextlib
import datetime
import functools
import json
import logging
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

from sqdr.deploy.braket.journal_file import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, connect, lock, translated
from sqdr.deploy.braket.packing import TaskPlan
from sqdr.deploy.braket.results import CircuitResult
from sqdr.errors import JournalError
from sqdr.storage import storage_errors

__all__ = ["ENDED", "Journal", "JournalTask"]

NEVER_SUBMITTED, CREATED = "INTENDED", "CREATED"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "UNREADABLE")

logger = logging.getLogger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])


def _translates(method: Method) -> Method:
    """Give a method of the journal sqdr's own errors."""

    @functools.wraps(method)
    def call(self: "Journal", *arguments: Any, **options: Any) -> Any:
        with translated(self.path):
            return method(self, *arguments, **options)

    return call  # type: ignore[return-value]


@dataclass(frozen=True)
class JournalTask:
    """One task as the journal knows it.

    Args:
        task_id: its number in the journal.
        run_id: of the run that submitted it.
        token: the client token that it was, or may have been, submitted with.
        device_arn: of the device.
        region: AWS region it was submitted in.
        name: ``quantum-task/<id>``; None if no answer to its submission was recorded.
        status: INTENDED, or the service's last word on it.
        reason: of a failure.
        n_shots: of all its circuits.
        cost_usd: the estimate; None where prices are not known.
        billed_ms: simulated time, of a simulator that has finished.
        is_suspect: its canary failed.
        intended_at: UTC.
        keys: of its circuits, in order.
        shots: of its circuits, in order.
        sample_ids: of its circuits, in order.
        purposes: of its circuits, in order.
    """

    task_id: int
    run_id: str
    token: str
    device_arn: str
    region: str
    name: str | None
    status: str
    reason: str
    n_shots: int
    cost_usd: Decimal | None
    billed_ms: int | None
    is_suspect: bool
    intended_at: datetime.datetime
    keys: tuple[str, ...]
    shots: tuple[int, ...]
    sample_ids: tuple[str, ...]
    purposes: tuple[str, ...]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED


class Journal:
    """An open journal; use `Journal.open` or `Journal.look`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: Any = None) -> None:
        self.path = path
        self._db = connection
        self._lock = lock
        self.run_id = ""

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | Path, model: str) -> Iterator["Journal"]:
        """Yield the journal of a model's runs, for one process at a time; a new one if there is none.

        Args:
            path: the file.
            model: what tells the bundle from others, for example its manifest's SHA-256.

        Raises:
            JournalError: not a journal, damaged, of another bundle or a newer sqdr, or in use.
            StorageError: it cannot be written.
        """
        path = Path(path)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            held = lock(path)
        try:
            with translated(path):
                journal = cls(path, connect(path), held)
                try:
                    journal._prepare(model)
                    logger.info("journal %s is open, %d tasks in it", path, len(journal.tasks()))
                    yield journal
                finally:
                    journal._db.close()
        finally:
            held.close()

    @classmethod
    @contextlib.contextmanager
    def look(cls, path: str | Path) -> Iterator["Journal"]:
        """Yield a journal for reading, also while a run writes it.

        Raises:
            JournalError: not there, not a journal, damaged, or of a newer sqdr.
        """
        path = Path(path)
        if not path.is_file():
            raise JournalError(f"{path} does not exist. A run on a paid device makes it in its --out folder.")
        with translated(path):
            journal = cls(path, connect(path))
            try:
                journal._check()
                yield journal
            finally:
                journal._db.close()

    def _prepare(self, model: str) -> None:
        with self._transaction():
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                for statement in SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO owner VALUES (?, ?, ?, NULL)", (model, _now(), uuid.uuid4().hex))
        self._check()
        (owner,) = self._db.execute("SELECT model FROM owner").fetchone()
        if owner != model:
            raise JournalError(f"{self.path} is the journal of another bundle. Choose another --out or --journal.")

    def _check(self) -> None:
        """Check that the file is a journal, whole, of a version that is known."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise JournalError(f"{self.path} is no journal of sqdr. Choose another --out or --journal.")
        if version > SCHEMA_VERSION:
            raise JournalError(f"{self.path} was written by a newer sqdr (schema {version}). Update sqdr.")
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:  # Ctrl-C between two statements, too
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @_translates
    def begin_run(self, request: dict[str, Any]) -> str:
        """Record the start of a run, and return its id."""
        self.run_id = uuid.uuid4().hex
        with self._transaction():
            self._db.execute(
                "INSERT INTO runs VALUES (?, ?, ?)", (self.run_id, _now(), json.dumps(request, sort_keys=True))
            )
        return self.run_id

    @_translates
    def runs(self) -> list[dict[str, Any]]:
        """Return every run: ``run_id, started_at, request``."""
        rows = self._db.execute("SELECT run_id, started_at, request FROM runs ORDER BY started_at")
        return [{"run_id": run, "started_at": start, "request": json.loads(request)} for run, start, request in rows]

    @_translates
    def account(self) -> tuple[str, str | None]:
        """Return the journal's salt, and one byte of the salted hash of the account of its tasks, None before any."""
        salt, check = self._db.execute("SELECT salt, account_check FROM owner").fetchone()
        return salt, check

    @_translates
    def set_account(self, check: str) -> None:
        """Record that byte."""
        with self._transaction():
            self._db.execute("UPDATE owner SET account_check = ?", (check,))

    @_translates
    def intend(self, plan: TaskPlan, device_arn: str, region: str, cost_usd: Decimal | None) -> JournalTask:
        """Record a task before it is submitted."""
        token = uuid.uuid4().hex
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO tasks (run_id, token, device_arn, region, status, n_shots, cost_usd, intended_at, action) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.run_id,
                    token,
                    device_arn,
                    region,
                    NEVER_SUBMITTED,
                    plan.n_shots,
                    None if cost_usd is None else str(cost_usd),
                    _now(),
                    zlib.compress(plan.action.encode()),
                ),
            )
            task_id = cursor.lastrowid
            logger.debug("journal: task %d is to be submitted", task_id)
            self._db.executemany(
                "INSERT INTO circuits VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (
                    (task_id, position, circuit.key, circuit.sample_id, circuit.purpose, circuit.shots)
                    for position, circuit in enumerate(plan.circuits)
                ),
            )
        return self._task(int(task_id or 0))

    @_translates
    def action(self, task: JournalTask) -> str:
        """Return the program of a task, as it was or would have been submitted."""
        (packed,) = self._db.execute("SELECT action FROM tasks WHERE task_id = ?", (task.task_id,)).fetchone()
        return zlib.decompress(packed).decode()

    @_translates
    def created(self, task: JournalTask, name: str) -> JournalTask:
        """Record the name that the service gave a task."""
        with self._transaction():
            self._db.execute("UPDATE tasks SET name = ?, status = ? WHERE task_id = ?", (name, CREATED, task.task_id))
        logger.debug("journal: task %d is %s", task.task_id, name)
        return self._task(task.task_id)

    @_translates
    def ended(self, task: JournalTask, status: str, reason: str = "") -> None:
        """Record a task's end without results.

        FAILED and CANCELLED tasks count as not charged, as with ``braket.tracking.Tracker``; UNREADABLE ones do.
        """
        is_charged = status == "UNREADABLE"
        logger.info("journal: task %d ended %s: %s", task.task_id, status, reason)
        with self._transaction():
            self._db.execute(
                "UPDATE tasks SET status = ?, reason = ?, cost_usd = CASE WHEN ? THEN cost_usd ELSE '0' END, "
                "ended_at = ? WHERE task_id = ?",
                (status, reason, is_charged, _now(), task.task_id),
            )

    @_translates
    def completed(
        self,
        task: JournalTask,
        results: Sequence[CircuitResult],
        *,
        cost_usd: Decimal | None,
        billed_ms: int | None = None,
        suspect: str = "",
    ) -> None:
        """Record the results of a task, all at once.

        Args:
            task: the task.
            results: one for each circuit, in order; those that failed are left without a result.
            cost_usd: the estimate, now that it is over.
            billed_ms: simulated time.
            suspect: why the results are not to be trusted; empty if they are.
        """
        reason = suspect or next((result.failure for result in results if result.failure), "")
        logger.debug("journal: task %d has %d results", task.task_id, len(results))
        with self._transaction():
            self._db.executemany(
                "UPDATE circuits SET result = ? WHERE task_id = ? AND position = ?",
                (
                    (result.to_json(), task.task_id, position)
                    for position, result in enumerate(results)
                    if not result.failure
                ),
            )
            self._db.execute(
                "UPDATE tasks SET status = 'COMPLETED', reason = ?, cost_usd = ?, billed_ms = ?, is_suspect = ?, "
                "ended_at = ? WHERE task_id = ?",
                (reason, None if cost_usd is None else str(cost_usd), billed_ms, bool(suspect), _now(), task.task_id),
            )

    @_translates
    def answer(self, key: str, *, suspects: bool = False) -> CircuitResult | None:
        """Return the result that was paid for under a key, None if there is none.

        Args:
            key: `CircuitRequest.key`.
            suspects: take results of tasks whose canary failed, too.
        """
        row = self._db.execute(
            "SELECT result FROM circuits JOIN tasks USING (task_id) WHERE key = ? AND result IS NOT NULL "
            "AND is_suspect <= ? ORDER BY is_suspect, task_id LIMIT 1",
            (key, suspects),
        ).fetchone()
        return None if row is None else CircuitResult.from_json(row[0])

    @_translates
    def open_tasks(self) -> list[JournalTask]:
        """Return the tasks that may still give results, oldest first."""
        return [task for task in self.tasks() if not task.has_ended]

    @_translates
    def tasks(self) -> list[JournalTask]:
        """Return every task, oldest first."""
        return [self._task(task_id) for (task_id,) in self._db.execute("SELECT task_id FROM tasks ORDER BY task_id")]

    @_translates
    def spent_usd(self, *, keys: Collection[str] | None = None, run_id: str | None = None) -> Decimal:
        """Return the estimate of all tasks that ended with results or may do so; unknown costs count as nothing.

        Args:
            keys: of the tasks that hold one of these circuits only.
            run_id: of the tasks that this run submitted only.
        """
        rows = self._db.execute("SELECT task_id, run_id, cost_usd FROM tasks WHERE cost_usd IS NOT NULL").fetchall()
        holding = None if keys is None else self._holding(keys)
        chosen = (
            _usd(cost)
            for task_id, run, cost in rows
            if run_id in (None, run) and (holding is None or task_id in holding)
        )
        return sum(chosen, Decimal(0))

    def _holding(self, keys: Collection[str]) -> set[int]:
        """Return the tasks that hold one of these circuits."""
        return {task_id for task_id, key in self._db.execute("SELECT task_id, key FROM circuits") if key in keys}

    @_translates
    def dearest_usd(self, device_arn: str) -> Decimal:
        """Return the largest estimate of a task that has completed on a device; 0 if there is none."""
        rows = self._db.execute(
            "SELECT cost_usd FROM tasks WHERE device_arn = ? AND status = 'COMPLETED' AND cost_usd IS NOT NULL",
            (device_arn,),
        )
        return max((_usd(cost) for (cost,) in rows), default=Decimal(0))

    def _task(self, task_id: int) -> JournalTask:
        row = self._db.execute(
            "SELECT run_id, token, device_arn, region, name, status, reason, n_shots, cost_usd, billed_ms, "
            "is_suspect, intended_at FROM tasks WHERE task_id = ?",
            (task_id,),
        ).fetchone()
        run_id, token, device_arn, region, name, status, reason, n_shots, cost, billed_ms, is_suspect, intended = row
        circuits = self._db.execute(
            "SELECT key, shots, sample_id, purpose FROM circuits WHERE task_id = ? ORDER BY position", (task_id,)
        ).fetchall()
        keys, shots, samples, purposes = zip(*circuits, strict=True) if circuits else ((), (), (), ())
        return JournalTask(
            task_id=task_id,
            run_id=run_id,
            token=token,
            device_arn=device_arn,
            region=region,
            name=name,
            status=status,
            reason=reason,
            n_shots=n_shots,
            cost_usd=None if cost is None else _usd(cost),
            billed_ms=billed_ms,
            is_suspect=bool(is_suspect),
            intended_at=_time(intended),
            keys=keys,
            shots=shots,
            sample_ids=samples,
            purposes=purposes,
        )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


# What SQLite holds may be another value than was written: to `translated`, that is damage as any other.
def _usd(value: Any) -> Decimal:
    try:
        amount = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise sqlite3.DatabaseError("a task's cost is no amount")
    return amount


def _time(value: Any) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise sqlite3.DatabaseError("a task's time of submission is none") from None
    if moment.tzinfo is None:
        raise sqlite3.DatabaseError("a task's time of submission has no zone")
    return moment
