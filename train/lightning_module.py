"""How Lightning trains the joint model: loss, accuracy, optimiser and schedule."""

import logging
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sqdr.errors import TrainingError
from sqdr.train.config import TrainingConfig
from sqdr.train.joint import JointModel, float_spikes

__all__ = ["JointTraining"]

logger = logging.getLogger(__name__)


class JointTraining(lightning.LightningModule):  # type: ignore[misc]
    """Cross-entropy, Adam with one learning rate for each half, a cosine to zero over all steps."""

    def __init__(self, model: JointModel, training: TrainingConfig, n_steps: int) -> None:
        super().__init__()
        self.model = model
        self._training = training
        self._n_steps = n_steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self._measure(batch, "train")
        if not torch.isfinite(loss):
            raise TrainingError("the loss is not a number. Lower training.encoder_lr or head_lr, or set gradient_clip.")
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log loss and accuracy of one validation batch."""
        self._measure(batch, "val")

    def _measure(self, batch: tuple[Tensor, Tensor], part: str) -> Tensor:
        spikes, labels = batch
        logits = self.model(float_spikes(spikes))
        loss = cross_entropy(logits, labels)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        values = {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels))
        return loss

    def on_train_epoch_end(self) -> None:
        """Say how the epoch went."""
        if not logger.isEnabledFor(logging.INFO):
            return  # reading the values would wait for a GPU
        shown = {name: f"{float(value):.4f}" for name, value in sorted(self.trainer.callback_metrics.items())}
        logger.info("epoch %d: %s", self.current_epoch + 1, ", ".join(f"{name} {shown[name]}" for name in shown))

    def configure_optimizers(self) -> Any:
        """Return Adam and the cosine schedule, stepped with every batch."""
        encoder = [p for p in self.model.encoder.parameters() if p.requires_grad]
        head = [p for p in self.model.head.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(
            [
                {"params": encoder, "lr": self._training.encoder_lr},
                {"params": head, "lr": self._training.head_lr},
            ]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self._n_steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep torch's random state, so that a resumed run draws what an unbroken one would."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore torch's random state."""
        torch.set_rng_state(checkpoint["random_state"])
