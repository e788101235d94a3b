"""Hardware files that are wrong end every command in one line that names the key, and soon."""

import re
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sqdr.cli import main

CHIP = (files("sqdr.hw_configs") / "loihi2_oheo_gulch.yaml").read_text(encoding="utf-8")
QPU = (files("sqdr.hw_configs") / "braket_iqm_garnet.yaml").read_text(encoding="utf-8")
# ten levels of ten: ten thousand million words, were it built
LEVELS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 10))
BOMB = f"l0: &l0 [{', '.join(['lol'] * 10)}]\n{LEVELS}"
SOON_S = 20.0  # a second or two; the machine may be busy


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *arguments])
        start = time.monotonic()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        assert time.monotonic() - start < SOON_S
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return command


def changed(text: str, key: str, new_key: str | None, value: str | None) -> str:
    """The file with another key, or another value of a figure, which is in braces or below its key."""
    found = re.search(rf"^( *){key}:(\s+|\s*{{)value: ([^,}}\n]+)", text, re.MULTILINE)
    assert found is not None, key
    line = f"{found[1]}{new_key or key}:{found[2]}value: {value or found[3]}"
    return text[: found.start()] + line + text[found.end() :]


BAD = {
    "a value with its unit": (changed(CHIP, "n_cores_per_chip", None, "120 cores"), "n_cores_per_chip"),
    "memory in kilobytes": (
        changed(CHIP, "core_memory_bytes", "core_memory_kilobytes", "192"),
        "unknown key 'core_memory_kilobytes'; did you mean 'core_memory_bytes'",
    ),
    "memory with its unit": (changed(CHIP, "core_memory_bytes", None, "192 KiB"), "core_memory_bytes"),
    "prices in cents": (changed(QPU, "per_shot_usd", "per_shot_cents", None), "unknown key 'per_shot_cents'"),
    "a price with its unit": (changed(QPU, "per_task_usd", None, "0.30 USD"), "per_task_usd"),
    "a negative price": (changed(QPU, "per_task_usd", None, "-0.30"), "per_task_usd"),
    "negative memory": (changed(CHIP, "core_memory_bytes", None, "-196608"), "core_memory_bytes"),
    "a negative limit": (changed(CHIP, "n_cores_per_chip", None, "-1"), "n_cores_per_chip"),
    "a limit of zero": (changed(CHIP, "n_cores_per_chip", None, "0"), "n_cores_per_chip"),
    "an unknown key": (CHIP + "colour: blue\n", "unknown key 'colour'"),
    "a key that is nearly right": (changed(CHIP, "n_cores_per_chip", "n_cores_per_chips", None), "did you mean"),
    "negative qubits": (changed(QPU, "n_qubits", None, "-20"), "n_qubits"),
    "qubits with a unit": (changed(QPU, "n_qubits", None, "20 qubits"), "n_qubits"),
    "an alias bomb": (BOMB + CHIP, "aliases"),
    "an alias loop": ("loop: &loop {again: *loop}\n" + CHIP, "aliases"),
    "an alias of itself in a list": ("loop: &loop [*loop]\n" + CHIP, "aliases"),
    "a merge bomb": ("base: &base {a: 1}\nb: {<<: [*base, *base]}\n" + CHIP, "aliases"),
    "nesting without end": ("x: " + "[" * 20_000 + "\n", "not valid YAML"),
    "too large": (CHIP + "# " + "x" * (1 << 16) + "\n", "larger than"),
    "a key twice": (CHIP + "kind: loihi2\n", "given twice"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_in_one_line(what: str, run: Any) -> None:
    text, message = BAD[what]
    Path("mine.yaml").write_text(text)
    for name in ("mine", "./mine.yaml"):
        code, out, err = run("hw", "show", name)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert err.startswith("error: hardware file") and message in err


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_that_wins_by_name_fails_the_fit_and_is_listed_with_its_problem(
    what: str, run: Any, bundle_path: Path
) -> None:
    text, message = BAD[what]
    Path("loihi2_oheo_gulch.yaml").write_text(text)
    code, out, err = run("fit", str(bundle_path), "--hw", "loihi2_oheo_gulch")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    code, out, err = run("hw", "list", "--json")
    assert (code, err) == (0, "")
    assert message in out.replace('\\"', '"')


def test_the_files_that_are_changed_here_are_right_as_they_are(run: Any) -> None:
    for text in (CHIP, QPU):
        Path("mine.yaml").write_text(text)
        assert run("hw", "show", "mine")[0] == 0
