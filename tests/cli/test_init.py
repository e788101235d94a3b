"""``sqdr init``: what it writes loads, equals what it stands for, and explains every key."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from sqdr.cli import main
from sqdr.plugins import plugin_names
from sqdr.train.commented_config import commented_yaml, field_comments, starting_config, starting_presets
from sqdr.train.config import TrainConfig, load_config, packaged_config, packaged_configs

COMBINATIONS = [(data, preset) for data in plugin_names("sqdr.datasets") for preset in starting_presets()]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *arguments])
        with pytest.raises(SystemExit, match="") as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return command


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of an installed package of somebody else's, which nothing here may import."""
    info = tmp_path / "site" / "letters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sqdr.datasets]\nletters = letters_not_there:load\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.parametrize(("data", "preset"), COMBINATIONS)
def test_every_data_set_and_preset_loads_equal(data: str, preset: str, run: Any) -> None:
    code, _, err = run("init", "--data", data, "--preset", preset, "--out", "mine.yaml")
    assert (code, err) == (0, "")
    found = load_config("mine.yaml")
    assert found == starting_config(data, preset)
    assert found.data.name == data
    assert found.encoder.preset == preset or (data == "digits" and found.encoder.preset == f"digits_{preset}")


@pytest.mark.parametrize("name", packaged_configs())
def test_packaged_configurations_are_what_is_written(name: str, run: Any) -> None:
    data, _, preset = name.rpartition("_")
    assert run("init", "--data", data, "--preset", preset)[0] == 0
    assert load_config(f"{name}.yaml") == packaged_config(name)


def test_data_set_of_another_package_works(letters: None, run: Any) -> None:
    assert run("init", "--data", "letters:some/where", "--preset", "digits_tiny", "--out", "mine.yaml")[0] == 0
    found = load_config("mine.yaml")
    assert (found.data.name, found.data.root) == ("letters", Path("some/where"))
    assert found.training == packaged_config("digits_tiny").training


@pytest.mark.parametrize("folder", ["/photos", "c:\\photos", "a b # c", "\x1b\u00e9\u2028", "null", "'\"", "{a: b}"])
def test_any_name_of_a_folder_comes_back(folder: str, run: Any) -> None:
    assert run("init", "--data", f"folder:{folder}", "--out", "mine.yaml")[0] == 0
    assert load_config("mine.yaml").data.root == Path(folder)


def models(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [field.annotation for field in model.model_fields.values()]
    found = [part for part in inner if isinstance(part, type) and issubclass(part, BaseModel)]
    return [model, *(below for part in found for below in models(part))]


def test_every_key_is_written_and_explained() -> None:
    assert len(models(TrainConfig)) == 8
    for model in models(TrainConfig):
        assert {name for name, comment in field_comments(model).items() if not comment} == set(), model
    text = commented_yaml(starting_config("digits", "small"), "Title.")
    written = yaml.safe_load(text)
    assert set(written["training"]) == set(field_comments(TrainConfig.model_fields["training"].annotation))
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    assert len(keys) > 40
    assert [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("# ")] == []
    assert max(map(len, lines)) <= 100


def test_own_layers_come_back() -> None:
    layers = ({"kind": "conv", "out_channels": 2}, {"kind": "dense", "out_features": 4})
    config = TrainConfig.model_validate(
        {
            "data": {"name": "digits"},
            "encoder": {"layers": layers},
            "head": {"n_qubits": 4},
            "training": {"n_epochs": 1, "encoder_lr": 0.1, "noise": "local_dm"},
        }
    )
    Path("own.yaml").write_text(commented_yaml(config, "Title."))
    assert load_config("own.yaml") == config


def test_nothing_is_replaced_unasked(run: Any) -> None:
    Path("digits_small.yaml").write_text("mine")
    code, _, err = run("init")
    assert (code, err) == (
        2,
        "error: digits_small.yaml exists already. Choose another --out, or add --overwrite.\n",
    )
    assert Path("digits_small.yaml").read_text() == "mine"
    assert run("init", "--overwrite")[0] == 0
    assert load_config("digits_small.yaml") == packaged_config("digits_small")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digit"], "unknown dataset 'digit'. Did you mean 'digits'?"),
        (["--preset", "huge"], "`preset` must be one of tiny, small,"),
        (["--out", "no/such/folder.yaml"], "cannot be written: No such file or directory"),
        (["--out", "here", "--overwrite"], "here is a folder"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, run: Any) -> None:
    Path("here").mkdir()
    code, out, err = run("init", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_json_is_one_object(run: Any) -> None:
    code, out, err = run("init", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"config": "digits_small.yaml", "data": "digits", "preset": "digits_small"}
