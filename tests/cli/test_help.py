"""Help ends with examples that the parser takes, and long commands show how far they are, in a terminal only."""

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from sqdr.cli.app import app
from sqdr.export.api import N_STAGES, export

COMMAND = Path(sys.executable).with_name("sqdr")


def leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something: its words and itself."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*words, name))


LEAVES = dict(leaves(get_command(app), ("sqdr",)))


def help_of(command: Any, words: tuple[str, ...]) -> str:
    return str(command.get_help(command.make_context(" ".join(words), [], resilient_parsing=True)))


def examples(words: tuple[str, ...]) -> list[str]:
    """The examples at the very end of a command's help."""
    lines = [line.strip() for line in help_of(LEAVES[words], words).splitlines() if line.strip()]
    found: list[str] = []
    while lines and lines[-1].startswith("Example: "):
        found.append(lines.pop().removeprefix("Example: "))
    return found


def parse(line: str) -> tuple[tuple[str, ...], Any]:
    """The command that a line names, and its context after the real parser took the rest."""
    first, *rest = shlex.split(line.partition(" > ")[0])
    command, words = get_command(app), (first,)
    while hasattr(command, "commands"):
        context = command.make_context(words[-1], list(rest))
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        words = (*words, name)
    return words, command.make_context(words[-1], list(rest))


def test_there_are_commands() -> None:
    assert len(LEAVES) > 20
    assert ("sqdr", "bench", "encoder") in LEAVES


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_ends_with_examples_that_parse(words: tuple[str, ...]) -> None:
    found = examples(words)
    assert 1 <= len(found) <= 2
    for line in found:
        parsed, context = parse(line)
        assert parsed == words
        assert context.params


def test_an_example_with_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --no-such"):
        parse("sqdr train --no-such 3")


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "RUN", "--out", "made.sqdr", "--against", "integer"],
        ["verify", "BUNDLE", "--against", "integer", "--samples", "4"],
        ["error-budget", "BUNDLE", "--shots", "10"],
        ["fit", "BUNDLE", "--hw", "loihi2_sim"],
        ["run", "BUNDLE", "-i", "digits:test", "--encoder", "integer", "--device", "local:sv", "-o", "out"],
    ],
    ids=lambda words: words[0],
)
def test_long_commands_show_elapsed_time_in_a_terminal_only(
    arguments: list[str], trained_run: Path, bundle_path: Path, tmp_path: Path
) -> None:
    places = {"RUN": str(trained_run), "BUNDLE": str(bundle_path)}
    words = [str(COMMAND), *(places.get(word, word) for word in arguments)]
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=other_end, cwd=tmp_path, env=os.environ | {"TERM": "xterm"}
    )
    os.close(other_end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
    process.communicate(timeout=120)
    os.close(terminal)
    assert process.returncode == 0
    assert b"0:00:0" in shown
    assert b"-:--:--" in shown or shown.count(b"0:00:0") > 1  # what is left, once it is known
    again = subprocess.run(
        [*words, *(["--overwrite"] if arguments[0] in ("export", "run") else [])],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert (again.returncode, again.stderr.replace("note: ", "")) == (0, "") or arguments[0] == "export"
    assert "0:00:0" not in again.stderr


def test_export_tells_every_stage_in_order(trained_run: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    export(trained_run, tmp_path / "b", against=("integer",), progress=lambda *stage: told.append(stage))
    assert [done for done, _, _ in told] == list(range(N_STAGES))
    assert {total for _, total, _ in told} == {N_STAGES}
    assert told[-1][2] == "reading the bundle back and verifying it"
