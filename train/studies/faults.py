"""Accuracy under faults: noisy pixels, lost feature spikes, noisy gates."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from sqdr.coding import PIXEL_MAX, encode_images
from sqdr.data import Images
from sqdr.errors import ConfigError
from sqdr.hw_configs import BraketLocal, NoiseModel, load_hardware
from sqdr.strict import StrictModel
from sqdr.train.head.simulator import choose_circuit
from sqdr.train.joint import JointModel, float_spikes

__all__ = ["Faults", "accuracies", "drop_spikes", "noise_of", "noisy_pixels"]

BATCH = 256
# Separates the faults' random streams from every other use of a run's seed.
PIXELS, SPIKES = 1, 2

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Faults(StrictModel):
    """Under which faults the test accuracy is measured again, with the weights as trained.

    Args:
        pixel_noise: standard deviations of Gaussian noise on the pixels, as fractions of white.
        spike_drop: probabilities of losing each feature spike on its way to the head.
        is_drop_recalibrated: measure each ``spike_drop`` again with rates multiplied by 1 / (1 - p), as when the angle
            per spike is calibrated to the loss; that is a factor on the head's scale and deploys as it is.
        noise: hardware files of kind ``braket_local``; the circuit's gates and readout get their noise in place of what
            they were trained with. ``noise none`` is measured beside them.
    """

    pixel_noise: tuple[Fraction, ...] = ()
    spike_drop: tuple[Fraction, ...] = ()
    is_drop_recalibrated: bool = False
    noise: tuple[str, ...] = ()


def noisy_pixels(images: NDArray[np.uint8], std: float, seed: int) -> NDArray[np.uint8]:
    """Return images with Gaussian noise, rounded and clipped to 0..255.

    Args:
        images: (N, C, H, W).
        std: as a fraction of white.
        seed: of the noise.
    """
    noise = np.random.default_rng([PIXELS, seed]).normal(0, std * PIXEL_MAX, images.shape)
    return np.clip(np.rint(images + noise), 0, PIXEL_MAX).astype(np.uint8)


def drop_spikes(features: Tensor, probability: float, seed: int) -> Tensor:
    """Return feature spikes (N, F, T), each lost with ``probability``."""
    kept = np.random.default_rng([SPIKES, seed]).random(tuple(features.shape)) >= probability
    return features * torch.from_numpy(kept)


@torch.no_grad()
def accuracies(model: JointModel, images: Images, faults: Faults, seed: int) -> dict[str, float]:
    """Return the accuracy on ``images`` without and with each fault, by name.

    Args:
        model: trained.
        images: labelled.
        faults: which.
        seed: of the pixels' noise and of the lost spikes.
    """
    labels = torch.from_numpy(images.labels)
    clean = _features(model, images.images)

    def right(features: Tensor) -> float:
        return float((model.classify(features).argmax(dim=1) == labels).double().mean())

    found = {"accuracy": right(clean)}
    for std in faults.pixel_noise:
        found[f"pixel_noise {std}"] = right(_features(model, noisy_pixels(images.images, std, seed)))
    for probability in faults.spike_drop:
        dropped = drop_spikes(clean, probability, seed)
        found[f"spike_drop {probability}"] = right(dropped)
        if faults.is_drop_recalibrated:
            found[f"spike_drop {probability} recalibrated"] = right(dropped / (1 - probability))
    if faults.noise:
        head = model.quantum_head
        trained_with = head.circuit
        for name in ("none", *faults.noise):
            _, head.circuit = choose_circuit(head.spec, "auto", noise_of(name))
            found[f"noise {name}"] = right(clean)
        head.circuit = trained_with
    return found


def noise_of(name: str) -> NoiseModel | None:
    """Return the noise of a hardware file, or None for the name ``none``.

    Raises:
        ConfigError: the file has no noise, or breaks a rule.
        DeviceError: no hardware file has this name.
    """
    if name == "none":
        return None
    hardware = load_hardware(name)
    if not isinstance(hardware, BraketLocal) or hardware.noise is None:
        raise ConfigError(f"`faults.noise` must name a hardware file with a noise model, got '{name}'. Use local_dm.")
    return hardware.noise


def _features(model: JointModel, images: NDArray[np.uint8]) -> Tensor:
    """(N, C, H, W) -> (N, F, T)."""
    parts = [
        model.encoder(float_spikes(torch.from_numpy(encode_images(images[start : start + BATCH], model.spec.coding))))
        for start in range(0, len(images), BATCH)
    ]
    return torch.cat(parts)
