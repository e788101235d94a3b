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
from sqdr.train.ddp.share import Part
from sqdr.train.joint import JointModel, float_spikes
from sqdr.train.optimiser import optimiser_and_schedule

__all__ = ["JointTraining"]

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Part]


class JointTraining(lightning.LightningModule):  # type: ignore[misc]
    """Cross-entropy, one learning rate for each half, a cosine to zero over all steps."""

    def __init__(self, model: JointModel, training: TrainingConfig, n_steps: int) -> None:
        super().__init__()
        self.model = model
        self._training = training
        self._n_steps = n_steps
        self._of_training, self._of_validation = _Sums(), _Sums()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch; of a part of one, what makes the mean over all parts the batch's loss."""
        loss = self._measure(batch, self._of_training)
        return loss if len(batch) == 2 else loss * batch[2].weight

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Measure one validation batch."""
        self._measure(batch, self._of_validation)

    def _measure(self, batch: Batch, sums: "_Sums") -> Tensor:
        spikes, labels = batch[:2]
        part = None if len(batch) == 2 else batch[2]
        logits = self.model(float_spikes(spikes), part)
        loss = cross_entropy(logits, labels)
        n = len(labels) if part is None else part.n_own
        sums.add(loss.detach(), logits[:n].detach(), labels[:n])
        return loss

    def on_validation_start(self) -> None:
        """Stop, before anything is saved, after an epoch in which a loss was not a number."""
        if not math.isfinite(self._means(self._of_training)[0]):
            raise TrainingError("the loss is not a number. Lower training.encoder_lr or head_lr, or set gradient_clip.")

    def on_validation_epoch_end(self) -> None:
        """Log loss and accuracy of the validation part."""
        self._log("val", self._of_validation)

    def on_train_epoch_end(self) -> None:
        """Log loss and accuracy of the epoch."""
        self._log("train", self._of_training)

    def _log(self, part: str, sums: "_Sums") -> None:
        loss, accuracy = self._means(sums)
        self.log_dict({f"{part}_loss": loss, f"{part}_accuracy": accuracy}, prog_bar=True)
        logger.info("epoch %d: %s_accuracy %.4f, %s_loss %.4f", self.current_epoch + 1, part, accuracy, part, loss)
        sums.clear()

    def _means(self, sums: "_Sums") -> tuple[float, float]:
        """Return mean loss and accuracy over the images of all processes."""
        loss, n_right, n = self.trainer.strategy.reduce(sums.totals(self.device), reduce_op="sum").tolist()
        return loss / max(n, 1), n_right / max(n, 1)

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

    def totals(self, device: torch.device) -> Tensor:
        """Return (3,) float64: the losses of all images, right answers, images; counts are exact in it."""
        if self._loss is None or self._n_right is None:
            return torch.zeros(3, dtype=torch.float64, device=device)
        return torch.stack([self._loss, self._n_right.double(), torch.full_like(self._loss, self._n)])
