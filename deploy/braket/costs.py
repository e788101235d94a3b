"""What a journal's tasks cost: by the prices that the Braket SDK can reach, else by the dated hardware file."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqdr.deploy.braket.aws_errors import clean
from sqdr.deploy.braket.journal import Journal, JournalTask
from sqdr.deploy.heads.base import import_extra
from sqdr.hw_configs.schema import ARN_PATTERN

__all__ = ["CostReport", "TaskCost", "journal_costs"]

FROM_SERVICE = "Braket SDK Tracker, AWS price list"
FROM_FILE = "estimate when the task ended, prices of the hardware file"
TIMEOUT_S = 10.0
UNKNOWN = "unknown: no hardware file has this device's prices"
# Any account: the tracker takes the region from a task's ARN, and nothing else.
ARN = "arn:aws:braket:{region}::{name}"


@dataclass(frozen=True)
class TaskCost:
    """One task.

    Args:
        task: ``quantum-task/<id>``, or ``not submitted`` where no answer was recorded.
        device: short name.
        status: the last that is known.
        reason: of a failure.
        n_circuits: in it.
        n_shots: of all of them.
        n_canaries: circuits with a known answer among them.
        cost_usd: None where it is not known.
        source: where the price is from.
    """

    task: str
    device: str
    status: str
    reason: str
    n_circuits: int
    n_shots: int
    n_canaries: int
    cost_usd: Decimal | None
    source: str


@dataclass(frozen=True)
class CostReport:
    """All tasks of a journal.

    Args:
        tasks: oldest first.
        total_usd: of those whose cost is known.
        n_unknown: how many are not.
        note: why the service's prices were not used, empty if they were or were not asked for.
    """

    tasks: tuple[TaskCost, ...]
    total_usd: Decimal
    n_unknown: int
    note: str


def journal_costs(path: str | Path, *, from_service: bool = True) -> CostReport:
    """Return what each task of a journal cost. Submits nothing and needs no credentials.

    Args:
        path: the journal, or a run's folder with ``journal.sqlite`` in it.
        from_service: fetch AWS's public price list through the SDK's `Tracker`; where that fails, and without,
            the estimates in the journal are taken.

    Raises:
        JournalError: it is missing or damaged.
    """
    path = Path(path)
    with Journal.look(path / "journal.sqlite" if path.is_dir() else path) as journal:
        tasks = journal.tasks()
    price: Price = _from_file
    note = ""
    submitted = [task for task in tasks if task.name is not None]
    if from_service and submitted:
        try:
            with _timeout():
                tracked = _from_service()
                tracked(submitted[0])  # fetches the price list
            price = tracked
        except Exception as error:  # no SDK, no network, or a price list of another form
            note = f"the service's prices were not reached ({type(error).__name__}: {clean(error)[:120]})"
    rows = tuple(_row(task, price) for task in tasks)
    known = [row.cost_usd for row in rows if row.cost_usd is not None]
    return CostReport(rows, sum(known, Decimal(0)), len(rows) - len(known), note)


Price = Callable[[JournalTask], tuple[Decimal | None, str]]


def _row(task: JournalTask, price: Price) -> TaskCost:
    match = ARN_PATTERN.fullmatch(task.device_arn)
    cost, source = price(task)
    return TaskCost(
        task=task.name or "not submitted",
        device=match["short"] if match else "unknown",
        status="SUSPECT" if task.is_suspect else task.status,
        reason=task.reason,
        n_circuits=len(task.keys),
        n_shots=task.n_shots,
        n_canaries=task.purposes.count("canary"),
        cost_usd=cost,
        source=source,
    )


def _from_file(task: JournalTask) -> tuple[Decimal | None, str]:
    return task.cost_usd, UNKNOWN if task.cost_usd is None else FROM_FILE


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Bound what the SDK fetches without a bound of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _from_service() -> Price:
    """Return a price by the SDK's tracker, one tracker for each task.

    The tracker hears of tasks by events, which the SDK broadcasts when it creates and finishes them. Here they are
    told anew: the event classes begin with an underscore, so that another version may have moved them, and then the
    import error leads back to the file's prices.
    """
    tracking = import_extra("braket.tracking")
    events = import_extra("braket.tracking.tracking_events")

    def price(task: JournalTask) -> tuple[Decimal | None, str]:
        if task.name is None:  # refused, or in doubt
            return _from_file(task)
        arn = ARN.format(region=task.region, name=task.name)
        tracker: Any = tracking.Tracker()
        tracker.receive_event(
            events._TaskCreationEvent(arn=arn, shots=task.n_shots, is_job_task=False, device=task.device_arn)
        )
        if task.has_ended:
            tracker.receive_event(
                events._TaskCompletionEvent(arn=arn, execution_duration=task.billed_ms, status=task.status)
            )
        try:
            return tracker.qpu_tasks_cost() + tracker.simulator_tasks_cost(), FROM_SERVICE
        except ValueError:  # a device that the price list does not have
            return _from_file(task)

    return price
