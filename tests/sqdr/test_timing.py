"""Streaming through a pipeline, against a shift register that delays every step by one per layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sqdr.timing import Timing

TIMINGS = st.builds(
    lambda n_steps, blank, n_layers: Timing(n_steps=n_steps, period=n_steps + blank, n_layers=n_layers),
    st.integers(1, 12),
    st.integers(0, 6),
    st.integers(1, 30),
)


def streamed(timing: Timing, n_samples: int) -> list[tuple[int, int] | None]:
    """What leaves the last layer at each step when every layer hands its input on one step later."""
    inputs = [(sample, t) if t < timing.n_steps else None for sample in range(n_samples) for t in range(timing.period)]
    pipeline: list[tuple[int, int] | None] = [None] * timing.n_layers
    left = []
    for step in range(timing.total_steps(n_samples)):
        left.append(pipeline.pop())
        pipeline.insert(0, inputs[step] if step < len(inputs) else None)
    return left


@given(timing=TIMINGS, n_samples=st.integers(0, 5))
def test_every_step_of_every_sample_leaves_once_and_in_order(timing: Timing, n_samples: int) -> None:
    left = [position for position in streamed(timing, n_samples) if position]
    assert left == [(sample, t) for sample in range(n_samples) for t in range(timing.n_steps)]


@given(timing=TIMINGS, n_samples=st.integers(1, 5))
def test_output_position_is_where_a_pipeline_delivers(timing: Timing, n_samples: int) -> None:
    found = [timing.output_position(step) for step in range(timing.total_steps(n_samples))]
    # later samples do not exist here, but `output_position` cannot know that
    assert [p if p and p[0] < n_samples else None for p in found] == streamed(timing, n_samples)


@given(timing=TIMINGS, step=st.integers(0, 500))
def test_output_is_the_input_of_n_layers_steps_before(timing: Timing, step: int) -> None:
    assert timing.output_position(step + timing.n_layers) == timing.input_position(step)


@given(timing=TIMINGS, parts=st.lists(st.integers(0, 4), max_size=4))
def test_total_steps_keeps_the_reset_phase(timing: Timing, parts: list[int]) -> None:
    assert sum(timing.total_steps(n) for n in parts) % timing.period == 0


@pytest.mark.parametrize(("n_layers", "n_flush"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_flush_covers_pipelines_deeper_than_a_period(n_layers: int, n_flush: int) -> None:
    timing = Timing(n_steps=8, period=8, n_layers=n_layers)
    assert timing.n_flush_periods == n_flush
    # the period before the last flush would cut the last sample short
    assert timing.total_steps(3) - timing.period < n_layers + 3 * 8 <= timing.total_steps(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"period": 7}, "`period` must be at least n_steps 8, got 7"),
        ({"n_steps": 0}, "greater than or equal to 1"),
        ({"n_layers": 0}, "greater than or equal to 1"),
        ({"reset_offset": -1}, "greater than or equal to 0"),
        ({"perod": 8}, "unknown key 'perod'; did you mean 'period'"),
    ],
)
def test_timing_refuses_what_cannot_stream(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Timing(**({"n_steps": 8, "period": 8, "n_layers": 3} | change))
