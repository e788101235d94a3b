"""The model that a run starts from: built, drawn, and its layers woken."""

import logging

import torch
from torch import Tensor

from sqdr.specification import ModelSpec
from sqdr.train.batches import CodedImages
from sqdr.train.config import TrainConfig
from sqdr.train.encoder.initialisation import wake_layers
from sqdr.train.encoder.weight_init import initialise_weights
from sqdr.train.joint import JointModel, float_spikes

__all__ = ["INITIALISATION_IMAGES", "build_model", "initialise_model"]

logger = logging.getLogger(__name__)

INITIALISATION_IMAGES = 256


def build_model(config: TrainConfig, spec: ModelSpec) -> JointModel:
    """Return the model of a configuration, with the first weights that torch's random state gives."""
    return JointModel(
        spec,
        config.head.simulator,
        config.training.cuba,
        config.training.noise_model(),
        variant=config.head.variant,
        spike_dropout=config.training.spike_dropout,
    )


def initialise_model(model: JointModel, config: TrainConfig, train: CodedImages) -> None:
    """Draw the encoder's weights as configured, and wake its layers on the first training images.

    Raises:
        TrainingError: a layer stays silent at any scale.
    """
    initialise_weights(model.encoder, config.encoder.weight_init)
    if config.encoder.initial_rate is not None:
        logger.info("setting the layers to a spike rate of %g", config.encoder.initial_rate)
        spikes: Tensor = train[torch.arange(min(INITIALISATION_IMAGES, len(train)))][0]
        wake_layers(model.encoder, float_spikes(spikes), config.encoder.initial_rate)
