"""The error budget: exact tails against enumeration, exact bounds against drawn runs, noise against its fidelities."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqdr.bundle import Bundle
from sqdr.deploy.error_budget import budget as budget_module
from sqdr.deploy.error_budget import error_budget
from sqdr.deploy.error_budget.budget import wilson
from sqdr.deploy.error_budget.noise import device_noise, noise_from_fidelities
from sqdr.deploy.error_budget.report import BudgetRow, ErrorBudget
from sqdr.deploy.error_budget.shot_noise import Bounds, ShotNoise, run_interval
from sqdr.deploy.error_budget.tails import chance_below
from sqdr.deploy.heads.density_matrix import DensityMatrixHead
from sqdr.deploy.heads.noisy_circuit import channel, confusion
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.errors import ConfigError, DataError, DeviceError
from sqdr.head import counts_to_angles, readout, readout_matrix
from sqdr.hw_configs import BraketLocal
from sqdr.hw_configs.loader import packaged_hardware


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- the tail of a sum


@settings(max_examples=60)
@given(
    values=st.lists(st.integers(-6, 6), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    shots=st.integers(1, 5),
    includes_tie=st.booleans(),
)
def test_chance_below_is_that_of_all_outcomes_of_integers(
    values: list[int], seed: int, shots: int, includes_tie: bool
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(values)))
    expected = 0.0
    for drawn in product(range(len(values)), repeat=shots):
        total = sum(values[index] for index in drawn)
        if total < 0 or (includes_tie and total == 0):
            expected += math.prod(probabilities[index] for index in drawn)
    found = chance_below(np.array(values, float), probabilities, shots, includes_tie=includes_tie)
    assert found == pytest.approx(expected, abs=1e-8)  # the lattice is wrapped around at a chance of 2e-9


@pytest.mark.parametrize("shots", [10, 100, 3000])
@pytest.mark.parametrize("share", [0.5, 0.55, 0.9])
def test_chance_below_is_the_binomials(shots: int, share: float) -> None:
    n_lost = range((shots + 1) // 2)  # fewer than half: the sum of +1 and -1 is below 0
    log = math.lgamma
    terms = [
        math.exp(
            log(shots + 1) - log(k + 1) - log(shots - k + 1) + k * math.log(share) + (shots - k) * math.log(1 - share)
        )
        for k in n_lost
    ]
    found = chance_below(np.array([1.0, -1.0]), np.array([share, 1 - share]), shots, includes_tie=False)
    assert found == pytest.approx(sum(terms), rel=1e-6, abs=1e-8)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), shots=st.sampled_from([5, 20, 200]))
def test_chance_below_of_real_values_is_what_drawn_sums_show(seed: int, shots: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.2, 1, 256)
    probabilities = rng.dirichlet(np.full(256, 0.3))
    n_runs = 20_000
    sums = rng.multinomial(shots, probabilities, n_runs) @ values
    found = chance_below(values, probabilities, shots, includes_tie=False)
    drawn = float((sums < 0).mean())
    # five standard errors of the drawn share, and 0.002 for the lattice
    assert abs(found - drawn) <= 5 * math.sqrt(max(found * (1 - found), 1e-4) / n_runs) + 2e-3


def test_chance_below_of_a_certain_value_is_certain() -> None:
    for value, expected in ((1.0, 0.0), (-1.0, 1.0)):
        assert chance_below(np.array([value, 5.0]), np.array([1.0, 0.0]), 7, includes_tie=False) == expected
    zeros = np.zeros(2), np.array([0.5, 0.5])
    assert [chance_below(*zeros, 7, includes_tie=tie) for tie in (False, True)] == [0.0, 1.0]


# --- chances of images


def test_chances_of_two_classes_are_those_of_all_outcomes() -> None:
    """Of one rival the bounds meet, and equal logits go to the first class."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 6)
    weight, bias, shots = np.eye(2), np.zeros(2), 4
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    classes = (probabilities @ signs).argmax(axis=1)
    expected = np.zeros(6)
    for image, kept in enumerate(classes):
        for drawn in product(range(4), repeat=shots):
            if signs[list(drawn)].sum(axis=0).argmax() != kept:
                expected[image] += math.prod(probabilities[image, index] for index in drawn)
    found = ShotNoise(probabilities, classes, weight, bias).chances(shots)
    assert np.allclose(found.lower, expected, atol=1e-8)  # wrapped at 2e-9
    assert np.allclose(found.upper, expected, atol=1e-8)
    assert expected.max() > 0.1


def test_run_interval_is_that_of_the_sum_of_unequal_events() -> None:
    chances = np.array([0.5, 0.1, 0.9, 0.0, 1.0])
    rng = np.random.default_rng(1)
    runs = (rng.random((200_000, 5)) < chances).sum(axis=1)
    assert run_interval(Bounds(chances, chances)) == (np.quantile(runs, 0.025), np.quantile(runs, 0.975))
    assert run_interval(Bounds(np.zeros(3), np.zeros(3))) == (0, 0)


def test_wilson_covers_its_share() -> None:
    rng = np.random.default_rng(2)
    covered = [wilson(k, 200).low <= 0.03 <= wilson(k, 200).high for k in rng.binomial(200, 0.03, 4000)]
    assert 0.93 < float(np.mean(covered)) < 0.98  # 95%, in steps of whole images
    assert (wilson(0, 10).low, wilson(10, 10).high) == (0.0, pytest.approx(1.0))


# --- noise from fidelities


@pytest.mark.parametrize(("one", "two", "flip"), [(0.9993, 0.9959, 0.9815), (0.98, 0.9, 0.8), (1.0, 1.0, 1.0)])
def test_noise_has_the_fidelities_it_was_made_from(one: float, two: float, flip: float) -> None:
    noise = noise_from_fidelities(one_qubit=one, two_qubit=two, readout=flip)
    process = np.trace(channel(noise.one_qubit_gate)) / 4
    assert (2 * process + 1) / 3 == pytest.approx(one)
    process = (np.trace(channel(noise.two_qubit_gate)) / 4) ** 2
    assert (4 * process + 1) / 5 == pytest.approx(two)
    assert np.diag(confusion(noise.readout)) == pytest.approx([flip, flip])


@pytest.mark.parametrize("name", ["braket_sv1", "loihi2_sim", "braket_local_sv"])
def test_device_noise_refuses_what_has_none(name: str) -> None:
    with pytest.raises(ConfigError, match="has no noise to budget"):
        device_noise(packaged_hardware(name))


def test_device_noise_names_the_fidelity_that_is_unknown() -> None:
    garnet = packaged_hardware("braket_iqm_garnet")
    readout_unknown = garnet.fidelities.readout.model_copy(update={"value": None})  # type: ignore[union-attr]
    fidelities = garnet.fidelities.model_copy(update={"readout": readout_unknown})  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="readout unknown"):
        device_noise(garnet.model_copy(update={"fidelities": fidelities}))
    with pytest.raises(ConfigError, match="fidelities unknown"):
        device_noise(garnet.model_copy(update={"fidelities": None}))


# --- the whole budget


def row_of(found: ErrorBudget, source: str) -> BudgetRow:
    return next(row for row in found.rows if row.source == source)


def drawn_changes(bundle: Path, shots: int, noise: str | None, n_runs: int) -> tuple[np.ndarray, int]:
    """Changed images of each drawn run, and of the exact noisy expectations."""
    with Bundle.open(bundle) as opened:
        spec, parameters, stored = opened.manifest.model, opened.head_parameters(), opened.validation()
    assert stored is not None
    angles = counts_to_angles(stored.counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
    options: dict[str, Any] = {"weights": parameters.weights, "entangler": spec.head.entangler}
    kept = readout(StatevectorHead(**options).expectations(angles), parameters, spec.head).argmax(axis=1)

    def changed(head: Any) -> int:
        return int((readout(head.expectations(angles), parameters, spec.head).argmax(axis=1) != kept).sum())

    def head(**more: Any) -> Any:
        if noise is None:
            return StatevectorHead(**options, **more)
        hardware = packaged_hardware(noise)
        assert isinstance(hardware, BraketLocal)
        return DensityMatrixHead(**options, hardware=hardware, **more)

    return np.array([changed(head(shots=shots, seed=seed)) for seed in range(n_runs)]), changed(head())


@pytest.mark.parametrize(("source", "device"), [("shots", None), ("shots and noise", "local_dm")])
def test_exact_bounds_hold_what_drawn_runs_show(bundle_path: Path, source: str, device: str | None) -> None:
    found = error_budget(bundle_path, shots=60, device=device)
    runs, infinitely_many = drawn_changes(bundle_path, 60, device, n_runs=60)
    row = row_of(found, source)
    error = runs.std(ddof=1) / math.sqrt(len(runs))
    # four standard errors of the mean of the runs
    assert row.changed.low - 4 * error <= runs.mean() <= row.changed.high + 4 * error
    assert runs.mean() > 1
    inside = np.mean((row.runs.low <= runs) & (runs <= row.runs.high))
    assert inside >= 0.85  # 95% or more in the long run: the bounds only widen the interval
    if device is not None:
        alone = row_of(found, "noise")
        assert (alone.changed.low, alone.changed.high) == (infinitely_many, infinitely_many)


def test_budget_names_every_source_and_counts_spikes(bundle_path: Path) -> None:
    found = error_budget(bundle_path, shots=100, device="braket_iqm_garnet")
    assert [row.source for row in found.rows] == ["spikes", "shots", "noise", "shots and noise"]
    spikes = row_of(found, "spikes")
    assert (found.n_spikes_different, spikes.changed.high) == (0, 0)
    assert found.n_spikes_compared > 100
    assert any("sqdr verify" in note for note in found.notes) and any("SWAP" in note for note in found.notes)
    assert len(found.noise) == 3 and all("amazon-braket-examples" in line for line in found.noise)
    assert found.noiseless_accuracy is not None


def test_shots_needed_keep_the_share_and_fewer_do_not(bundle_path: Path) -> None:
    found = error_budget(bundle_path, shots=10, share_kept=0.9)
    (needed,) = found.shots_needed
    assert needed.shots is not None and needed.share_found >= 0.9
    at, below = (error_budget(bundle_path, shots=s) for s in (needed.shots, round(needed.shots * 0.9)))
    n_images = found.n_images
    assert 1 - row_of(at, "shots").changed.high / n_images == pytest.approx(needed.share_found)
    # 10% fewer are beyond the 3% to which the fewest are found
    assert 1 - row_of(below, "shots").changed.high / n_images < 0.9


def test_no_shots_are_enough_where_the_noise_alone_is_too_much(bundle_path: Path) -> None:
    data = packaged_hardware("local_dm").model_dump(mode="json")
    data["noise"]["readout"] = {"p1_given_0": 0.5, "p0_given_1": 0.5}  # every outcome is as likely as any other
    Path("mine.yaml").write_text(json.dumps(data), encoding="utf-8")
    found = error_budget(bundle_path, shots=100, device="mine")
    both = found.shots_needed[-1]
    noise = row_of(found, "noise")
    assert both.shots is None and both.share_found == 1 - noise.changed.low / found.n_images < 0.9


def test_wide_circuits_are_drawn_and_agree_with_the_exact_bounds(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = row_of(error_budget(bundle_path, shots=50), "shots")
    monkeypatch.setattr(budget_module, "MAX_EXACT_QUBITS", 2)
    found = error_budget(bundle_path, shots=50)
    drawn = row_of(found, "shots")
    assert drawn.how.startswith("drawn") and found.shots_needed == ()
    # intervals of 95% each: twice the width makes a miss one in 10^4
    slack = drawn.changed.high - drawn.changed.low
    assert drawn.changed.low - slack <= exact.changed.high and exact.changed.low <= drawn.changed.high + slack
    assert found == error_budget(bundle_path, shots=50)


def test_what_a_simulator_cannot_do_is_a_note_and_the_rest_is_there(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqdr.deploy.heads.density_matrix.MAX_TABLE_QUBITS", 3)
    found = error_budget(bundle_path, shots=10, device="local_dm")
    assert [row.source for row in found.rows] == ["spikes", "shots", "noise"]
    assert any(note.startswith("shots and noise: not worked out") for note in found.notes)


def test_budget_takes_named_images_and_a_limit(bundle_path: Path) -> None:
    found = error_budget(bundle_path, shots=10, source="digits:test", limit=7)
    assert (found.n_images, found.samples) == (7, "digits:test")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shots": 0}, ConfigError, "`shots` must be 1"),
        ({"shots": True}, ConfigError, "`shots` must be 1"),
        ({"shots": 10**9}, ConfigError, "`shots` must be 1"),
        ({"share_kept": 1.0}, ConfigError, "between 0 and 1"),
        ({"limit": 0}, ConfigError, "`limit` must be at least 1"),
        ({"device": "braket_sv1"}, ConfigError, "has no noise"),
        ({"device": "nothing"}, DeviceError, "unknown"),
        ({"source": "nothing:test"}, DataError, "nothing:test"),
    ],
)
def test_budget_refuses_what_cannot_be(
    bundle_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        error_budget(bundle_path, **{"shots": 10, **options})


def test_budget_refuses_more_images_than_its_table_holds(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MAX_TABLE", 16 * 5)
    with pytest.raises(ConfigError, match="at most 5 images.*--limit 5"):
        error_budget(bundle_path, shots=10)


def test_outcome_probabilities_are_what_shots_are_drawn_from(bundle_path: Path) -> None:
    with Bundle.open(bundle_path) as opened:
        spec, parameters = opened.manifest.model, opened.head_parameters()
    angles = np.random.default_rng(0).uniform(0, 3, (700, spec.head.n_qubits, 3))
    options: dict[str, Any] = {"weights": parameters.weights, "entangler": spec.head.entangler}
    hardware = packaged_hardware("local_dm")
    assert isinstance(hardware, BraketLocal)
    signs = 1 - 2 * ((np.arange(16)[:, None] >> np.arange(3, -1, -1)) & 1)
    for head in (StatevectorHead(**options), DensityMatrixHead(**options, hardware=hardware)):
        table = head.outcome_probabilities(angles)
        assert table.shape == (700, 16)
        assert np.allclose(table.sum(axis=1), 1)
        assert np.allclose(table @ signs, head.expectations(angles), atol=1e-12)
    weight, _ = readout_matrix(parameters, spec.head)
    assert weight.shape[1] == 4
