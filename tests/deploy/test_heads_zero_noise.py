"""Zero-noise extrapolation: mitiq's own numbers, less error under the noise model, refused where it cannot work."""

import builtins
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.deploy.fakes import FakeHead
from sqdr.deploy.heads import StatevectorHead, ZeroNoiseHead, open_head
from sqdr.deploy.heads.zero_noise import extrapolation_weights
from sqdr.errors import BackendError, ConfigError, DeviceError, MissingDependencyError
from sqdr.openqasm import to_openqasm

Floats = NDArray[np.float64]
RNG = np.random.default_rng(4)
WEIGHTS = RNG.uniform(-np.pi, np.pi, (2, 4, 3))
ANGLES = RNG.uniform(-np.pi, np.pi, (6, 4, 3))
# Sums of at most three products of numbers up to 4, beside a least-squares fit.
TOLERANCE = 1e-10

mitiq_inference = pytest.importorskip("mitiq.zne.inference")


def _open(device: str, folds: int, shots: int | None = None, seed: int | None = None) -> HeadBackend:
    return open_head(
        device,
        openqasm=to_openqasm(WEIGHTS, "ring"),
        weights=WEIGHTS,
        entangler="ring",
        n_qubits=4,
        shots=shots,
        seed=seed,
        cz_folds=folds,
    )


def _heads(device: str = "local_dm", folds: tuple[int, ...] = (1, 3, 5), **options: Any) -> dict[int, HeadBackend]:
    return {fold: _open(device, fold, **options) for fold in folds}


@pytest.mark.parametrize("method", ["linear", "richardson"])
@pytest.mark.parametrize("folds", [(1, 3), (1, 3, 5), (1, 5, 9)])
def test_every_value_is_what_mitiq_makes_of_it(method: Any, folds: tuple[int, ...]) -> None:
    heads = _heads(folds=folds)
    with ZeroNoiseHead(heads, method) as head:
        found = head.expectations(ANGLES)
    factory = {"linear": mitiq_inference.LinearFactory, "richardson": mitiq_inference.RichardsonFactory}[method]
    measured = np.stack([heads[fold].expectations(ANGLES) for fold in folds])
    values = [factory.extrapolate(list(map(float, folds)), row.tolist()) for row in measured.reshape(len(folds), -1).T]
    np.testing.assert_allclose(found, np.clip(values, -1, 1).reshape(6, 4), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("device", ["local_dm", "braket_local_dm"])
@pytest.mark.parametrize("method", ["linear", "richardson"])
def test_error_of_cz_noise_falls(device: str, method: Any) -> None:
    exact = StatevectorHead(weights=WEIGHTS, entangler="ring").expectations(ANGLES)
    heads = _heads(device)
    raw = heads[1].expectations(ANGLES)
    with ZeroNoiseHead(heads, method) as head:
        found = head.expectations(ANGLES)
        report = head.zero_noise_report()
    # The noise of one-qubit gates and of the readout stays, which is a third to a half of it here.
    assert np.abs(found - exact).mean() < 0.75 * np.abs(raw - exact).mean()
    assert (report.extra.n_circuits, report.extra.n_shots, report.extra.cost_usd) == (12, 0, 0)
    assert head.report().n_circuits == 24  # the raw run above is counted, too
    assert report.folds == (1, 3, 5)
    assert abs(sum(report.weights) - 1) < TOLERANCE
    assert report.mean_shift > 0.005


def test_shot_noise_grows_as_reported() -> None:
    shots, repeats = 100, 300
    sampled = np.repeat(ANGLES[:1], repeats, axis=0)
    with ZeroNoiseHead(_heads(shots=shots, seed=0), "linear") as head:
        found = head.expectations(sampled)
        gain = head.zero_noise_report().noise_gain
    raw = _open("local_dm", 1, shots=shots, seed=1).expectations(sampled)
    middle = np.abs(found.mean(axis=0)) < 0.6  # values near 1 are clipped
    assert middle.any()
    ratio = found.std(axis=0)[middle] / raw.std(axis=0)[middle]
    # A standard deviation over 300 values is itself known to 4%, their ratio to 6%; folded values spread a bit more.
    np.testing.assert_allclose(ratio, gain, rtol=0.25)
    assert gain > 1.2


def test_method_weights_are_those_of_the_line_and_the_polynomial() -> None:
    np.testing.assert_allclose(extrapolation_weights([1, 3], "linear"), [1.5, -0.5], rtol=0, atol=TOLERANCE)
    found = extrapolation_weights([1, 3, 5], "richardson")
    np.testing.assert_allclose(found, [15 / 8, -10 / 8, 3 / 8], rtol=0, atol=TOLERANCE)


def test_it_is_a_head_that_opens_and_closes_all() -> None:
    fakes = {fold: FakeHead(4) for fold in (1, 3)}
    with ZeroNoiseHead(fakes) as head:
        assert isinstance(head, HeadBackend)
        assert (head.name, head.accuracy) == ("fake (zero noise, linear)", "exact")
        np.testing.assert_allclose(head.expectations(ANGLES), fakes[1].expectations(ANGLES), rtol=0, atol=TOLERANCE)
    for fake in fakes.values():
        with pytest.raises(BackendError, match="is not started"):
            fake.expectations(ANGLES)
    head.close()


def test_hardware_is_refused_with_the_reason() -> None:
    fake = FakeHead(4)
    fake.accuracy = "hardware"
    with pytest.raises(ConfigError, match="the service's compiler removes pairs of CZ gates unless they are verbatim"):
        ZeroNoiseHead({1: FakeHead(4), 3: fake})
    arn = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
    for device, shots in (("local:sv", None), ("pennylane:default.qubit", None), (arn, 100)):
        with pytest.raises(DeviceError, match="`cz_folds` must be 1 on .*removes pairs of CZ gates"):
            _open(device, 3, shots)


@pytest.mark.parametrize(
    ("folds", "method", "match"),
    [
        ((1,), "linear", r"needs 1 and more `cz_folds`, such as 1 and 3, got \(1,\)"),
        ((3, 5), "linear", "needs 1 and more `cz_folds`"),
        ((1, 2), "linear", "`cz_folds` must be an odd number"),
        ((1, 3), "magic", "`method` must be one of linear, richardson, got 'magic'"),
    ],
)
def test_scales_and_methods_that_make_no_sense_are_refused(folds: Any, method: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ZeroNoiseHead({fold: FakeHead(4) for fold in folds}, method)


def test_missing_mitiq_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("mitiq"):
            raise ImportError("no mitiq", name="mitiq")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sqdr\[mitigation\]'"):
        ZeroNoiseHead({1: FakeHead(4), 3: FakeHead(4)})
