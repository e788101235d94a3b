"""The life of a quantum task on the fake service."""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqdr.deploy.fakes.braket.capabilities import PROGRAM_SET
from sqdr.deploy.fakes.braket.clock import Clock, iso_time
from sqdr.deploy.fakes.braket.refusals import n_executables

__all__ = ["ENDED", "FakeTask", "Outcome"]

Outcome = Literal["COMPLETED", "FAILED", "CANCELLED"]
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass
class FakeTask:
    """One task that the fake was asked for.

    Args:
        arn: its name.
        device_arn: where it runs.
        shots: of the whole task.
        action: its program or program set.
        output_bucket: where its results go.
        output_directory: the folder in that bucket.
        outcome: how it will end.
        reason: why, if it fails.
        polls_left: how often GetQuantumTask will still say RUNNING, where polls drive its life.
        created_at: from the service's clock.
        tags: as handed to CreateQuantumTask.
        request: the body of CreateQuantumTask, without its clientToken.
        life_s: seconds in the queue and seconds of running, where the clock drives its life.
        failures: reasons by number of the executables that fail.
        copy_number: how many tasks with the same action came before it.
        status: as GetQuantumTask last said, or would say.
        ended_at: from the service's clock.
        n_successful_shots: of the result, once COMPLETED.
        cancel_tokens: clientTokens of the requests that cancelled it.
        lock: held while it moves on.
    """

    arn: str
    device_arn: str
    shots: int
    action: dict[str, Any]
    output_bucket: str
    output_directory: str
    outcome: Outcome
    reason: str
    polls_left: int
    created_at: datetime
    tags: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    life_s: tuple[float, float] | None = None
    failures: dict[int, str] = field(default_factory=dict)
    copy_number: int = 0
    status: str = "QUEUED"
    ended_at: datetime | None = None
    n_successful_shots: int = 0
    cancel_tokens: set[str] = field(default_factory=set, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def is_due(self, clock: Clock, *, is_poll: bool) -> bool:
        """Move on, without ending, and say whether the task is now to end.

        Args:
            clock: the service's.
            is_poll: whether GetQuantumTask asks, which counts as a poll.
        """
        if self.status in ENDED:
            return False
        if self.life_s is not None:
            age = (clock.now() - self.created_at).total_seconds()
            queue_s, run_s = self.life_s
            if age >= queue_s:
                self.status = "RUNNING"
            return age >= queue_s + run_s
        if not is_poll:
            return False
        if self.polls_left > 0:
            self.polls_left -= 1
            self.status = "RUNNING"
            return False
        return True

    def end_time(self, clock: Clock) -> datetime:
        """Return when a task that is due ends: now or, where the clock drives its life, when it was due."""
        return clock.now() if self.life_s is None else self.created_at + timedelta(seconds=sum(self.life_s))

    def summary(self) -> dict[str, Any]:
        """Return what SearchQuantumTasks says of it."""
        told = {
            "quantumTaskArn": self.arn,
            "status": self.status,
            "deviceArn": self.device_arn,
            "shots": self.shots,
            "outputS3Bucket": self.output_bucket,
            "outputS3Directory": self.output_directory,
            "createdAt": iso_time(self.created_at),
            "tags": dict(self.tags),
        }
        return told if self.ended_at is None else told | {"endedAt": iso_time(self.ended_at)}

    def description(self) -> dict[str, Any]:
        """Return what GetQuantumTask says of it, but for its place in the queue."""
        told = self.summary()
        told["deviceParameters"] = self.request.get("deviceParameters", "{}")
        told["actionMetadata"] = self._action_metadata()
        if self.status == "FAILED" and self.reason:
            told["failureReason"] = self.reason
        if self.status == "COMPLETED":
            told["numSuccessfulShots"] = self.n_successful_shots
        return told

    def _action_metadata(self) -> dict[str, Any]:
        name = self.action["braketSchemaHeader"]["name"]
        if name != PROGRAM_SET:
            return {"actionType": name}
        programs = self.action["programs"]
        n_total = sum(map(n_executables, programs))
        return {"actionType": name, "programCount": len(programs), "executableCount": n_total}
