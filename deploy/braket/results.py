"""From a task's result to the counts of each of its circuits, columns by the qubit that was measured."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.braket.aws_errors import clean
from sqdr.deploy.heads.base import import_extra

__all__ = ["CircuitResult", "ResultError", "read_results"]

Read = Callable[[str, tuple[str, str] | None], str]
"""From a path and the (bucket, folder) it is below, None for the task's own, to the text of the file."""


class ResultError(ValueError):
    """The result is there, and is not what was asked for."""


@dataclass(frozen=True)
class CircuitResult:
    """What one circuit gave: counts, exact expectations, or the reason why neither.

    Args:
        counts: bits to how often they were read; the first bit is qubit 0. Empty for an exact run.
        values: <Z> of each qubit, exact. Empty for a run with shots.
        failure: the service's reason, empty if there is a result.
    """

    counts: Mapping[str, int]
    values: tuple[float, ...] = ()
    failure: str = ""

    def to_json(self) -> str:
        """Return the text that the journal keeps."""
        return json.dumps({"values": self.values} if self.values else {"counts": dict(sorted(self.counts.items()))})

    @classmethod
    def from_json(cls, text: str) -> "CircuitResult":
        """Return the result of `to_json`.

        Raises:
            ResultError: not such a text.
        """
        try:
            data = json.loads(text)
            if "values" in data:
                return cls({}, tuple(float(value) for value in data["values"]))
            counts = {str(bits): int(n) for bits, n in data["counts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultError("not a result") from error
        if not counts or any(n < 1 or set(bits) - set("01") for bits, n in counts.items()):
            raise ResultError("not a table of counts")
        return cls(counts)

    def bits(self, n_qubits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the distinct rows of bits (M, n_qubits), and how often each was read (M,)."""
        rows = np.array([[int(bit) for bit in bits] for bits in self.counts], dtype=np.int64)
        if rows.shape[1] != n_qubits:
            raise ResultError(f"{rows.shape[1]} qubits instead of {n_qubits}")
        return rows, np.array(list(self.counts.values()), dtype=np.int64)


def read_results(read: Read, *, n_qubits: int, shots: Sequence[int]) -> tuple[list[CircuitResult], int | None]:
    """Return the result of each circuit of a task, and the milliseconds that a simulator says it took.

    Args:
        read: gives the files of the result.
        n_qubits: of every circuit.
        shots: of each circuit, in the task's order; 0 for exact.

    Raises:
        ResultError: truncated, of another form, or not of these circuits.
    """
    document = _parse(read("results.json", None))
    kind = type(document).__name__
    if kind == "GateModelTaskResult":
        if len(shots) != 1:
            raise ResultError(f"one result for {len(shots)} circuits")
        return [_single(document, n_qubits, shots[0])], _duration(document)
    if kind != "ProgramSetTaskResult":
        raise ResultError(f"a {kind}")
    return _program_set(document, read, n_qubits, shots), None


def _parse(text: str) -> Any:
    """Return a document as the SDK's own schema reads it."""
    schema = import_extra("braket.schema_common").BraketSchemaBase
    try:
        return schema.parse_raw_schema(text)
    except Exception as error:  # pydantic's, json's, or the import of a schema that there is none of
        raise ResultError(f"unreadable ({type(error).__name__})") from None


def _single(document: Any, n_qubits: int, shots: int) -> CircuitResult:
    if shots:
        return _counted(document, n_qubits, shots)
    by_qubit = {}
    for result in document.resultTypes or ():
        targets = list(getattr(result.type, "targets", None) or ())
        if len(targets) == 1 and isinstance(result.value, int | float) and math.isfinite(result.value):
            by_qubit[int(targets[0])] = float(result.value)
    if sorted(by_qubit) != list(range(n_qubits)):
        raise ResultError(f"it does not cover all {n_qubits} qubits")
    return CircuitResult({}, tuple(by_qubit[qubit] for qubit in range(n_qubits)))


def _program_set(document: Any, read: Read, n_qubits: int, shots: Sequence[int]) -> list[CircuitResult]:
    """Follow the program set's files, which may be inline or each in a place of its own."""
    found: list[CircuitResult] = []
    place = document.s3Location
    for program in document.programResults:
        folder = ""
        if isinstance(program, str):
            folder = program.removesuffix("results.json")
            program = _parse(read(program, place))
        outcomes: dict[int, CircuitResult] = {}
        for executable in program.executableResults:
            if isinstance(executable, str):
                executable = _parse(read(folder + executable, place))
            if executable.inputsIndex in outcomes:
                raise ResultError("one circuit answered twice")
            outcomes[executable.inputsIndex] = _executable(executable, n_qubits, shots[0])
        if sorted(outcomes) != list(range(len(outcomes))):
            raise ResultError("a circuit without an answer")
        found += [outcomes[index] for index in range(len(outcomes))]
    if len(found) != len(shots):
        raise ResultError(f"{len(found)} results for {len(shots)} circuits")
    return found


def _executable(executable: Any, n_qubits: int, shots: int) -> CircuitResult:
    if type(executable).__name__ == "ProgramSetExecutableFailure":
        reason = getattr(executable, "failureMetadata", None)
        return CircuitResult({}, failure=clean(getattr(reason, "failureReason", None) or "the service gives no reason"))
    return _counted(executable, n_qubits, shots)


def _counted(result: Any, n_qubits: int, shots: int) -> CircuitResult:
    """Return counts with the columns in the order of the qubits, which the service chooses as it likes."""
    measured = [int(qubit) for qubit in result.measuredQubits or ()]
    if not set(range(n_qubits)) <= set(measured):
        raise ResultError(f"it does not cover all {n_qubits} qubits")
    columns = [measured.index(qubit) for qubit in range(n_qubits)]
    if result.measurements:
        if len(result.measurements) > shots:  # fewer can happen, and were paid for
            raise ResultError(f"{len(result.measurements)} shots instead of {shots}")
        rows: Mapping[str, int] = Counter("".join(map(str, row)) for row in result.measurements)
    else:
        rows = _from_probabilities(result.measurementProbabilities or {}, shots)
    counts: Counter[str] = Counter()
    for bits, n in rows.items():
        if len(bits) != len(measured):
            raise ResultError(f"{len(bits)} bits for {len(measured)} qubits")
        counts["".join(bits[column] for column in columns)] += n
    return CircuitResult(dict(counts))


def _from_probabilities(table: Mapping[str, float], shots: int) -> dict[str, int]:
    """Return whole counts: some processors (IonQ) report the share of each row of bits instead.

    Shares that were post-processed are no multiples of a shot: the largest remainders are rounded up.
    """
    total = sum(table.values())
    if not 0.99 < total < 1.01:
        raise ResultError(f"shares that add up to {total:.3f}")
    exact = {bits: share / total * shots for bits, share in table.items()}
    counts = {bits: math.floor(n + 1e-6) for bits, n in exact.items()}
    by_remainder = sorted(exact, key=lambda bits: (counts[bits] - exact[bits], bits))
    for bits in by_remainder[: shots - sum(counts.values())]:
        counts[bits] += 1
    return {bits: n for bits, n in counts.items() if n}


def _duration(document: Any) -> int | None:
    simulator = getattr(document.additionalMetadata, "simulatorMetadata", None)
    return None if simulator is None else int(simulator.executionDuration)
