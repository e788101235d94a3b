"""``sqdr plan`` and ``sqdr run --budget``: exit codes, one JSON object, one-line errors, no network, no secret."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqdr.cli import main

SECRET = "PlantedSecretKey0123456789"
ACCOUNT_ARN = "arn:aws:braket:eu-north-1:123456789012:device/qpu/iqm/Garnet"
PLAN = ("--device", "braket_iqm_garnet", "--shots", "100", "--images", "1000")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sqdr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process, without network and with a planted secret in the environment."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AMZN_", "BRAKET_", "SQDR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        out, err = capfd.readouterr()
        assert SECRET not in out + err and "123456789012" not in out + err and "Traceback" not in err
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def test_plan_shows_both_costs_with_price_date_and_source(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("plan", bundle_path, *PLAN)
    assert (code, err) == (0, "")
    for text in ("$445.445", "$149.895", "estimate", "2026-11", "aws.amazon.com/braket/pricing", "ask the service"):
        assert text in out
    assert "nothing was submitted" in out


def test_plan_prints_one_json_object_with_exact_money(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("plan", bundle_path, *PLAN, "--budget", "149.90", "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert (plan["n_tasks"], plan["n_program_sets"], plan["n_shots"]) == (1001, 11, 101_100)
    assert (plan["cost"]["program_sets_usd"], plan["budget_usd"]) == ("149.89500", "149.90")


def test_plan_refuses_over_budget_with_exit_code_1(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("plan", bundle_path, *PLAN, "--budget", "100")
    (line,) = err.splitlines()
    assert (code, out) == (1, "")
    assert "$149.895 is over the budget of $100.00" in line and "668 images of 100 shots" in line
    code, out, _ = sqdr("plan", bundle_path, *PLAN, "--budget", "100", "--json")
    assert (code, json.loads(out)["error"]["type"]) == (1, "BudgetError")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--budget", "much"), "`budget` must be an amount in USD such as 0.30, got 'much'"),
        (("--budget", "-3"), "`budget` must be an amount in USD from 0"),
        (("--shots", "0"), "needs `shots` of at least 1"),
        (("--shots", "-1"), "`shots` must be a whole number"),
        (("--shots", "many"), "Invalid value for '--shots'"),
        (("--images", "0"), "`n_images` must be a whole number"),
        (("--device", "garnet"), "device 'garnet' is unknown"),
        (("--device", ACCOUNT_ARN), "must be an ARN"),
        (("--input", "nothing:test", "--device", "local:sv"), "nothing"),
    ],
)
def test_plan_ends_bad_input_in_one_line(sqdr: Run, bundle_path: Path, changes: tuple[str, ...], message: str) -> None:
    code, out, err = sqdr("plan", bundle_path, *PLAN, *changes)
    (line,) = err.splitlines()
    assert (code, out) == (2, "")
    assert message in line


def test_plan_refuses_a_path_that_is_no_bundle(sqdr: Run, tmp_path: Path) -> None:
    code, _, err = sqdr("plan", tmp_path / "missing", *PLAN)
    assert code == 2 and "does not exist" in err


def test_plan_shows_shots_against_accuracy(sqdr: Run, bundle_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the train extra")
    arguments = ("--device", "local:sv", "--shots", "50", "--images", "20", "--input", "digits:test")
    code, out, err = sqdr("plan", bundle_path, *arguments)
    assert (code, err) == (0, "")
    assert "50 shots: same class as exact" in out and "exact accuracy, 20 digits:test" in out


def test_plan_takes_the_bundles_own_samples_and_counts_extra_circuits(sqdr: Run, bundle_path: Path) -> None:
    code, out, err = sqdr("plan", bundle_path, *PLAN, "--mitigate-readout", "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    # 99 images and a canary in a set, and one set of two calibration circuits
    assert (plan["n_tasks"], plan["n_program_sets"]) == (1003, 12)
    assert plan["cost"]["program_sets_usd"] == "150.48500"
    assert plan["accuracy_source"] == "validation images in the bundle"
    assert [row["shots"] for row in plan["agreement"]] == [10, 30, 100, 300, 1000]


def test_run_refuses_over_budget_before_any_call(sqdr: Run, bundle_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("braket.aws", reason="needs the braket extra")
    pytest.importorskip("sklearn", reason="needs the train extra")
    arguments = ("--input", "digits:test", "--encoder", "integer", "--device", "braket_iqm_garnet", "--limit", "10")
    code, _, err = sqdr("run", bundle_path, *arguments, "--shots", "100", "--out", tmp_path / "out", "--budget", "1.89")
    assert code == 1 and "$1.895 is over the budget of $1.89" in err
    assert not (tmp_path / "out").exists()
    code, _, err = sqdr("run", bundle_path, *arguments, "--shots", "100", "--out", tmp_path / "out", "--budget", "x")
    assert code == 2 and "`budget` must be an amount" in err


def test_run_goes_on_within_budget(sqdr: Run, bundle_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the train extra")
    arguments = ("--input", "digits:test", "--encoder", "integer", "--device", "local:sv", "--limit", "3")
    code, out, err = sqdr("run", bundle_path, *arguments, "--out", tmp_path / "out", "--budget", "0", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["n_samples"] == 3
