"""The rules of a hardware file: money, probabilities, ARNs, sources."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import sqdr.hw_configs
import sqdr.hw_configs.figures
import sqdr.hw_configs.loader
import sqdr.hw_configs.prices
import sqdr.hw_configs.schema
from sqdr.errors import ConfigError
from sqdr.hw_configs import (
    BraketLocal,
    BraketQpu,
    BraketSimulator,
    GateNoise,
    Loihi2,
    NoiseModel,
    ReadoutNoise,
    list_hardware,
)
from sqdr.hw_configs.figures import Figure, Money, OptionalFigure, ShotRange
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.hw_configs.prices import ProgramSets
from sqdr.hw_configs.schema import ARN_PATTERN
from sqdr.strict import parse

PRICE = {"source": "a page", "as_of": "2026-11"}


@pytest.mark.parametrize(
    "module",
    [
        sqdr.hw_configs,
        sqdr.hw_configs.figures,
        sqdr.hw_configs.loader,
        sqdr.hw_configs.prices,
        sqdr.hw_configs.schema,
    ],
)
def test_module_exports_only_names_it_has(module: Any) -> None:
    assert module.__all__
    assert all(hasattr(module, name) for name in module.__all__)


def _figures(model: BaseModel) -> list[Figure[Any] | OptionalFigure[Any]]:
    found: list[Figure[Any] | OptionalFigure[Any]] = []
    for value in dict(model).values():
        if isinstance(value, Figure | OptionalFigure):
            found.append(value)
        elif isinstance(value, BaseModel):
            found += _figures(value)
    return found


@pytest.mark.parametrize("name", list_hardware())
def test_packaged_file_gives_source_and_month_of_every_figure(name: str) -> None:
    figures = _figures(packaged_hardware(name))
    assert len(figures) >= 2
    assert all(figure.source and figure.as_of >= "2026-01" for figure in figures)


PAID = [name for name in list_hardware() if packaged_hardware(name).kind in ("braket_qpu", "braket_simulator")]


@pytest.mark.parametrize("name", PAID)
def test_packaged_prices_are_decimals_with_a_dated_source_and_a_way_to_replace_them(name: str) -> None:
    hardware = packaged_hardware(name)
    assert isinstance(hardware, BraketQpu | BraketSimulator)
    prices = [figure.value for key, figure in dict(hardware.prices).items() if key.endswith("_usd")]
    assert prices and all(type(price) is Decimal and price > 0 for price in prices)
    text = (Path(sqdr.hw_configs.__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"A file {name}.yaml of your own in the working folder wins" in " ".join(text.split())


def test_packaged_prices_of_every_paid_device() -> None:
    per_shot = {
        "braket_aqt_ibex_q1": "0.0235",
        "braket_ionq_forte_1": "0.08",
        "braket_ionq_forte_enterprise_1": "0.08",
        "braket_iqm_emerald": "0.0016",
        "braket_iqm_garnet": "0.00145",
        "braket_rigetti_cepheus": "0.000425",
    }
    per_minute = {"braket_sv1": "0.075", "braket_dm1": "0.075", "braket_tn1": "0.275"}
    assert sorted([*per_shot, *per_minute]) == PAID
    for name, price in per_shot.items():
        hardware = packaged_hardware(name)
        assert isinstance(hardware, BraketQpu)
        assert hardware.prices.cost_usd(1, 0) == Decimal("0.30")
        assert hardware.prices.cost_usd(0, 1) == Decimal(price)
    for name, price in per_minute.items():
        simulator = packaged_hardware(name)
        assert isinstance(simulator, BraketSimulator)
        assert simulator.prices.cost_usd(Decimal(60)) == Decimal(price)
        assert simulator.prices.minimum_seconds.value == 3


@pytest.mark.parametrize("name", [name for name in PAID if packaged_hardware(name).kind == "braket_qpu"])
def test_packaged_qpu_has_region_fidelities_and_a_whole_lattice(name: str) -> None:
    hardware = packaged_hardware(name)
    assert isinstance(hardware, BraketQpu) and hardware.fidelities is not None
    match = ARN_PATTERN.fullmatch(hardware.arn)
    assert match is not None and match["region"]
    fidelities = dict(hardware.fidelities)
    assert list(fidelities) == ["one_qubit", "two_qubit", "readout"]
    assert all(0.9 < figure.value < 1 for figure in fidelities.values())
    assert (hardware.lattice is None) is (hardware.topology.value == "all_to_all")


def unknown(path: str) -> dict[str, Any]:
    """Garnet's file with one figure replaced by `unknown`."""
    data = packaged_hardware("braket_iqm_garnet").model_dump(mode="json")
    figure = data
    for key in path.split("."):
        figure = figure[key]
    figure["value"] = "unknown"
    return data


OPTIONAL = (
    "topology",
    "native_gates",
    "shots",
    "program_sets.max_total_shots",
    "prices.per_task_usd",
    "prices.per_shot_usd",
    "fidelities.one_qubit",
    "fidelities.two_qubit",
    "fidelities.readout",
)


@pytest.mark.parametrize("path", OPTIONAL)
def test_figure_that_is_not_public_is_unknown_and_round_trips(path: str) -> None:
    data = unknown(path) | ({"lattice": None} if path == "topology" else {})
    hardware = parse(BraketQpu, data, "test")
    assert hardware.model_dump(mode="json") == data
    assert parse(BraketQpu, hardware.model_dump(), "test") == hardware
    if path == "shots":
        assert hardware.shot_range == range(1, 10**12 + 1)
    assert (hardware.prices.cost_usd(1, 1) is None) is path.startswith("prices")


@pytest.mark.parametrize("path", ["n_qubits", "program_sets.max_circuits"])
def test_figure_that_must_be_known_may_not_be_unknown(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"{path}\.value: .*valid integer"):
        parse(BraketQpu, unknown(path), "test")


@pytest.mark.parametrize("value", [None, "Unknown", "", 0, "?"])
def test_optional_figure_rejects_what_is_neither_a_figure_nor_unknown(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"value"):
        parse(OptionalFigure[ShotRange], {"value": value, **PRICE}, "test")
    assert parse(OptionalFigure[ShotRange], {"value": "unknown", **PRICE}, "test").value is None


@pytest.mark.parametrize("value", [0, -0.1, 1.01, True, "0.9", float("nan")])
def test_fidelity_is_a_share(value: Any) -> None:
    data = packaged_hardware("braket_iqm_garnet").model_dump(mode="json")
    data["fidelities"]["two_qubit"]["value"] = value
    with pytest.raises(ConfigError, match=r"fidelities\.two_qubit\.value"):
        parse(BraketQpu, data, "test")


def test_program_set_holds_as_many_circuits_as_its_shots_allow() -> None:
    limits = {"max_circuits": {"value": 100, **PRICE}, "max_total_shots": {"value": 200_000, **PRICE}}
    sets = parse(ProgramSets, limits, "test")
    assert [sets.capacity(shots) for shots in (1, 2000, 2001, 20_000, 200_000, 200_001)] == [100, 100, 99, 10, 1, 0]
    del limits["max_total_shots"]
    assert parse(ProgramSets, limits, "test").capacity(10**9) == 100


@given(cents=st.integers(0, 10**9), places=st.integers(0, 8))
def test_money_written_in_yaml_stays_exact(cents: int, places: int) -> None:
    amount = Decimal(cents).scaleb(-places)
    if amount > 1_000_000:
        return
    # As YAML reads it: the float whose shortest text is the amount.
    read = parse(Figure[Money], {"value": float(str(amount)), **PRICE}, "test")
    assert read.value == Decimal(str(float(amount)))
    assert parse(Figure[Money], {"value": str(amount), **PRICE}, "test").value == amount


def test_money_is_decimal_and_not_the_nearest_binary_number() -> None:
    assert parse(Figure[Money], {"value": 0.1, **PRICE}, "test").value == Decimal("0.1")


@pytest.mark.parametrize("value", [True, -0.01, "much", None, [1], float("nan"), float("inf"), 10**7])
def test_money_rejects_what_is_no_amount(value: Any) -> None:
    with pytest.raises(ConfigError, match="must be an amount in USD"):
        parse(Figure[Money], {"value": value, **PRICE}, "test")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bit_flip", 0.51),
        ("bit_flip", -0.1),
        ("phase_flip", 0.51),
        ("depolarizing", 0.76),
        ("phase_damping", 1.01),
        ("amplitude_damping", 1.01),
        ("amplitude_damping", True),
        ("amplitude_damping", "0.1"),
        ("depolarizing", float("nan")),
    ],
)
def test_gate_noise_rejects_value_that_is_no_probability(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        parse(GateNoise, {key: value}, "test")


def test_gate_noise_names_nearest_key() -> None:
    with pytest.raises(ConfigError, match="unknown key 'bitflip'; did you mean 'bit_flip'"):
        parse(GateNoise, {"bitflip": 0.1}, "test")


@pytest.mark.parametrize("key", ["p1_given_0", "p0_given_1"])
@pytest.mark.parametrize("value", [-0.1, 0.51, "0.1", True])
def test_readout_noise_rejects_value_that_is_no_probability_of_a_mistake(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        parse(ReadoutNoise, {key: value}, "test")


def test_noise_is_rejected_when_simulator_is_state_vector() -> None:
    data = packaged_hardware("braket_local_sv").model_dump() | {"noise": NoiseModel().model_dump()}
    with pytest.raises(ConfigError, match="`noise` needs `simulator: braket_dm` or `sqdr_dm`"):
        parse(BraketLocal, data, "test")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:braket:::device/qpu/iqm",
        "arn:aws:s3:::device/qpu/iqm/Garnet",
        "arn:aws:braket:::device/qpu/iqm/Garnet\n",
        "arn:aws:braket:us-west-2:123456789012:device/qpu/iqm/Garnet",
        "Garnet",
        "",
    ],
)
def test_arn_of_another_form_is_rejected_without_repeating_it(arn: str) -> None:
    data = packaged_hardware("braket_iqm_garnet").model_dump() | {"arn": arn}
    with pytest.raises(ConfigError, match="must be a Braket device ARN") as caught:
        parse(BraketQpu, data, "test")
    assert "123456789012" not in str(caught.value)


def test_arn_does_not_show_in_repr() -> None:
    assert "arn:" not in repr(packaged_hardware("braket_iqm_garnet"))


BITS = [name for name in Loihi2.model_fields if name.endswith("_bits")]


def test_loihi2_gives_the_width_of_every_register() -> None:
    hardware = packaged_hardware("loihi2_sim")
    assert {name: getattr(hardware, name).value for name in BITS} == {
        "state_bits": 24,
        "decay_bits": 12,
        "threshold_bits": 17,
        "bias_mantissa_bits": 13,
        "bias_exponent_bits": 3,
        "weight_bits": 8,
        "delay_bits": 6,
    }


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("value", [0, -1, 33, 10**12, 8.5, True, None])
def test_loihi2_rejects_a_register_of_no_sensible_width(name: str, value: Any) -> None:
    data = packaged_hardware("loihi2_sim").model_dump() | {name: {"value": value, **PRICE}}
    with pytest.raises(ConfigError, match=rf"{name}\.value"):
        parse(Loihi2, data, "test")


@pytest.mark.parametrize("name", BITS)
def test_loihi2_needs_every_register(name: str) -> None:
    data = packaged_hardware("loihi2_sim").model_dump()
    del data[name]
    with pytest.raises(ConfigError, match=rf"{name}: Field required"):
        parse(Loihi2, data, "test")


def test_hardware_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        packaged_hardware("braket_sv1").name = "other"  # type: ignore[misc]
