"""The joint model: spiking encoder and head, differentiated as one."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sqdr.errors import ConfigError
from sqdr.hw_configs import NoiseModel
from sqdr.specification import ModelSpec
from sqdr.train.ddp.share import Part
from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.slayer import SlayerEncoder
from sqdr.train.head.classical import classical_head
from sqdr.train.head.reupload import ReuploadHead

__all__ = ["HeadKind", "HeadVariant", "JointModel", "RateNormalisation", "float_spikes", "n_trained_parameters"]

HeadKind = Literal["quantum", "linear", "mlp", "fourier"]
RateNormalisation = Literal["none", "sample"]

# The mean rate of an image's features after normalisation: about that of a trained encoder.
NORMAL_RATE = 0.25


@dataclass(frozen=True)
class HeadVariant:
    """What stands in the head's place, and what it is fed with.

    Args:
        kind: the quantum head, or a classical one of `sqdr.train.head.classical`.
        is_circuit_frozen: leave the circuit's rotations as drawn; scales and readout are trained.
        rate_normalisation: ``sample`` divides the rates of each image by their mean, so that losing spikes evenly
            changes nothing but noise.
    """

    kind: HeadKind = "quantum"
    is_circuit_frozen: bool = False
    rate_normalisation: RateNormalisation = "none"


class JointModel(nn.Module):
    """Coded images (N, C, H, W, T) to logits (N, K).

    Args:
        spec: of the whole model.
        simulator: of the head's circuit, see `sqdr.train.head.simulator`.
        cuba_path: what computes the encoder's layers, see `SlayerEncoder`.
        noise: of the circuit's gates and readout; None for none.
        variant: of the head.
        spike_dropout: probability of losing each feature spike in training.

    Attributes:
        head: `ReuploadHead`, or a classical head.
    """

    def __init__(
        self,
        spec: ModelSpec,
        simulator: str = "auto",
        cuba_path: CubaChoice = "auto",
        noise: NoiseModel | None = None,
        *,
        variant: HeadVariant = HeadVariant(),
        spike_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = SlayerEncoder(spec.encoder, spec.coding.max_payload, cuba_path)
        self.variant = variant
        self.spike_dropout = spike_dropout
        self.head: nn.Module
        if variant.kind == "quantum":
            quantum = ReuploadHead(spec.head, simulator, noise)
            quantum.weights.requires_grad_(not variant.is_circuit_frozen)
            self.head = quantum
        else:
            self.head = classical_head(variant.kind, spec.head)

    @property
    def quantum_head(self) -> ReuploadHead:
        """The head as the quantum one.

        Raises:
            ConfigError: it is a classical one.
        """
        if not isinstance(self.head, ReuploadHead):
            raise ConfigError(f"this needs a quantum head, and the model has a {self.variant.kind} one.")
        return self.head

    def forward(self, spikes: Tensor, part: Part | None = None) -> Tensor:
        """Return logits; the head reads the spike rate of each feature.

        Where the images are a ``part`` of a batch, they lose the spikes that they would lose in the whole batch.
        """
        features = self.encoder(spikes)
        if self.training and self.spike_dropout > 0:
            n, rows = (len(features), slice(None)) if part is None else (part.n, part.rows)
            drawn = torch.rand((n, *features.shape[1:]), device=features.device, dtype=features.dtype)[rows]
            features = features * (drawn >= self.spike_dropout)
        return self.classify(features)

    def classify(self, features: Tensor) -> Tensor:
        """Return logits (N, K) for feature spikes (N, F, T)."""
        rates = features.mean(dim=-1)
        if self.variant.rate_normalisation == "sample":
            # half a spike stands for none
            least = 0.5 / features[0].numel()
            rates = rates * (NORMAL_RATE / rates.mean(dim=-1, keepdim=True).clamp(min=least))
        return self.head(rates)  # type: ignore[no-any-return]


def n_trained_parameters(module: nn.Module) -> int:
    """Return how many numbers training adjusts."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def float_spikes(spikes: Tensor) -> Tensor:
    """Return uint8 spikes as the float32 that SLAYER computes in; integers stay exact."""
    return spikes.to(torch.float32)
