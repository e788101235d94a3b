"""``sqdr hw``: list, show, schema; a working folder's own file wins; unknown figures say so."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sqdr.cli import main
from sqdr.hw_configs import list_hardware
from sqdr.hw_configs.json_schema import json_schema


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sqdr(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str, str]:
    monkeypatch.setattr(sys, "argv", ["sqdr", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    return caught.value.code, printed.out, printed.err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *arguments: sqdr(*arguments, monkeypatch=monkeypatch, capsys=capsys)


def test_list_names_every_file_and_where_it_is_from(run: Any) -> None:
    code, out, _ = run("hw", "list", "--json")
    assert code == 0
    rows = json.loads(out)["hardware"]
    assert [row["name"] for row in rows] == list_hardware()
    assert {row["name"]: row["size"] for row in rows}["loihi2_hala_point"] == "140,544 cores"
    code, out, _ = run("hw", "list")
    assert code == 0 and "loihi2_kapoho_point" in out and "braket_iqm_garnet" in out


def test_show_gives_source_and_month_and_says_unknown(run: Any) -> None:
    code, out, _ = run("hw", "show", "loihi2_oheo_gulch", "--json")
    figure = json.loads(out)["hardware"]["synaptic_memory_bytes_per_core"]
    assert code == 0 and figure["value"] == "unknown" and figure["as_of"] == "2026-11"
    assert "Loihi 1 has 128 KB" in figure["source"]
    code, out, _ = run("hw", "show", "loihi2_oheo_gulch")
    assert code == 0
    rows = [line for line in out.splitlines() if "synaptic_memory_bytes_per_core" in line]
    assert len(rows) == 1 and "unknown" in rows[0]


def test_show_reads_the_working_folders_own_file(run: Any) -> None:
    _, out, _ = run("hw", "show", "loihi2_sim", "--json")
    data = json.loads(out)["hardware"]
    data["n_chips"] = 3
    Path("loihi2_sim.yaml").write_text(json.dumps(data), encoding="utf-8")
    _, out, _ = run("hw", "show", "loihi2_sim", "--json")
    shown = json.loads(out)
    assert (shown["origin"], shown["hardware"]["n_chips"]) == ("loihi2_sim.yaml", 3)


def test_schema_is_printed_as_json(run: Any) -> None:
    code, out, _ = run("hw", "schema")
    assert code == 0 and json.loads(out) == json_schema()


@pytest.mark.parametrize("name", ["loihi2_oheo_gluch", "nothing.yaml", "../loihi2_sim"])
def test_show_refuses_what_is_not_there_in_one_line(run: Any, name: str) -> None:
    code, out, err = run("hw", "show", name)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
