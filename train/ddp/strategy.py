"""How Lightning is told of several processes, and who started them."""

import os
import warnings
from datetime import timedelta
from typing import Any

from lightning import Trainer
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from sqdr.errors import ConfigError
from sqdr.train.checkpoint import SafetensorsCheckpoints
from sqdr.train.ddp.share import WHOLE, Share

__all__ = ["TIMEOUT_S", "never_wait_for_signals", "started_share", "trainer_options"]

# The longest that a process waits for another: at each step for its gradient, at each epoch's end for the checkpoint.
TIMEOUT_S = 600.0


def started_share(n_devices: int) -> Share | None:
    """Return this process's share where torchrun or SLURM started all processes; None where they are to be started.

    Raises:
        ConfigError: another number was started than ``n_devices``, or on several machines.
    """
    for kind in (TorchElasticEnvironment, SLURMEnvironment):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice to use srun
            is_found = kind.detect()
        if not is_found or (n_devices == 1 and kind is SLURMEnvironment):
            continue  # tasks of SLURM may well be runs of their own
        try:
            environment = kind()
        except RuntimeError as error:
            raise ConfigError(f"the processes that SLURM started do not fit: {error}") from error
        n_started = environment.world_size()
        if n_started == 1 and kind is SLURMEnvironment:
            continue  # a job of one task, which has the devices to itself
        if n_started != n_devices:
            raise ConfigError(
                f"`n_devices` must be the {n_started} processes that were started, got {n_devices}. "
                f"Use --devices {n_started}."
            )
        if int(os.environ.get("GROUP_WORLD_SIZE") or os.environ.get("SLURM_NNODES") or 1) > 1:
            raise ConfigError("`n_devices` are those of one machine, and processes were started on several. Use one.")
        return Share(environment.global_rank(), n_started)
    return WHOLE if n_devices == 1 else None


def trainer_options(share: Share, environment: ClusterEnvironment | None, timeout_s: float) -> dict[str, Any]:
    """Return the options of Lightning's trainer for a process of several; those for one device where it is alone.

    Args:
        share: of the process.
        environment: who started it; None for what Lightning detects.
        timeout_s: after which waiting for another process is an error.
    """
    checkpoints = SafetensorsCheckpoints()
    if share.n_ranks == 1:
        return {"devices": 1, "plugins": [checkpoints]}
    return {
        "devices": share.n_ranks,
        # the buffers are the neurons' states, which each batch starts anew
        "strategy": DDPStrategy(timeout=timedelta(seconds=timeout_s), broadcast_buffers=False),
        # our batches are shared out already
        "use_distributed_sampler": False,
        "plugins": [checkpoints, *([] if environment is None else [environment])],
    }


def never_wait_for_signals(trainer: Trainer) -> None:
    """Take out Lightning's question, at every step and to every process, whether a SIGTERM has come.

    The answer is fetched from the device, which would halt it. Whoever started the processes ends them all.
    """
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
