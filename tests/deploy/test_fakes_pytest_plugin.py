"""The pytest fixture of the fake Braket service, as another project's suite uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.fakes.pytest_plugin import OTHER_VARIABLES

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

SUITE = """
import os
import boto3

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

def test_identity(fake_braket):
    assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert "AWS_PROFILE" not in os.environ
    assert fake_braket.requests == ["POST /"]

def test_environment_is_back():
    assert os.environ["AWS_PROFILE"] == "mine"
    assert "AWS_ENDPOINT_URL" not in os.environ
"""


def _python(*arguments: str, cwd: Path, profile: str = "mine") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"AWS_PROFILE": profile, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_fixture_sets_the_environment(fake_braket: FakeBraket) -> None:
    import os

    assert {name: os.environ.get(name) for name in fake_braket.environment()} == fake_braket.environment()
    assert not [name for name in OTHER_VARIABLES if name in os.environ]


def test_fixture_works_in_a_suite_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("boto3", reason="needs the braket extra")
    (tmp_path / "test_mine.py").write_text(SUITE)
    ended = _python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout


def test_fakes_need_no_pytest(tmp_path: Path) -> None:
    program = "import sys; sys.modules['pytest'] = None; import sqdr.deploy.fakes; print('fine')"
    assert _python("-c", program, cwd=tmp_path).stdout == "fine\n"
