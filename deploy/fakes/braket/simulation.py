"""Run one program on Braket's local state vector simulator, and read the qubits out as a device would."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift", "Readout", "simulate"]

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


def simulate(program: dict[str, Any], shots: int, rng: np.random.Generator | None, readout: Readout) -> dict[str, Any]:
    """Return the result document of a program, measurements read out.

    Args:
        program: its ``source`` and ``inputs``, one value each.
        shots: 0 for exact result types.
        rng: draws the shots from the exact probabilities; None leaves that to the simulator's own
            generator, which takes no seed.
        readout: what happens to the measured bits.
    """
    from braket.ir.openqasm import Program

    ir = Program(source=program["source"], inputs=program.get("inputs"))
    result = _simulator(rng).run(ir, shots=shots)
    if not shots:
        document: dict[str, Any] = json.loads(result.json(exclude_none=True))
        # The schema allows no empty table.
        del document["measurements"], document["measuredQubits"]
        return document
    bits = np.array(result.measurements, dtype=np.int64)
    result.measurements, result.measuredQubits = readout.apply(
        bits, result.measuredQubits, rng or np.random.default_rng()
    )
    values = _result_types(result)
    result.resultTypes = None
    document = json.loads(result.json(exclude_none=True))
    return document | ({"resultTypes": values} if values else {})


def _result_types(result: Any) -> list[dict[str, Any]]:
    """Return the requested result types with their values, as the service computes them from the measurements."""
    from braket.tasks import GateModelQuantumTaskResult

    made = GateModelQuantumTaskResult.from_object(result).result_types
    return [{"type": json.loads(found.type.json()), "value": np.asarray(found.value).tolist()} for found in made]


def _simulator(rng: np.random.Generator | None) -> Any:
    from braket.default_simulator import StateVectorSimulator
    from braket.default_simulator.state_vector_simulation import StateVectorSimulation

    if rng is None:
        return StateVectorSimulator()
    generator = rng

    class Simulation(StateVectorSimulation):  # type: ignore[misc]
        def retrieve_samples(self) -> Any:
            weights = self.probabilities
            return generator.choice(len(weights), size=self.shots, p=weights / weights.sum())

    class Simulator(StateVectorSimulator):  # type: ignore[misc]
        def initialize_simulation(self, **kwargs: Any) -> Any:
            return Simulation(**kwargs)

    return Simulator()
