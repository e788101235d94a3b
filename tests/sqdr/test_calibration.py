"""Ranges of a network's states: the bits that are left, and counts that cannot be."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sqdr.calibration import STATE_LIMIT, LayerRange, headroom_bits

RANGE: dict[str, Any] = {
    "layer": "layer 0 (conv)",
    "max_abs_current": 1,
    "max_abs_voltage": 2,
    "bits_current": 22,
    "bits_voltage": 21,
    "spike_rate": 0.5,
    "n_silent": 3,
    "n_saturated": 2,
    "n_neurons": 5,
}


@given(max_abs=st.integers(1, 2**40) | st.integers(-2, 2).map(lambda d: 2**23 + d) | st.integers(1, 2**12))
def test_headroom_is_the_floor_of_the_logarithm(max_abs: int) -> None:
    bits = headroom_bits(max_abs)
    assert Fraction(2) ** bits <= Fraction(STATE_LIMIT, max_abs) < Fraction(2) ** (bits + 1)


def test_headroom_of_nothing_is_all_bits() -> None:
    assert [headroom_bits(value) for value in (0, 1, STATE_LIMIT, STATE_LIMIT + 1)] == [23, 22, 0, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_silent": 4}, "`n_silent` 4 and `n_saturated` 2 are more than the layer's 5 neurons"),
        ({"spike_rate": 1.5}, "spike_rate"),
        ({"spike_rate": float("nan")}, "spike_rate"),
        ({"bits_current": 24}, "bits_current"),
        ({"max_abs_voltage": -1}, "max_abs_voltage"),
        ({"n_neurons": 0}, "n_neurons"),
        ({"layer": "x" * 81}, "layer"),
        ({"n_dead": 0}, "unknown key 'n_dead'"),
    ],
)
def test_ranges_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    assert LayerRange.model_validate(RANGE).model_dump() == RANGE
    with pytest.raises(ValidationError, match=message):
        LayerRange.model_validate(RANGE | change)
