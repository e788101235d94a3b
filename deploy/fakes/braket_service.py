"""A Braket service on this machine, for the real SDK and boto3 to talk to.

It answers on 127.0.0.1 what the SDK asks: devices, quantum tasks, and the S3 objects that hold their
results. Results are computed by Braket's own local simulator; a program with a gate that the device does
not list is refused, as the service does it. Point the SDK at it with the environment variables of
:meth:`FakeBraket.environment`; clients handed to ``AwsSession`` would be dropped by its copies, the
environment is not.
"""

import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from sqdr.deploy.fakes.braket_devices import (
    OPENQASM,
    QPU_ARN,
    SIMULATOR_ARN,
    qpu_capabilities,
    simulator_capabilities,
)

__all__ = ["FakeBraket", "FakeTask"]

Outcome = Literal["COMPLETED", "FAILED", "CANCELLED"]

# What AWS documents as its example account and keys.
ACCOUNT = "123456789012"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
BUCKET = "amazon-braket-fake"
CREATED_AT = "2026-11-01T00:00:00Z"
# What the fake simulator says it took: longer than the 3 s that SV1 bills at least.
EXECUTION_MS = 4000
# A gate statement at the start of a line, on qubits by index or physical: U(1, 2, 3) q[0];  cz $0, $1;
GATE = re.compile(r"^[ \t]*([A-Za-z]\w*)(?:[ \t]*\([^;\n]*\))?[ \t]+(?:\w+[ \t]*\[|\$\d)")


@dataclass
class FakeTask:
    """One task that the fake was asked for."""

    arn: str
    device_arn: str
    shots: int
    action: dict[str, Any]
    output_directory: str
    outcome: Outcome
    reason: str
    polls_left: int
    status: str = "QUEUED"


@dataclass
class _Device:
    name: str
    kind: str
    provider: str
    capabilities: str
    status: str = "ONLINE"


@dataclass
class FakeBraket:
    """A loopback Braket service with a simulator and a quantum processor. Used as a context manager.

    Args:
        polls_before_done: how often a task says RUNNING before it ends.
        reverse_columns: return measured qubits last to first, as a service is free to.
        outcomes: how the next tasks end, in order of submission, with the reason; COMPLETED when
            the list has run out.
        drop_results: complete tasks, but lose their results.
        requests: "METHOD path" of every request so far.
        tasks: every task created so far, by ARN.
    """

    polls_before_done: int = 0
    reverse_columns: bool = False
    outcomes: list[tuple[Outcome, str]] = field(default_factory=list)
    drop_results: bool = False
    requests: list[str] = field(default_factory=list)
    tasks: dict[str, FakeTask] = field(default_factory=dict)

    simulator_arn = SIMULATOR_ARN
    qpu_arn = QPU_ARN

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._objects: dict[str, bytes] = {}
        self._devices = {
            SIMULATOR_ARN: _Device("SV1", "SIMULATOR", "Amazon Braket", simulator_capabilities()),
            QPU_ARN: _Device("Garnet", "QPU", "IQM", qpu_capabilities()),
        }
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "FakeBraket":
        """Start to listen on a free port."""
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to listen."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        """Where the service listens."""
        if self._server is None:
            raise RuntimeError("the fake listens only inside `with FakeBraket() as fake:`")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that send the SDK and boto3 here, with dummy credentials."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_BRAKET": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "BRAKET_ENDPOINT": self.url,
            "AMZN_BRAKET_OUT_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-west-2",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def set_status(self, device_arn: str, status: Literal["ONLINE", "OFFLINE", "RETIRED"]) -> None:
        """Set what a device says of itself; a task for one that is not ONLINE is refused."""
        self._devices[device_arn].status = status

    def set_operations(self, device_arn: str, operations: list[str]) -> None:
        """Set the gates that a device lists; a task with any other gate is refused."""
        document = json.loads(self._devices[device_arn].capabilities)
        document["action"][OPENQASM]["supportedOperations"] = operations
        self._devices[device_arn].capabilities = json.dumps(document)

    def _get_device(self, arn: str) -> tuple[int, dict[str, Any]]:
        device = self._devices.get(arn)
        if device is None:
            return _error(404, "ResourceNotFoundException", f"Device {arn} not found")
        return 200, {**self._summary(arn, device), "deviceCapabilities": device.capabilities}

    def _search_devices(self) -> tuple[int, dict[str, Any]]:
        return 200, {"devices": [self._summary(arn, device) for arn, device in self._devices.items()]}

    @staticmethod
    def _summary(arn: str, device: _Device) -> dict[str, Any]:
        return {
            "deviceArn": arn,
            "deviceName": device.name,
            "deviceStatus": device.status,
            "deviceType": device.kind,
            "providerName": device.provider,
        }

    def _create_task(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Create a task, or return the one that the same clientToken has created before."""
        device = self._devices.get(body["deviceArn"])
        if device is None:
            return _error(404, "ResourceNotFoundException", "Device not found")
        if device.status != "ONLINE":
            return _error(424, "DeviceOfflineException", f"Device {device.name} is {device.status}")
        refusal = _unsupported_gate(json.loads(body["action"])["source"], device)
        if refusal:
            return _error(400, "ValidationException", refusal)
        with self._lock:
            arn = self._tokens.get(body["clientToken"])
            if arn is None:
                arn = self._tokens[body["clientToken"]] = self._new_task(body)
        return 201, {"quantumTaskArn": arn}

    def _new_task(self, body: dict[str, Any]) -> str:
        identifier = str(uuid.uuid4())
        arn = f"arn:aws:braket:us-west-2:{ACCOUNT}:quantum-task/{identifier}"
        outcome, reason = self.outcomes.pop(0) if self.outcomes else ("COMPLETED", "")
        self.tasks[arn] = FakeTask(
            arn=arn,
            device_arn=body["deviceArn"],
            shots=body["shots"],
            action=json.loads(body["action"]),
            output_directory=f"{body['outputS3KeyPrefix']}/{identifier}",
            outcome=outcome,
            reason=reason,
            polls_left=self.polls_before_done,
        )
        return arn

    def _get_task(self, arn: str) -> tuple[int, dict[str, Any]]:
        """Return a task's state, one poll further on."""
        with self._lock:
            task = self.tasks.get(arn)
            if task is None:
                return _error(404, "ResourceNotFoundException", f"Task {arn} not found")
            if task.status in ("QUEUED", "RUNNING"):
                self._advance(task)
        answer = {
            "quantumTaskArn": arn,
            "status": task.status,
            "deviceArn": task.device_arn,
            "deviceParameters": "{}",
            "shots": task.shots,
            "outputS3Bucket": BUCKET,
            "outputS3Directory": task.output_directory,
            "createdAt": CREATED_AT,
            "queueInfo": {"queue": "QUANTUM_TASKS_QUEUE", "position": "1"},
            "actionMetadata": {"actionType": OPENQASM},
        }
        return 200, answer | ({"failureReason": task.reason} if task.status == "FAILED" else {})

    def _advance(self, task: FakeTask) -> None:
        if task.polls_left > 0:
            task.polls_left -= 1
            task.status = "RUNNING"
            return
        task.status = task.outcome
        if task.status == "COMPLETED" and not self.drop_results:
            self._objects[f"/{BUCKET}/{task.output_directory}/results.json"] = self._result(task)

    def _cancel_task(self, arn: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            task = self.tasks.get(arn)
            if task is None:
                return _error(404, "ResourceNotFoundException", f"Task {arn} not found")
            if task.status not in ("QUEUED", "RUNNING"):
                return _error(409, "ConflictException", f"Task is {task.status}")
            task.status = "CANCELLED"
        return 200, {"quantumTaskArn": arn, "cancellationStatus": "CANCELLING"}

    def _result(self, task: FakeTask) -> bytes:
        """Run the task's program and return the result document."""
        from braket.default_simulator import StateVectorSimulator
        from braket.ir.openqasm import Program

        program = Program(source=task.action["source"], inputs=task.action.get("inputs"))
        result = json.loads(StateVectorSimulator().run(program, shots=task.shots).json())
        result["taskMetadata"] |= {"id": task.arn, "deviceId": task.device_arn}
        if task.device_arn == SIMULATOR_ARN:
            result["additionalMetadata"]["simulatorMetadata"] = {
                "braketSchemaHeader": {
                    "name": "braket.task_result.simulator_metadata",
                    "version": "1",
                },
                "executionDuration": EXECUTION_MS,
            }
        if not task.shots:
            # The schema allows no empty table.
            del result["measurements"], result["measuredQubits"]
        elif self.reverse_columns:
            result["measurements"] = [row[::-1] for row in result["measurements"]]
            result["measuredQubits"] = result["measuredQubits"][::-1]
        return json.dumps(result).encode()

    def _s3(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer an S3 request on ``/bucket/key``."""
        if method == "PUT":
            self._objects[path] = body
            return 200, b""
        found = self._objects.get(path)
        if found is None:
            return 404, b"<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>"
        return 200, found


def _unsupported_gate(source: str, device: _Device) -> str | None:
    """Return the service's message if a program applies a gate that the device does not list.

    Source of the wording: amazon-braket-sdk-python issue 616.
    """
    action = json.loads(device.capabilities)["action"][OPENQASM]
    listed = {name.lower() for name in action["supportedOperations"]}
    for number, line in enumerate(source.splitlines(), start=1):
        gate = GATE.match(line)
        if gate is not None and gate[1].lower() not in listed:
            return (
                f"[line {number}] uses a gate: {gate[1]} which is not supported by the device or defined via a defcal"
            )
    return None


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"__type": code, "message": message}


class _Handler(BaseHTTPRequestHandler):
    """Routes: /device/{arn}, /devices, /quantum-task[/{arn}[/cancel]]; all else is S3."""

    fake: FakeBraket
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.fake.requests.append(f"{self.command} {path}")
        answer = self._route(path, body)
        if answer is None:
            self._send(*self.fake._s3(self.command, path, body), {"Content-Type": "application/xml"})
            return
        status, content = answer
        headers = {"Content-Type": "application/json"}
        if "__type" in content:
            headers["x-amzn-ErrorType"] = content["__type"]
        self._send(status, json.dumps(content).encode(), headers)

    do_GET = do_POST = do_PUT = do_HEAD = _answer

    def _route(self, path: str, body: bytes) -> tuple[int, dict[str, Any]] | None:
        name, _, rest = path.lstrip("/").partition("/")
        match self.command, name:
            case "GET", "device":
                return self.fake._get_device(rest)
            case "POST", "devices":
                return self.fake._search_devices()
            case "POST", "quantum-task":
                return self.fake._create_task(json.loads(body))
            case "GET", "quantum-task":
                return self.fake._get_task(rest)
            case "PUT", "quantum-task" if rest.endswith("/cancel"):
                return self.fake._cancel_task(rest.removesuffix("/cancel"))
        return None

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: ``requests`` holds what came in."""
