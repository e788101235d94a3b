"""`sqdr study`: list, run and show."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sqdr.cli.app import app
from sqdr.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY = {
    "name": "two",
    "question": "Which coding?",
    "base": "digits_tiny",
    "overrides": {"data.limit": 64, "training.n_epochs": 1},
    "axes": {"coding": {"rate": {}, "thermometer": {"coding.kind": "thermometer"}}},
    "n_seeds": 3,
    "compare": [{"axis": "coding", "baseline": "rate"}],
}


def sqdr(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["study", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_list_names_every_study() -> None:
    found = json.loads(sqdr("list", "--json"))
    assert {"heads", "robustness", "few-images"} <= {study["name"] for study in found}
    assert all(study["runs"] > study["arms"] > 1 for study in found)
    assert "robustness" in sqdr("list")


def test_run_and_show_print_one_json_object_and_tables(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(STUDY))
    report = json.loads(sqdr("run", tmp_path / "two.yaml", "--seeds", 2, "--out", tmp_path / "out", "--json"))
    assert [arm["metrics"]["test"]["n"] for arm in report["arms"]] == [2, 2]
    assert report["differences"][0]["statement"] == "too few seeds for a claim"
    assert json.loads(sqdr("show", tmp_path / "out", "--json")) == report
    text = sqdr("show", tmp_path / "out", "--plots", tmp_path / "plots")
    assert "thermometer - rate" in text and "too few seeds" in text
    assert len(list((tmp_path / "plots").glob("two-*.png"))) == 2


def test_show_says_what_a_folder_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no study's folder. Make one with `sqdr study run NAME"):
        sqdr("show", tmp_path)
