"""What one of several processes does: its share of the training, and nothing that anyone sees but the first's.

Standard output carries reports to the process that started it, one JSON array a line; standard input says, by its end,
that this one is to end.
"""

import _thread
import json
import logging
import os
import sys
import threading
import time
from typing import Any, NoReturn

from sqdr.train.ddp.launcher import END_S, Job
from sqdr.train.ddp.share import Share

__all__ = ["main"]

CHUNK_BYTES = 1 << 10


class _Reports(logging.Handler):
    """The way to the process that started this one; what is logged takes it, too."""

    def __init__(self) -> None:
        super().__init__()
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # nothing that a library prints is a report

    def send(self, *report: Any) -> None:
        self._file.write(json.dumps(report) + "\n")
        self._file.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.send("log", record.name, record.levelno, record.getMessage())


def main(job: str) -> NoReturn:
    """Train one share of a run and exit.

    Args:
        job: a `Job` as JSON.
    """
    reports = _Reports()
    threading.Thread(target=_end_when_told, daemon=True).start()
    try:
        _train(Job.model_validate_json(job), int(os.environ["LOCAL_RANK"]), reports)
        reports.send("done")
    except (KeyboardInterrupt, SystemExit):
        _leave(1)
    except Exception as error:
        reports.send("error", type(error).__name__, " ".join(str(error).split()))
        _leave(1)
    _leave(0)


def _train(job: Job, rank: int, reports: _Reports) -> None:
    from lightning.fabric.plugins.environments import LightningEnvironment

    from sqdr.train.fit import fit
    from sqdr.train.loop import load_data
    from sqdr.train.process_state import reproducible
    from sqdr.train.run_folder import RunFolder

    logging.disable()
    run = RunFolder(job.run)
    config = run.read_config()
    data = load_data(config)  # which was reported on where the processes were started
    if rank == 0:
        logging.disable(logging.NOTSET)
        logging.getLogger("sqdr").addHandler(reports)
        logging.getLogger("sqdr").setLevel(job.log_level)
    with reproducible(config.training):
        fit(
            config,
            run.read_spec(),
            data,
            run,
            job.accelerator,
            share=Share(rank, job.n_devices),
            environment=LightningEnvironment(),
            timeout_s=job.timeout_s,
            progress=job.progress and rank == 0,
            is_resumed=job.is_resumed,
        )


def _end_when_told() -> None:
    while os.read(0, CHUNK_BYTES):
        pass
    _thread.interrupt_main()
    # it may wait for another process, or in a kernel
    time.sleep(END_S)
    _leave(1)


def _leave(code: int) -> NoReturn:
    """End without the interpreter's: threads of a broken process group may never do so."""
    sys.stderr.flush()
    os._exit(code)
