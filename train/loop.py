"""One training run, from configuration to a finished run folder."""

import dataclasses
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch.callbacks import Callback

from sqdr.data import DataSplits, Images
from sqdr.errors import ConfigError, DataError, MissingDependencyError, StorageError
from sqdr.metrics import merge_metrics
from sqdr.plugins import load_plugin
from sqdr.specification import ModelSpec
from sqdr.storage import storage_errors, write_atomically
from sqdr.train.batches import EVALUATION_BATCH, batches
from sqdr.train.checkpoint import load_checkpoint
from sqdr.train.config import DataConfig, TrainConfig, TrainingConfig, resolve_model
from sqdr.train.curves import draw_curves, write_metrics
from sqdr.train.ddp.launcher import Job, launch
from sqdr.train.ddp.share import Share
from sqdr.train.ddp.strategy import TIMEOUT_S, started_share
from sqdr.train.encoder.cuba.choice import check_choice
from sqdr.train.encoder.slayer import cuda_problem
from sqdr.train.fit import fit
from sqdr.train.initial_model import build_model
from sqdr.train.joint import JointModel, float_spikes, n_trained_parameters
from sqdr.train.process_state import reproducible
from sqdr.train.run_folder import RunFolder, RunSummary, load_weights
from sqdr.train.versions import library_versions

__all__ = ["accuracy", "load_data", "load_splits", "resume_training", "run_training"]

logger = logging.getLogger(__name__)

# By this file a folder is known as a run of ours, which alone may be replaced.
MARKER = ".sqdr-run"


def load_data(config: TrainConfig) -> DataSplits:
    """Return the configured data set.

    Raises:
        DataError: it is missing or unreadable.
        ConfigError: no such data set.
    """
    return load_splits(config.data)


def load_splits(config: DataConfig) -> DataSplits:
    """Return a data set, its training part cut to ``limit``; raises as `load_data` does."""
    logger.info("reading data set %s", config.name)
    data: DataSplits = load_plugin("sqdr.datasets", config.name)(config.root)
    limit = config.limit
    if limit is not None and limit > len(data.train):
        raise ConfigError(f"`limit` must be at most the {len(data.train)} training images of {data.name}, got {limit}.")
    if limit is not None:
        data = dataclasses.replace(data, train=data.train[:limit])
    logger.info(
        "%d training, %d validation and %d test images of shape %s in %d classes",
        len(data.train),
        len(data.validation),
        len(data.test),
        data.train.images.shape[1:],
        len(data.class_names),
    )
    return data


def run_training(
    config: TrainConfig,
    out: Path,
    *,
    overwrite: bool = False,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
) -> RunSummary:
    """Train from scratch into the folder ``out``.

    On several devices other processes train, one each; where torchrun or SLURM started them, this one is one of them,
    and ends (SystemExit) when it has trained, unless it is the first.

    Args:
        config: the whole configuration.
        out: made if missing; an earlier run there is replaced only with ``overwrite``.
        overwrite: replace an earlier run.
        progress: show a progress bar on standard error.
        callbacks: further Lightning callbacks, on one device.

    Raises:
        BackendCrashError: the process of a device was killed, or failed for no reason of ours.
        StorageError: ``out`` is in the way or cannot be written.
        ConfigError: the model does not fit the data, or the device is not there.
        TrainingError: the loss is not a number, or a layer stays silent.
    """
    run = RunFolder(out)
    config = config.with_data_root(config.data.root or os.environ.get("SQDR_DATA_DIR")).with_noise_file()
    config.training.noise_model()  # a wrong name ends here, before anything is made
    data = load_data(config)
    spec = resolve_model(config, data)
    check_choice(config.training.cuba)
    accelerator = _accelerator(config.training)
    share = started_share(config.training.n_devices)
    if share is None and callbacks:
        raise ConfigError("`callbacks` cannot go to the processes of several devices. Use n_devices 1, or torchrun.")
    if share is None or share.rank == 0:
        _claim(run, overwrite)
        with storage_errors(run.root):
            write_atomically(run.config, config.to_yaml().encode())
            write_atomically(run.model, spec.model_dump_json(indent=2).encode())
    return _run(config, spec, data, run, accelerator, share, progress=progress, is_resumed=False, callbacks=callbacks)


def resume_training(
    out: Path, *, n_epochs: int | None = None, n_devices: int | None = None, progress: bool = False
) -> RunSummary:
    """Continue an unfinished run from its last finished epoch, as if it had not been broken off.

    A finished run is reported again without training. ``n_epochs`` must be the run's own: the
    learning-rate schedule depends on it. ``n_devices`` may be another than the run's.

    Raises:
        DataError: not a run, or its checkpoint is damaged.
        ConfigError: other epochs, or more devices than there are.
    """
    run = RunFolder(out)
    if not run.config.is_file():
        raise DataError(f"{out} is not a training run. Start one with `sqdr train --config FILE --out {out}`.")
    config = run.read_config()
    if n_epochs is not None and n_epochs != config.training.n_epochs:
        raise ConfigError(
            f"`n_epochs` must be the run's own {config.training.n_epochs} when resuming, got {n_epochs}: the "
            "learning rates follow it. Start a new run instead."
        )
    if run.summary.is_file():
        return run.read_summary()
    config = config.with_options(n_devices=n_devices)
    accelerator, share = _accelerator(config.training), started_share(config.training.n_devices)
    data, is_resumed = load_data(config), run.last.is_file()
    return _run(config, run.read_spec(), data, run, accelerator, share, progress=progress, is_resumed=is_resumed)


def _run(
    config: TrainConfig,
    spec: ModelSpec,
    data: DataSplits,
    run: RunFolder,
    accelerator: Literal["cpu", "cuda"],
    share: Share | None,
    *,
    progress: bool,
    is_resumed: bool,
    callbacks: Sequence[Callback] = (),
) -> RunSummary:
    start = time.perf_counter()
    training = config.training
    with reproducible(training):
        if share is None:
            launch(
                Job(
                    run=run.root,
                    n_devices=training.n_devices,
                    accelerator=accelerator,
                    is_resumed=is_resumed,
                    progress=progress,
                    timeout_s=TIMEOUT_S,
                    log_level=logging.getLogger("sqdr").getEffectiveLevel(),
                )
            )
        else:
            fit(
                config,
                spec,
                data,
                run,
                accelerator,
                share=share,
                progress=progress and share.rank == 0,
                is_resumed=is_resumed,
                callbacks=callbacks,
            )
            if share.rank > 0:
                sys.exit(0)  # what remains is the first process's
        model = load_weights(build_model(config, spec), run.best)
        with storage_errors(run.root):
            metrics = merge_metrics(run.attempts)
            write_metrics(metrics, run.root / "metrics.csv")
            draw_curves(metrics, run.root / "curves.png", f"{data.name}, seed {training.seed}")
        logger.info("measuring accuracies of the best epoch")
        summary = RunSummary(
            data=data.name,
            seed=training.seed,
            n_parameters=n_trained_parameters(model),
            n_epochs=int(load_checkpoint(run.last)["epoch"]) + 1,
            best_epoch=int(load_checkpoint(run.best)["epoch"]) + 1,
            train_accuracy=accuracy(model, data.train),
            val_accuracy=accuracy(model, data.validation),
            test_accuracy=accuracy(model, data.test),
            noise=training.noise,
            left_out=data.left_out,
            seconds=round(time.perf_counter() - start, 3),
            device=accelerator,
            n_devices=training.n_devices,
            class_names=data.class_names,
            versions=library_versions(),
        )
    write_atomically(run.summary, summary.model_dump_json(indent=2).encode())
    logger.info("run %s is finished: test accuracy %.4f", run.root, summary.test_accuracy)
    return summary


def accuracy(model: JointModel, images: Images) -> float:
    """Return the fraction of images whose largest logit is their label; on the CPU."""
    n_right = 0
    with torch.no_grad():
        for spikes, labels in batches(images, model.spec.coding, EVALUATION_BATCH):
            n_right += int((model(float_spikes(spikes)).argmax(dim=1) == labels).sum())
    return n_right / len(images)


def _accelerator(training: TrainingConfig) -> Literal["cpu", "cuda"]:
    if training.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        # only SLAYER's own code needs kernels that nvcc compiles
        problem = cuda_problem() if training.cuba == "stock" else None
        if problem is None:
            _check_n_devices(training.n_devices)
            return "cuda"
        if training.device == "cuda":
            raise MissingDependencyError(
                f"SLAYER cannot compile its CUDA kernels: {problem}. Set training.cuba to auto, install nvcc and "
                "ninja, or use --device cpu."
            )
        logger.warning("training on the CPU: SLAYER cannot compile its CUDA kernels: %s", problem)
        return "cpu"
    if training.device == "cuda":
        raise ConfigError("`device` is cuda but torch sees no CUDA device. Use --device cpu, or see `sqdr doctor`.")
    return "cpu"


def _check_n_devices(n_devices: int) -> None:
    n_there = torch.cuda.device_count()
    if n_devices > max(n_there, 1):
        raise ConfigError(
            f"`n_devices` must be at most the {n_there} CUDA devices that torch sees, got {n_devices}. "
            f"Use --devices {n_there}, or --device cpu."
        )


def _claim(run: RunFolder, overwrite: bool) -> None:
    """Make the run's folder, or empty an earlier run's."""
    root = run.root
    if root.exists() and not root.is_dir():
        raise StorageError(f"{root} is a file. Choose another --out.")
    if root.is_dir() and any(root.iterdir()):
        if not (root / MARKER).is_file():
            raise StorageError(f"{root} holds other files. Choose another --out.")
        if not overwrite:
            raise StorageError(
                f"{root} holds a run already. Add --overwrite, continue it with --resume, or choose another --out."
            )
        with storage_errors(root):
            shutil.rmtree(root)
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).touch()
