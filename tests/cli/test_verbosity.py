"""``-v`` and ``-vv``: sqdr's own messages on standard error, before or after the command, and no secret in them."""

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sqdr.cli import main
from sqdr.cli.verbosity import set_verbosity
from sqdr.redaction import hide_secrets

LINE = re.compile(r"\d\d:\d\d:\d\d (INFO|DEBUG) sqdr(\.\w+)+: .+")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sqdr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capfd.readouterr())

    return run


def run_of(bundle: Path, *more: object) -> list[object]:
    words = ["run", bundle, "--input", "digits:test", "--limit", 3, "--encoder", "integer", "--device", "local:sv"]
    return [*words, "--out", "out", "--overwrite", "--json", *more]


@pytest.mark.parametrize(("before", "after"), [(["-v"], []), ([], ["-v"]), (["--verbose"], ["-v"])])
def test_messages_are_shown_before_and_after_the_command(
    before: list[str], after: list[str], sqdr: Command, bundle_path: Path
) -> None:
    code, out, err = sqdr(*before, *run_of(bundle_path), *after)
    assert code == 0
    assert json.loads(out)["n_samples"] == 3
    lines = err.splitlines()
    assert len(lines) >= 5
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert "3 images, encoder integer, device local:sv" in err
    assert "DEBUG" not in err


def test_twice_shows_details_too_and_the_next_command_is_quiet_again(sqdr: Command, bundle_path: Path) -> None:
    verify = ["verify", bundle_path, "--samples", 3, "--against", "integer", "--json"]
    code, out, err = sqdr(*verify, "-vv")
    assert (code, json.loads(out)["equal"]) == (0, True)
    assert "DEBUG sqdr.deploy.verify.encoders: images from 0 of 3" in err
    code, out, err = sqdr(*verify)
    assert (code, json.loads(out)["equal"], err) == (0, True, "")


def test_every_group_takes_it(sqdr: Command) -> None:
    for arguments in (["hw", "schema", "-v"], ["-vv", "hw", "list", "--json"], ["bench", "start-up", "--help"]):
        code, out, err = sqdr(*arguments)
        assert (code, err) == (0, "")
        if "--json" in arguments:
            json.loads(out)
    assert "-v, --verbose" in out


def test_training_says_its_stages(sqdr: Command, tiny_config: dict) -> None:
    training = tiny_config["training"] | {"n_epochs": 1}
    Path("tiny.json").write_text(json.dumps(tiny_config | {"training": training}))
    code, out, err = sqdr("train", "--config", "tiny.json", "--out", "run", "--json", "-v")
    assert code == 0
    assert json.loads(out)["n_epochs"] == 1
    assert [line for line in err.splitlines() if not LINE.fullmatch(line)] == []
    for said in ("reading data set digits", "1257 training, 180", "training for 1 epochs", "epoch 1: train_accuracy"):
        assert said in err


def test_other_packages_stay_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    set_verbosity(2)
    for name in ("botocore.endpoint", "lightning.pytorch", "sqdrlike"):
        logging.getLogger(name).info("not ours")
        logging.getLogger(name).debug("not ours")
    logging.getLogger("sqdr.deploy.run").debug("ours")
    err = capfd.readouterr().err
    set_verbosity(0)
    assert "not ours" not in err
    assert LINE.fullmatch(err.strip()) is not None


def test_warnings_are_shown_bare_unasked(capfd: pytest.CaptureFixture[str]) -> None:
    set_verbosity(0)
    logging.getLogger("sqdr.train.loop").warning("careful: %s", "slow")
    logging.getLogger("sqdr.train.loop").info("nobody asked")
    assert capfd.readouterr().err == "careful: slow\n"


def test_secrets_are_hidden_in_messages_and_in_tracebacks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "planted-session-token")
    key = "plantedSecretKey/plantedSecretKey/plante"
    secrets = ("planted-session-token", "AKIAPLANTED0PLANTED0", "123456789012", key)
    set_verbosity(2)
    logger = logging.getLogger("sqdr.deploy.braket.runner")
    for secret in secrets:
        logger.info("asking as %s", secret)
        try:
            raise ValueError(f"refused: {secret}")
        except ValueError:
            logger.debug("failed", exc_info=True)
    logger.info("arn:aws:braket:us-west-2:123456789012:quantum-task/1-2 is done")
    err = capfd.readouterr().err
    set_verbosity(0)
    assert err.count("[hidden]") >= 2 * len(secrets) + 1
    assert "ValueError: refused: [hidden]" in err
    assert [secret for secret in secrets if secret in err] == []
    assert "arn:aws" not in err


def test_hiding_leaves_a_devices_arn_but_none_with_an_account() -> None:
    device = "arn:aws:braket:us-west-2::device/qpu/iqm/Garnet"
    assert hide_secrets(f"Device '{device}' not found.") == f"Device '{device}' not found."
    simulator = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
    assert hide_secrets(simulator) == simulator
    for arn in (
        "arn:aws:braket:us-west-2:123456789012:device/qpu/iqm/Garnet",
        f"{device}:123456789012",
        "arn:aws:iam::123456789012:role/device/x",
        "arn:aws-cn:sts::1:assumed-role/secret",
    ):
        assert hide_secrets(arn).startswith("[hidden]") and "device" not in hide_secrets(arn)


def test_hiding_leaves_other_text_alone() -> None:
    text = "task 12 quantum-task/9a0b-4c of braket:qpu/iqm/Garnet: 1400 shots, 0.5 s, out/run/results.jsonl"
    assert hide_secrets(text) == text
