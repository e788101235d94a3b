"""One training run, from configuration to a finished run folder."""

import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from sqdr.data import DataSplits, Images
from sqdr.errors import ConfigError, DataError, MissingDependencyError, StorageError
from sqdr.metrics import merge_metrics
from sqdr.plugins import load_plugin
from sqdr.storage import storage_errors, write_atomically
from sqdr.train.batches import CodedImages, batches
from sqdr.train.checkpoint import SafetensorsCheckpoints, load_checkpoint
from sqdr.train.config import DataConfig, TrainConfig, TrainingConfig, resolve_model
from sqdr.train.curves import draw_curves, write_metrics
from sqdr.train.encoder.cuba.choice import check_choice
from sqdr.train.encoder.slayer import cuda_problem
from sqdr.train.initial_model import INITIALISATION_IMAGES, build_model, initialise_model
from sqdr.train.joint import JointModel, float_spikes, n_trained_parameters
from sqdr.train.lightning_module import JointTraining
from sqdr.train.run_folder import RunFolder, RunSummary, load_weights
from sqdr.train.versions import library_versions

__all__ = ["accuracy", "load_data", "load_splits", "resume_training", "run_training"]

logger = logging.getLogger(__name__)

EVALUATION_BATCH = 256
MONITOR = "val_accuracy"
# By this file a folder is known as a run of ours, which alone may be replaced.
MARKER = ".sqdr-run"
# What Lightning leaves in the environment of the process.
LIGHTNING_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")


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

    Args:
        config: the whole configuration.
        out: made if missing; an earlier run there is replaced only with ``overwrite``.
        overwrite: replace an earlier run.
        progress: show a progress bar on standard error.
        callbacks: further Lightning callbacks.

    Raises:
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
    _claim(run, overwrite)
    with storage_errors(run.root):
        write_atomically(run.config, config.to_yaml().encode())
        write_atomically(run.model, spec.model_dump_json(indent=2).encode())
    return _fit(config, data, run, accelerator, progress=progress, is_resumed=False, callbacks=callbacks)


def resume_training(out: Path, *, n_epochs: int | None = None, progress: bool = False) -> RunSummary:
    """Continue an unfinished run from its last finished epoch, as if it had not been broken off.

    A finished run is reported again without training. ``n_epochs`` must be the run's own: the
    learning-rate schedule depends on it.

    Raises:
        DataError: not a run, or its checkpoint is damaged.
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
    data = load_data(config)
    return _fit(config, data, run, _accelerator(config.training), progress=progress, is_resumed=run.last.is_file())


def _fit(
    config: TrainConfig,
    data: DataSplits,
    run: RunFolder,
    accelerator: str,
    *,
    progress: bool,
    is_resumed: bool,
    callbacks: Sequence[Callback] = (),
) -> RunSummary:
    start = time.perf_counter()
    training = config.training
    with _reproducible(training):
        lightning.seed_everything(training.seed, verbose=False)
        model = build_model(config, run.read_spec())
        logger.info("%d trained parameters, on %s, seed %d", n_trained_parameters(model), accelerator, training.seed)
        coding = model.spec.coding
        train_batches = batches(data.train, coding, training.batch_size, training.seed, device=accelerator)
        val_batches = batches(data.validation, coding, EVALUATION_BATCH, device=accelerator)
        if not is_resumed:
            initialise_model(model, config, CodedImages(data.train[:INITIALISATION_IMAGES], coding))
        module = JointTraining(model, training, training.n_epochs * len(train_batches))
        best = _BestCheckpoint(
            run.best.parent, filename=run.best.stem, monitor=MONITOR, mode="max", enable_version_counter=False
        )
        # not `save_last`, by which Lightning keeps an epoch that was the best alone; after the best, whose
        # score it holds
        last = ModelCheckpoint(run.last.parent, filename=run.last.stem, enable_version_counter=False)
        best.FILE_EXTENSION = last.FILE_EXTENSION = run.best.suffix
        with storage_errors(run.root):
            trainer = _trainer(training, run, [*callbacks, best, last], accelerator, progress)
            logger.info("%s for %d epochs", "going on" if is_resumed else "training", training.n_epochs)
            with _interruptible():
                trainer.fit(module, train_batches, val_batches, ckpt_path=str(run.last) if is_resumed else None)
        load_weights(model.cpu(), run.best)
        with storage_errors(run.root):
            metrics = merge_metrics(run.attempts)
            write_metrics(metrics, run.root / "metrics.csv")
            draw_curves(metrics, run.root / "curves.png", f"{data.name}, seed {training.seed}")
        logger.info("measuring accuracies of the best epoch")
        summary = RunSummary(
            data=data.name,
            seed=training.seed,
            n_parameters=n_trained_parameters(model),
            n_epochs=trainer.current_epoch,
            best_epoch=int(load_checkpoint(run.best)["epoch"]) + 1,
            train_accuracy=accuracy(model, data.train),
            val_accuracy=accuracy(model, data.validation),
            test_accuracy=accuracy(model, data.test),
            noise=training.noise,
            left_out=data.left_out,
            seconds=round(time.perf_counter() - start, 3),
            device=accelerator,
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


def _trainer(
    training: TrainingConfig, run: RunFolder, callbacks: list[Callback], accelerator: str, progress: bool
) -> lightning.Trainer:
    if training.early_stop_patience is not None:
        callbacks.append(EarlyStopping(MONITOR, patience=training.early_stop_patience, mode="max"))
    if progress:
        callbacks.append(_Progress(console_kwargs={"stderr": True}))
    return lightning.Trainer(
        accelerator="gpu" if accelerator == "cuda" else "cpu",
        devices=1,
        max_epochs=training.n_epochs,
        callbacks=callbacks,
        logger=[
            # a resumed run must not overwrite what was logged before the break
            CSVLogger(str(run.root), name="logs", version=f"attempt-{len(run.attempts)}"),
            TensorBoardLogger(str(run.root), name="", version="tensorboard"),
        ],
        plugins=[SafetensorsCheckpoints()],
        gradient_clip_val=training.gradient_clip,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        deterministic=accelerator == "cpu",
    )


class _BestCheckpoint(ModelCheckpoint):  # type: ignore[misc]
    """Keeps the best epoch; of equal ones the later, whose learning rate was smaller."""

    def check_monitor_top_k(self, trainer: Any, current: Tensor | None = None) -> bool:
        """Return whether this epoch is to be kept."""
        if current is None:
            return False
        return self.best_model_score is None or bool(current >= self.best_model_score)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score along when the run folder was moved; Lightning would drop it."""
        best = Path(str(self.dirpath), f"best{self.FILE_EXTENSION}")
        here = {"dirpath": self.dirpath, "best_model_path": str(best)}
        super().load_state_dict(state_dict | here)


class _Progress(RichProgressBar):  # type: ignore[misc]
    """Lightning's bar on standard error, without its experiment number."""

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
        """Return what the bar shows beside the rate."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


def _accelerator(training: TrainingConfig) -> str:
    if training.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        # only SLAYER's own code needs kernels that nvcc compiles
        problem = cuda_problem() if training.cuba == "stock" else None
        if problem is None:
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


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
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
def _reproducible(training: TrainingConfig) -> Iterator[None]:
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
