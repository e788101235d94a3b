"""The list of hardware files: packaged ones, own ones that win, broken ones with their problem."""

from pathlib import Path

import pytest

from sqdr.hw_configs import list_hardware, load_hardware
from sqdr.hw_configs.catalogue import PACKAGED, catalogue, origin_of

OWN = """\
schema_version: 1
kind: braket_local
name: mine
description: my own
simulator: braket_sv
n_qubits: {value: 5, source: "my notes", as_of: 2026-11}
shots: {value: {min: 1, max: 10}, source: "my notes", as_of: 2026-11}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_catalogue_is_what_comes_with_sqdr_in_an_empty_folder() -> None:
    entries = catalogue()
    assert [entry.name for entry in entries] == list_hardware()
    assert {entry.origin for entry in entries} == {PACKAGED}


def test_catalogue_lists_own_files_which_win_by_name() -> None:
    for name in ("mine", "loihi2_sim"):
        Path(f"{name}.yaml").write_text(OWN, encoding="utf-8")
    found = {entry.name: entry for entry in catalogue()}
    assert (found["mine"].origin, found["loihi2_sim"].origin) == ("mine.yaml", "loihi2_sim.yaml")
    assert found["loihi2_sim"].hardware == load_hardware("loihi2_sim")
    assert origin_of("loihi2_sim") == "loihi2_sim.yaml"
    assert origin_of("braket_sv1") == PACKAGED
    assert len(found) == len(list_hardware()) + 1


def test_catalogue_leaves_out_other_yaml() -> None:
    Path("training.yaml").write_text("data: {name: digits}\n", encoding="utf-8")
    Path("broken.yaml").write_text("loihi2: [", encoding="utf-8")
    Path("big.yaml").write_text("kind: loihi2 #" + "x" * (1 << 17), encoding="utf-8")
    Path("folder.yaml").mkdir()
    assert len(catalogue()) == len(list_hardware())


def test_catalogue_shows_the_problem_of_an_own_file() -> None:
    Path("mine.yaml").write_text(OWN.replace("value: 5", "value: -5"), encoding="utf-8")
    Path("braket_sv1.yaml").write_text("[", encoding="utf-8")
    problems = {entry.name: entry.problem for entry in catalogue() if entry.problem is not None}
    assert sorted(problems) == ["braket_sv1", "mine"]
    assert "n_qubits" in str(problems["mine"]) and "not valid YAML" in str(problems["braket_sv1"])
