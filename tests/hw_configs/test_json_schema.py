"""The published JSON schema: equal to the models, true of every packaged file, false of faulty ones."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from schema_check import is_valid

import sqdr.hw_configs
from sqdr.errors import ConfigError
from sqdr.hw_configs import list_hardware
from sqdr.hw_configs.json_schema import json_schema, packaged_schema, schema_text
from sqdr.hw_configs.loader import KINDS, load_hardware
from sqdr.strict import load_yaml

FOLDER = Path(sqdr.hw_configs.__file__).parent


def test_packaged_schema_is_that_of_the_models() -> None:
    message = "write hw_configs/schema.json again: sqdr.hw_configs.json_schema.schema_text()"
    assert json.loads(packaged_schema()) == json_schema(), message
    assert json.loads(schema_text()) == json_schema()


def test_schema_has_every_key_of_every_kind() -> None:
    definitions = json_schema()["$defs"]
    for model in KINDS.values():
        assert set(definitions[model.__name__]["properties"]) == set(model.model_fields)


def data_of(name: str) -> dict[str, Any]:
    data = load_yaml(FOLDER / f"{name}.yaml")
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("name", list_hardware())
def test_every_packaged_file_keeps_the_schema(name: str) -> None:
    assert is_valid(data_of(name), json_schema(), json_schema())


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(data_of(name))
    *parents, last = path.split(".")
    inner = data
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return data


FAULTS: dict[str, tuple[str, str, Any, str]] = {
    "a unit in the value": ("loihi2_sim", "energy_per_synaptic_operation_pj.value", "23.6 nJ", "energy_per_synaptic"),
    "a unit in the key": (
        "loihi2_sim",
        "energy_per_synaptic_operation_nj",
        {"value": 0.0236, "source": "mine", "as_of": "2026-11"},
        "did you mean 'energy_per_synaptic_operation_pj'",
    ),
    "a negative limit": ("loihi2_oheo_gulch", "core_memory_bytes.value", -1, "core_memory_bytes.value"),
    "a negative count": ("braket_iqm_garnet", "n_qubits.value", -20, "n_qubits.value"),
    "a negative energy": ("loihi2_oheo_gulch", "energy_per_neuron_update_pj.value.min", -52, "update_pj.value.min"),
    "an unknown key": ("braket_sv1", "n_qbits", 3, "did you mean 'n_qubits'"),
    "a percentage": ("braket_iqm_garnet", "fidelities.two_qubit.value", 99.6, "fidelities.two_qubit.value"),
    "a negative price": ("braket_iqm_garnet", "prices.per_shot_usd.value", -0.3, "prices.per_shot_usd.value"),
    "a currency": ("braket_iqm_garnet", "prices.per_shot_usd.value", "0.3 EUR", "prices.per_shot_usd.value"),
    "no ARN": ("braket_sv1", "arn", "sv1", "arn"),
    "no source": ("loihi2_sim", "weight_bits.source", "", "weight_bits.source"),
    "no such month": ("loihi2_sim", "weight_bits.as_of", "2026-13", "weight_bits.as_of"),
    "no kind": ("loihi2_sim", "kind", "loihi3", "kind"),
    "null for unknown": ("loihi2_oheo_gulch", "time_per_step_ns.value", None, "time_per_step_ns.value"),
    "another word": ("loihi2_oheo_gulch", "time_per_step_ns.value", "secret", "time_per_step_ns.value"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_refused_by_schema_and_loader_in_one_line(fault: str, tmp_path: Path) -> None:
    name, path, value, message = FAULTS[fault]
    data = changed(name, path, value)
    assert not is_valid(data, json_schema(), json_schema())
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML
    with pytest.raises(ConfigError, match="mine.yaml") as caught:
        load_hardware(file)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1, 1]\nb: [*a, *a]\n", "aliases"),
        ("a: &a\n  b: *a\n", "aliases"),
        ("[" * 3000, "not valid YAML"),
        ("x: " + "y" * (1 << 17), "larger than"),
        ("kind: loihi2\nkind: loihi2\n", "given twice"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_hostile_yaml_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_hardware(file)
    assert "\n" not in str(caught.value)
