"""kill -9 at every step of a paid run: every task is picked up, no sample is lost, none is submitted twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sqdr.deploy.braket.journal import Journal
from sqdr.deploy.fakes import FakeBraket

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

N_POINTS = 60  # of each device, evenly over all steps
CHILD = Path(__file__).parents[2] / "support" / "braket_kill_child.py"


class Runs:
    """Batches that may be killed, each in a process of its own."""

    def __init__(self, folder: Path, arn: str) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), arn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )

    def run(self, journal: Path, kill_at: int | None) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out = self.folder / "out.json"
        out.unlink(missing_ok=True)
        task = {"journal": str(journal), "kill_at": kill_at, "out": str(out)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "out.json").read_text())  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("device", ["tasks", "program sets"])
def test_killed_at_any_step_and_resumed_pays_for_nothing_twice(
    fake_braket: FakeBraket, tmp_path: Path, device: str
) -> None:
    fake = fake_braket
    if device == "program sets":
        fake.set_limits(fake.qpu_arn, max_executables=3)  # two circuits and the canary
    runs = Runs(tmp_path, fake.simulator_arn if device == "tasks" else fake.qpu_arn)
    try:
        fake.outcomes = [("COMPLETED", ""), ("FAILED", "cold")]
        assert runs.run(tmp_path / "whole.sqlite", None) == "done"
        n_tasks, n_steps = len(fake.tasks), runs.result()["n_steps"]
        assert n_tasks == (6 if device == "tasks" else 3)
        points = range(0, n_steps, n_steps // N_POINTS)
        assert len(points) >= N_POINTS
        for point in points:
            journal, before = tmp_path / f"killed-{point}.sqlite", len(fake.tasks)
            fake.outcomes = [("COMPLETED", ""), ("FAILED", "cold")]
            assert runs.run(journal, point) == "killed"
            if point % 2:  # and once more on the way back
                assert runs.run(journal, (point * 7) % 40) in ("killed", "done")
            assert runs.run(journal, None) == "done"
            assert len(fake.tasks) - before == n_tasks, f"killed at step {point}"
            assert len(runs.result()["expectations"]) == 4
            with Journal.look(journal) as look:
                assert look.open_tasks() == []
                paid = [task for task in look.tasks() if task.status == "COMPLETED"]
                assert len({task.name for task in paid}) == len(paid) == n_tasks - 1
    finally:
        runs.close()
