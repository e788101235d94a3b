"""The devices of the fake service: what they are, how they say so, and what a test may change of them."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from sqdr.deploy.fakes.braket.capabilities import (
    ION_ARN,
    OPENQASM,
    PROGRAM_SET,
    QPU_ARN,
    SIMULATOR_ARN,
    ion_trap_capabilities,
    lattice_capabilities,
    program_set_action,
    simulator_capabilities,
)

__all__ = ["FakeDevice", "Status", "make_devices"]

Status = Literal["ONLINE", "OFFLINE", "RETIRED"]


@dataclass
class FakeDevice:
    """One device.

    Args:
        arn: what tasks name it by.
        name: as the console shows it.
        kind: SIMULATOR or QPU.
        provider: who made it.
        document: its capabilities; replaced as a whole, never changed in place.
        status: a task is taken only when ONLINE.
    """

    arn: str
    name: str
    kind: Literal["SIMULATOR", "QPU"]
    provider: str
    document: dict[str, Any]
    status: Status = "ONLINE"
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def operations(self) -> set[str]:
        """The gates that it lists, in lower case."""
        return {name.lower() for name in self.document["action"][OPENQASM]["supportedOperations"]}

    @property
    def shots_range(self) -> tuple[int, int]:
        """The fewest and the most shots of one circuit."""
        low, high = self.document["service"]["shotsRange"]
        return low, high

    @property
    def n_qubits(self) -> int:
        """How many qubits it has."""
        return int(self.document["paradigm"]["qubitCount"])

    @property
    def program_set(self) -> dict[str, Any] | None:
        """What it says of program sets; None where it takes none."""
        action: dict[str, Any] | None = self.document["action"].get(PROGRAM_SET)
        return action

    def change(self, *path: str, value: Any) -> None:
        """Put a value into the document."""
        with self._lock:
            document = json.loads(json.dumps(self.document))
            place = document
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            self.document = document

    def set_limits(
        self, shots: tuple[int, int] | None, max_executables: int | None, max_total_shots: int | None
    ) -> None:
        """Change the shots of one circuit and the size of a program set; None leaves a limit as it is."""
        if shots is not None:
            self.change("service", "shotsRange", value=list(shots))
        if max_executables is not None or max_total_shots is not None:
            now = self.program_set or program_set_action(100, 1_000_000)
            executables = now["maximumExecutables"] if max_executables is None else max_executables
            total = now["maximumTotalShots"] if max_total_shots is None else max_total_shots
            self.change("action", PROGRAM_SET, value=program_set_action(executables, total))

    def summary(self) -> dict[str, str]:
        """Return what SearchDevices says of it."""
        return {
            "deviceArn": self.arn,
            "deviceName": self.name,
            "deviceStatus": self.status,
            "deviceType": self.kind,
            "providerName": self.provider,
        }

    def description(self, n_queued: int) -> dict[str, Any]:
        """Return what GetDevice says of it, with the length of its queue."""
        sizes = (("QUANTUM_TASKS_QUEUE", "Normal", n_queued), ("QUANTUM_TASKS_QUEUE", "Priority", 0))
        queues = [{"queue": name, "queuePriority": rank, "queueSize": str(size)} for name, rank, size in sizes]
        return {
            **self.summary(),
            "deviceCapabilities": json.dumps(self.document),
            "deviceQueueInfo": [*queues, {"queue": "JOBS_QUEUE", "queueSize": "0"}],
        }


def make_devices() -> dict[str, FakeDevice]:
    """Return fresh devices by ARN: a simulator, a square lattice and an ion trap."""
    devices = [
        FakeDevice(SIMULATOR_ARN, "SV1", "SIMULATOR", "Amazon Braket", simulator_capabilities()),
        FakeDevice(QPU_ARN, "Garnet", "QPU", "IQM", lattice_capabilities()),
        FakeDevice(ION_ARN, "Forte 1", "QPU", "IonQ", ion_trap_capabilities()),
    ]
    return {device.arn: device for device in devices}
