"""Pack circuits into quantum tasks: program sets where the device takes them, else one circuit each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqdr.deploy.braket.request import CircuitRequest
from sqdr.errors import DeviceError

__all__ = ["ProgramSetLimits", "TaskPlan", "pack"]

PROGRAM_HEADER = {"name": "braket.ir.openqasm.program", "version": "1"}
NOT_SPELLED: Mapping[str, str] = {}
PROGRAM_SET_HEADER = {"name": "braket.ir.openqasm.program_set", "version": "1"}


@dataclass(frozen=True)
class ProgramSetLimits:
    """What a device says of its program sets: most circuits, and most shots over all of them."""

    max_executables: int
    max_total_shots: int


@dataclass(frozen=True)
class TaskPlan:
    """One quantum task to be.

    Args:
        circuits: in the order in which the service numbers them: program after program, input after input.
        action: the program or program set as the service takes it, JSON. The same circuits give the same bytes.
        is_program_set: whether it is a program set.
    """

    circuits: tuple[CircuitRequest, ...]
    action: str
    is_program_set: bool

    @property
    def n_shots(self) -> int:
        """Shots of all circuits."""
        return sum(circuit.shots for circuit in self.circuits)


def pack(
    circuits: Sequence[CircuitRequest],
    limits: ProgramSetLimits | None,
    extra: Sequence[CircuitRequest] = (),
    spelled: Mapping[str, str] = NOT_SPELLED,
) -> list[TaskPlan]:
    """Return the tasks that hold the circuits, in their order.

    Args:
        circuits: any number; those of one program set must take the same number of shots, so circuits are
            grouped by it.
        limits: of the device's program sets; None where it takes none, or the run is exact.
        extra: circuits to put into every program set, with the shots of the others; without program sets they
            are left out (`sqdr.deploy.braket.runner` submits them once).
        spelled: programs in gates that the device lists; others go as they are.

    Raises:
        DeviceError: one circuit with the extra ones does not fit a program set.
    """
    if limits is None:
        return [TaskPlan((circuit,), _program(circuit, spelled), False) for circuit in circuits]
    by_shots: dict[int, list[CircuitRequest]] = {}
    for circuit in circuits:
        by_shots.setdefault(circuit.shots, []).append(circuit)
    plans = []
    for shots, group in by_shots.items():
        size = min(limits.max_executables, limits.max_total_shots // shots) - len(extra)
        if size < 1:
            raise DeviceError(
                f"a program set of this device takes {limits.max_executables} circuits and {limits.max_total_shots} "
                f"shots in all: {1 + len(extra)} circuits of {shots} shots do not fit. Take fewer shots."
            )
        for start in range(0, len(group), size):
            added = (replace(circuit, shots=shots) for circuit in extra)
            plans.append(_program_set([*group[start : start + size], *added], spelled))
    return plans


def _program(circuit: CircuitRequest, spelled: Mapping[str, str]) -> str:
    inputs = dict(circuit.inputs) or None
    source = spelled.get(circuit.source, circuit.source)
    return json.dumps({"braketSchemaHeader": PROGRAM_HEADER, "source": source, "inputs": inputs})


def _program_set(circuits: Sequence[CircuitRequest], spelled: Mapping[str, str]) -> TaskPlan:
    """Circuits with the same program become one program with a list of values for each input."""
    by_source: dict[str, list[CircuitRequest]] = {}
    for circuit in circuits:
        # without inputs a program is one circuit, however often it is wanted
        name = circuit.source if circuit.inputs else f"{circuit.source}//{len(by_source)}"
        by_source.setdefault(name, []).append(circuit)
    programs = []
    for group in by_source.values():
        inputs = {name: [circuit.inputs[name] for circuit in group] for name in group[0].inputs} or None
        source = spelled.get(group[0].source, group[0].source)
        programs.append({"braketSchemaHeader": PROGRAM_HEADER, "source": source, "inputs": inputs})
    ordered = tuple(circuit for group in by_source.values() for circuit in group)
    return TaskPlan(ordered, json.dumps({"braketSchemaHeader": PROGRAM_SET_HEADER, "programs": programs}), True)
