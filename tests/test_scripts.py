"""The shell scripts that find Python, and the versions that they install."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent

needs_sh = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
needs_310 = pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="this Python stands in for a 3.10")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def wrapper(path: Path) -> Path:
    """A command that runs this very Python, under another name."""
    return script(path, f'exec "{sys.executable}" "$@"')


def find_python(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with nothing on PATH but tmp_path/bin, and tmp_path/home as the home folder."""
    sh = shutil.which("sh")
    assert sh is not None
    (tmp_path / "bin").mkdir(exist_ok=True)
    places = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")}
    return subprocess.run(
        [sh, str(ROOT / "scripts" / "find_python.sh")],
        env={**places, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_runs_310(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = done.stdout.splitlines()
    code = "import sys, venv, ensurepip; print(sys.version_info[:2], sys.prefix == sys.base_prefix)"
    answer = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "(3, 10) True"


@needs_sh
def test_find_python_says_how_to_get_one_when_nothing_is_found(tmp_path: Path) -> None:
    done = find_python(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (message,) = done.stderr.splitlines()
    for part in ("CPython 3.10", "uv python install 3.10", "pyenv install 3.10", "PYTHON310="):
        assert part in message


@needs_sh
def test_find_python_skips_a_shim_that_fails(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.10", 'echo "pyenv: python3.10: command not found" >&2; exit 127')
    done = find_python(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pyenv: " not in done.stderr


@needs_sh
def test_find_python_skips_a_python_of_another_version(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3", "exit 1")
    assert find_python(tmp_path).returncode == 1


@needs_sh
@needs_310
@pytest.mark.parametrize("name", ["python3.10", "python3", "python"])
def test_find_python_takes_one_on_path(tmp_path: Path, name: str) -> None:
    wrapper(tmp_path / "bin" / name)
    assert_runs_310(find_python(tmp_path))


@needs_sh
@needs_310
def test_find_python_goes_on_to_pyenv_when_the_shim_fails(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.10", "exit 127")
    wrapper(tmp_path / "home" / ".pyenv" / "versions" / "3.10.4" / "bin" / "python3.10")
    assert_runs_310(find_python(tmp_path))


@needs_sh
def test_find_python_takes_the_newest_pyenv_version_that_works(tmp_path: Path) -> None:
    versions = tmp_path / "py env" / "versions"
    for version in ("3.10.2", "3.10.9", "3.10.13"):
        script(versions / version / "bin" / "python3.10", f"echo /chosen/{version}")
    script(versions / "3.10.20" / "bin" / "python3.10", "exit 1")
    done = find_python(tmp_path, PYENV_ROOT=str(tmp_path / "py env"))
    assert (done.returncode, done.stdout.strip()) == (0, "/chosen/3.10.13")


@needs_sh
@needs_310
def test_find_python_asks_uv(tmp_path: Path) -> None:
    mine = wrapper(tmp_path / "somewhere" / "python3.10")
    script(tmp_path / "bin" / "uv", f'[ "$*" = "python find 3.10" ] && echo "{mine}"')
    assert_runs_310(find_python(tmp_path))


@needs_sh
def test_find_python_looks_where_uv_installs(tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".local" / "share" / "uv" / "python"
    for version in ("3.10.8", "3.10.16"):
        name = f"cpython-{version}-linux-x86_64-gnu"
        script(folder / name / "bin" / "python3.10", f"echo /chosen/{version}")
    done = find_python(tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "/chosen/3.10.16")


@needs_sh
@needs_310
def test_find_python_takes_the_one_that_is_named(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.10", "exit 127")
    assert_runs_310(find_python(tmp_path, PYTHON310=sys.executable))


@needs_sh
def test_find_python_fails_when_the_named_one_does_not_work(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.10", "echo /chosen/other")
    done = find_python(tmp_path, PYTHON310="/nowhere/python3.10")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "PYTHON310=/nowhere/python3.10 is not a working CPython 3.10" in done.stderr


@pytest.mark.parametrize("name", ["scripts/find_python.sh", "scripts/setup.sh", ".ci/run"])
def test_script_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line)
        assert match is not None, f"not name==version: {line}"
        found[canonical(match[1])] = match[2]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_sorted_and_pin_each_name_once() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [canonical(line.split("==")[0]) for line in lines if not line.startswith("#")]
    assert len(names) > 100
    assert names == sorted(set(names))
    assert "sqdr" not in names


def test_constraints_pin_every_requirement_within_its_range() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        content = tomllib.load(file)
    extras = content["project"]["optional-dependencies"]
    lines = [*content["build-system"]["requires"], *content["project"]["dependencies"]]
    lines += [line for name, extra in extras.items() if name != "all" for line in extra]
    assert len(lines) > 30
    pinned = pins()
    for requirement in map(Requirement, lines):
        version = pinned.get(canonical(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned"
        assert version in requirement.specifier, f"{requirement} is pinned to {version}"
