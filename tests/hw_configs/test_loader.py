"""Finding hardware files: packaged, in the working folder, by path, and the errors on the way."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from sqdr.errors import ConfigError, DeviceError
from sqdr.hw_configs import BraketLocal, BraketQpu, BraketSimulator, Loihi2, list_hardware, load_hardware
from sqdr.hw_configs.loader import own_by_arn, packaged_hardware

NAMES = [
    "braket_aqt_ibex_q1",
    "braket_dm1",
    "braket_ionq_forte_1",
    "braket_ionq_forte_enterprise_1",
    "braket_iqm_emerald",
    "braket_iqm_garnet",
    "braket_local_dm",
    "braket_local_sv",
    "braket_rigetti_cepheus",
    "braket_sv1",
    "braket_tn1",
    "local_dm",
    "local_dm_tenfold",
    "loihi2_hala_point",
    "loihi2_kapoho_point",
    "loihi2_oheo_gulch",
    "loihi2_sim",
]

LOCAL = """\
schema_version: 1
kind: braket_local
name: mine
description: my own
simulator: braket_sv
n_qubits: {value: 5, source: "my notes", as_of: 2026-11}
shots: {value: {min: 1, max: 10}, source: "my notes", as_of: 2026-11}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_hardware_names_every_packaged_file() -> None:
    assert list_hardware() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_load_hardware_reads_packaged_file_whose_name_is_its_own(name: str, folder: Path) -> None:
    assert load_hardware(name).name == name


def test_packaged_files_hold_the_kinds_and_figures_expected(folder: Path) -> None:
    garnet, sv1, local = (
        load_hardware("braket_iqm_garnet"),
        load_hardware("braket_sv1"),
        load_hardware("braket_local_dm"),
    )
    assert isinstance(garnet, BraketQpu)
    assert (garnet.n_qubits.value, garnet.topology.value) == (20, "square_lattice")
    assert garnet.native_gates.value == ("cz", "prx")
    assert garnet.shot_range == range(1, 20001)
    assert garnet.program_sets is not None
    assert garnet.prices.per_task_usd.value == Decimal("0.30")
    assert garnet.prices.per_shot_usd.value == Decimal("0.00145")
    assert isinstance(sv1, BraketSimulator)
    assert sv1.prices.per_minute_usd.value == Decimal("0.075")
    assert isinstance(local, BraketLocal)
    assert local.noise is not None
    assert isinstance(load_hardware("loihi2_sim"), Loihi2)


def test_load_hardware_prefers_file_in_working_folder(folder: Path) -> None:
    (folder / "braket_local_sv.yaml").write_text(LOCAL, encoding="utf-8")
    own, packaged = load_hardware("braket_local_sv"), packaged_hardware("braket_local_sv")
    assert own.name == "mine"
    assert packaged.name == "braket_local_sv"


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_load_hardware_takes_path_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"any.{suffix}"
    path.write_text(LOCAL, encoding="utf-8")
    assert load_hardware(path) == load_hardware(str(path))


def test_load_hardware_rejects_unknown_name_and_names_nearest(folder: Path) -> None:
    with pytest.raises(DeviceError, match=r"'braket_locl_sv' is unknown\. Did you mean 'braket_local_sv'"):
        load_hardware("braket_locl_sv")


@pytest.mark.parametrize("name", ["", ".", "..", "../braket_sv1", "/etc/passwd", "~", "a\x00b", "x" * 5000])
def test_load_hardware_rejects_name_that_is_no_name(name: str, folder: Path) -> None:
    with pytest.raises(DeviceError, match="is unknown"):
        load_hardware(name)


def test_load_hardware_rejects_missing_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_hardware(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("simulator: braket_sv", "simulatr: braket_sv", "unknown key 'simulatr'; did you mean 'simulator'"),
        ("kind: braket_local", "kind: braket_loca", "must be one of .* Did you mean 'braket_local'"),
        ("kind: braket_local\n", "", "`kind` must be one of"),
        ("schema_version: 1", "schema_version: 2", "schema_version 2; this sqdr reads up to 1"),
        ("schema_version: 1\n", "", "schema_version"),
        ("schema_version: 1", "schema_version: 0", "schema_version"),
        ("value: 5", "value: 0", "n_qubits.value: .*greater than or equal to 1"),
        ("value: 5", "value: -5", "n_qubits.value"),
        ("value: 5", "value: 5.5", "n_qubits.value"),
        ("value: 5", "value: yes", "n_qubits.value"),
        ("value: 5", "value: .nan", "n_qubits.value"),
        ('source: "my notes", as_of: 2026-11}\nshots', "as_of: 2026-11}\nshots", "n_qubits.source"),
        ("as_of: 2026-11}\nshots", "as_of: last year}\nshots", "n_qubits.as_of"),
        ("as_of: 2026-11}\nshots", "as_of: 2026-13}\nshots", "n_qubits.as_of"),
        ("min: 1, max: 10", "min: 11, max: 10", "`min` must be at most `max` 10, got 11"),
        ("min: 1", "mim: 1", "did you mean 'min'"),
    ],
)
def test_load_hardware_rejects_file_that_breaks_a_rule(tmp_path: Path, old: str, new: str, match: str) -> None:
    assert old in LOCAL
    path = tmp_path / "bad.yaml"
    path.write_text(LOCAL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=match):
        load_hardware(path)


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_load_hardware_rejects_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_hardware(path)


def test_load_hardware_reads_full_date(tmp_path: Path) -> None:
    path = tmp_path / "dated.yaml"
    path.write_text(LOCAL.replace("as_of: 2026-11", "as_of: 2026-11-20"), encoding="utf-8")
    hardware = load_hardware(path)
    assert isinstance(hardware, BraketLocal)
    assert hardware.n_qubits.as_of == "2026-11-20"


GARNET_ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"


def own_garnet(**changes: object) -> str:
    """The packaged file of Garnet as somebody's own, with other values."""
    data = packaged_hardware("braket_iqm_garnet").model_dump(mode="json") | {"name": "mine"} | changes
    return json.dumps(data)  # JSON is YAML


def test_own_by_arn_finds_the_file_of_the_device_among_other_yaml(folder: Path) -> None:
    assert own_by_arn(GARNET_ARN) is None
    (folder / "compose.yaml").write_text(f"services: {{a: {{device: '{GARNET_ARN}'}}}}\n", encoding="utf-8")
    (folder / "broken.yaml").write_text(f"{GARNET_ARN}: [", encoding="utf-8")
    (folder / "binary.yaml").write_bytes(GARNET_ARN.encode() + b"\xff")
    (folder / "large.yaml").write_text(f"# {GARNET_ARN}\n" * 4000, encoding="utf-8")
    (folder / "folder.yaml").mkdir()
    (folder / "listed.yaml").write_text(f"- kind: braket_qpu\n  arn: '{GARNET_ARN}'\n", encoding="utf-8")
    assert own_by_arn(GARNET_ARN) is None
    (folder / "mine.yaml").write_text(own_garnet(), encoding="utf-8")
    found = own_by_arn(GARNET_ARN)
    assert isinstance(found, BraketQpu) and found.name == "mine"
    assert own_by_arn(GARNET_ARN.replace("Garnet", "Emerald")) is None


def test_own_by_arn_refuses_a_broken_file_and_two_files_of_one_device(folder: Path) -> None:
    (folder / "a.yaml").write_text(own_garnet(price=1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.yaml: .*unknown key 'price'; did you mean 'prices'"):
        own_by_arn(GARNET_ARN)
    (folder / "a.yaml").write_text(own_garnet(), encoding="utf-8")
    (folder / "b.yaml").write_text(own_garnet(), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"one file of the working folder .* got a\.yaml, b\.yaml\. Remove all but"):
        own_by_arn(GARNET_ARN)
