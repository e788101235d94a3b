"""What `sqdr doctor` finds, and what it must never show."""

import io
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from sqdr import doctor as doctor_module
from sqdr.cli.doctor import doctor
from sqdr.doctor import DoctorReport, examine, installed_version

# Made up for this test; no part of them may be seen anywhere.
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDZQXWVKJ47",
    "AWS_SECRET_ACCESS_KEY": "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",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjPlantedTokenXw0Kq8Zt5",
}
SHORTEST_PART = 6

VersionOf = Callable[[str], "str | None"]


@pytest.fixture(autouse=True)
def _plain_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AWS settings of whoever runs the tests, and a stand-in for the Python that imports Lava."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    lava_python(monkeypatch, tmp_path, """echo '{"python": "3.10.1", "version": "0.10.0"}'""")


def lava_python(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    path = folder / "lava_python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("SQDR_LAVA_PYTHON", str(path))


def versions(**replaced: str | None) -> VersionOf:
    """Look versions up, some of them replaced; torch is hidden since importing it takes seconds."""
    replaced = {"torch": None, **replaced}
    return lambda name: replaced[name] if name in replaced else installed_version(name)


def text_of(report: DoctorReport, json_output: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200)
    doctor(json_output, console=console, report=report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_nothing_leaks(report: DoctorReport) -> None:
    shown = text_of(report) + text_of(report, json_output=True) + repr(report)
    parts = [
        secret[start : start + SHORTEST_PART]
        for secret in SECRETS.values()
        for start in range(len(secret) - SHORTEST_PART + 1)
    ]
    assert len(parts) > 50
    assert [part for part in parts if part in shown] == []


def test_examine_reports_versions_and_every_extra() -> None:
    report = examine(versions())
    assert report.sqdr == installed_version("sqdr")
    assert report.python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert report.n_cpus >= 1
    names = ["train", "lava", "braket", "onnx", "nir", "plan", "mitigation", "bench", "results", "report"]
    assert [extra.name for extra in report.extras] == names
    assert all(extra.requirements and extra.enables for extra in report.extras)


def test_report_survives_json() -> None:
    report = examine(versions())
    assert DoctorReport.model_validate_json(text_of(report, json_output=True)) == report
    assert json.loads(text_of(report, json_output=True))["lava"]["is_importable"] is True


def test_missing_requirement_is_shown_with_what_it_would_enable() -> None:
    report = examine(versions(onnxruntime=None))
    onnx = next(extra for extra in report.extras if extra.name == "onnx")
    assert not onnx.is_complete
    status = {item.name: item.status for item in onnx.requirements}
    assert status["onnxruntime"] == "missing"
    shown = text_of(report)
    assert "sqdr[onnx]: not complete" in shown
    assert "With it: Export the encoder" in shown


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("1.15.9", "other version"),
        ("1.16", "installed"),
        ("1.16.0rc1", "installed"),
        ("1.99.1+cpu", "installed"),
        ("2.0.0", "other version"),
        ("10.1", "other version"),
    ],
)
def test_installed_version_is_held_against_the_wanted_range(version: str, status: str) -> None:
    report = examine(versions(onnx=version))  # sqdr wants onnx>=1.16,<2
    onnx = next(extra for extra in report.extras if extra.name == "onnx")
    assert next(item.status for item in onnx.requirements if item.name == "onnx") == status


def test_exact_version_with_and_without_closing_zero_is_the_same() -> None:
    lava = next(
        extra for extra in examine(versions(**{"lava-nc": "0.10"})).extras if extra.name == "lava"
    ).requirements[0]
    assert lava.name == "lava-nc"
    assert lava.status == ("installed" if sys.version_info < (3, 11) else "installed by hand")


def test_gpu_says_that_torch_is_missing() -> None:
    gpu = examine(versions()).gpu
    assert (gpu.is_cuda_available, gpu.devices, gpu.problem) == (False, (), "torch is not installed.")


@pytest.mark.skipif(installed_version("torch") is None, reason="needs torch")
def test_gpu_agrees_with_torch() -> None:
    import torch

    gpu = examine().gpu
    assert gpu.torch == installed_version("torch")
    assert gpu.is_cuda_available == torch.cuda.is_available()
    assert len(gpu.devices) == (torch.cuda.device_count() if gpu.is_cuda_available else 0)


def test_lava_is_tried_by_the_chosen_interpreter() -> None:
    lava = examine(versions()).lava
    assert (lava.is_importable, lava.python, lava.version) == (True, "3.10.1", "0.10.0")
    assert lava.interpreter == os.environ["SQDR_LAVA_PYTHON"]


@pytest.mark.lava
@pytest.mark.skipif(installed_version("lava-nc") is None, reason="needs lava-nc")
def test_lava_is_really_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQDR_LAVA_PYTHON")
    lava = examine(versions()).lava
    assert lava.problem is None
    assert (lava.is_importable, lava.version) == (True, installed_version("lava-nc"))


def test_lava_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lava_python(monkeypatch, tmp_path, "exec sleep 60")
    lava = examine(versions(), lava_timeout_s=0.2).lava
    assert (lava.is_importable, lava.problem) == (False, "importing it took more than 0.2 s.")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'ModuleNotFoundError: No module named lava' >&2; exit 1", "No module named lava"),
        ("kill -9 $$", "status -9"),
        ("echo 'ValueError: mutable default ByteEncoder' >&2; exit 1", "does not import on Python 3.11"),
        ("echo not json", "was not understood"),
        ("exit 0", "was not understood"),
    ],
)
def test_lava_that_fails_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, problem: str
) -> None:
    lava_python(monkeypatch, tmp_path, script)
    lava = examine(versions()).lava
    assert not lava.is_importable
    assert problem in (lava.problem or "")


def test_lava_interpreter_that_is_not_there_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQDR_LAVA_PYTHON", "/nowhere/python")
    lava = examine(versions()).lava
    assert lava.problem is not None
    assert "SQDR_LAVA_PYTHON cannot be run" in lava.problem


def test_lava_is_not_tried_on_python_311(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQDR_LAVA_PYTHON")
    newer = SimpleNamespace(version_info=(3, 12, 1), executable="/nowhere/python")
    monkeypatch.setattr(doctor_module, "sys", newer)
    report = examine(versions(**{"lava-nc": None, "lava-dl": "0.6.0"}))
    assert "SQDR_LAVA_PYTHON" in (report.lava.problem or "")
    lava = next(extra for extra in report.extras if extra.name == "lava")
    status = {item.name: item.status for item in lava.requirements}
    assert status == {"lava-nc": "not for this Python", "lava-dl": "installed by hand"}
    assert not lava.is_complete


def test_secrets_never_reach_the_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    # The process that imports Lava must not see them either: its last words are in the report.
    lava_python(monkeypatch, tmp_path, 'env | grep AWS_ | tr "\\n" " " >&2; echo "${AWS_SESSION_TOKEN-}" >&2; exit 1')
    report = examine(versions())
    assert (report.aws.is_present, report.aws.method, report.aws.region) == (True, "env", "eu-north-1")
    assert "from env" in text_of(report)
    assert_nothing_leaks(report)


def test_secrets_of_a_credentials_file_never_reach_the_report(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    lines = [f"{name.lower()} = {value}" for name, value in SECRETS.items()]
    (tmp_path / "credentials").write_text("\n".join(["[default]", *lines]), encoding="utf-8")
    report = examine(versions())
    assert (report.aws.is_present, report.aws.method) == (True, "shared-credentials-file")
    assert_nothing_leaks(report)


@pytest.mark.parametrize("content", ["[default\n{key}", "[default]\naws_access_key_id = {key}"])
def test_broken_credentials_are_named_by_kind_only(tmp_path: Path, content: str) -> None:
    pytest.importorskip("boto3")
    key = SECRETS["AWS_ACCESS_KEY_ID"]
    (tmp_path / "credentials").write_text(content.format(key=key), encoding="utf-8")
    report = examine(versions())
    assert not report.aws.is_present
    assert report.aws.problem in ("ConfigParseError", "PartialCredentialsError")
    assert_nothing_leaks(report)


def test_no_credentials_is_no_problem() -> None:
    pytest.importorskip("boto3")
    aws = examine(versions()).aws
    assert (aws.is_present, aws.method, aws.region, aws.problem) == (False, None, None, None)
    assert "AWS_EC2_METADATA_DISABLED" not in os.environ


def test_aws_says_that_boto3_is_missing() -> None:
    assert examine(versions(boto3=None)).aws.problem == "boto3 is not installed."


def test_credential_command_is_named_and_not_run(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    ran = tmp_path / "ran"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = touch {ran}\n", encoding="utf-8")
    aws = examine(versions()).aws
    assert (aws.is_present, aws.method) == (True, "custom-process")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("config", "environment", "method"),
    [
        ("", {}, None),
        ("", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x"}, "container-role"),
        ("", {"AWS_EC2_METADATA_DISABLED": "false"}, None),
        ("[default]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = EcsContainer", {}, "assume-role"),
    ],
)
def test_credentials_are_looked_up_without_the_network(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: str,
    environment: dict[str, str],
    method: str | None,
) -> None:
    pytest.importorskip("boto3")
    (tmp_path / "config").write_text(config, encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tried: list[object] = []

    def connect(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    aws = examine(versions()).aws
    assert (aws.method, aws.problem, tried) == (method, None, [])
    assert {name: os.environ[name] for name in environment} == environment
