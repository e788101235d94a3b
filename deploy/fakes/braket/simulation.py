"""Run one program on Braket's local state vector simulator, and read the qubits out as a device would."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift", "ProgramRunner", "Readout"]

EMPTY = "OPENQASM 3.0;"

# A rate at which every measured bit flips, or what turns the true bits (n_shots, n_columns) into the read ones.
Drift = float | Callable[[NDArray[np.int64]], NDArray[np.int64]]


@dataclass(frozen=True)
class Readout:
    """How measured bits reach the result.

    Args:
        drift: changes the bits, as a drifting device would.
        scramble_columns: move every column one to the right and say nothing: a device with wrong wiring.
        reverse_columns: return measured qubits last to first, and say so, as a service is free to.
    """

    drift: Drift = 0.0
    scramble_columns: bool = False
    reverse_columns: bool = False

    def apply(
        self, bits: NDArray[np.int64], qubits: list[int], rng: np.random.Generator
    ) -> tuple[list[list[int]], list[int]]:
        """Return the bits (n_shots, n_columns) that the result holds, and the qubits that it names."""
        bits = self.drift(bits) if callable(self.drift) else bits ^ (rng.random(bits.shape) < self.drift)
        if self.scramble_columns:
            bits = np.roll(bits, 1, axis=1)
        if self.reverse_columns:
            bits, qubits = bits[:, ::-1], qubits[::-1]
        return bits.tolist(), qubits


class ProgramRunner:
    """Runs the programs of one task; a text that comes again with other inputs is not parsed again."""

    def __init__(self, rng: np.random.Generator | None, readout: Readout) -> None:
        """Make the simulator.

        Args:
            rng: draws the shots from the exact probabilities; None leaves that to the simulator's own
                generator, which takes no seed.
            readout: what happens to the measured bits.
        """
        self._simulator = _simulator(rng)
        self._rng = rng or np.random.default_rng()
        self._readout = readout

    def run(self, program: dict[str, Any], shots: int) -> dict[str, Any]:
        """Return the result document of a program, measurements read out.

        Args:
            program: its ``source`` and ``inputs``, one value each.
            shots: 0 for exact result types.
        """
        from braket.ir.openqasm import Program

        ir = Program(source=program["source"], inputs=program.get("inputs"))
        result = self._simulator.run(ir, shots=shots)
        if shots:
            bits = np.array(result.measurements, dtype=np.int64)
            result.measurements, result.measuredQubits = self._readout.apply(bits, result.measuredQubits, self._rng)
        else:
            # The schema allows no empty table.
            result.measurements = result.measuredQubits = None
        values = _result_types(result, shots) if result.resultTypes else []
        result.resultTypes = None
        document: dict[str, Any] = json.loads(result.json(exclude_none=True))
        return document | ({"resultTypes": values} if values else {})


def _result_types(result: Any, shots: int) -> list[dict[str, Any]]:
    """Return the requested result types with their values: of shots, those that the SDK finds in the read bits."""
    from braket.tasks import GateModelQuantumTaskResult

    made = GateModelQuantumTaskResult.from_object(result).result_types if shots else result.resultTypes
    return [{"type": json.loads(found.type.json()), "value": _plain(found.value)} for found in made]


def _plain(value: Any) -> Any:
    """Return a result type's value as JSON has it; a complex number is a pair, as the SDK reads it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    array = np.asarray(value)
    return (np.stack([array.real, array.imag], axis=-1) if np.iscomplexobj(array) else array).tolist()


def _simulator(rng: np.random.Generator | None) -> Any:
    from braket.default_simulator import StateVectorSimulator
    from braket.default_simulator.openqasm.interpreter import Interpreter
    from braket.default_simulator.openqasm.parser.openqasm_parser import parse
    from braket.default_simulator.state_vector_simulation import StateVectorSimulation

    class Simulation(StateVectorSimulation):  # type: ignore[misc]
        def retrieve_samples(self) -> Any:
            if rng is None:
                return super().retrieve_samples()
            weights = self.probabilities
            return rng.choice(len(weights), size=self.shots, p=weights / weights.sum())

    class Simulator(StateVectorSimulator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._trees: dict[str, tuple[Any, str]] = {}

        def initialize_simulation(self, **kwargs: Any) -> Any:
            return Simulation(**kwargs)

        def parse_program(self, program: Any) -> Any:
            """Interpret a program as the simulator does, from a kept syntax tree: parsing takes most of the time."""
            kept = self._trees.pop(program.source, None)
            tree = parse(program.source) if kept is None else kept[0]
            # a tree that a visit changes is not used again
            text = repr(tree) if kept is None else kept[1]
            interpreter = Interpreter(self.create_program_context())
            # an empty run takes the inputs in and sets up what the visit needs
            interpreter.run(EMPTY, inputs=program.inputs)
            interpreter.visit(tree)
            if repr(tree) == text:
                self._trees[program.source] = tree, text
            return interpreter.context

    return Simulator()
