"""Adaptive shots: bounded, repeatable, fixed shots where nothing is decided, and wrong no oftener than stated."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, ShotCounts
from sqdr.deploy.fakes import FakeHead
from sqdr.deploy.heads import AdaptiveHead, DensityMatrixHead, PennyLaneHead, StatevectorHead
from sqdr.deploy.heads.adaptive import is_decided, rounds_of
from sqdr.errors import ConfigError, DeviceError, ShapeError
from sqdr.hw_configs.loader import packaged_hardware

Floats = NDArray[np.float64]


def _case(seed: int = 0, n_samples: int = 30, n_qubits: int = 4, n_classes: int = 5) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    return {
        "weights": rng.uniform(-np.pi, np.pi, (2, n_qubits, 3)),
        "angles": rng.uniform(-np.pi, np.pi, (n_samples, n_qubits, 3)),
        "weight": rng.normal(size=(n_classes, n_qubits)),
        "bias": rng.normal(size=n_classes) / 4,
    }


def _inner(case: dict[str, Floats], seed: int = 1) -> DensityMatrixHead:
    hardware: Any = packaged_hardware("local_dm")
    return DensityMatrixHead(weights=case["weights"], entangler="ring", hardware=hardware, seed=seed)


def _adaptive(case: dict[str, Floats], inner: Any = None, **options: Any) -> AdaptiveHead:
    return AdaptiveHead(inner or _inner(case), weight=case["weight"], bias=case["bias"], **options)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    first=st.integers(1, 60),
    factor=st.integers(2, 4),
    max_shots=st.integers(1, 300),
    error_rate=st.floats(0.01, 0.9),
)
def test_every_image_takes_one_of_the_rounds_and_never_more_than_the_most(
    seed: int, first: int, factor: int, max_shots: int, error_rate: float
) -> None:
    case = _case(seed, n_samples=6)
    head = _adaptive(case, first_shots=first, factor=factor, max_shots=max_shots, error_rate=error_rate)
    found = head.expectations(case["angles"])
    report = head.adaptive_report()
    assert report.rounds[0] == min(first, max_shots)
    assert report.rounds[-1] == max_shots
    assert np.isin(head.shots_per_image, report.rounds).all()
    assert head.report().n_shots == report.n_shots == head.shots_per_image.sum()
    assert (report.n_images, report.n_shots_fixed) == (6, 6 * max_shots)
    assert 0 <= report.n_undecided <= (head.shots_per_image == max_shots).sum()
    ones = (1 - found) / 2 * head.shots_per_image[:, None]
    np.testing.assert_allclose(ones, np.rint(ones), rtol=0, atol=1e-9)  # of each image's own shots


def test_undecided_images_get_the_fixed_shots() -> None:
    case = _case()
    head = _adaptive(case, first_shots=25, max_shots=200, error_rate=1e-300)  # 37 standard deviations
    found = head.expectations(case["angles"])
    assert (head.shots_per_image == 200).all()
    assert head.adaptive_report().n_undecided == 30
    inner = _inner(case)
    rounds = [inner.sample(case["angles"], shots) for shots in (25, 25, 50, 100)]
    expected = (rounds[0] + rounds[1] + rounds[2] + rounds[3]).expectations
    assert np.array_equal(found, expected)


def test_one_round_is_fixed_shots() -> None:
    case = _case()
    head = _adaptive(case, first_shots=100, max_shots=100)
    assert np.array_equal(head.expectations(case["angles"]), _inner(case).sample(case["angles"], 100).expectations)


def test_a_seed_makes_it_repeatable() -> None:
    case = _case()
    first, again = _adaptive(case, max_shots=400), _adaptive(case, max_shots=400)
    assert np.array_equal(first.expectations(case["angles"]), again.expectations(case["angles"]))
    assert np.array_equal(first.shots_per_image, again.shots_per_image)
    assert len(set(first.shots_per_image)) > 2  # or nothing was adapted


def test_larger_margins_take_fewer_shots() -> None:
    case = _case(n_samples=200)
    exact = StatevectorHead(weights=case["weights"], entangler="ring").expectations(case["angles"])
    two = np.sort(exact @ case["weight"].T + case["bias"], axis=1)
    margin = two[:, -1] - two[:, -2]
    head = _adaptive(case, StatevectorHead(weights=case["weights"], entangler="ring", seed=0), max_shots=800)
    head.expectations(case["angles"])
    wide, narrow = margin > np.quantile(margin, 0.75), margin < np.quantile(margin, 0.25)
    assert head.shots_per_image[wide].mean() < head.shots_per_image[narrow].mean() / 3


@pytest.mark.parametrize("near", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("n_rivals", [1, 4])
@pytest.mark.parametrize("max_shots", [100, 1600])
def test_early_stops_are_wrong_no_oftener_than_stated(near: float, n_rivals: int, max_shots: int) -> None:
    # One qubit decides: class 0 has logit z, its rivals -z, and z > 0 is small (hard) or the qubit is almost
    # always 0 (where the normal distribution is poorest) once it is near 1.
    error_rate, n_images = 0.1, 4000
    wrong = _stopped_wrong(near, n_rivals, max_shots, error_rate, n_images)
    # 3 standard deviations of a rate counted over n_images
    assert wrong <= error_rate + 3 * np.sqrt(error_rate * (1 - error_rate) / n_images)


def test_early_stops_are_wrong_no_oftener_than_stated_when_flips_are_rare() -> None:
    # <Z> = 0.9 against a bias that makes class 1 right by little: shots without a flip speak for class 0.
    error_rate, n_images = 0.1, 4000
    wrong = _stopped_wrong(0.9, 1, 1600, error_rate, n_images, bias=-2 * 0.93)
    assert wrong <= error_rate + 3 * np.sqrt(error_rate * (1 - error_rate) / n_images)


def _stopped_wrong(
    z: float, n_rivals: int, max_shots: int, error_rate: float, n_images: int, bias: float = 0.0
) -> float:
    """Rate of images that stop before ``max_shots`` with a class other than that of the exact <Z>."""
    angles = np.zeros((n_images, 1, 3))
    angles[:, 0, 1] = np.arccos(z)
    inner = StatevectorHead(weights=np.zeros((1, 1, 3)), entangler="none", seed=0)
    weight = np.array([[1.0]] + [[-1.0]] * n_rivals)
    offsets = np.array([bias] + [0.0] * n_rivals)
    head = AdaptiveHead(inner, weight=weight, bias=offsets, max_shots=max_shots, error_rate=error_rate)
    # ties between rivals stay undecided: only class 0 against the others matters
    logits = head.expectations(angles) @ weight.T + offsets
    is_first = logits[:, 0] > logits[:, 1]
    is_early = head.shots_per_image < max_shots
    return float(np.mean(is_early & (is_first != (2 * z + bias > 0))))


def test_correlated_qubits_count_as_correlated() -> None:
    # Two qubits that always agree cancel in their difference and add up in their sum.
    bits = np.repeat(np.random.default_rng(0).integers(0, 2, (400, 1)), 2, axis=1)
    counts = ShotCounts.from_measurements(bits)
    weight, bias = np.array([[1.0, -1.0], [0.0, 0.0]]), np.array([0.3, 0.0])
    # The pseudo shots leave a deviation of 0.007; that of independent qubits were 0.07.
    assert is_decided(counts, weight, bias, 5.0).all()
    weight[0, 1], bias[0] = 1.0, 0.3 - 2 * counts.expectations[0, 0]
    # Independent ones had a deviation of 0.07, these have 0.1.
    assert not is_decided(counts, weight, bias, 3.5).any()


def test_no_flip_seen_is_not_certainty() -> None:
    counts = ShotCounts.from_measurements(np.zeros((10, 1), dtype=np.int64))
    weight, bias = np.array([[1.0], [-1.0]]), np.array([-1.9, 0.0])
    assert not is_decided(counts, weight, bias, NormalDist().inv_cdf(0.95)).any()


def test_one_class_needs_one_round() -> None:
    case = _case(n_classes=1)
    head = _adaptive(case, max_shots=400)
    head.expectations(case["angles"])
    assert set(head.shots_per_image) == {25}


def test_it_is_a_head_and_passes_on_what_is_the_others() -> None:
    case = _case()
    with FakeHead(4) as fake, _adaptive(case, fake, max_shots=50) as head:
        assert isinstance(head, HeadBackend)
        assert (head.name, head.accuracy, head.is_paid) == ("fake (adaptive)", "sampled", False)
        assert head.expectations(case["angles"][:0]).shape == (0, 4)
        assert len(head.shots_per_image) == 0
        fake.is_paid, fake.accuracy = True, "hardware"
        paid = _adaptive(case, fake, max_shots=50)
        assert (paid.accuracy, paid.is_paid) == ("hardware", True)


def test_later_rounds_say_which_they_are() -> None:
    case, parts = _case(), []

    class Recording(FakeHead):
        def sample(self, angles: Floats, shots: int, part: int = 0) -> ShotCounts:
            parts.append((part, shots))
            return super().sample(angles, shots, part)

    with Recording(4) as fake, _adaptive(case, fake, max_shots=60, error_rate=1e-9, first_shots=20) as head:
        head.expectations(case["angles"])
    assert parts == [(0, 20), (1, 20), (2, 20)]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"max_shots": 0}, DeviceError, "`shots` must be a positive integer"),
        ({"max_shots": 10, "first_shots": 0}, DeviceError, "`shots` must be a positive integer"),
        ({"max_shots": 10, "factor": 1}, ConfigError, "`factor` must be a whole number of at least 2, got 1"),
        ({"max_shots": 10, "error_rate": 0.0}, ConfigError, "`error_rate` must be between 0 and 1, got 0.0"),
        ({"max_shots": 10, "error_rate": 1.0}, ConfigError, "`error_rate` must be between 0 and 1, got 1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        _adaptive(_case(), **options)


def test_readout_and_device_that_do_not_go_together_are_refused() -> None:
    case = _case()
    with pytest.raises(ShapeError, match=r"`weight` and `bias` must be \(K, Q\) and \(K,\)"):
        AdaptiveHead(_inner(case), weight=case["weight"], bias=case["bias"][:2], max_shots=10)
    exact_only = PennyLaneHead("default.qubit", weights=case["weights"], entangler="ring")
    with pytest.raises(ConfigError, match=r"need a device that takes them in rounds, got 'pennylane:default\.qubit'"):
        _adaptive(case, exact_only, max_shots=10)


def test_rounds_end_with_the_most_shots() -> None:
    assert rounds_of(25, 2, 1000) == (25, 50, 100, 200, 400, 800, 1000)
    assert rounds_of(25, 4, 100) == (25, 100)
    assert rounds_of(25, 2, 10) == (10,)
