"""The two devices of the fake Braket service, as capability documents that the SDK accepts."""

import json
from typing import Any

__all__ = ["OPENQASM", "QPU_ARN", "SIMULATOR_ARN", "qpu_capabilities", "simulator_capabilities"]

SIMULATOR_ARN = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
QPU_ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
OPENQASM = "braket.ir.openqasm.program"

N_ROWS, N_COLUMNS = 4, 5
# What IQM's processors take, as the Braket developer guide lists it ("Amazon Braket supported devices"): no U.
QPU_OPERATIONS = (
    "ccnot cnot cphaseshift cphaseshift00 cphaseshift01 cphaseshift10 cswap swap iswap pswap ecr cy cz xy xx yy zz "
    "h i phaseshift rx ry rz s si t ti v vi x y z"
).split()
# Those of amazon-braket-default-simulator 1.33.0, which has OpenQASM's own U and GPhase; SV1's were not read.
SIMULATOR_OPERATIONS = [*QPU_OPERATIONS, "U", "GPhase", "cv", "gpi", "gpi2", "ms", "prx", "unitary"]

# A real device is polled once a second; a test should not wait that long.
POLL_INTERVAL_MS = 5


def _header(name: str) -> dict[str, str]:
    return {"name": f"braket.device_schema.{name}", "version": "1"}


def _service(max_shots: int, min_shots: int) -> dict[str, Any]:
    return {
        "braketSchemaHeader": _header("device_service_properties"),
        "executionWindows": [{"executionDay": "Everyday", "windowStartHour": "00:00:00", "windowEndHour": "23:59:59"}],
        "shotsRange": [min_shots, max_shots],
        "getTaskPollIntervalMillis": POLL_INTERVAL_MS,
    }


def _action(min_shots: int, max_shots: int, operations: list[str]) -> dict[str, Any]:
    return {
        OPENQASM: {
            "actionType": OPENQASM,
            "version": ["1"],
            "supportedOperations": operations,
            "supportedResultTypes": [
                {"name": "Expectation", "observables": ["z"], "minShots": min_shots, "maxShots": max_shots}
            ],
        }
    }


def simulator_capabilities() -> str:
    """Return the document of a simulator like SV1: 34 qubits, up to 100,000 shots, exact allowed."""
    document = {
        "braketSchemaHeader": _header("simulators.gate_model_simulator_device_capabilities"),
        "service": _service(100_000, 0),
        "action": _action(0, 100_000, SIMULATOR_OPERATIONS),
        "deviceParameters": {},
        "paradigm": {
            "braketSchemaHeader": _header("simulators.gate_model_simulator_paradigm_properties"),
            "qubitCount": 34,
        },
    }
    return json.dumps(document)


def qpu_capabilities() -> str:
    """Return the document of a processor like IQM Garnet: 20 qubits, square lattice, 1 to 20,000 shots."""
    document = {
        "braketSchemaHeader": _header("iqm.iqm_device_capabilities"),
        "service": _service(20_000, 1),
        "action": _action(1, 20_000, QPU_OPERATIONS),
        "deviceParameters": {},
        "paradigm": {
            "braketSchemaHeader": _header("gate_model_qpu_paradigm_properties"),
            "qubitCount": N_ROWS * N_COLUMNS,
            "nativeGateSet": ["cz", "prx"],
            "connectivity": {"fullyConnected": False, "connectivityGraph": _lattice()},
        },
    }
    return json.dumps(document)


def _lattice() -> dict[str, list[str]]:
    """Return the neighbours of each qubit; qubits are numbered from 1, row by row."""
    graph = {}
    for row in range(N_ROWS):
        for column in range(N_COLUMNS):
            near = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
            inside = [(r, c) for r, c in near if 0 <= r < N_ROWS and 0 <= c < N_COLUMNS]
            graph[str(row * N_COLUMNS + column + 1)] = [str(r * N_COLUMNS + c + 1) for r, c in inside]
    return graph
