"""Runs paid batches in forked processes that kill themselves at a certain step; told what to do line by line.

Each line on standard input is JSON: ``journal``, ``kill_at`` (a step, or null), ``out``. A fork of this process, which
has imported everything already, runs the batch and writes what it found to ``out``. The answer is done or killed.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

# what sqdr imports when it is needed; here before the forks
import braket.aws
import braket.task_result  # noqa: F401
import numpy as np

from sqdr.deploy.braket.journal import Journal
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.braket.service import BraketService
from sqdr.deploy.heads.braket_aws import BraketAwsHead
from sqdr.openqasm import to_openqasm

WEIGHTS = np.random.default_rng(3).uniform(-3, 3, (2, 2, 3))
ANGLES = np.random.default_rng(4).uniform(-3, 3, (4, 2, 3))
STEPS = {
    Journal: ("begin_run", "intend", "created", "completed", "ended", "set_account"),
    BraketService: ("connect", "create", "find", "state", "read", "account_check"),
}


class Steps:
    """Counts steps, each before and after, and ends the process at the one that was chosen."""

    def __init__(self, kill_at: int | None) -> None:
        self.n, self.kill_at = 0, kill_at

    def step(self) -> None:
        if self.n == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.n += 1

    def around(self, original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = original(*arguments, **options)
            self.step()
            return result

        return call


class Statements:
    """A database connection with a step before and after every statement: inside transactions, too."""

    def __init__(self, database: Any, steps: Steps) -> None:
        self._database = database
        self.execute = steps.around(database.execute)
        self.executemany = steps.around(database.executemany)
        self.close = database.close

    @property
    def in_transaction(self) -> bool:
        return bool(self._database.in_transaction)


def run(journal: Path, kill_at: int | None, arn: str) -> dict[str, Any]:
    steps = Steps(kill_at)
    for kind, names in STEPS.items():
        for name in names:
            setattr(kind, name, steps.around(getattr(kind, name)))
    original = Journal._prepare

    def prepare(self: Any, model: str) -> None:
        original(self, model)
        self._db = Statements(self._db, steps)

    Journal._prepare = prepare  # type: ignore[method-assign]
    options = BraketOptions(journal=journal, model="m", max_in_flight=2)
    with BraketAwsHead(to_openqasm(WEIGHTS, "ring"), arn, shots=50, options=options) as head:
        found = head.expectations(ANGLES)
    return {"expectations": found.tolist(), "n_steps": steps.n}


def main() -> None:
    arn = sys.argv[1]
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                Path(task["out"]).write_text(json.dumps(run(Path(task["journal"]), task["kill_at"], arn)))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = "killed" if killed else "done" if status == 0 else f"failed with {status}"
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
