"""The processes that do a study's runs, many runs each, one thread each."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from sqdr.errors import BackendCrashError
from sqdr.train.studies.folder import Task
from sqdr.train.studies.single_run import Outcome, train_once

__all__ = ["outcomes"]


def outcomes(tasks: list[Task], n_jobs: int, data_root: Path | None) -> Iterator[tuple[Task, Outcome]]:
    """Yield each task with its outcome, as they come.

    Args:
        tasks: to do.
        n_jobs: processes; one works in this process.
        data_root: the data set's folder, in place of the configuration's.

    Raises:
        BackendCrashError: a process was killed.
    """
    if n_jobs == 1 or len(tasks) < 2:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for task in tasks:
                yield task, train_once(task.config.with_data_root(data_root), task.faults)
        finally:
            torch.set_num_threads(n_threads)
        return
    # not fork: torch has threads of its own by now
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(n_jobs, len(tasks)), mp_context=context, initializer=_start) as pool:
        futures = {pool.submit(train_once, task.config.with_data_root(data_root), task.faults): task for task in tasks}
        try:
            while futures:
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise BackendCrashError(
                "a process of the study was killed. Start it again: finished runs are kept."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start() -> None:
    torch.set_num_threads(1)
    # Ctrl-C is the parent's to handle; its end, killed too, ends its workers, which would wait for work for ever
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
