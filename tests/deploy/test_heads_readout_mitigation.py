"""Readout mitigation: exactly the inverse of the readout model, and better <Z> from shots at a stated cost."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, ShotCounts
from sqdr.deploy.fakes import FakeHead
from sqdr.deploy.heads import (
    AdaptiveHead,
    DensityMatrixHead,
    PennyLaneHead,
    ReadoutMitigatedHead,
    RoutedHead,
    StatevectorHead,
)
from sqdr.deploy.heads.readout_mitigation import ReadoutCalibration
from sqdr.errors import ConfigError, DeviceError
from sqdr.hw_configs import BraketLocal, GateNoise, NoiseModel, ReadoutNoise
from sqdr.hw_configs.loader import packaged_hardware

Floats = NDArray[np.float64]
RNG = np.random.default_rng(3)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 4, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (20, 4, 3))
RATES = ReadoutNoise(p1_given_0=0.05, p0_given_1=0.15)
# A few roundings in float64, times at most 10 for the smallest contrast.
TOLERANCE = 1e-12


def _head(readout: ReadoutNoise = RATES, gates: GateNoise | None = None, **options: Any) -> DensityMatrixHead:
    hardware = packaged_hardware("local_dm")
    assert isinstance(hardware, BraketLocal)
    noise = NoiseModel(readout=readout, two_qubit_gate=gates or GateNoise(), one_qubit_gate=GateNoise())
    noisy = hardware.model_copy(update={"noise": noise})
    return DensityMatrixHead(weights=WEIGHTS, entangler="ring", hardware=noisy, **options)


def _calibration(readout: ReadoutNoise = RATES) -> ReadoutCalibration:
    return ReadoutCalibration(p1_given_0=np.full(4, readout.p1_given_0), p0_given_1=np.full(4, readout.p0_given_1))


@given(p=st.floats(0, 0.45), q=st.floats(0, 0.45))
def test_known_rates_are_undone_exactly(p: float, q: float) -> None:
    readout, gates = ReadoutNoise(p1_given_0=p, p0_given_1=q), GateNoise(depolarizing=0.02)
    expected = _head(ReadoutNoise(), gates).expectations(ANGLES)
    measured = _head(readout, gates).expectations(ANGLES)
    found = _calibration(readout).corrected(measured)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    weight, bias = RNG.normal(size=(3, 4)), RNG.normal(size=3)
    scaled, moved = _calibration(readout).corrected_readout(weight, bias)
    np.testing.assert_allclose(measured @ scaled.T + moved, expected @ weight.T + bias, rtol=0, atol=10 * TOLERANCE)


def test_mitigated_shots_are_nearer_to_the_truth_at_the_stated_cost() -> None:
    expected = StatevectorHead(weights=WEIGHTS, entangler="ring").expectations(ANGLES)
    device = _head(shots=2000, seed=0)
    with ReadoutMitigatedHead(device, device, shots=4000) as head:
        assert isinstance(head, HeadBackend)
        assert (head.name, head.accuracy, head.is_paid) == ("local_dm (readout mitigated)", "noisy", False)
        assert head.mitigation_report().n_circuits == 0
        found = np.concatenate([head.expectations(ANGLES[:7]), head.expectations(ANGLES[7:])])
        report, total = head.mitigation_report(), head.report()
    raw = _head(shots=2000, seed=0).expectations(ANGLES)
    assert np.abs(found - expected).mean() < np.abs(raw - expected).mean() / 3
    assert (report.n_circuits, report.n_shots, report.cost_usd) == (2, 8000, Decimal(0))
    assert (total.n_circuits, total.n_shots) == (22, 20 * 2000 + 8000)
    assert report.calibration is not None
    # 5 standard deviations of a rate over 4,000 shots
    for rates, rate in ((report.calibration.p1_given_0, 0.05), (report.calibration.p0_given_1, 0.15)):
        assert np.all(np.abs(rates - rate) < 5 * np.sqrt(rate * (1 - rate) / 4000))
    assert 0.01 < report.mean_shift < 0.3
    assert np.abs(found).max() <= 1


def test_a_paid_device_is_asked_once_and_its_price_reported() -> None:
    class Paid(FakeHead):
        def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
            asked.append((bits.tolist(), shots))
            return super().prepare(bits, shots)

    asked: list[Any] = []
    with Paid(2, shots=10, cost_usd=Decimal("0.30")) as fake:
        head = ReadoutMitigatedHead(fake, fake, shots=50)
        assert asked == []
        found = [head.expectations(np.zeros((1, 2, 3)) + 0.5) for _ in range(2)]
    assert asked == [([[0, 0], [1, 1]], 50)]
    assert head.mitigation_report().cost_usd == Decimal("0.60")
    assert np.array_equal(found[0], found[1])
    assert head.mitigation_report().mean_shift == 0  # this device makes no mistakes


def test_adaptive_shots_decide_by_the_corrected_logits() -> None:
    # Class 0 is right where <Z_0> > 0. With every third 1 read as 0, <Z_0> is measured above 0 for nearly all.
    readout = ReadoutNoise(p0_given_1=0.35)
    weight, bias = np.zeros((2, 4)), np.zeros(2)
    weight[:, 0] = 1, -1
    expected = StatevectorHead(weights=WEIGHTS, entangler="ring").expectations(ANGLES)[:, 0]
    is_clear = (np.abs(expected) > 0.1) & (expected < 0)
    assert is_clear.sum() >= 4
    device = _head(readout, seed=0)
    adaptive = AdaptiveHead(device, weight=weight, bias=bias, max_shots=6400)
    head = ReadoutMitigatedHead(adaptive, device, shots=6400)
    found = head.expectations(ANGLES)[:, 0]
    assert (found[is_clear] < 0).all()
    raw = AdaptiveHead(_head(readout, seed=0), weight=weight, bias=bias, max_shots=6400)
    wrong = (raw.expectations(ANGLES)[:, 0] > 0) & is_clear
    assert wrong.any()
    # Stopping by what was measured would have been early, and wrong.
    assert (raw.shots_per_image[wrong] < 6400).any()


def test_adaptive_shots_of_a_mitigated_device_behind_a_route() -> None:
    weight, bias = RNG.normal(size=(3, 4)), RNG.normal(size=3) / 4
    free, device = StatevectorHead(weights=WEIGHTS, entangler="ring"), _head(seed=0)
    adaptive = AdaptiveHead(device, weight=weight, bias=bias, max_shots=3200)
    mitigated = ReadoutMitigatedHead(adaptive, device)
    with RoutedHead(free, mitigated, weight=weight, bias=bias, margin=0.5) as head:
        found = head.expectations(ANGLES)
        report = head.routed_report()
    exact = free.expectations(ANGLES)
    is_free = (found == exact).all(axis=1)
    assert 0 < report.n_routed == (~is_free).sum() == len(adaptive.shots_per_image) < 20
    assert report.n_shots == adaptive.shots_per_image.sum() + 2000
    # of a mean over shots of +-1, corrected by the contrast of 0.8
    sigma = 1 / (0.8 * np.sqrt(adaptive.shots_per_image[:, None]))
    # 5 standard deviations, and as much again for the calibration's 1,000 shots
    assert np.all(np.abs(found - exact)[~is_free] < 5 * (sigma + 1 / np.sqrt(1000)))


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.95, 0.0), (float("nan"), 0.0)])
def test_a_qubit_that_reads_both_alike_is_refused(rates: tuple[float, float]) -> None:
    p, q = np.array([0.0, rates[0]]), np.array([0.0, rates[1]])
    with pytest.raises(DeviceError, match="qubit 1 is read as 1 at a rate of .*nothing to correct from"):
        ReadoutCalibration(p1_given_0=p, p0_given_1=q)


def test_devices_and_shots_that_do_not_go_are_refused() -> None:
    exact_only = PennyLaneHead("default.qubit", weights=WEIGHTS, entangler="ring")
    with pytest.raises(ConfigError, match=r"needs a device that can prepare bits, got 'pennylane:default\.qubit'"):
        ReadoutMitigatedHead(exact_only, exact_only)
    with pytest.raises(DeviceError, match="`shots` must be a positive integer"):
        ReadoutMitigatedHead(_head(), _head(), shots=0)
