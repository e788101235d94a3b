"""Counts of shots: they add up, and give the mean and covariance of the single shots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.errors import DataError, ShapeError
from sqdr.shot_counts import ShotCounts

# A few additions and products of numbers up to 4.
TOLERANCE = 1e-12


def _bits(seed: int, shots: int, n_qubits: int) -> NDArray[np.int64]:
    """Single shots with correlated qubits."""
    rng = np.random.default_rng(seed)
    return (rng.random((shots, 1)) * rng.random((shots, n_qubits)) > 0.3).astype(np.int64)


CASES = given(seed=st.integers(0, 2**32 - 1), shots=st.integers(2, 40), n_qubits=st.integers(1, 6))


@CASES
def test_expectations_and_covariance_are_those_of_the_single_shots(seed: int, shots: int, n_qubits: int) -> None:
    bits = _bits(seed, shots, n_qubits)
    counts = ShotCounts.from_measurements(bits)
    z = 1 - 2 * bits
    np.testing.assert_allclose(counts.expectations[0], z.mean(axis=0), rtol=0, atol=TOLERANCE)
    expected = np.cov(z.T, bias=True).reshape(n_qubits, n_qubits)
    np.testing.assert_allclose(counts.covariance[0], expected, rtol=0, atol=TOLERANCE)
    assert (counts.ones.dtype, counts.both.dtype, counts.shots.dtype) == (np.int64,) * 3


@CASES
def test_rounds_add_up_to_all_shots_at_once(seed: int, shots: int, n_qubits: int) -> None:
    bits = _bits(seed, shots, n_qubits)
    whole = ShotCounts.from_measurements(bits)
    first, second = ShotCounts.from_measurements(bits[: shots // 2]), ShotCounts.from_measurements(bits[shots // 2 :])
    for found in (first + second, second + first, ShotCounts.empty(1, n_qubits).add_at(np.array([0]), whole)):
        assert np.array_equal(found.ones, whole.ones)
        assert np.array_equal(found.both, whole.both)
        assert np.array_equal(found.shots, whole.shots)


@CASES
def test_outcomes_count_as_the_single_shots_do(seed: int, shots: int, n_qubits: int) -> None:
    bits = _bits(seed, shots, n_qubits)
    outcomes, times = np.unique(bits @ (1 << np.arange(n_qubits - 1, -1, -1)), return_counts=True)
    found, expected = ShotCounts.from_outcomes(outcomes, times, n_qubits), ShotCounts.from_measurements(bits)
    assert np.array_equal(found.both, expected.both)
    assert np.array_equal(found.ones, expected.ones)
    assert np.array_equal(found.shots, expected.shots)


def test_a_further_round_of_some_circuits_leaves_the_others_and_the_original_alone() -> None:
    parts = [ShotCounts.from_measurements(_bits(seed, 8, 3)) for seed in range(4)]
    counts = ShotCounts.concatenate(parts[:3])
    before = counts.ones.copy()
    found = counts.add_at(np.array([2]), parts[3])
    assert np.array_equal(counts.ones, before)
    assert np.array_equal(found.shots, [8, 8, 16])
    assert np.array_equal(found[:2].ones, counts[:2].ones)
    assert np.array_equal(found[np.array([2])].both, (parts[2] + parts[3]).both)
    assert len(found) == 3


def test_counts_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be \(N, Q\), \(N, Q, Q\) and \(N,\)"):
        ShotCounts(ones=np.zeros((2, 3), int), both=np.zeros((2, 3, 2), int), shots=np.ones(2, int))
    with pytest.raises(ShapeError, match="rounds must be of the same circuits"):
        ShotCounts.empty(1, 3) + ShotCounts.empty(2, 3)
    for name in ("expectations", "covariance"):
        with pytest.raises(DataError, match="a circuit without shots has no expectations"):
            getattr(ShotCounts.empty(1, 2), name)
