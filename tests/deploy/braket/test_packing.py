"""Packing: every circuit once, in order, within the device's limits, the same bytes each time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqdr.deploy.braket.canary import canary_request
from sqdr.deploy.braket.packing import ProgramSetLimits, pack
from sqdr.deploy.braket.request import CircuitRequest
from sqdr.errors import DeviceError

ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"


def requests(shots: list[int]) -> list[CircuitRequest]:
    return [
        CircuitRequest(
            device_arn=ARN, source=f"program {n % 2}", inputs={"a": n / 7, "b": -1.0 * n}, shots=each, sample_id=str(n)
        )
        for n, each in enumerate(shots)
    ]


@given(
    shots=st.lists(st.sampled_from([10, 100, 250]), max_size=40),
    most=st.integers(2, 12),
    total=st.integers(500, 3000),
    has_canary=st.booleans(),
)
def test_program_sets_hold_every_circuit_once_within_the_limits(
    shots: list[int], most: int, total: int, has_canary: bool
) -> None:
    wanted = requests(shots)
    extra = [canary_request(ARN, 2, 1)] if has_canary else []
    plans = pack(wanted, ProgramSetLimits(most, total), extra)
    packed = [circuit for plan in plans for circuit in plan.circuits]
    assert sorted(c.key for c in packed if c.purpose == "sample") == sorted(c.key for c in wanted)
    for plan in plans:
        assert plan.is_program_set
        assert len(plan.circuits) <= most
        assert plan.n_shots <= total
        assert len({circuit.shots for circuit in plan.circuits}) == 1
        assert sum(circuit.purpose == "canary" for circuit in plan.circuits) == has_canary
        # the service numbers circuits program by program, input by input
        numbered = [
            (program["source"], {name: values[index] for name, values in (program["inputs"] or {}).items()})
            for program in json.loads(plan.action)["programs"]
            for index in range(len(next(iter((program["inputs"] or {"": [0]}).values()))))
        ]
        assert numbered == [(circuit.source, dict(circuit.inputs)) for circuit in plan.circuits]
    assert [plan.action for plan in pack(wanted, ProgramSetLimits(most, total), extra)] == [p.action for p in plans]


def test_actions_are_what_the_sdk_reads() -> None:
    from braket.ir.openqasm import Program, ProgramSet

    (single,) = pack(requests([10])[:1], None)
    assert Program.parse_raw(single.action).inputs == {"a": 0.0, "b": 0.0}
    (together,) = pack(requests([10] * 5), ProgramSetLimits(100, 10**6), [canary_request(ARN, 2, 1)] * 2)
    read = ProgramSet.parse_raw(together.action)
    assert read.num_executables == 7
    assert read.num_executables_per_program == [3, 2, 1, 1]


def test_without_program_sets_each_circuit_is_a_task() -> None:
    plans = pack(requests([10, 20]), None, [canary_request(ARN, 2, 1)])
    assert [plan.n_shots for plan in plans] == [10, 20]
    assert not any(plan.is_program_set for plan in plans)


def test_circuit_that_no_program_set_holds_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"2 circuits of 300 shots do not fit\. Take fewer shots"):
        pack(requests([300]), ProgramSetLimits(100, 500), [canary_request(ARN, 2, 1)])
