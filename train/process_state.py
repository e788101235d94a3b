"""What training changes in its process, and puts back."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator

import torch

from sqdr.train.config import TrainingConfig

__all__ = ["interruptible", "reproducible"]

# What Lightning leaves in the environment of the process.
LIGHTNING_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt: Lightning turns it into an exit and ignores the next one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def reproducible(training: TrainingConfig) -> Iterator[None]:
    """Set torch's threads and matrix precision for one run, and quiet the libraries' notices."""
    n_threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    is_deterministic, random_state = torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    variables = {name: os.environ.get(name) for name in LIGHTNING_VARIABLES}
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in loggers]
    if training.n_threads is not None:
        torch.set_num_threads(training.n_threads)
    # SLAYER's dense and conv layers are both convolutions; the circuit's matrix products stay in float32
    torch.backends.cudnn.allow_tf32 = training.precision == "tf32"
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning advises on loader workers and on interrupted epochs; our batches are in memory.
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(n_threads)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.use_deterministic_algorithms(is_deterministic)
        torch.set_rng_state(random_state)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
