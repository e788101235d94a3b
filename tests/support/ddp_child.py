"""Imported by each process of several devices before it trains: makes a fault, and writes down what is done.

What is wanted comes in SQDR_TEST_DDP, as JSON: ``fault`` (see `training_step`), in the process of ``rank``, in step
``step`` of epoch ``epoch``; ``record``, a folder outside the run's for what is written down.
"""

import collections
import json
import os
import signal
import sys
from pathlib import Path

import torch

from sqdr.errors import TrainingError
from sqdr.train.ddp import launcher
from sqdr.train.lightning_module import JointTraining

# What takes the place of `launcher.START` in tests.
START = launcher.START.replace("from sqdr", "import ddp_child; from sqdr", 1)

WANTED = json.loads(os.environ.get("SQDR_TEST_DDP", "{}"))
RANK = int(os.environ.get("LOCAL_RANK", -1))

step = JointTraining.training_step


def training_step(self, batch, index):
    """Take a step, or do what was asked for instead."""
    here = (RANK, self.trainer.current_epoch, index)
    if here == (WANTED["rank"], WANTED["epoch"], WANTED["step"]):
        if WANTED["fault"] == "raise":
            raise TrainingError("a fault was asked for.")
        if WANTED["fault"] == "nan":
            with torch.no_grad():
                self.model.head.readout.bias[0] = torch.nan
        if WANTED["fault"] == "unexpected":
            raise ZeroDivisionError("nobody thought\nof this")
        if WANTED["fault"] in ("kill", "stop"):
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[WANTED["fault"]])
    return step(self, batch, index)


def record_into(folder: Path) -> None:
    """Write down, when training ends, what was opened for writing, and what waited for a device or another process.

    ``calls`` counts all of it, ``step_calls`` that between the starts of two steps of one epoch.
    """
    written: set[str] = set()
    calls, step_calls = collections.Counter(), collections.Counter()
    before = collections.Counter()

    def hook(event: str, arguments: tuple) -> None:
        is_opened = event == "open" and not isinstance(arguments[0], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_opened or event in ("os.mkdir", "os.rename", "os.remove"):
            written.add(str(arguments[0]))

    def counted(owner, name: str) -> None:
        call = getattr(owner, name)

        def count(*arguments, **options):
            calls[name] += 1
            return call(*arguments, **options)

        setattr(owner, name, count)

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        counted(torch.Tensor, name)
    for name in ("broadcast", "barrier", "all_reduce", "all_gather", "broadcast_object_list"):
        counted(torch.distributed, name)
    sys.addaudithook(hook)

    def on_train_batch_start(self, batch, index) -> None:
        if index > 0:
            step_calls.update(calls - before)
        before.clear()
        before.update(calls)

    def on_fit_end(self) -> None:
        found = {
            "written": sorted(written),
            "calls": calls,
            "step_calls": step_calls,
            "steps": self.trainer.global_step,
        }
        (folder / f"{RANK}.json").write_text(json.dumps(found), encoding="utf-8")

    JointTraining.on_train_batch_start = on_train_batch_start
    JointTraining.on_fit_end = on_fit_end


if "fault" in WANTED:
    JointTraining.training_step = training_step
if "record" in WANTED:
    record_into(Path(WANTED["record"]))
