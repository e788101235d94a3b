"""Shell completion: what is offered, in a real bash too, and that it loads nothing heavy."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sqdr.cli import completion
from sqdr.deploy.heads.devices import open_head
from sqdr.hw_configs import Loihi2, list_hardware
from sqdr.hw_configs.loader import KINDS, load_hardware
from sqdr.openqasm import to_openqasm
from sqdr.plugins import plugin_names
from sqdr.train.config import packaged_configs
from sqdr.train.encoder.presets import PresetName

COMMAND = Path(sys.executable).with_name("sqdr")
HEAVY = (
    "torch",
    "numpy",
    "pennylane",
    "braket",
    "lava",
    "lightning",
    "onnx",
    "yaml",
    "sqdr.train.config",
    "sqdr.bundle",
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complete(*words: str, at: int | None = None, command: tuple[str, ...] = (str(COMMAND),)) -> list[str]:
    """What bash's completion function gets; the last word is the one that is completed."""
    number = len(words) if at is None else at
    environment = os.environ | {
        "COMP_WORDS": "\n".join(["sqdr", *words]),
        "COMP_CWORD": str(number),
        "_SQDR_COMPLETE": "complete_bash",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        (["hw", ""], ["list", "show", "schema"]),
        (["train", "--config", "digits_"], ["digits_base", "digits_small", "digits_tiny"]),
        (["init", "--data", "m"], ["mnist", "mnist10k"]),
        (["init", "--preset", "digits_s"], ["digits_small"]),
        (["run", "b", "--encoder", ""], plugin_names("sqdr.encoders")),
        (["run", "b", "--input", "dig"], ["digits:test", "digits:train", "digits:validation"]),
        (["run", "b", "--device", "local:b"], ["local:braket-dm", "local:braket-sv"]),
        (["plan", "b", "--device", "braket_iqm"], ["braket_iqm_emerald", "braket_iqm_garnet"]),
        (["fit", "b", "--hw", "loihi2_o"], ["loihi2_oheo_gulch"]),
        (["hw", "show", "loihi2_s"], ["loihi2_sim"]),
        (["export", "r", "--hardware", "loihi2_k"], ["loihi2_kapoho_point"]),
        (["verify", "b", "--against", "c"], ["classifier.onnx"]),
        (["error-budget", "b", "--device", "local_"], ["local_dm", "local_dm_tenfold"]),
        (["run", "b", "--form"], ["--format"]),
        (["run", "b", "--format", ""], ["jsonl", "parquet"]),
        (["train", "--config", "nothing_like_it"], []),
    ],
)
def test_names_are_completed(words: list[str], offered: list[str]) -> None:
    assert sorted(complete(*words)) == sorted(offered)


@pytest.mark.parametrize(
    ("words", "at", "offered"),
    [
        (["run", "b", "--device", "local", ":", "s"], 6, ["sv"]),
        (["run", "b", "--device", "local", ":"], 5, ["braket-dm", "braket-sv", "dm", "sv"]),
        (["run", "b", "--input", "digits", ":", "t"], 6, ["test", "train"]),
        # what stands before counts as one word, too
        (["run", "b", "--input", "digits", ":", "test", "--device", "local", ":", "d"], 10, ["dm"]),
    ],
)
def test_bash_gets_the_part_after_the_colon(words: list[str], at: int, offered: list[str]) -> None:
    assert sorted(complete(*words, at=at)) == offered


def test_own_files_of_the_working_folder_are_offered_by_their_kind() -> None:
    Path("my_chip.yaml").write_text("schema_version: 1\nkind: loihi2\n")
    Path("my_qpu.yaml").write_text("kind: 'braket_qpu'\n")
    Path("my_config.yaml").write_text("data: {name: digits}\n")
    Path("my_folder.yaml").mkdir()
    assert completion.hardware_names("my") == ["my_chip", "my_qpu"]
    assert completion.device_names("my") == ["my_qpu"]
    assert completion.config_names("my") == ["my_config.yaml"]


def test_names_are_those_that_the_commands_take() -> None:
    assert completion.hardware_names("") == list_hardware()
    assert completion.config_names("") == packaged_configs()
    assert completion.PRESETS == get_args(PresetName)
    names = completion.device_names("")
    chips = {name for name in list_hardware() if isinstance(load_hardware(name), Loihi2)}
    assert set(names) - set(completion.DEVICES) == set(list_hardware()) - chips
    assert {completion._kind(path).decode() for path in completion._packaged("sqdr.hw_configs")} == set(KINDS)
    weights = np.zeros((1, 1, 3))
    for name in completion.DEVICES:
        program = to_openqasm(weights, "none", 1)
        opened = open_head(name, openqasm=program, weights=weights, entangler="none", n_qubits=1, shots=None, seed=None)
        opened.close()


@pytest.mark.parametrize("words", [["run", "b", "--device", ""], ["train", "--config", ""], ["run", "--encoder", ""]])
def test_completion_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', [name for name in {HEAVY!r} if name in sys.modules]))\n"
        "sys.argv = ['sqdr']\n"
        "from sqdr.cli import main\n"
        "main()\n"
    )
    printed = complete(*words, command=(sys.executable, "-c", code))
    assert printed[-2:] == ["loaded:", "[]"]
    assert len(printed) > 4


def typed(keys: str, home: Path) -> str:
    """What a real bash shows after its start file was read and keys were pressed."""
    bash = shutil.which("bash")
    assert bash is not None
    environment = {"HOME": str(home), "PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve(bash, [bash, "--noprofile", "--rcfile", str(home / ".bashrc"), "-i"], environment)
    shown, keys_left, last = b"", keys.encode(), time.monotonic()
    deadline = last + 30
    # the keys once the prompt is there, then until nothing has changed for some seconds
    while time.monotonic() < deadline and time.monotonic() - last < 4:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            shown += os.read(terminal, 1 << 16)
            last = time.monotonic()
        elif keys_left:
            os.write(terminal, keys_left)
            keys_left, last = b"", time.monotonic()
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown.decode(errors="replace")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_installed_completion_works_in_bash(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home)}
    # as a user types it: the shell is the parent process
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} --install-completion; true"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "bash completion installed in" in done.stdout, done.stderr
    assert "sqdr run b --device local:sv" in typed("sqdr run b --device local:s\t", home)
    assert "sqdr train --config digits_small" in typed("sqdr train --config digits_sm\t", home)


def test_help_lists_it() -> None:
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert "--install-completion" in done.stdout
