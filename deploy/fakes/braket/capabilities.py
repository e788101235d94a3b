"""Capability documents of the fake's three devices, as the SDK's schemas take them.

Numbers that a public page gives name it; fidelities and times are round figures of the right size,
not measurements of any processor.
"""

from typing import Any

__all__ = [
    "ION_ARN",
    "OPENQASM",
    "PROGRAM_SET",
    "QPU_ARN",
    "SIMULATOR_ARN",
    "ion_trap_capabilities",
    "lattice_capabilities",
    "program_set_action",
    "simulator_capabilities",
]

SIMULATOR_ARN = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
QPU_ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
ION_ARN = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
OPENQASM = "braket.ir.openqasm.program"
PROGRAM_SET = "braket.ir.openqasm.program_set"

# A real device is polled once a second; a test should not wait that long.
POLL_INTERVAL_MS = 5
UPDATED_AT = "2026-11-01T00:00:00"
# Where each row of Garnet's square lattice starts, and its length; qubits are numbered from 1, row by row.
# Source: IQM's 20-qubit grid in qiskit-on-iqm ("Apollo"); Garnet's edges 1-2, 1-4 and 2-5 in the tests of
# amazon-braket-schemas agree with it.
ROWS = ((1, 2), (0, 5), (0, 5), (0, 5), (1, 3))
N_IONS = 36

# What the processors take, as the Braket developer guide lists it ("Amazon Braket supported devices").
LATTICE_OPERATIONS = (
    "ccnot cnot cphaseshift cphaseshift00 cphaseshift01 cphaseshift10 cswap swap iswap pswap ecr cy cz xy xx yy zz "
    "h i phaseshift rx ry rz s si t ti v vi x y z"
).split()
ION_OPERATIONS = "x y z rx ry rz h cnot s si t ti v vi xx yy zz swap".split()
# Those of amazon-braket-default-simulator 1.33.0, which has OpenQASM's own U and GPhase; SV1's were not read.
SIMULATOR_OPERATIONS = [*LATTICE_OPERATIONS, "U", "GPhase", "cv", "gpi", "gpi2", "ms", "prx", "unitary"]


def _header(name: str, version: str = "1") -> dict[str, str]:
    return {"name": f"braket.device_schema.{name}", "version": version}


def _service(shots: tuple[int, int], price: float, unit: str, location: str) -> dict[str, Any]:
    return {
        "braketSchemaHeader": _header("device_service_properties"),
        "executionWindows": [{"executionDay": "Everyday", "windowStartHour": "00:00:00", "windowEndHour": "23:59:59"}],
        "shotsRange": list(shots),
        "deviceCost": {"price": price, "unit": unit},
        "deviceDocumentation": {"summary": "A fake device on this machine."},
        "deviceLocation": location,
        "updatedAt": UPDATED_AT,
        "getTaskPollIntervalMillis": POLL_INTERVAL_MS,
    }


def _action(shots: tuple[int, int], operations: list[str], result_types: list[str]) -> dict[str, Any]:
    low, high = shots
    pauli = ["x", "y", "z", "h", "i"]
    return {
        "actionType": OPENQASM,
        "version": ["1"],
        "supportedOperations": list(operations),
        "supportedResultTypes": [
            {"name": name, "observables": pauli, "minShots": low, "maxShots": high} for name in result_types
        ],
    }


def program_set_action(max_executables: int, max_total_shots: int) -> dict[str, Any]:
    """Return the action of a device that takes program sets."""
    return {
        "actionType": PROGRAM_SET,
        "version": ["1"],
        "maximumExecutables": max_executables,
        "maximumTotalShots": max_total_shots,
    }


def simulator_capabilities() -> dict[str, Any]:
    """Return the document of a simulator like SV1: 34 qubits, up to 100,000 shots, exact allowed.

    It takes no program sets: the developer guide names processors and the local simulator only
    ("Running multiple programs").
    """
    shots = (0, 100_000)
    return {
        "braketSchemaHeader": _header("simulators.gate_model_simulator_device_capabilities"),
        "service": _service(shots, 0.075, "minute", "N/A"),
        "action": {
            OPENQASM: _action(shots, SIMULATOR_OPERATIONS, ["Sample", "Expectation", "Variance", "Probability"])
        },
        "deviceParameters": {},
        "paradigm": {
            "braketSchemaHeader": _header("simulators.gate_model_simulator_paradigm_properties"),
            "qubitCount": 34,
        },
    }


def lattice_capabilities() -> dict[str, Any]:
    """Return the document of a processor like IQM Garnet: 20 qubits, square lattice, 1 to 20,000 shots.

    Program sets of up to 100 executables ("Running multiple programs" of the developer guide) and
    1,000,000 shots (the tests of amazon-braket-schemas).
    """
    shots = (1, 20_000)
    graph = _lattice()
    return {
        "braketSchemaHeader": _header("iqm.iqm_device_capabilities"),
        "service": _service(shots, 0.00145, "shot", "Finland"),
        "action": {
            OPENQASM: _action(shots, LATTICE_OPERATIONS, ["Sample", "Expectation", "Variance", "Probability"]),
            PROGRAM_SET: program_set_action(100, 1_000_000),
        },
        "deviceParameters": {},
        "paradigm": {
            "braketSchemaHeader": _header("gate_model_qpu_paradigm_properties"),
            "qubitCount": len(graph),
            "nativeGateSet": ["cz", "prx"],
            "connectivity": {"fullyConnected": False, "connectivityGraph": graph},
        },
        "standardized": _lattice_fidelities(graph),
    }


def ion_trap_capabilities() -> dict[str, Any]:
    """Return the document of a processor like IonQ Forte: 36 ions, all-to-all, neither cz nor U.

    The developer guide says that all gate-based processors take program sets, but IonQ's schema has
    that action from a later amazon-braket-schemas on only (1.32.1 has it, 1.28.0 would refuse the whole
    document), so it is absent here until ``FakeBraket.set_limits`` adds it. 5,000 shots are this
    fake's own limit: no public page was read.
    """
    shots = (1, 5_000)
    return {
        "braketSchemaHeader": _header("ionq.ionq_device_capabilities"),
        "service": _service(shots, 0.08, "shot", "Maryland, USA"),
        "action": {OPENQASM: _action(shots, ION_OPERATIONS, ["Sample", "Expectation", "Variance", "Probability"])},
        "deviceParameters": {},
        "paradigm": {
            "braketSchemaHeader": _header("gate_model_qpu_paradigm_properties"),
            "qubitCount": N_IONS,
            "nativeGateSet": ["gpi", "gpi2", "zz"],
            "connectivity": {"fullyConnected": True, "connectivityGraph": {}},
        },
        "provider": {
            "braketSchemaHeader": _header("ionq.ionq_provider_properties"),
            "fidelity": {"1Q": {"mean": 0.9998}, "2Q": {"mean": 0.99}, "spam": {"mean": 0.995}},
            # seconds
            "timing": {"T1": 100.0, "T2": 1.0, "1Q": 1.3e-4, "2Q": 9.7e-4, "readout": 2.5e-4, "reset": 5e-5},
        },
    }


def _lattice() -> dict[str, list[str]]:
    """Return the neighbours of each qubit."""
    places = [(row, start + k) for row, (start, length) in enumerate(ROWS) for k in range(length)]
    number = {place: str(index) for index, place in enumerate(places, start=1)}
    graph = {}
    for (row, column), name in number.items():
        near = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
        graph[name] = [number[place] for place in near if place in number]
    return graph


def _lattice_fidelities(graph: dict[str, list[str]]) -> dict[str, Any]:
    one = {
        "T1": {"value": 4e-5, "unit": "S"},
        "T2": {"value": 2e-5, "unit": "S"},
        "oneQubitFidelity": [
            {"fidelityType": {"name": "SIMULTANEOUS_RANDOMIZED_BENCHMARKING"}, "fidelity": 0.999},
            {"fidelityType": {"name": "READOUT"}, "fidelity": 0.97},
        ],
    }
    kind = {"name": "SIMULTANEOUS_INTERLEAVED_RANDOMIZED_BENCHMARKING"}
    two = {"twoQubitGateFidelity": [{"gateName": "cz", "fidelity": 0.99, "fidelityType": kind}]}
    pairs = [(qubit, other) for qubit, near in graph.items() for other in near if int(qubit) < int(other)]
    return {
        "braketSchemaHeader": _header("standardized_gate_model_qpu_device_properties"),
        "oneQubitProperties": dict.fromkeys(graph, one),
        "twoQubitProperties": {f"{qubit}-{other}": two for qubit, other in pairs},
    }
