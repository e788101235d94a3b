"""The objects that a finished task leaves in S3, in the forms that the SDK reads."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqdr.deploy.fakes.braket.capabilities import PROGRAM_SET
from sqdr.deploy.fakes.braket.refusals import n_executables
from sqdr.deploy.fakes.braket.simulation import ProgramRunner

__all__ = ["Job", "ResultForm", "TaskResult", "run_job"]

ResultForm = Literal["inline", "by_reference"]

# What the fake simulator says it took: longer than the 3 s that SV1 bills at least.
EXECUTION_MS = 4000


@dataclass(frozen=True)
class Job:
    """What a task asks for, and how it is to come out.

    Args:
        metadata: of the result document: ``id``, ``deviceId``, ``createdAt``, ``endedAt``.
        action: the program or program set.
        shots: of the whole task.
        is_simulator: whether the result names an execution time.
        failures: reasons by number of the executables that fail, counted through the whole set.
        location: bucket and folder of the result.
        form: of a program set's result.
        runner: runs the programs.
    """

    metadata: dict[str, str]
    action: dict[str, Any]
    shots: int
    is_simulator: bool
    failures: dict[int, str]
    location: tuple[str, str]
    form: ResultForm
    runner: ProgramRunner


@dataclass(frozen=True)
class TaskResult:
    """What came out of a job: files by name below the task's folder, and how many shots succeeded."""

    files: dict[str, bytes]
    n_successful_shots: int


def run_job(job: Job) -> TaskResult:
    """Run a job; whatever the simulator raises comes out."""
    if job.action["braketSchemaHeader"]["name"] == PROGRAM_SET:
        return _run_program_set(job)
    result = job.runner.run(job.action, job.shots)
    result["taskMetadata"] |= job.metadata | {"status": "COMPLETED"}
    if job.is_simulator:
        header = _header("simulator_metadata")
        timing = {"braketSchemaHeader": header, "executionDuration": EXECUTION_MS}
        result["additionalMetadata"]["simulatorMetadata"] = timing
    return TaskResult({"results.json": _bytes(result)}, job.shots)


def _run_program_set(job: Job) -> TaskResult:
    counts = [n_executables(program) for program in job.action["programs"]]
    shots = job.shots // sum(counts)
    outcomes: list[list[dict[str, Any]]] = []
    number = 0
    for program, count in zip(job.action["programs"], counts, strict=True):
        outcomes.append([])
        for index in range(count):
            outcomes[-1].append(_executable(job, program, index, shots, job.failures.get(number)))
            number += 1
    n_failed = sum("failureMetadata" in outcome for program in outcomes for outcome in program)
    n_successful_shots = shots * (sum(counts) - n_failed)
    metadata = {
        "braketSchemaHeader": _header("program_set_task_metadata"),
        **job.metadata,
        "status": "COMPLETED",
        "requestedShots": job.shots,
        "successfulShots": n_successful_shots,
        "programMetadata": [
            {"executables": [outcome.get("failureMetadata", {}) for outcome in program]} for program in outcomes
        ],
        "totalFailedExecutables": n_failed,
    }
    write = {"inline": _inline, "by_reference": _by_reference}
    return TaskResult(write[job.form](job, outcomes, metadata), n_successful_shots)


def _executable(job: Job, program: dict[str, Any], index: int, shots: int, failure: str | None) -> dict[str, Any]:
    inputs = {name: values[index] for name, values in (program.get("inputs") or {}).items()}
    if failure is None:
        result = job.runner.run({"source": program["source"], "inputs": inputs or None}, shots)
        return {
            "braketSchemaHeader": _header("program_set_executable_result"),
            "inputsIndex": index,
            "measurements": result["measurements"],
            "measuredQubits": result["measuredQubits"],
        }
    return {
        "braketSchemaHeader": _header("program_set_executable_failure"),
        "inputsIndex": index,
        "failureMetadata": {"failureReason": failure, "retryable": True, "category": "DEVICE"},
    }


def _program_result(executables: list[Any], source: Any) -> dict[str, Any]:
    header = _header("program_result")
    return {
        "braketSchemaHeader": header,
        "executableResults": executables,
        "source": source,
        "additionalMetadata": {},
    }


def _inline(job: Job, outcomes: list[list[dict[str, Any]]], metadata: dict[str, Any]) -> dict[str, bytes]:
    """Return the one file that holds everything."""
    programs = job.action["programs"]
    results = [_program_result(made, program) for made, program in zip(outcomes, programs, strict=True)]
    header = _header("program_set_task_result")
    document = {"braketSchemaHeader": header, "programResults": results, "taskMetadata": metadata}
    return {"results.json": _bytes(document)}


def _by_reference(job: Job, outcomes: list[list[dict[str, Any]]], metadata: dict[str, Any]) -> dict[str, bytes]:
    """Return a file for each part, and the one that names them.

    Paths in a program's result are relative to its own folder, as
    braket/tasks/program_set_quantum_task_result.py of amazon-braket-sdk 1.110.1 reads them; the names of the
    files other than ``results.json`` are this fake's.
    """
    files = {"metadata.json": _bytes(metadata)}
    names = []
    for number, (made, program) in enumerate(zip(outcomes, job.action["programs"], strict=True)):
        folder = f"programs/{number}"
        executables = [f"executables/{index}.json" for index in range(len(made))]
        for name, outcome in zip(executables, made, strict=True):
            files[f"{folder}/{name}"] = _bytes(outcome)
        files[f"{folder}/program.json"] = _bytes(program)
        files[f"{folder}/results.json"] = _bytes(_program_result(executables, "program.json"))
        names.append(f"{folder}/results.json")
    document = {
        "braketSchemaHeader": _header("program_set_task_result"),
        "s3Location": list(job.location),
        "programResults": names,
        "taskMetadata": "metadata.json",
    }
    return files | {"results.json": _bytes(document)}


def _header(name: str) -> dict[str, str]:
    return {"name": f"braket.task_result.{name}", "version": "1"}


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
