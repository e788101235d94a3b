"""Why the service does not take a task: checked before anything is created, as Braket does.

Codes and the form of ``programSetValidationFailures`` are those of the service model of botocore 1.44.5; the
wording is ours, but for the unsupported gate, which is that of amazon-braket-sdk-python issue 616.
"""

import re
from typing import Any

from sqdr.deploy.fakes.braket.capabilities import PROGRAM_SET
from sqdr.deploy.fakes.braket.devices import FakeDevice
from sqdr.deploy.fakes.braket.messages import Answer, braket_error

__all__ = ["n_executables", "refusal"]

# A gate statement at the start of a line, on qubits by index or physical: U(1, 2, 3) q[0];  cz $0, $1;
GATE = re.compile(r"^[ \t]*([A-Za-z]\w*)(?:[ \t]*\([^;\n]*\))?[ \t]+(?:\w+[ \t]*\[|\$\d)")
REGISTER = re.compile(r"\bqubit\s*\[\s*(\d+)\s*\]")
RESULT = re.compile(r"^\s*#\s*pragma\s+braket\s+result", re.MULTILINE)


def refusal(device: FakeDevice, action: dict[str, Any], shots: int) -> Answer | None:
    """Return the error with which the service refuses a task; None if it takes it.

    Args:
        device: where it would run.
        action: the task's program or program set, parsed.
        shots: of the whole task.
    """
    if device.status == "RETIRED":
        return braket_error(410, "DeviceRetiredException", f"Device {device.name} is RETIRED.")
    if device.status != "ONLINE":
        return braket_error(424, "DeviceOfflineException", f"Device {device.name} is OFFLINE.")
    name = action.get("braketSchemaHeader", {}).get("name")
    if name not in device.document["action"]:
        return _invalid(f"Device {device.name} does not support the action {name}.")
    if name == PROGRAM_SET:
        return _program_set_refusal(device, action["programs"], shots)
    low, high = device.shots_range
    if not low <= shots <= high:
        return _invalid(f"The number of shots must be between {low} and {high}, got {shots}.")
    errors = _program_errors(action["source"], device)
    return _invalid(errors[0]) if errors else None


def n_executables(program: dict[str, Any]) -> int:
    """Return how often a program of a set runs: once for each value of its inputs.

    Raises:
        ValueError: its inputs are no lists, or differ in length.
    """
    inputs = program.get("inputs") or {}
    if not all(isinstance(values, list) for values in inputs.values()):
        raise ValueError("Inputs of a program set must be lists.")
    lengths = {len(values) for values in inputs.values()} or {1}
    if len(lengths) > 1:
        raise ValueError("Inputs of a program must have the same length.")
    return lengths.pop()


def _program_set_refusal(device: FakeDevice, programs: list[dict[str, Any]], shots: int) -> Answer | None:
    failures = []
    n_total = 0
    for index, program in enumerate(programs):
        errors = _program_errors(program["source"], device)
        if RESULT.search(program["source"]):
            errors.append("Result types are not supported in a program set.")
        try:
            n_total += n_executables(program)
        except ValueError as error:
            errors.append(str(error))
        if errors:
            failures.append({"programIndex": index, "errors": errors})
    if failures:
        reason = "ProgramSetValidationFailed"
        return _invalid("Program set validation failed.", reason=reason, programSetValidationFailures=failures)
    message = _program_set_limits(device, n_total, shots)
    return _invalid(message) if message else None


def _program_set_limits(device: FakeDevice, n_total: int, shots: int) -> str | None:
    limits = device.document["action"][PROGRAM_SET]
    low, high = device.shots_range
    if not 1 <= n_total <= limits["maximumExecutables"]:
        return f"A program set must have 1 to {limits['maximumExecutables']} executables, got {n_total}."
    if shots > limits["maximumTotalShots"]:
        return f"A program set must have at most {limits['maximumTotalShots']} shots in total, got {shots}."
    if shots % n_total:
        return f"The number of shots must be divisible by the number of executables, got {shots} for {n_total}."
    if not max(low, 1) <= shots // n_total <= high:
        return f"The shots of each executable must be between {low} and {high}, got {shots // n_total}."
    return None


def _program_errors(source: str, device: FakeDevice) -> list[str]:
    errors = []
    n_qubits = sum(map(int, REGISTER.findall(source)))
    if n_qubits > device.n_qubits:
        errors.append(f"The program uses {n_qubits} qubits, the device has {device.n_qubits}.")
    operations = device.operations
    for number, line in enumerate(source.splitlines(), start=1):
        gate = GATE.match(line)
        if gate is not None and gate[1].lower() not in operations:
            errors.append(
                f"[line {number}] uses a gate: {gate[1]} which is not supported by the device or defined via a defcal"
            )
    return errors


def _invalid(message: str, **more: Any) -> Answer:
    return braket_error(400, "ValidationException", message, **more)
