"""A Braket service on this machine, for the real SDK, boto3 and the PennyLane plugin to talk to.

It answers on 127.0.0.1 what they ask: devices, quantum tasks, the S3 objects that hold their results, and
STS's caller identity. Results are computed by Braket's own local simulator; what a device does not take is
refused, as the service does it. Point the SDK at it with the environment variables of
:meth:`FakeBraket.environment`; clients handed to ``AwsSession`` would be dropped by its copies, the
environment is not.
"""

import json
from dataclasses import dataclass
from types import TracebackType

from sqdr.deploy.fakes.braket.behaviour import Behaviour
from sqdr.deploy.fakes.braket.capabilities import ION_ARN, OPENQASM, QPU_ARN, SIMULATOR_ARN
from sqdr.deploy.fakes.braket.desk import REGION, TaskDesk
from sqdr.deploy.fakes.braket.devices import FakeDevice, Status, make_devices
from sqdr.deploy.fakes.braket.messages import Answer, Request, braket_answer, braket_error, identity_answer
from sqdr.deploy.fakes.braket.server import LoopbackServer
from sqdr.deploy.fakes.braket.storage import Storage
from sqdr.errors import DeviceError

__all__ = ["FakeBraket"]

# What AWS documents as its example keys.
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
BUCKET = "amazon-braket-fake"


@dataclass
class FakeBraket(Behaviour):
    """A loopback Braket service with a simulator, a square lattice and an ion trap.

    Used as a context manager; :class:`Behaviour` has what can be set. In short::

        with FakeBraket(seed=1) as fake:
            os.environ.update(fake.environment())
            fake.faults.add("throttle", "GetQuantumTask", times=2)
            AwsDevice(fake.qpu_arn).run(circuit, shots=100).result()

    `sqdr.deploy.fakes.pytest_plugin` has it as a pytest fixture.
    """

    simulator_arn = SIMULATOR_ARN
    qpu_arn = QPU_ARN
    ion_arn = ION_ARN

    def __post_init__(self) -> None:
        self._devices = make_devices()
        self._storage = Storage()
        self._desk = TaskDesk(self, self._devices, self._storage)
        self._server: LoopbackServer | None = None
        self._port = 0

    def __enter__(self) -> "FakeBraket":
        """Start to listen on a free port."""
        self.start_listening()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to listen; no thread and no socket is left."""
        self.stop_listening()

    def start_listening(self) -> None:
        """Listen again, on the same port as before; nothing is forgotten meanwhile."""
        if self._server is None:
            self._server = LoopbackServer(self._port, self._answer, self.faults, self.requests)
            self._port = self._server.port

    def stop_listening(self) -> None:
        """Refuse connections, as in an outage, and end those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def url(self) -> str:
        """Where the service listens.

        Raises:
            RuntimeError: it has not listened yet, or has been left.
        """
        if self._server is None:
            raise RuntimeError("the fake listens only inside `with FakeBraket() as fake:`")
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that send the SDK and boto3 here, with dummy credentials."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_BRAKET": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "BRAKET_ENDPOINT": self.url,
            "AMZN_BRAKET_OUT_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def set_status(self, device_arn: str, status: Status) -> None:
        """Set what a device says of itself; a task for one that is not ONLINE is refused."""
        self._device(device_arn).status = status

    def set_operations(self, device_arn: str, operations: list[str]) -> None:
        """Set the gates that a device lists; a task with any other gate is refused."""
        self._device(device_arn).change("action", OPENQASM, "supportedOperations", value=operations)

    def set_execution_windows(self, device_arn: str, windows: list[dict[str, str]]) -> None:
        """Set when a device says that it runs tasks; tasks are taken, and here also run, at any time.

        Args:
            device_arn: the device.
            windows: each with ``executionDay`` (Monday, Weekdays, Everyday, ...), ``windowStartHour`` and
                ``windowEndHour`` ("09:00:00", UTC).
        """
        self._device(device_arn).change("service", "executionWindows", value=windows)

    def set_limits(
        self,
        device_arn: str,
        *,
        shots: tuple[int, int] | None = None,
        max_executables: int | None = None,
        max_total_shots: int | None = None,
    ) -> None:
        """Set what a device takes; None leaves a limit as it is.

        Args:
            device_arn: the device.
            shots: the fewest and the most of one circuit.
            max_executables: circuits in a program set. This or the next makes a device take them that took none;
                the SDK reads the ion trap's document then only with amazon-braket-schemas 1.32 or later.
            max_total_shots: of a whole program set.
        """
        self._device(device_arn).set_limits(shots, max_executables, max_total_shots)

    def _device(self, arn: str) -> FakeDevice:
        if arn not in self._devices:
            raise DeviceError(f"`device_arn` must be one of {', '.join(self._devices)}, got {arn}.")
        return self._devices[arn]

    def _answer(self, request: Request) -> Answer:
        match request.operation:
            case "GetDevice":
                return self._get_device(request.arn)
            case "SearchDevices":
                return self._search_devices(request)
            case "CreateQuantumTask":
                return self._desk.create(request)
            case "GetQuantumTask":
                return self._desk.get(request)
            case "SearchQuantumTasks":
                return self._desk.search(request)
            case "CancelQuantumTask":
                return self._desk.cancel(request)
            case "GetCallerIdentity":
                return identity_answer()
        return self._storage.answer(request)

    def _get_device(self, arn: str) -> Answer:
        device = self._devices.get(arn)
        if device is None:
            return braket_error(404, "ResourceNotFoundException", f"Device {arn} not found")
        return braket_answer(device.description(self._desk.n_queued(arn)))

    def _search_devices(self, request: Request) -> Answer:
        try:
            wanted = {asked["name"]: asked["values"] for asked in json.loads(request.body).get("filters", [])}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return braket_error(400, "ValidationException", f"The request is malformed: {error}")
        summaries = [device.summary() for device in self._devices.values()]
        kept = [told for told in summaries if all(told.get(name) in values for name, values in wanted.items())]
        return braket_answer({"devices": kept})
