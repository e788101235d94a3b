"""The operations on quantum tasks: create, get, search, cancel."""

import hashlib
import json
import threading
import uuid
from typing import Any

import numpy as np

from sqdr.deploy.fakes.braket.behaviour import Behaviour
from sqdr.deploy.fakes.braket.capabilities import PROGRAM_SET
from sqdr.deploy.fakes.braket.clock import iso_time
from sqdr.deploy.fakes.braket.devices import FakeDevice
from sqdr.deploy.fakes.braket.messages import ACCOUNT, Answer, Request, braket_answer, braket_error
from sqdr.deploy.fakes.braket.refusals import refusal
from sqdr.deploy.fakes.braket.results import Job, run_job
from sqdr.deploy.fakes.braket.search import search
from sqdr.deploy.fakes.braket.simulation import ProgramRunner
from sqdr.deploy.fakes.braket.storage import Storage
from sqdr.deploy.fakes.braket.tasks import ENDED, FakeTask

__all__ = ["REGION", "TaskDesk"]

# Where simulators, which have no region of their own, run their tasks.
REGION = "us-west-2"


class TaskDesk:
    """Takes tasks in, moves them on, and hands them out; safe to use from several threads."""

    def __init__(self, behaviour: Behaviour, devices: dict[str, FakeDevice], storage: Storage) -> None:
        self._behaviour, self._devices, self._storage = behaviour, devices, storage
        self._arns_by_token: dict[str, str] = {}
        self._n_copies: dict[str, int] = {}
        self._lock = threading.Lock()

    def n_queued(self, device_arn: str) -> int:
        """Return how many tasks wait for a device."""
        return sum(task.status == "QUEUED" for task in self._tasks() if task.device_arn == device_arn)

    def create(self, request: Request) -> Answer:
        """Create a task, or return the one that the same clientToken has created before."""
        try:
            body = json.loads(request.body)
            token = body.pop("clientToken")
            action = json.loads(body["action"])
            with self._lock:
                return self._create(token, body, action)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return _malformed(error)

    def _create(self, token: str, body: dict[str, Any], action: dict[str, Any]) -> Answer:
        arn = self._arns_by_token.get(token)
        if arn is None:
            device = self._devices.get(body["deviceArn"])
            if device is None:
                return braket_error(404, "ResourceNotFoundException", "Device not found")
            refused = refusal(device, action, body["shots"])
            if refused is not None:
                return refused
            task = self._new_task(body, action)
            arn = task.arn
            self._behaviour.tasks[arn] = task
            self._arns_by_token[token] = arn
        elif self._behaviour.tasks[arn].request != body:
            message = "The clientToken was used before, with other parameters."
            return braket_error(400, "ValidationException", message)
        return braket_answer({"quantumTaskArn": arn}, 201)

    def _new_task(self, body: dict[str, Any], action: dict[str, Any]) -> FakeTask:
        behaviour = self._behaviour
        identifier = str(uuid.uuid4())
        region = body["deviceArn"].split(":")[3] or REGION
        outcome, reason = behaviour.outcomes.pop(0) if behaviour.outcomes else ("COMPLETED", "")
        is_set = action["braketSchemaHeader"]["name"] == PROGRAM_SET
        failures = behaviour.executable_failures.pop(0) if is_set and behaviour.executable_failures else {}
        same = _digest(body)
        self._n_copies[same] = self._n_copies.get(same, -1) + 1
        return FakeTask(
            arn=f"arn:aws:braket:{region}:{ACCOUNT}:quantum-task/{identifier}",
            device_arn=body["deviceArn"],
            shots=body["shots"],
            action=action,
            output_bucket=body["outputS3Bucket"],
            output_directory=f"{body['outputS3KeyPrefix']}/{identifier}",
            outcome=outcome,
            reason=reason,
            polls_left=behaviour.polls_before_done,
            created_at=behaviour.clock.now(),
            tags=body.get("tags") or {},
            request=body,
            life_s=behaviour.life_s,
            failures=failures,
            copy_number=self._n_copies[same],
        )

    def get(self, request: Request) -> Answer:
        """Return a task's state, one poll further on."""
        task = self._behaviour.tasks.get(request.arn)
        if task is None:
            return _no_such_task()
        self._move_on(task, is_poll=True)
        told = task.description()
        if "QueueInfo" in request.query.get("additionalAttributeNames", []):
            told["queueInfo"] = self._queue_info(task)
        return braket_answer(told)

    def search(self, request: Request) -> Answer:
        """Return the tasks that pass the filters; asking is no poll."""
        tasks = self._tasks()
        for task in tasks:
            self._move_on(task, is_poll=False)
        try:
            body = json.loads(request.body)
        except ValueError as error:
            return _malformed(error)
        return search(tasks, body)

    def cancel(self, request: Request) -> Answer:
        """Cancel a task that has not ended; the same clientToken again finds it cancelled, and that is no error."""
        task = self._behaviour.tasks.get(request.arn)
        if task is None:
            return _no_such_task()
        self._move_on(task, is_poll=False)
        try:
            token = json.loads(request.body)["clientToken"]
        except (KeyError, TypeError, ValueError) as error:
            return _malformed(error)
        with task.lock:
            if task.status in ENDED and token not in task.cancel_tokens:
                return braket_error(409, "ConflictException", f"The task is {task.status}")
            if task.status not in ENDED:
                task.cancel_tokens.add(token)
                task.ended_at = self._behaviour.clock.now()
                task.status = "CANCELLED"
        return braket_answer({"quantumTaskArn": task.arn, "cancellationStatus": "CANCELLING"})

    def _tasks(self) -> list[FakeTask]:
        return list(self._behaviour.tasks.values())

    def _move_on(self, task: FakeTask, *, is_poll: bool) -> None:
        with task.lock:
            if not task.is_due(self._behaviour.clock, is_poll=is_poll):
                return
            task.ended_at = task.end_time(self._behaviour.clock)
            if task.outcome == "COMPLETED":
                self._complete(task)
            else:
                task.status = task.outcome

    def _complete(self, task: FakeTask) -> None:
        """Run a task and keep its result; what the simulator cannot run fails, as on a device."""
        try:
            result = run_job(self._job(task))
        except Exception as error:
            task.reason = f"{type(error).__name__}: {error}"
            task.status = "FAILED"
            return
        if not self._behaviour.drop_results:
            for name, content in result.files.items():
                self._storage.put(f"/{task.output_bucket}/{task.output_directory}/{name}", content)
        task.n_successful_shots = result.n_successful_shots
        task.status = "COMPLETED"

    def _job(self, task: FakeTask) -> Job:
        metadata = {"id": task.arn, "deviceId": task.device_arn, "createdAt": iso_time(task.created_at)}
        seed = self._behaviour.seed
        entropy = None if seed is None else [seed, int(_digest(task.request), 16), task.copy_number]
        rng = None if entropy is None else np.random.default_rng(entropy)
        return Job(
            metadata=metadata | ({"endedAt": iso_time(task.ended_at)} if task.ended_at else {}),
            action=task.action,
            shots=task.shots,
            is_simulator=self._devices[task.device_arn].kind == "SIMULATOR",
            failures=task.failures,
            location=(task.output_bucket, task.output_directory),
            form=self._behaviour.result_form,
            runner=ProgramRunner(rng, self._behaviour.readout),
        )

    def _queue_info(self, task: FakeTask) -> dict[str, str]:
        queue = {"queue": "QUANTUM_TASKS_QUEUE", "queuePriority": "Normal"}
        if task.status != "QUEUED":
            return queue | {"position": "None", "message": f"The task is {task.status} and in no queue."}
        waiting = [
            other.arn for other in self._tasks() if other.status == "QUEUED" and other.device_arn == task.device_arn
        ]
        return queue | {"position": str(waiting.index(task.arn) + 1 if task.arn in waiting else 1)}


def _digest(body: dict[str, Any]) -> str:
    """Return a name of what a request asks to run: the same for the same program, device and shots."""
    asked = json.dumps([body["deviceArn"], body["shots"], body["action"]])
    return hashlib.sha256(asked.encode()).hexdigest()


def _no_such_task() -> Answer:
    return braket_error(404, "ResourceNotFoundException", "Quantum task not found")


def _malformed(error: Exception) -> Answer:
    return braket_error(400, "ValidationException", f"The request is malformed: {error}")
