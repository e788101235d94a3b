"""The joint model: spiking encoder and quantum head, differentiated as one."""

import torch
from torch import Tensor, nn

from sqdr.hw_configs import NoiseModel
from sqdr.specification import ModelSpec
from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.slayer import SlayerEncoder
from sqdr.train.head.reupload import ReuploadHead

__all__ = ["JointModel", "float_spikes", "n_trained_parameters"]


class JointModel(nn.Module):
    """Coded images (N, C, H, W, T) to logits (N, K).

    Args:
        spec: of the whole model.
        simulator: of the head's circuit, see `sqdr.train.head.simulator`.
        cuba_path: what computes the encoder's layers, see `SlayerEncoder`.
        noise: of the circuit's gates and readout; None for none.
    """

    def __init__(
        self,
        spec: ModelSpec,
        simulator: str = "auto",
        cuba_path: CubaChoice = "auto",
        noise: NoiseModel | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = SlayerEncoder(spec.encoder, spec.coding.max_payload, cuba_path)
        self.head = ReuploadHead(spec.head, simulator, noise)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return logits; the head reads the spike rate of each feature."""
        return self.head(self.encoder(spikes).mean(dim=-1))  # type: ignore[no-any-return]


def n_trained_parameters(module: nn.Module) -> int:
    """Return how many numbers training adjusts."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def float_spikes(spikes: Tensor) -> Tensor:
    """Return uint8 spikes as the float32 that SLAYER computes in; integers stay exact."""
    return spikes.to(torch.float32)
