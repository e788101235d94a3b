"""The calls to Amazon Braket that sqdr makes, through the Braket SDK: each bounded, repeated where it may be.

Credentials come from boto3's own chain and are never read here. A task is known outside this file by its
name, ``quantum-task/<id>``: the account number in its ARN is asked of the service when it is needed, and
is kept nowhere.
"""

import datetime
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqdr.deploy.braket.aws_errors import HOW_TO_SIGN_IN, clean, error_code
from sqdr.deploy.braket.backoff import Backoff
from sqdr.deploy.braket.capabilities import DeviceFacts, read_facts
from sqdr.deploy.heads.base import import_extra
from sqdr.errors import BackendError, CredentialsError, DeviceError, SqdrError
from sqdr.hw_configs.schema import ARN_PATTERN

__all__ = ["TOKEN_TAG", "BraketService", "TaskState"]

# botocore's own attempts, for the short hiccup; the longer one is Backoff's.
MAX_ATTEMPTS = 3
CONNECT_TIMEOUT_S = 10
# Nothing has been paid for when a device is opened: better to say soon that there is no network.
OPENING_PATIENCE_S = 30.0
READ_TIMEOUT_S = 60
# Where the SDK puts results by default (braket.aws.aws_session).
FOLDER = "tasks"
BUCKET_URI = "AMZN_BRAKET_TASK_RESULTS_S3_URI"
TOKEN_TAG = "sqdr-token"
# An account with ten thousand tasks on the device since the lost one has other worries.
MAX_PAGES, PAGE = 100, 100


@dataclass(frozen=True)
class TaskState:
    """A task as the service sees it.

    Args:
        status: CREATED, QUEUED, RUNNING, COMPLETED, FAILED, CANCELLING or CANCELLED.
        reason: why it failed, without secrets.
        queue_position: in words, empty when it is not queued.
        bucket: of its result.
        folder: of its result.
    """

    status: str
    reason: str
    queue_position: str
    bucket: str
    folder: str


class BraketService:
    """One device on Amazon Braket.

    Args:
        arn: of the device.
        backoff: how long calls are repeated.
    """

    def __init__(self, arn: str, *, backoff: Backoff | None = None) -> None:
        match = ARN_PATTERN.fullmatch(arn)
        if match is None:
            raise DeviceError(
                "`device` must be an ARN such as arn:aws:braket:<region>::device/qpu/<maker>/<name>. "
                "Copy it from the Braket console."
            )
        self.arn, self.name = arn, f"braket:{match['short']}"
        self.is_qpu = match["short"].startswith("qpu/")
        self.backoff = backoff or Backoff()
        self._arn_region = match["region"]
        self._device: Any = None
        self._session: Any = None
        self._place: tuple[str, str] | None = None
        self._account = ""

    @property
    def region(self) -> str:
        """The AWS region that tasks are submitted in, once connected."""
        return str(self._session.region)

    def connect(self) -> DeviceFacts:
        """Return what the device says of itself now.

        Raises:
            CredentialsError: none, incomplete, expired or refused.
            DeviceError: no such device in this region.
            BackendError: the service is out of reach.
            MissingDependencyError: the Braket SDK is not installed.
        """
        import_extra("braket.aws")
        doing = f"opening {self.name}"
        self._device = self.backoff.impatient(OPENING_PATIENCE_S).call(self._open_device, doing, BackendError)
        self._session = self._device.aws_session
        return read_facts(self.name, self._device)

    def queue(self) -> str:
        """Return how many tasks wait for the device, in words; once connected."""
        doing = f"asking for the queue of {self.name}"
        waiting = self.backoff.impatient(OPENING_PATIENCE_S).call(lambda: self._session.get_device(self.arn), doing)
        return _queue(waiting.get("deviceQueueInfo") or ())

    def _open_device(self) -> Any:
        boto3, aws = import_extra("boto3"), import_extra("braket.aws")
        config = import_extra("botocore.config").Config(
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
        )
        session = boto3.Session(region_name=self._arn_region or os.environ.get("AWS_REGION"))
        if session.get_credentials() is None:
            raise CredentialsError(f"opening {self.name}: no AWS credentials found. {HOW_TO_SIGN_IN}")
        try:
            return aws.AwsDevice(self.arn, aws_session=aws.AwsSession(boto_session=session, config=config))
        except ValueError as error:
            if "not found" not in str(error):  # an answer that is none
                raise ConnectionError(f"the service's answer is malformed: {clean(error)}") from None
            raise DeviceError(
                f"{self.name}: {clean(error)}. A processor is found only in its own region: check the ARN, its region "
                "included, and AWS_REGION."
            ) from None

    def create(self, token: str, action: str, shots: int) -> str:
        """Submit a task and return its name; the same token again returns the same task.

        Args:
            token: up to 64 characters, a new one for every task.
            action: the program, JSON.
            shots: of all circuits together.
        """
        doing = f"submitting to {self.name}"
        if self._place is None:
            self._place = self.backoff.call(self._results_place, doing)
        bucket, folder = self._place
        arn = self.backoff.call(
            lambda: self._session.create_quantum_task(
                clientToken=token,
                deviceArn=self.arn,
                action=action,
                shots=shots,
                outputS3Bucket=bucket,
                outputS3KeyPrefix=folder,
                tags={TOKEN_TAG: token},
            ),
            doing,
        )
        return self._name_of(arn)

    def find(self, token: str, since: datetime.datetime) -> str | None:
        """Return the name of the task that was created with a token, None if there is none.

        Args:
            token: as given to `create`, which tags the task with it.
            since: when the token was made; the clock of this machine may be a day off.
        """
        earliest = (since - datetime.timedelta(days=1)).isoformat()
        for task in self._search(earliest):
            if task.get("tags", {}).get(TOKEN_TAG) == token:
                return self._name_of(task["quantumTaskArn"])
        return None

    def _search(self, earliest: str) -> Iterator[dict[str, Any]]:
        filters = [
            {"name": "deviceArn", "operator": "EQUAL", "values": [self.arn]},
            {"name": "createdAt", "operator": "GTE", "values": [earliest]},
        ]
        more: dict[str, Any] = {"maxResults": PAGE}
        for _ in range(MAX_PAGES):
            page = self.backoff.call(
                lambda more=more: self._session.braket_client.search_quantum_tasks(filters=filters, **more),  # type: ignore[misc]
                f"looking for a lost task on {self.name}",
            )
            yield from page["quantumTasks"]
            if not page.get("nextToken"):
                return
            more = {"maxResults": PAGE, "nextToken": page["nextToken"]}

    def state(self, task: str) -> TaskState:
        """Return the state of a task."""
        answer = self.backoff.call(
            lambda: self._session.get_quantum_task(self._arn_of(task)), f"asking for {task} on {self.name}"
        )
        return TaskState(
            status=answer["status"],
            reason=clean(answer.get("failureReason") or "the service gives no reason"),
            queue_position=_position(answer.get("queueInfo", {}).get("position")),
            bucket=answer["outputS3Bucket"],
            folder=answer["outputS3Directory"],
        )

    def read(self, state: TaskState, path: str, place: tuple[str, str] | None = None) -> str:
        """Return a file of a task's result, as text; below ``place`` (bucket, folder) where the result names one."""
        bucket, folder = place or (state.bucket, state.folder)
        return str(
            self.backoff.call(
                lambda: self._session.retrieve_s3_object_body(bucket, f"{folder}/{path}"),
                f"reading a result of {self.name}",
            )
        )

    def cancel(self, task: str) -> bool:
        """Ask for a task to be cancelled; False where it has ended already."""
        doing = f"cancelling {task} on {self.name}"
        try:
            self.backoff.impatient(OPENING_PATIENCE_S).call(lambda: self._cancel(task), doing)
        except _EndedError:
            return False
        return True

    def _cancel(self, task: str) -> None:
        try:
            # not AwsQuantumTask.cancel(), which needs an event loop
            self._session.cancel_quantum_task(self._arn_of(task))
        except Exception as error:
            if error_code(error) == "ConflictException":
                raise _EndedError from None
            raise

    def account_check(self, salt: str) -> str:
        """Return one byte of a salted hash of the account, hex: enough to notice another account, and no more."""
        doing = f"asking for the account of {self.name}"
        account = self._account or self.backoff.call(lambda: self._session.account_id, doing)
        return hashlib.sha256(f"{salt}{account}".encode()).hexdigest()[:2]

    def _results_place(self) -> tuple[str, str]:
        uri = os.environ.get(BUCKET_URI)
        if uri:
            bucket, folder = self._session.parse_s3_uri(uri)
            return str(bucket), str(folder)
        return str(self._session.default_bucket()), FOLDER

    def _name_of(self, arn: str) -> str:
        """Return a task's name; the account number, which its ARN holds too, is kept in memory only."""
        *_, self._account, name = arn.split(":")
        return name

    def _arn_of(self, task: str) -> str:
        return f"arn:aws:braket:{self.region}:{self._account or self._session.account_id}:{task}"


def _queue(entries: Iterable[Mapping[str, str]]) -> str:
    tasks = [entry for entry in entries if entry.get("queue") == "QUANTUM_TASKS_QUEUE"]
    return ", ".join(f"{each.get('queueSize')} {str(each.get('queuePriority')).lower()}" for each in tasks) or "unknown"


def _position(text: str | None) -> str:
    """Return where a task is in its queue; the service says "None" of one that runs."""
    return "" if text in (None, "", "None") else f"at {text} in the queue"


class _EndedError(SqdrError):
    """The task has ended: there is nothing to cancel."""
