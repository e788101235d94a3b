"""A folder in which the commands of one page are run, in order."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from blocks import Block

__all__ = ["CommandFailed", "WorkingFolder"]

TIMEOUT_S = 300
# The same tables on every machine, without colours and with no word from a user's own settings.
TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"}


class CommandFailed(Exception):
    """A command of a page ended with a code that it should not end with."""


@dataclass
class WorkingFolder:
    """Runs shell commands and Python scripts in one folder.

    Args:
        path: of the folder; made if it is missing.
        environment: variables on top of this process's.
        timeout_s: of each command.
    """

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, block: Block) -> None:
        """Write the file that a block is."""
        assert block.file_name is not None
        (self.path / block.file_name).write_text(block.text, encoding="utf-8")

    def shell(self, command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run one line of a shell and return what it wrote on standard output.

        Raises:
            CommandFailed: another exit code than ``codes``, or no end within the time.
        """
        return self._run(["bash", "-euo", "pipefail", "-c", command], command, codes)

    def python(self, script: str) -> str:
        """Run a script and return what it wrote on standard output.

        Raises:
            CommandFailed: it raised, or no end within the time.
        """
        return self._run([sys.executable, "-c", script], script, (0,))

    def _run(self, words: list[str], shown: str, codes: tuple[int, ...]) -> str:
        # the interpreter's own folder first: `sqdr` and `python` are those of this environment
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        with subprocess.Popen(
            words,
            cwd=self.path,
            env={**os.environ, **TERMINAL, **self.environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                # with whatever it started
                os.killpg(process.pid, signal.SIGKILL)
                raise CommandFailed(f"no end within {self.timeout_s:.0f} s: {shown}") from error
        if process.returncode not in codes:
            raise CommandFailed(f"exit code {process.returncode}: {shown}\n{out[-2000:]}\n{err[-4000:]}")
        return out
