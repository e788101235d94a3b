"""What moves the weights: an optimiser with one learning rate for each half, and a cosine to zero."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from sqdr.train.config import TrainingConfig
from sqdr.train.joint import JointModel

__all__ = ["optimiser_and_schedule"]

MOMENTUM = 0.9

OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, momentum=MOMENTUM),
}


def optimiser_and_schedule(
    model: JointModel, training: TrainingConfig, n_steps: int
) -> tuple[torch.optim.Optimizer, CosineAnnealingLR]:
    """Return the optimiser of a model's trained parameters and its schedule over ``n_steps`` batches."""
    groups = [
        {"params": [p for p in half.parameters() if p.requires_grad], "lr": lr}
        for half, lr in ((model.encoder, training.encoder_lr), (model.head, training.head_lr))
    ]
    optimiser = OPTIMISERS[training.optimiser]([group for group in groups if group["params"]])
    return optimiser, CosineAnnealingLR(optimiser, n_steps)
