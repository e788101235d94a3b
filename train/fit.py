"""The weights of a run, by Lightning's trainer: in one process, or in one of several that share every batch."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from sqdr.data import DataSplits
from sqdr.specification import ModelSpec
from sqdr.storage import storage_errors
from sqdr.train.batches import EVALUATION_BATCH, CodedImages, batches
from sqdr.train.config import TrainConfig, TrainingConfig
from sqdr.train.ddp.share import WHOLE, Share
from sqdr.train.ddp.strategy import TIMEOUT_S, never_wait_for_signals, trainer_options
from sqdr.train.initial_model import INITIALISATION_IMAGES, build_model, initialise_model
from sqdr.train.joint import n_trained_parameters
from sqdr.train.lightning_module import JointTraining
from sqdr.train.process_state import interruptible
from sqdr.train.run_folder import RunFolder

__all__ = ["fit"]

logger = logging.getLogger(__name__)

MONITOR = "val_accuracy"


def fit(
    config: TrainConfig,
    spec: ModelSpec,
    data: DataSplits,
    run: RunFolder,
    accelerator: str,
    *,
    share: Share = WHOLE,
    environment: ClusterEnvironment | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: bool,
    is_resumed: bool,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Leave the best and the last epoch's weights in the run's folder, which the first of several processes alone does.

    Args:
        config: the whole configuration.
        spec: of the model.
        data: all of it, in every process.
        run: claimed, or to be resumed.
        accelerator: ``cpu`` or ``cuda``.
        share: of this process.
        environment: who started the processes; None for what Lightning detects.
        timeout_s: after which waiting for another process is an error.
        progress: show a progress bar on standard error.
        is_resumed: go on from the last checkpoint.
        callbacks: further Lightning callbacks.

    Raises:
        StorageError: the folder cannot be written.
        TrainingError: the loss is not a number, or a layer stays silent.
    """
    training = config.training
    device = f"{accelerator}:{share.rank}" if accelerator == "cuda" and share.n_ranks > 1 else accelerator
    lightning.seed_everything(training.seed, verbose=False)
    # Lightning would seed several processes anew by it, after the weights are drawn
    os.environ.pop("PL_GLOBAL_SEED", None)
    model = build_model(config, spec)
    logger.info("%d trained parameters, on %s, seed %d", n_trained_parameters(model), accelerator, training.seed)
    coding = spec.coding
    train_batches = batches(data.train, coding, training.batch_size, training.seed, device=device, share=share)
    val_batches = batches(data.validation, coding, EVALUATION_BATCH, device=device, share=share)
    if not is_resumed:
        initialise_model(model, config, CodedImages(data.train[:INITIALISATION_IMAGES], coding))
    module = JointTraining(model, training, training.n_epochs * len(train_batches))
    best = _BestCheckpoint(
        run.best.parent, filename=run.best.stem, monitor=MONITOR, mode="max", enable_version_counter=False
    )
    # not `save_last`, by which Lightning keeps an epoch that was the best alone; after the best, whose score it holds
    last = ModelCheckpoint(run.last.parent, filename=run.last.stem, enable_version_counter=False)
    best.FILE_EXTENSION = last.FILE_EXTENSION = run.best.suffix
    with storage_errors(run.root):
        devices = trainer_options(share, environment, timeout_s)
        trainer = _trainer(training, run, [*callbacks, best, last], accelerator, progress, devices)
        never_wait_for_signals(trainer)
        logger.info("%s for %d epochs", "going on" if is_resumed else "training", training.n_epochs)
        with interruptible():
            trainer.fit(module, train_batches, val_batches, ckpt_path=str(run.last) if is_resumed else None)


def _trainer(
    training: TrainingConfig,
    run: RunFolder,
    callbacks: list[Callback],
    accelerator: str,
    progress: bool,
    devices: dict[str, Any],
) -> lightning.Trainer:
    if training.early_stop_patience is not None:
        callbacks.append(EarlyStopping(MONITOR, patience=training.early_stop_patience, mode="max"))
    if progress:
        callbacks.append(_Progress(console_kwargs={"stderr": True}))
    return lightning.Trainer(
        accelerator="gpu" if accelerator == "cuda" else "cpu",
        max_epochs=training.n_epochs,
        callbacks=callbacks,
        logger=[
            # a resumed run must not overwrite what was logged before the break
            CSVLogger(str(run.root), name="logs", version=f"attempt-{len(run.attempts)}"),
            TensorBoardLogger(str(run.root), name="", version="tensorboard"),
        ],
        gradient_clip_val=training.gradient_clip,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        deterministic=accelerator == "cpu",
        **devices,
    )


class _BestCheckpoint(ModelCheckpoint):  # type: ignore[misc]
    """Keeps the best epoch; of equal ones the later, whose learning rate was smaller."""

    def check_monitor_top_k(self, trainer: Any, current: Tensor | None = None) -> bool:
        """Return whether this epoch is to be kept."""
        if current is None:
            return False
        is_best = self.best_model_score is None or bool(current >= self.best_model_score)
        return bool(trainer.strategy.reduce_boolean_decision(is_best))

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
