"""The rules of a hardware file: money, probabilities, ARNs, sources."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import sqdr.hw_configs
import sqdr.hw_configs.loader
import sqdr.hw_configs.schema
from sqdr.errors import ConfigError
from sqdr.hw_configs import BraketLocal, BraketQpu, GateNoise, Loihi2, NoiseModel, list_hardware
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.hw_configs.schema import Figure, Money
from sqdr.strict import parse

PRICE = {"source": "a page", "as_of": "2026-11"}


@pytest.mark.parametrize("module", [sqdr.hw_configs, sqdr.hw_configs.loader, sqdr.hw_configs.schema])
def test_module_exports_only_names_it_has(module: Any) -> None:
    assert module.__all__
    assert all(hasattr(module, name) for name in module.__all__)


def _figures(model: BaseModel) -> list[Figure[Any]]:
    found: list[Figure[Any]] = []
    for value in dict(model).values():
        if isinstance(value, Figure):
            found.append(value)
        elif isinstance(value, BaseModel):
            found += _figures(value)
    return found


@pytest.mark.parametrize("name", list_hardware())
def test_packaged_file_gives_source_and_month_of_every_figure(name: str) -> None:
    figures = _figures(packaged_hardware(name))
    assert len(figures) >= 2
    assert all(figure.source and figure.as_of >= "2026-01" for figure in figures)


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
        ("depolarizing", 0.76),
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
