"""One report for chips and devices: sums, sources, every violation at once, unknown figures said."""

import builtins
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import Bundle
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.fit import FitReport, fit_bundle
from sqdr.deploy.fit.energy import energy_of, stream_timing, time_of
from sqdr.deploy.fit.neuromorphic import DEPENDS
from sqdr.deploy.fit.quantum import CIRCUIT_RULES, circuit_depth, fit_circuit
from sqdr.deploy.fit.rules import RULES, state_bits, weight_bits
from sqdr.deploy.fit.shots import ShotsTarget, find_shots
from sqdr.deploy.plan.mapping import map_circuit
from sqdr.errors import BundleError, ConfigError, DataError, DeviceError
from sqdr.hw_configs import BraketQpu, Loihi2
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.specification import CodingSpec, HeadSpec, ModelSpec
from sqdr.strict import parse

BOTH = ("loihi2_oheo_gulch", "braket_iqm_garnet")
TARGET = ShotsTarget(share_kept=0.99, shots=100, source="a test")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def report(bundle_path: Path) -> FitReport:
    return fit_bundle(bundle_path, BOTH)


def own_file(name: str, base: str, **figures: Any) -> str:
    """Write a hardware file with other figures into the working folder; None is unknown."""
    data = packaged_hardware(base).model_dump(mode="json")
    for key, value in figures.items():
        if isinstance(data.get(key), dict):
            data[key]["value"] = "unknown" if value is None else value
        else:
            data[key] = value
    data["name"] = name
    Path(f"{name}.yaml").write_text(json.dumps(data), encoding="utf-8")
    return name


def garnet(**changes: Any) -> BraketQpu:
    found = packaged_hardware("braket_iqm_garnet")
    assert isinstance(found, BraketQpu)
    return found.model_copy(update=changes)


def chip(name: str = "loihi2_oheo_gulch", **changes: Any) -> Loihi2:
    found = packaged_hardware(name)
    assert isinstance(found, Loihi2)
    return found.model_copy(update=changes)


# --- the chip


def test_totals_are_the_sums_of_layers_and_of_cores(report: FitReport) -> None:
    (found,) = report.neuromorphic
    assert report.fits and len(found.layers) > 2
    assert found.n_neurons == sum(layer.n_neurons for layer in found.layers) == sum(c.n_neurons for c in found.cores)
    assert found.n_stored == sum(layer.n_stored for layer in found.layers) == sum(c.n_stored for c in found.cores)
    assert found.n_synapses == sum(layer.n_synapses for layer in found.layers)
    assert found.n_cores == len(found.cores) == sum(layer.n_cores for layer in found.layers)
    operations = sum(layer.synaptic_operations.mean for layer in found.layers)
    assert found.synaptic_operations.mean == pytest.approx(operations)
    for before, after in zip(found.layers, found.layers[1:], strict=False):
        assert before.output_spikes == after.input_spikes


def test_activity_is_measured_on_the_golden_images_or_on_those_named(report: FitReport, bundle_path: Path) -> None:
    (found,) = report.neuromorphic
    with Bundle.open(bundle_path) as bundle:
        trains = bundle.golden().spike_trains
    assert (found.samples, found.n_samples) == ("golden images in the bundle", len(trains))
    assert found.layers[-1].output_spikes.mean == pytest.approx(trains.sum() / len(trains))
    (named,) = fit_bundle(bundle_path, BOTH[:1], source="digits:test", limit=9).neuromorphic
    assert (named.samples, named.n_samples) == ("digits:test", 9)


def test_energy_is_operations_times_the_published_figures(report: FitReport) -> None:
    (found,) = report.neuromorphic
    energy = found.energy
    assert energy.synaptic_nj == pytest.approx(found.synaptic_operations.mean * 23.6e-3)
    assert found.neuron_updates == found.n_neurons * found.time.steps_per_sample
    assert energy.update_nj is not None
    assert energy.update_nj.min == pytest.approx(found.neuron_updates * 52e-3)
    assert energy.update_nj.max == pytest.approx(found.neuron_updates * 81e-3)
    assert all("Davies" in source and "Loihi 1" in source and "2026-11" in source for source in energy.sources)
    assert "static power" in energy.leaves_out


def test_steps_follow_the_chips_reset_interval(bundle_path: Path) -> None:
    on_chip, simulated = fit_bundle(bundle_path, ("loihi2_oheo_gulch", "loihi2_sim")).neuromorphic
    # T = 5: the chip resets at powers of two only
    assert (on_chip.time.steps_per_sample, simulated.time.steps_per_sample) == (8, 5)
    assert on_chip.time.latency_steps == simulated.time.latency_steps == 5 + len(on_chip.layers)
    assert on_chip.time.latency_us is None and simulated.time.barrier_us is None
    assert on_chip.time.barrier_us is not None
    assert on_chip.time.barrier_us.max == pytest.approx(on_chip.time.latency_steps * 0.465)


def test_every_unknown_figure_is_said_with_its_consequence(bundle_path: Path) -> None:
    (bare,) = fit_bundle(bundle_path, ["loihi2_sim"]).neuromorphic
    missing = set(DEPENDS) - {"convolution_storage", "energy_per_synaptic_operation_pj"}
    assert {line.partition(":")[0] for line in bare.unknown} == missing
    assert bare.energy.update_nj is None and bare.energy.leaves_out.startswith("neuron updates")
    nothing = own_file("mine", "loihi2_oheo_gulch", energy_per_synaptic_operation_pj=None, core_memory_bytes=None)
    (found,) = fit_bundle(bundle_path, [nothing]).neuromorphic
    assert found.energy.synaptic_nj is None and found.memory_use is None
    assert any(line.startswith("energy_per_synaptic_operation_pj: unknown") for line in found.unknown)
    own = own_file("timed", "loihi2_oheo_gulch", time_per_step_ns=1000.0)
    (timed,) = fit_bundle(bundle_path, [own]).neuromorphic
    assert timed.time.latency_us == timed.time.latency_steps


TOO_SMALL: dict[str, dict[str, Any]] = {
    "cores_fit": {"n_cores_per_chip": 1},
    "neuron_fits_a_core": {"core_memory_bytes": 10},
    "weights_fit": {"weight_bits": 2},
    "states_fit": {"state_bits": 8},
    "thresholds_fit": {"threshold_bits": 2},
    "decays_fit": {"decay_bits": 3},
}


@pytest.mark.parametrize("rule", TOO_SMALL)
def test_rule_names_layer_number_limit_and_fix(rule: str, bundle_path: Path) -> None:
    name = own_file("mini", "loihi2_oheo_gulch", **TOO_SMALL[rule])
    report = fit_bundle(bundle_path, [name])
    broken = [each for each in report.violations if each.rule == rule]
    assert broken and not report.fits
    for each in broken:
        assert each.hardware == "mini" and "layer " in each.where and each.number > each.limit
        assert f"{each.number:,.0f}" in each.problem and each.problem.count("mini has") == 1
        assert each.fix.endswith((".", "file of your own."))


def test_all_violations_of_all_hardware_come_at_once(bundle_path: Path) -> None:
    every = {key: value for figures in TOO_SMALL.values() for key, value in figures.items()}
    mini = own_file("mini", "loihi2_oheo_gulch", **every)
    row = [{"start": 0, "length": 2}]
    narrow = own_file("narrow", "braket_iqm_garnet", n_qubits=2, lattice=row, shots={"min": 1, "max": 2})
    report = fit_bundle(bundle_path, [narrow, mini, *BOTH])
    found = {(each.hardware, each.rule) for each in report.violations}
    assert found == {("mini", rule) for rule in TOO_SMALL} | {("narrow", rule.__name__) for rule in CIRCUIT_RULES}
    # every layer that breaks a rule is named, not only the first
    assert sum(each.rule == "states_fit" for each in report.violations) == len(report.neuromorphic[0].layers)


def test_chips_full_of_synapses_are_counted(bundle_path: Path) -> None:
    name = own_file("mini", "loihi2_oheo_gulch", n_synapses_per_chip=400)
    report = fit_bundle(bundle_path, [name])
    (broken,) = report.violations
    assert broken.rule == "chips_fit" and broken.number == report.neuromorphic[0].n_chips > 1
    assert "taken as unrolled" in broken.problem and "convolution_storage" in broken.fix
    shared = own_file("known", "loihi2_oheo_gulch", n_cores_per_chip=1, convolution_storage="shared")
    assert "unrolled" not in fit_bundle(bundle_path, [shared]).violations[0].problem
    # shared or not, four layers take more than one core
    (certain,) = fit_bundle(bundle_path, [own_file("tiny", "loihi2_oheo_gulch", n_cores_per_chip=1)]).violations
    assert certain.rule == "cores_fit" and "unrolled" not in certain.problem


def test_every_chip_rule_is_broken_by_some_test_or_cannot_be_by_a_bundle() -> None:
    # a bundle has no delays and no biases: sqdr.specification refuses the first and SLAYER trains without the second
    assert {rule.__name__ for rule in RULES} == {*TOO_SMALL, "chips_fit", "biases_fit", "delays_fit"}


@pytest.mark.parametrize(
    ("values", "bits"), [([0], 1), ([2], 2), ([-2], 1), ([-4, 2], 2), ([254], 8), ([-256], 8), ([256], 9), ([-258], 9)]
)
def test_weight_bits_are_of_steps_of_two(values: list[int], bits: int) -> None:
    assert weight_bits(np.array(values)) == bits


@pytest.mark.parametrize(("largest", "bits"), [(0, 1), (1, 2), (127, 8), (128, 9), ((1 << 23) - 1, 24)])
def test_state_bits_include_the_sign(largest: int, bits: int) -> None:
    assert state_bits(largest) == bits


def test_time_and_energy_of_one_sample_by_hand(bundle_path: Path) -> None:
    with Bundle.open(bundle_path) as bundle:
        model = bundle.manifest.model
    longer = parse(ModelSpec, model.model_dump() | {"coding": CodingSpec(n_steps=16).model_dump()}, "test")
    timing = stream_timing(longer, chip())
    assert (timing.period, timing.n_steps) == (16, 16)
    assert time_of(timing, chip()).steps_per_sample == 16
    energy = energy_of(1000.0, 500, chip())
    assert energy.synaptic_nj == pytest.approx(23.6)
    assert energy.update_nj is not None and energy.update_nj.max == pytest.approx(40.5)


# --- the quantum device


@pytest.mark.parametrize(("n_qubits", "entangler"), [(12, "ring"), (9, "ring"), (5, "chain"), (4, "none"), (1, "ring")])
def test_depth_and_gates_are_those_of_the_compilers_input(n_qubits: int, entangler: Any) -> None:
    pytest.importorskip("qiskit", reason="needs the plan extra")
    head = HeadSpec(n_qubits=n_qubits, n_blocks=3 if n_qubits < 9 else 2, entangler=entangler)
    mapping = map_circuit(garnet(), head.n_qubits, head.n_blocks, head.entangler)
    assert not isinstance(mapping, str)
    found = fit_circuit(head, garnet(), TARGET)
    assert (found.depth, found.n_two_qubit_gates) == (mapping.depth_before, mapping.n_two_qubit_gates_before)
    assert found.mapping == mapping and circuit_depth(head) == found.depth


def test_success_is_the_product_of_the_fidelities_of_the_mapped_gates(report: FitReport) -> None:
    pytest.importorskip("qiskit", reason="needs the plan extra")
    (found,) = report.quantum
    assert found.mapping is not None and found.mapping.n_one_qubit_gates_after > 0
    gates = 0.99931**found.mapping.n_one_qubit_gates_after * 0.99587**found.mapping.n_two_qubit_gates_after
    assert found.success_probability == pytest.approx(gates * 0.9815**found.n_qubits)
    assert len(found.success_sources) == 3


def test_cost_is_that_of_the_shots_found(report: FitReport) -> None:
    (found,) = report.quantum
    assert found.shots_for_target is not None and found.shots_priced == found.shots_for_target
    assert found.cost_usd == Decimal("0.30") + found.shots_for_target * Decimal("0.00145")
    assert found.cost_per_thousand_usd is not None and found.cost_per_thousand_usd < 1000 * found.cost_usd
    assert len(found.prices) == 2
    assert "validation images" in found.shots_source and "exact" in found.shots_source


def test_unknown_fidelities_and_prices_are_said(bundle_path: Path) -> None:
    garnet_data = packaged_hardware("braket_iqm_garnet").model_dump(mode="json")
    garnet_data["fidelities"]["two_qubit"]["value"] = "unknown"
    garnet_data["prices"]["per_shot_usd"]["value"] = "unknown"
    Path("mine.yaml").write_text(json.dumps(garnet_data), encoding="utf-8")
    (found,) = fit_bundle(bundle_path, ["mine"]).quantum
    assert (found.success_probability, found.cost_usd) == (None, None)
    assert any("two_qubit" in line for line in found.unknown) and any("prices" in line for line in found.unknown)


def test_simulators_are_reported_without_fidelities(bundle_path: Path) -> None:
    free, paid = fit_bundle(bundle_path, ["local_dm", "braket_sv1"]).quantum
    assert free.cost_usd == 0 and paid.cost_usd is not None and paid.cost_usd > 0
    for found in (free, paid):
        assert found.success_probability is None and found.mapping is None
        assert any("simulator" in line for line in found.unknown)


def test_a_ring_that_does_not_embed_is_warned_of() -> None:
    found = fit_circuit(HeadSpec(n_qubits=9), garnet(), TARGET)
    assert any("does not embed" in warning for warning in found.warnings)


def test_missing_compiler_leaves_the_rest_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_qiskit(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "qiskit":
            raise ImportError("No module named 'qiskit'", name="qiskit")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_qiskit)
    found = fit_circuit(HeadSpec(n_qubits=8), garnet(), TARGET)
    assert found.mapping is None and found.success_probability is None
    assert any(line.startswith("mapping: ") for line in found.unknown) and found.cost_usd is not None


def test_shots_found_keep_the_share(bundle_path: Path) -> None:
    from sqdr.deploy.error_budget import error_budget
    from sqdr.deploy.error_budget.samples import read_samples

    with Bundle.open(bundle_path) as bundle, IntegerEncoder.from_bundle(bundle) as encoder:
        samples = read_samples(bundle, encoder, None, None, None)
        model, parameters = bundle.manifest.model, bundle.head_parameters()
    found = find_shots(samples, model, parameters, 0.9)
    (needed,) = error_budget(bundle_path, shots=10, share_kept=0.9).shots_needed
    assert found.shots == needed.shots is not None
    impossible = find_shots(samples, model, parameters, 1 - 1e-12)
    assert impossible.shots is None and "not one number" in impossible.reason


def test_shots_of_wide_circuits_are_the_first_of_a_drawn_grid(bundle_path: Path, monkeypatch: Any) -> None:
    from sqdr.deploy.fit import shots as shots_module

    monkeypatch.setattr(shots_module, "MAX_EXACT_QUBITS", 2)
    (found,) = fit_bundle(bundle_path, ["braket_iqm_garnet"], agreement=0.5).quantum
    assert found.shots_for_target in (10, 30, 100, 300, 1000) and "drawn" in found.shots_source


# --- bad input


@pytest.mark.parametrize(
    ("hardware", "options", "error", "message"),
    [
        ([], {}, ConfigError, "at least one"),
        (["nothing"], {}, DeviceError, "unknown"),
        (BOTH, {"agreement": 1.0}, ConfigError, "between 0 and 1"),
        (BOTH, {"agreement": math.nan}, ConfigError, "between 0 and 1"),
        (BOTH, {"source": "nothing:test"}, DataError, "nothing:test"),
        (BOTH, {"source": "digits:test", "limit": 0}, ConfigError, "`limit`"),
        (BOTH, {"limit": 5}, ConfigError, "`limit` counts images of `source`"),
    ],
)
def test_fit_refuses_what_cannot_be(
    bundle_path: Path, hardware: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit_bundle(bundle_path, hardware, **options)


def test_fit_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        fit_bundle(tmp_path / "nothing", BOTH)
