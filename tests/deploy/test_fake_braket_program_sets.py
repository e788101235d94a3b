"""Program sets on the fake Braket service, submitted and read by the real SDK."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqdr.deploy.fakes import FakeBraket, FakeClock
from sqdr.deploy.fakes.braket.results import Job, run_job
from sqdr.deploy.fakes.braket.simulation import ProgramRunner, Readout

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

FORMS = ["inline", "by_reference"]
# x on qubit 0 for input pi, nothing for input 0: every shot is known
SOURCE = """OPENQASM 3.0;
input float a;
qubit[3] q;
bit[3] b;
ry(a) q[0];
x q[1];
b[0] = measure q[0];
b[1] = measure q[1];
b[2] = measure q[2];
"""


def _program_set(inputs: tuple[float, ...] = (np.pi, 0.0), n_programs: int = 1) -> Any:
    from braket.ir.openqasm import Program, ProgramSet

    return ProgramSet(programs=[Program(source=SOURCE, inputs={"a": list(inputs)}) for _ in range(n_programs)])


def _run(fake: FakeBraket, program_set: Any, shots: int, arn: str | None = None) -> Any:
    from braket.aws import AwsDevice

    return AwsDevice(arn or fake.qpu_arn).run(program_set, shots=shots)


def _counts(result: Any) -> list[list[dict[str, int]]]:
    return [[dict(entry.counts) for entry in program.entries] for program in result.entries]


@pytest.mark.parametrize("form", FORMS)
def test_sdk_reads_both_result_forms(fake_braket: FakeBraket, form: Any) -> None:
    fake_braket.result_form = form
    task = _run(fake_braket, _program_set(n_programs=2), shots=40)
    result = task.result()
    assert _counts(result) == [[{"110": 10}, {"010": 10}]] * 2
    assert result.num_executables == 4
    metadata = result.task_metadata
    assert (metadata.requestedShots, metadata.successfulShots, metadata.totalFailedExecutables) == (40, 40, 0)
    assert metadata.id == task.id
    assert [entry.inputs for entry in result.entries[0].entries] == [{"a": np.pi}, {"a": 0.0}]
    n_read = sum(request.startswith("GET /amazon-braket-fake/") for request in fake_braket.requests)
    # one object; or that one, the metadata, and for each of two programs its result, text and executables
    assert n_read == (1 if form == "inline" else 1 + 1 + 2 * (1 + 1 + 2))


@pytest.mark.parametrize("form", FORMS)
def test_executables_fail_one_by_one(fake_braket: FakeBraket, form: Any) -> None:
    from braket.task_result import ProgramSetExecutableFailure

    fake_braket.result_form = form
    fake_braket.executable_failures = [{1: "the qubits were cold"}]
    task = _run(fake_braket, _program_set(n_programs=2), shots=40)
    result = task.result()
    (_, failed), whole = result.entries[0].entries, result.entries[1].entries
    assert isinstance(failed, ProgramSetExecutableFailure)
    assert failed.inputsIndex == 1
    assert (failed.failureMetadata.failureReason, failed.failureMetadata.retryable) == ("the qubits were cold", True)
    assert [dict(entry.counts) for entry in whole] == [{"110": 10}, {"010": 10}]
    assert (result.task_metadata.successfulShots, result.task_metadata.totalFailedExecutables) == (30, 1)
    assert task.metadata()["numSuccessfulShots"] == 30
    # the next set is whole again
    assert _run(fake_braket, _program_set(), shots=2).result().task_metadata.totalFailedExecutables == 0


def test_sdk_computes_observables_of_its_own_program_set(fake_braket: FakeBraket) -> None:
    from braket.circuits import Circuit, Observable
    from braket.program_sets import CircuitBinding, ProgramSet

    binding = CircuitBinding(Circuit().x(0).i(1), observables=[Observable.Z(0), Observable.Z(1)])
    result = _run(fake_braket, ProgramSet(binding), shots=20).result()
    assert [entry.expectation for entry in result[0].entries] == [-1.0, 1.0]


def test_metadata_counts_programs_and_executables(fake_braket: FakeBraket) -> None:
    task = _run(fake_braket, _program_set((0.0, 1.0, 2.0), n_programs=2), shots=12)
    told = task.metadata()
    assert told["actionMetadata"] == {
        "actionType": "braket.ir.openqasm.program_set",
        "programCount": 2,
        "executableCount": 6,
    }
    assert (told["status"], told["numSuccessfulShots"]) == ("COMPLETED", 12)


def test_reverse_columns_says_so_for_every_executable(fake_braket: FakeBraket) -> None:
    fake_braket.reverse_columns = True
    entries = _run(fake_braket, _program_set(), shots=10).result().entries[0].entries
    assert [(dict(entry.counts), entry.measured_qubits) for entry in entries] == [
        ({"011": 5}, [2, 1, 0]),
        ({"010": 5}, [2, 1, 0]),
    ]


def test_scrambled_columns_say_nothing(fake_braket: FakeBraket) -> None:
    fake_braket.scramble_columns = True
    (first, _) = _run(fake_braket, _program_set(), shots=10).result().entries[0].entries
    assert (dict(first.counts), first.measured_qubits) == ({"011": 5}, [0, 1, 2])


def test_drift_flips_bits_at_its_rate_or_as_told(fake_braket: FakeBraket) -> None:
    fake_braket.drift, fake_braket.seed = 0.1, 3
    (entry,) = _run(fake_braket, _program_set((0.0,)), shots=4000).result().entries[0].entries
    flipped = np.mean(entry.measurements ^ np.array([0, 1, 0]))
    # 12,000 bits: 5 standard deviations
    assert abs(flipped - 0.1) < 5 * np.sqrt(0.1 * 0.9 / 12000)
    fake_braket.drift = lambda bits: 1 - bits
    (entry,) = _run(fake_braket, _program_set((0.0,)), shots=7).result().entries[0].entries
    assert dict(entry.counts) == {"101": 7}


def test_seed_makes_shots_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(seed: int | None) -> list[list[dict[str, int]]]:
        with FakeBraket(seed=seed) as fake:
            for name, value in fake.environment().items():
                monkeypatch.setenv(name, value)
            return [_counts(_run(fake, _program_set((1.0, 2.0)), shots=2000).result())[0] for _ in range(2)]

    first, second = found(5)
    # the same task again is another draw, of the same run
    assert first != second
    assert found(5) == [first, second]
    assert found(6) != [first, second]
    assert found(None) != [first, second]
    # ry(a) leaves 1 on qubit 0 with probability sin(a / 2)^2; 5 standard deviations of 1,000 shots
    for counts, angle in zip(first, (1.0, 2.0), strict=True):
        expected = np.sin(angle / 2) ** 2
        assert abs(counts["110"] / 1000 - expected) < 5 * np.sqrt(expected * (1 - expected) / 1000)


@pytest.mark.parametrize(
    ("change", "shots", "match"),
    [
        ({}, 3, "must be divisible by the number of executables, got 3 for 2"),
        ({"max_executables": 1}, 4, "must have 1 to 1 executables, got 2"),
        ({"max_total_shots": 10}, 12, "at most 10 shots in total, got 12"),
        ({"shots": (5, 20)}, 4, "shots of each executable must be between 5 and 20, got 2"),
    ],
)
def test_limits_of_program_sets_are_kept(
    fake_braket: FakeBraket, change: dict[str, Any], shots: int, match: str
) -> None:
    from botocore.exceptions import ClientError

    fake_braket.set_limits(fake_braket.qpu_arn, **change)
    with pytest.raises(ClientError, match=f"ValidationException.*{match}"):
        _run(fake_braket, _program_set(), shots=shots)
    assert fake_braket.tasks == {}


def test_devices_without_program_sets_refuse_them(fake_braket: FakeBraket) -> None:
    from botocore.exceptions import ClientError

    for arn in (fake_braket.simulator_arn, fake_braket.ion_arn):
        with pytest.raises(ClientError, match="does not support the action braket.ir.openqasm.program_set"):
            _run(fake_braket, _program_set(), shots=4, arn=arn)
    assert fake_braket.tasks == {}


def test_ion_trap_takes_program_sets_once_told_so_where_its_schema_has_them(fake_braket: FakeBraket) -> None:
    from braket.device_schema.ionq import IonqDeviceCapabilities
    from pydantic.v1 import ValidationError

    fake_braket.set_limits(fake_braket.ion_arn, max_executables=10)
    document = json.dumps(fake_braket._device(fake_braket.ion_arn).document)
    try:
        properties = IonqDeviceCapabilities.parse_raw(document)
    except ValidationError:
        pytest.skip("amazon-braket-schemas here has no program sets for IonQ")
    assert properties.action["braket.ir.openqasm.program_set"].maximumExecutables == 10
    result = _run(fake_braket, _program_set(), shots=4, arn=fake_braket.ion_arn).result()
    assert _counts(result) == [[{"110": 2}, {"010": 2}]]


def test_refused_program_set_lists_every_failure(fake_braket: FakeBraket) -> None:
    import boto3
    from botocore.exceptions import ClientError
    from braket.ir.openqasm import Program, ProgramSet

    programs = [
        Program(source=SOURCE, inputs={"a": [0.0]}),
        Program(source="OPENQASM 3.0;\nqubit[1] q;\nU(1, 2, 3) q[0];\n"),
        Program(source="OPENQASM 3.0;\nqubit[21] q;\nx q[0];\n#pragma braket result probability all\n"),
    ]
    with pytest.raises(ClientError, match="First failure") as caught:
        _run(fake_braket, ProgramSet(programs=programs), shots=3)
    response = caught.value.response
    assert response["reason"] == "ProgramSetValidationFailed"
    assert [
        (failure["programIndex"], len(failure["errors"])) for failure in response["programSetValidationFailures"]
    ] == [
        (1, 1),
        (2, 2),
    ]
    # lists of different lengths do not get past the SDK's own schema
    uneven = {**json.loads(_program_set().json())}
    uneven["programs"][0]["inputs"]["b"] = [1.0]
    with pytest.raises(ClientError, match="Program set validation failed"):
        boto3.client("braket").create_quantum_task(
            deviceArn=fake_braket.qpu_arn,
            shots=4,
            action=json.dumps(uneven),
            outputS3Bucket="amazon-braket-fake",
            outputS3KeyPrefix="tasks",
            clientToken="uneven",
        )
    assert fake_braket.tasks == {}


def _resolved(files: dict[str, bytes]) -> dict[str, Any]:
    """Put a result by reference together, as the SDK does, into the form that is inline."""
    document: dict[str, Any] = json.loads(files["results.json"])
    del document["s3Location"]
    document["taskMetadata"] = json.loads(files[document["taskMetadata"]])
    for index, name in enumerate(document["programResults"]):
        folder = name.removesuffix("/results.json")
        result = json.loads(files[name])
        result["source"] = json.loads(files[f"{folder}/{result['source']}"])
        result["executableResults"] = [json.loads(files[f"{folder}/{path}"]) for path in result["executableResults"]]
        document["programResults"][index] = result
    return document


@settings(max_examples=15, deadline=None)
@given(
    ups=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=3),
    shots=st.integers(1, 3),
    failing=st.sets(st.integers(0, 11)),
)
def test_every_executable_keeps_its_place_in_both_forms(ups: list[list[bool]], shots: int, failing: set[int]) -> None:
    programs = [{"source": SOURCE, "inputs": {"a": [np.pi if is_up else 0.0 for is_up in program]}} for program in ups]
    flat = [is_up for program in ups for is_up in program]

    def files(form: Any) -> dict[str, bytes]:
        job = Job(
            metadata={"id": "task", "deviceId": "device"},
            action={"braketSchemaHeader": {"name": "braket.ir.openqasm.program_set"}, "programs": programs},
            shots=shots * len(flat),
            is_simulator=False,
            failures=dict.fromkeys(failing, "cold"),
            location=("bucket", "folder"),
            form=form,
            runner=ProgramRunner(np.random.default_rng(0), Readout()),
        )
        return run_job(job).files

    (inline,) = files("inline").values()
    document = json.loads(inline)
    assert _resolved(files("by_reference")) == document
    found = [result for program in document["programResults"] for result in program["executableResults"]]
    assert len(found) == len(flat)
    for number, (result, is_up) in enumerate(zip(found, flat, strict=True)):
        if number in failing:
            assert result["failureMetadata"]["failureReason"] == "cold"
        else:
            assert result["measurements"] == [[int(is_up), 1, 0]] * shots
    n_failed = len(failing & set(range(len(flat))))
    assert document["taskMetadata"]["totalFailedExecutables"] == n_failed
    assert document["taskMetadata"]["successfulShots"] == shots * (len(flat) - n_failed)


def test_device_that_drifts_with_the_clock(fake_braket: FakeBraket) -> None:
    fake_braket.clock = clock = FakeClock()
    start, rng = clock.now(), np.random.default_rng(2)

    def drift(bits: Any) -> Any:
        hours = (clock.now() - start).total_seconds() / 3600
        return bits ^ (rng.random(bits.shape) < 0.1 * hours)

    fake_braket.drift = drift
    wrong = []
    for _ in range(3):
        (entry,) = _run(fake_braket, _program_set((0.0,)), shots=1000).result().entries[0].entries
        wrong.append(float(np.mean(entry.measurements ^ np.array([0, 1, 0]))))
        clock.advance(3600)
    assert wrong[0] == 0
    # 3,000 bits: 5 standard deviations
    for found, rate in zip(wrong[1:], (0.1, 0.2), strict=True):
        assert abs(found - rate) < 5 * np.sqrt(rate * (1 - rate) / 3000)
