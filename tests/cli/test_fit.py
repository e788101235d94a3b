"""``sqdr fit`` and ``sqdr error-budget``: exit codes, one JSON object, one-line errors, no network."""

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqdr.cli import main
from sqdr.deploy.report.fit import fit_section
from sqdr.hw_configs.loader import packaged_hardware

HARDWARE = ("--hw", "loihi2_oheo_gulch", "--hw", "braket_iqm_garnet")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sqdr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process, without network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err and isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def write_mini(text: str = "") -> None:
    data = packaged_hardware("loihi2_oheo_gulch").model_dump(mode="json")
    data["name"] = "mini"
    data["n_cores_per_chip"]["value"] = 1
    data["state_bits"]["value"] = 8
    Path("mini.yaml").write_text(text or json.dumps(data), encoding="utf-8")


def test_fit_shows_one_report_for_both_chips(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("fit", bundle_path, *HARDWARE)
    assert (code, err) == (0, "")
    for text in ("loihi2_oheo_gulch", "braket_iqm_garnet", "layer 0 (conv)", "nJ (estimate)", "unknown", "Loihi 1"):
        assert text in out
    assert "left out of the energy" in out and "violations" not in out


def test_fit_and_the_report_show_the_same_rows(sqdr: Run, bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no row is wrapped
    _, out, _ = sqdr("fit", bundle_path, *HARDWARE)
    section, _ = fit_section(bundle_path, HARDWARE[1::2])
    (chip,), (device,) = section.content["chips"], section.content["devices"]
    rows = [*chip["rows"], *device["rows"]]
    assert len(rows) > 20
    for name, value in rows:
        assert re.search(rf"{re.escape(name)}\W+{re.escape(value)}\s", out), (name, value)
    names = [name for name, _ in rows]
    # unknown is said, never left out
    assert ("latency", "unknown") in rows and names.index("mapped by") == names.index("two-qubit gates") + 1


def test_fit_writes_its_json_beside_the_text(sqdr: Run, bundle_path: Path) -> None:
    write_mini()
    code, out, _ = sqdr("fit", bundle_path, "--hw", "mini", "--out", "fit.json")
    assert code == 1 and "cores_fit" in out
    written = json.loads(Path("fit.json").read_text(encoding="utf-8"))
    assert written == json.loads(sqdr("fit", bundle_path, "--hw", "mini", "--json")[1])
    code, _, err = sqdr("fit", bundle_path, "--hw", "mini", "--out", "nowhere/fit.json")
    assert code == 2 and len(err.splitlines()) == 1


def test_fit_prints_one_json_object(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("fit", bundle_path, *HARDWARE, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["fits"] is True
    assert report["neuromorphic"][0]["violations"] == report["quantum"][0]["violations"] == []
    assert report["neuromorphic"][0]["time"]["latency_us"] is None


def test_fit_ends_with_1_and_every_violation(sqdr: Run, bundle_path: Path) -> None:
    write_mini()
    code, out, err = sqdr("fit", bundle_path, "--hw", "mini", *HARDWARE)
    assert code == 1 and err.startswith("error: it does not fit: ") and len(err.splitlines()) == 1
    assert "cores_fit" in out and "states_fit" in out
    code, out, err = sqdr("fit", bundle_path, "--hw", "mini", "--json")
    report = json.loads(out)
    assert code == 1 and report["fits"] is False and len(err.splitlines()) == 1
    broken = report["neuromorphic"][0]["violations"]
    assert {each["rule"] for each in broken} == {"cores_fit", "states_fit"}
    assert all(each["number"] > each["limit"] and each["fix"] and each["where"] for each in broken)


BAD_FILES = {
    "a wrong unit": ('"weight_bits": {"value": 8', '"weight_bits": {"value": "8 bytes"', "weight_bits.value"),
    "a negative limit": ('"n_chips": 1', '"n_chips": -1', "n_chips"),
    "an unknown key": ('"n_chips": 1', '"n_chip": 1', "did you mean 'n_chips'"),
    "an alias": ('"n_chips": 1', '"a": &a 1, "n_chips": *a', "aliases"),
    "a loop": ('"n_chips": 1', '"a": &a [*a], "n_chips": 1', "aliases"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_fit_refuses_a_bad_file_in_one_line(sqdr: Run, bundle_path: Path, fault: str) -> None:
    write_mini()
    before, after, message = BAD_FILES[fault]
    text = Path("mini.yaml").read_text(encoding="utf-8")
    assert before in text
    write_mini(text.replace(before, after))
    code, out, err = sqdr("fit", bundle_path, "--hw", "mini")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and message in err


@pytest.mark.parametrize("arguments", [(), ("--hw", "nothing"), ("--hw", "loihi2_sim", "--input", "nothing:test")])
def test_fit_refuses_bad_input_in_one_line(sqdr: Run, bundle_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = sqdr("fit", bundle_path, *arguments)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1


def test_error_budget_shows_each_source_alone_and_together(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("error-budget", bundle_path, "--device", "local_dm", "--shots", "50", "--keep", "0.9")
    assert (code, err) == (0, "")
    for text in ("spikes", "noise", "shots and noise", "in 95% of runs", "to keep 0.9 of the noiseless classes"):
        assert text in out


def test_error_budget_prints_one_json_object(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("error-budget", bundle_path, "--shots", "50", "-i", "digits:test", "--limit", "5", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["n_images"] == 5 and [row["source"] for row in found["rows"]] == ["spikes", "shots"]


@pytest.mark.parametrize("arguments", [("--shots", "0"), ("--shots", "9", "--device", "loihi2_sim"), ()])
def test_error_budget_refuses_bad_input_in_one_line(sqdr: Run, bundle_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = sqdr("error-budget", bundle_path, *arguments)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
