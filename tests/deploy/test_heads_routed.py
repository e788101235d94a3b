"""Routing: paid where the class is ambiguous, free everywhere else, and a bill that adds up."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.deploy.fakes import FakeHead
from sqdr.deploy.heads import AdaptiveHead, RoutedHead, StatevectorHead
from sqdr.deploy.heads.routed import probability_margin
from sqdr.errors import BackendError, ConfigError, ShapeError

Floats = NDArray[np.float64]
RNG = np.random.default_rng(2)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 4, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (40, 4, 3))
READOUT = {"weight": RNG.normal(size=(3, 4)) * 3, "bias": RNG.normal(size=3)}
PRICE = Decimal("0.25")


class Opposite(FakeHead):
    """A device that gives the negative of the exact <Z> and remembers what it was sent."""

    def __init__(self, *, is_paid: bool = True, **options: Any) -> None:
        super().__init__(4, shots=100, cost_usd=PRICE, **options)
        self.is_paid, self.sent = is_paid, np.empty((0, 4, 3))

    def expectations(self, angles: Floats) -> Floats:
        super().expectations(angles)
        self.sent = np.concatenate([self.sent, angles])
        return -_exact(angles)


def _exact(angles: Floats) -> Floats:
    return StatevectorHead(weights=WEIGHTS, entangler="ring").expectations(angles)


def _free() -> StatevectorHead:
    return StatevectorHead(weights=WEIGHTS, entangler="ring")


def _margins(angles: Floats = ANGLES) -> Floats:
    logits = _exact(angles) @ READOUT["weight"].T + READOUT["bias"]
    odds = np.exp(logits)
    ordered = np.sort(odds / odds.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def _classes(expectations: Floats) -> NDArray[np.int64]:
    return np.asarray((expectations @ READOUT["weight"].T + READOUT["bias"]).argmax(axis=1))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(margin=st.floats(0, 1), n_samples=st.integers(0, 40), n_check=st.integers(0, 50))
def test_ambiguous_images_are_the_paid_devices_and_all_others_exact(
    margin: float, n_samples: int, n_check: int
) -> None:
    angles, paid = ANGLES[:n_samples], Opposite()
    with RoutedHead(_free(), paid, margin=margin, n_check=n_check, usd_per_image=PRICE, **READOUT) as head:
        found = head.expectations(angles)
    # Both sides compute margins in float64; none of the 40 lies within 1e-9 of a drawn margin.
    is_ambiguous = _margins(angles) < margin
    exact = _exact(angles)
    np.testing.assert_array_equal(found, np.where(is_ambiguous[:, None], -exact, exact))
    report = head.routed_report()
    n_checked = min(n_check, int((~is_ambiguous).sum()))
    is_changed = _classes(-exact) != _classes(exact)
    assert (report.n_images, report.n_routed, report.n_checked) == (n_samples, is_ambiguous.sum(), n_checked)
    assert report.n_changed == is_changed[is_ambiguous].sum()
    assert report.n_lost == is_changed[~is_ambiguous][:n_checked].sum()
    assert report.cost_usd == PRICE * (report.n_routed + n_checked)
    assert report.cost_all_usd == PRICE * n_samples
    assert report.saved_usd == PRICE * (n_samples - report.n_routed - n_checked)
    assert len(paid.sent) == report.n_routed + n_checked


def test_the_check_goes_on_over_calls_and_stops_at_its_number() -> None:
    paid = Opposite()
    with RoutedHead(_free(), paid, margin=0.3, n_check=5, **READOUT) as head:
        for start in range(0, 40, 2):
            head.expectations(ANGLES[start : start + 2])
        report = head.routed_report()
    assert report.n_checked == 5
    assert report.agreement_lost == report.n_lost / 5
    assert (report.cost_all_usd, report.saved_usd) == (None, None)  # no price was given
    assert 0 < report.n_routed < 35


def test_nothing_is_sent_when_every_class_is_certain() -> None:
    paid = Opposite()
    with RoutedHead(_free(), paid, margin=0.0, usd_per_image=PRICE, **READOUT) as head:
        np.testing.assert_array_equal(head.expectations(ANGLES), _exact(ANGLES))
        report = head.routed_report()
    assert (len(paid.sent), report.n_routed, report.cost_usd) == (0, 0, 0)
    assert report.saved_usd == 40 * PRICE
    assert report.agreement_lost is None
    assert head.report().n_circuits == 40
    assert head.report().n_shots == 0


def test_adaptive_shots_behind_a_route() -> None:
    sampler = StatevectorHead(weights=WEIGHTS, entangler="ring", seed=0)
    adaptive = AdaptiveHead(sampler, max_shots=200, **READOUT)
    with RoutedHead(_free(), adaptive, margin=0.5, **READOUT) as head:
        assert isinstance(head, HeadBackend)
        assert (head.name, head.accuracy, head.is_paid) == ("local:sv (adaptive) (routed)", "sampled", False)
        found = head.expectations(ANGLES)
    is_ambiguous = _margins() < 0.5
    assert 0 < is_ambiguous.sum() < 40
    assert len(adaptive.shots_per_image) == is_ambiguous.sum()
    assert head.report().n_shots == adaptive.shots_per_image.sum()
    np.testing.assert_array_equal(found[~is_ambiguous], _exact(ANGLES)[~is_ambiguous])
    assert np.any(found[is_ambiguous] != _exact(ANGLES)[is_ambiguous])


def test_both_heads_are_opened_and_closed() -> None:
    free, paid = FakeHead(4), Opposite()
    with RoutedHead(free, paid, margin=1.0, **READOUT) as head:
        head.expectations(ANGLES[:1])
    for closed in (free, paid):
        with pytest.raises(BackendError, match="is not started"):
            closed.expectations(ANGLES[:1])
    head.close()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"margin": -0.1}, ConfigError, "`margin` must be 0 to 1, got -0.1"),
        ({"margin": 1.1}, ConfigError, "`margin` must be 0 to 1, got 1.1"),
        ({"margin": float("nan")}, ConfigError, "`margin` must be 0 to 1, got nan"),
        ({"margin": 0.5, "n_check": -1}, ConfigError, "`n_check` must be at least 0, got -1"),
        ({"margin": 0.5, "bias": np.zeros(2)}, ShapeError, r"`weight` and `bias` must be \(K, Q\) and \(K,\)"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        RoutedHead(_free(), Opposite(), **{**READOUT, **options})


def test_the_device_in_front_must_be_free_and_exact() -> None:
    for free in (Opposite(is_paid=False), FakeHead(4, shots=10)):
        with pytest.raises(ConfigError, match="routing needs a free exact device in front, got 'fake'"):
            RoutedHead(free, Opposite(), margin=0.5, **READOUT)


def test_margin_is_that_of_probabilities_at_any_size_of_logits() -> None:
    found = probability_margin(np.array([[2000.0, 0.0, 0.0], [1.0, 1.0, -2000.0], [0.0, np.log(3), -2000.0]]))
    np.testing.assert_allclose(found, [1, 0, 0.5], rtol=0, atol=1e-12)  # a few roundings
    assert np.array_equal(probability_margin(np.array([[5.0]])), [1.0])
