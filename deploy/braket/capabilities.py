"""What a device says of itself, and whether it takes a circuit: asked before anything is submitted."""

import datetime
from dataclasses import dataclass
from typing import Any

from sqdr.deploy.braket.packing import ProgramSetLimits
from sqdr.deploy.heads.base import check_limits
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import DeviceError

__all__ = ["DeviceFacts", "check_device", "read_facts", "spelled"]

OPENQASM = "braket.ir.openqasm.program"
PROGRAM_SET = "braket.ir.openqasm.program_set"
HHMM = "%H:%M"


@dataclass(frozen=True)
class DeviceFacts:
    """What a device reported when it was asked.

    Args:
        name: as in messages.
        status: ONLINE, OFFLINE or RETIRED.
        is_open: whether it runs tasks now, by its execution windows.
        windows: its execution windows, in words, UTC.
        n_qubits: of its register.
        shots: the fewest and the most of one circuit; a least of 0 means that it gives exact expectations.
        operations: the gates that it lists, None where it takes no OpenQASM.
        program_sets: their limits, None where it takes none.
        poll_s: seconds between two questions for a task, as the device wants it.
    """

    name: str
    status: str
    is_open: bool
    windows: str
    n_qubits: int
    shots: tuple[int, int]
    operations: tuple[str, ...] | None
    program_sets: ProgramSetLimits | None
    poll_s: float


def read_facts(name: str, device: Any) -> DeviceFacts:
    """Return the facts of a ``braket.aws.AwsDevice``.

    Raises:
        DeviceError: it reports none.
    """
    properties = device.properties
    if properties is None:
        raise DeviceError(f"{name} reports no capabilities. Update amazon-braket-sdk.")
    service = properties.service
    low, high = (int(shots) for shots in service.shotsRange)
    action = properties.action.get(OPENQASM)
    sets = properties.action.get(PROGRAM_SET)
    poll_ms = service.getTaskPollIntervalMillis
    return DeviceFacts(
        name=name,
        status=device.status,
        is_open=device.is_available,
        windows=", ".join(map(_window, service.executionWindows)) or "none",
        n_qubits=properties.paradigm.qubitCount,
        shots=(low, high),
        operations=None if action is None else tuple(action.supportedOperations),
        program_sets=None if sets is None else ProgramSetLimits(sets.maximumExecutables, sets.maximumTotalShots),
        poll_s=poll_ms / 1000 if poll_ms else 1.0,
    )


def check_device(facts: DeviceFacts, program: ReuploadProgram, shots: int | None, *, may_wait: bool = False) -> None:
    """Check that a device runs a circuit now.

    Args:
        facts: of the device.
        program: the circuit.
        shots: of each circuit; None for exact expectations.
        may_wait: submit although the device is outside its execution windows; its tasks wait in the queue.

    Raises:
        DeviceError: the device cannot run this circuit now, or these shots.
    """
    name = facts.name
    if facts.status == "RETIRED":
        raise DeviceError(f"{name} is RETIRED. Nothing was submitted; choose another device.")
    if facts.status != "ONLINE":
        raise DeviceError(f"{name} is {facts.status}. Nothing was submitted; try later.")
    if not facts.is_open and not may_wait:
        now = datetime.datetime.now(datetime.timezone.utc)
        raise DeviceError(
            f"{name} is outside its execution windows ({facts.windows} UTC; it is {now:%A %H:%M}). Nothing was "
            "submitted; try then, or let the tasks wait in its queue with --queue."
        )
    low, high = facts.shots
    check_limits(
        name, n_qubits=program.n_qubits, max_qubits=facts.n_qubits, shots=shots, range_=range(max(low, 1), high + 1)
    )
    if shots is None and low > 0:
        raise DeviceError(f"{name} gives no exact expectations. Pass `shots`, for example 1000.")
    spelled(facts, program)


def spelled(facts: DeviceFacts, program: ReuploadProgram) -> ReuploadProgram:
    """Return a program in gates that the device lists.

    Raises:
        DeviceError: it takes no OpenQASM, or lacks a gate that has no other spelling.
    """
    if facts.operations is None:
        raise DeviceError(f"{facts.name} takes no OpenQASM programs. Choose a device that runs circuits.")
    made = program.spelled_for(facts.operations)
    listed = {name.lower() for name in facts.operations}
    missing = sorted(gate for gate in made.gates if gate.lower() not in listed)
    if missing:
        raise DeviceError(
            f"{facts.name} does not list the gates that the circuit needs: {', '.join(missing)}. Nothing was "
            "submitted; choose another device."
        )
    return made


def _window(window: Any) -> str:
    day = getattr(window.executionDay, "value", window.executionDay)
    return f"{day} {window.windowStartHour:{HHMM}} to {window.windowEndHour:{HHMM}}"
