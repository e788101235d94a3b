"""The suite that every head backend passes; a new one is added to `BACKENDS`."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, PreparingHead, SamplingHead, ShotCounts
from sqdr.bundle import Bundle
from sqdr.deploy.fakes import FakeHead
from sqdr.deploy.heads import open_head
from sqdr.errors import BackendError, DataError, DeviceError, ShapeError
from sqdr.head import counts_to_angles

BACKENDS = [
    "fake",
    "local:sv",
    "local:dm",
    "local:braket-sv",
    "local:braket-dm",
    "pennylane:default.qubit",
    "pennylane:lightning.qubit",
]
# They hold nothing that closing could take away, and go on answering; the others refuse.
ANSWER_AFTER_CLOSE = set(BACKENDS) - {"fake"}
# Double precision and at most a few hundred gates: errors stay near 1e-14.
EXACT_TOLERANCE = 1e-10
# They take shots on request, and prepare bits.
SAMPLING = [name for name in BACKENDS if not name.startswith("pennylane:")]
SHOTS = 1000
N_SAMPLES = 5

Floats = NDArray[np.float64]


def make(name: str, bundle: Bundle, shots: int | None = None) -> HeadBackend:
    if name == "fake":
        return FakeHead.from_bundle(bundle, shots=shots)
    head = bundle.manifest.model.head
    return open_head(
        name,
        openqasm=bundle.path_of("circuit.qasm").read_text(encoding="ascii"),
        weights=bundle.head_parameters().weights,
        entangler=head.entangler,
        n_qubits=head.n_qubits,
        shots=shots,
    )


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Iterator[Bundle]:
    with Bundle.open(bundle_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def angles(bundle: Bundle) -> Floats:
    """Of the golden samples whose counts differ most."""
    model, golden = bundle.manifest.model, bundle.golden()
    order = np.argsort(golden.counts.sum(axis=1))[:: len(golden.counts) // N_SAMPLES][:N_SAMPLES]
    scale_rad = bundle.head_parameters().scale_rad
    return counts_to_angles(golden.counts[order], model.coding.n_steps, scale_rad, model.head)


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Floats:
    """<Z> of the same golden samples, as the trained model has them."""
    golden = bundle.golden()
    order = np.argsort(golden.counts.sum(axis=1))[:: len(golden.counts) // N_SAMPLES][:N_SAMPLES]
    return golden.expectations[order]


@pytest.fixture(scope="module", params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def head(name: str, bundle: Bundle) -> Iterator[HeadBackend]:
    with make(name, bundle) as started:
        yield started


def test_backend_keeps_the_protocol(head: HeadBackend, name: str) -> None:
    assert isinstance(head, HeadBackend)
    assert (head.name, head.accuracy) == (name, "exact")


def test_expectations_are_the_trained_models(head: HeadBackend, angles: Floats, expected: Floats) -> None:
    assert np.ptp(expected) > 0.05  # or agreement would mean nothing
    found = head.expectations(angles)
    assert (found.shape, found.dtype) == (expected.shape, np.float64)
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT_TOLERANCE)


def test_one_sample_at_a_time_is_the_batch(head: HeadBackend, angles: Floats) -> None:
    one_by_one = np.concatenate([head.expectations(angles[i : i + 1]) for i in range(len(angles))])
    np.testing.assert_allclose(one_by_one, head.expectations(angles), rtol=0, atol=EXACT_TOLERANCE)


def test_input_may_lie_in_memory_in_any_order_and_stays_unchanged(head: HeadBackend, angles: Floats) -> None:
    before, expected = angles.copy(), head.expectations(angles)
    found = head.expectations(np.asfortranarray(angles)[::-1])
    np.testing.assert_allclose(found, expected[::-1], rtol=0, atol=EXACT_TOLERANCE)
    assert np.array_equal(angles, before)


@pytest.mark.parametrize("shots", [None, SHOTS])
def test_no_samples_give_no_results_and_no_circuit(name: str, bundle: Bundle, angles: Floats, shots: int) -> None:
    with make(name, bundle, shots) as head:
        found = head.expectations(angles[:0])
        assert (found.shape, found.dtype) == ((0, angles.shape[1]), np.float64)
        assert head.report().n_circuits == 0


@pytest.mark.parametrize("shape", [(4, 3), (1, 1, 4, 3), (2, 5, 3), (2, 3, 3), (2, 4, 1), (0, 5, 3), (12,)], ids=str)
def test_wrong_shape_is_refused_and_the_backend_goes_on(
    head: HeadBackend, angles: Floats, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match=r"`angles` must be \(N, 4, 3\)"):
        head.expectations(np.zeros(shape))
    assert len(head.expectations(angles[:1])) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_angle_that_is_no_number_is_refused(head: HeadBackend, angles: Floats, value: float) -> None:
    wrong = angles.copy()
    wrong[1, 2, 1] = value
    with pytest.raises(DataError, match="`angles` must be finite"):
        head.expectations(wrong)


@pytest.mark.parametrize("shots", [None, SHOTS])
def test_report_counts_circuits_and_shots(name: str, bundle: Bundle, angles: Floats, shots: int | None) -> None:
    with make(name, bundle, shots) as head:
        before = head.report()
        head.expectations(angles[:2])
        head.expectations(angles[:1])
        after = head.report()
    assert (before.n_circuits, before.n_shots) == (0, 0)
    assert (after.n_circuits, after.n_shots) == (3, 3 * (shots or 0))
    assert after.cost_usd == Decimal(0)  # it runs on this machine
    assert head.report() == after  # also after closing, for the bill


def test_shots_give_what_shots_can_near_the_trained_models(
    name: str, bundle: Bundle, angles: Floats, expected: Floats
) -> None:
    with make(name, bundle, SHOTS) as head:
        assert head.accuracy == "sampled"
        found = head.expectations(angles)
    assert (found.shape, found.dtype) == (expected.shape, np.float64)
    ones = (1 - found) / 2 * SHOTS
    # <Z> = 1 - 2 ones / shots, up to rounding of the division
    np.testing.assert_allclose(ones, np.rint(ones), rtol=0, atol=1e-9)
    _assert_within_5_sigma(found, expected, SHOTS)


def _assert_within_5_sigma(found: Floats, expected: Floats, shots: int) -> None:
    """A mean of shots values +-1 has variance (1 - z^2) / shots; 5 sigma is missed once in 2 million.

    The second term covers z near +-1, where the normal distribution is a poor one.
    """
    assert np.all(np.abs(found - expected) <= 5 * np.sqrt((1 - expected**2) / shots) + 5 / shots)


def _assert_possible(counts: ShotCounts, shots: int) -> None:
    """No pair was 1 together oftener than either, or more seldom than both overlap."""
    assert (counts.ones.dtype, counts.both.dtype, counts.shots.dtype) == (np.int64,) * 3
    assert (counts.shots == shots).all()
    assert np.array_equal(counts.both, counts.both.swapaxes(1, 2))
    assert np.array_equal(np.diagonal(counts.both, axis1=1, axis2=2), counts.ones)
    first, second = counts.ones[:, :, None], counts.ones[:, None]
    assert (counts.both <= np.minimum(first, second)).all()
    assert (counts.both >= np.maximum(first + second - shots, 0)).all()


@pytest.mark.parametrize("opened", [None, 7])
@pytest.mark.parametrize("sampling", SAMPLING)
def test_sampled_counts_are_shots_of_the_same_circuits(
    sampling: str, opened: int | None, bundle: Bundle, angles: Floats, expected: Floats
) -> None:
    with make(sampling, bundle, opened) as head:
        assert isinstance(head, SamplingHead)
        rounds = [head.sample(angles, SHOTS // 2, part) for part in range(2)]
        assert (head.report().n_circuits, head.report().n_shots) == (2 * N_SAMPLES, N_SAMPLES * SHOTS)
        none = head.sample(angles[:0], SHOTS)
        with pytest.raises(ShapeError, match=r"`angles` must be \(N, 4, 3\)"):
            head.sample(angles[0], SHOTS)
        with pytest.raises(DeviceError, match="`shots` must be"):
            head.sample(angles, 0)
    for counts in rounds:
        _assert_possible(counts, SHOTS // 2)
    _assert_possible(rounds[0] + rounds[1], SHOTS)
    _assert_within_5_sigma((rounds[0] + rounds[1]).expectations, expected, SHOTS)
    assert sampling == "fake" or np.any(rounds[0].ones != rounds[1].ones)  # a later round draws afresh
    assert (none.expectations.shape, len(none)) == ((0, 4), 0)


@pytest.mark.parametrize("sampling", SAMPLING)
def test_prepared_bits_are_measured(sampling: str, bundle: Bundle) -> None:
    bits = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
    with make(sampling, bundle) as head:
        assert isinstance(head, PreparingHead)
        counts = head.prepare(bits, 50)
        assert (head.report().n_circuits, head.report().n_shots) == (3, 150)
    _assert_possible(counts, 50)
    assert np.array_equal(counts.ones, bits * 50)


def test_closing_twice_is_safe_and_use_after_it_is_clear(name: str, bundle: Bundle, angles: Floats) -> None:
    head = make(name, bundle)
    head.close()  # never started
    with head as started:
        assert started is head
        expected = head.expectations(angles[:1])
    head.close()
    head.close()
    if name in ANSWER_AFTER_CLOSE:
        np.testing.assert_allclose(head.expectations(angles[:1]), expected, rtol=0, atol=EXACT_TOLERANCE)
    else:
        with pytest.raises(BackendError, match="is not started. Use it in a `with` statement"):
            head.expectations(angles[:1])


def test_error_inside_passes_through(name: str, bundle: Bundle) -> None:
    with pytest.raises(LookupError, match="of the user's own"), make(name, bundle):
        raise LookupError("of the user's own")
