"""SearchQuantumTasks: filters and pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqdr.deploy.fakes.braket.messages import Answer, braket_answer, braket_error
from sqdr.deploy.fakes.braket.tasks import FakeTask

__all__ = ["search"]

MAX_RESULTS = 100
# Fields and operators of SearchQuantumTasksFilter, service model of botocore 1.44.5. No task here has a jobArn.
FIELDS = ("quantumTaskArn", "deviceArn", "jobArn", "status", "createdAt")
OPERATORS = ("LT", "LTE", "EQUAL", "GT", "GTE", "BETWEEN")


def search(tasks: Sequence[FakeTask], body: dict[str, Any]) -> Answer:
    """Answer SearchQuantumTasks, newest task first. Braket documents no order.

    Args:
        tasks: every task, in order of creation.
        body: the request: ``filters``, ``maxResults``, ``nextToken``.
    """
    try:
        found = [task.summary() for task in reversed(tasks) if all(_keeps(f, task) for f in body["filters"])]
        start = int(body.get("nextToken") or 0)
        size = int(body.get("maxResults") or MAX_RESULTS)
    except (KeyError, TypeError, ValueError) as error:
        return braket_error(400, "ValidationException", f"The search is malformed: {error}")
    if not 0 <= start <= len(tasks) or not 1 <= size <= MAX_RESULTS:
        return braket_error(400, "ValidationException", "nextToken or maxResults is out of range")
    page: dict[str, Any] = {"quantumTasks": found[start : start + size]}
    if start + size < len(found):
        page["nextToken"] = str(start + size)
    return braket_answer(page)


def _keeps(asked: dict[str, Any], task: FakeTask) -> bool:
    name, operator, values = asked["name"], asked["operator"], asked["values"]
    if name not in FIELDS or operator not in OPERATORS or len(values) < (2 if operator == "BETWEEN" else 1):
        raise ValueError(f"no such filter: {name} {operator} {values}")
    if name == "createdAt":
        return _compares(task.created_at, operator, [_time(value) for value in values])
    if operator != "EQUAL":
        raise ValueError(f"{name} takes the operator EQUAL only")
    return task.summary().get(name) in values


def _compares(time: datetime, operator: str, values: list[datetime]) -> bool:
    match operator:
        case "LT":
            return time < values[0]
        case "LTE":
            return time <= values[0]
        case "GT":
            return time > values[0]
        case "GTE":
            return time >= values[0]
        case "BETWEEN":
            return values[0] <= time <= values[1]
    return time in values


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if time.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return time
