"""How Lightning trains the joint model: loss, accuracy, optimiser and schedule."""

import logging
import math
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sqdr.errors import TrainingError
from sqdr.train.config import TrainingConfig
from sqdr.train.joint import JointModel, float_spikes
from sqdr.train.optimiser import optimiser_and_schedule

__all__ = ["JointTraining"]

logger = logging.getLogger(__name__)


class JointTraining(lightning.LightningModule):  # type: ignore[misc]
    """Cross-entropy, one learning rate for each half, a cosine to zero over all steps."""

    def __init__(self, model: JointModel, training: TrainingConfig, n_steps: int) -> None:
        super().__init__()
        self.model = model
        self._training = training
        self._n_steps = n_steps
        self._of_training, self._of_validation = _Sums(), _Sums()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        return self._measure(batch, self._of_training)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Measure one validation batch."""
        self._measure(batch, self._of_validation)

    def _measure(self, batch: tuple[Tensor, Tensor], sums: "_Sums") -> Tensor:
        spikes, labels = batch
        logits = self.model(float_spikes(spikes))
        loss = cross_entropy(logits, labels)
        sums.add(loss.detach(), logits.detach(), labels)
        return loss

    def on_validation_start(self) -> None:
        """Stop, before anything is saved, after an epoch in which a loss was not a number."""
        if not math.isfinite(self._of_training.mean_loss()):
            raise TrainingError("the loss is not a number. Lower training.encoder_lr or head_lr, or set gradient_clip.")

    def on_validation_epoch_end(self) -> None:
        """Log loss and accuracy of the validation part."""
        self._log("val", self._of_validation)

    def on_train_epoch_end(self) -> None:
        """Log loss and accuracy of the epoch."""
        self._log("train", self._of_training)

    def _log(self, part: str, sums: "_Sums") -> None:
        loss, accuracy = sums.mean_loss(), sums.accuracy()
        self.log_dict({f"{part}_loss": loss, f"{part}_accuracy": accuracy}, prog_bar=True)
        logger.info("epoch %d: %s_accuracy %.4f, %s_loss %.4f", self.current_epoch + 1, part, accuracy, part, loss)
        sums.clear()

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the cosine schedule, stepped with every batch."""
        optimiser, schedule = optimiser_and_schedule(self.model, self._training, self._n_steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep torch's random state, so that a resumed run draws what an unbroken one would."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore torch's random state."""
        torch.set_rng_state(checkpoint["random_state"])


class _Sums:
    """Loss and right answers of an epoch, on the device: to fetch them at each step would halt it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start again from nothing."""
        self._n = 0
        self._loss: Tensor | None = None
        self._n_right: Tensor | None = None

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss (), logits (N, K) and labels (N,)."""
        if self._loss is None or self._n_right is None:
            self._loss = torch.zeros((), dtype=torch.float64, device=loss.device)
            self._n_right = torch.zeros((), dtype=torch.int64, device=loss.device)
        self._n += len(labels)
        self._loss.add_(loss, alpha=len(labels))
        self._n_right.add_((logits.argmax(dim=1) == labels).sum())

    def mean_loss(self) -> float:
        """Return the mean over all images; 0 without any."""
        return 0.0 if self._loss is None else self._loss.item() / self._n

    def accuracy(self) -> float:
        """Return the fraction of right answers; 0 without any."""
        return 0.0 if self._n_right is None else self._n_right.item() / self._n
