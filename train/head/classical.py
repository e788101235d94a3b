"""Classical heads of as many trained numbers as the quantum head, to compare it with. They are not exported."""

from math import pi

import torch
from torch import Tensor, nn

from sqdr.specification import HeadSpec

__all__ = ["FourierFeatures", "classical_head", "hidden_size", "n_quantum_parameters"]


class FourierFeatures(nn.Module):
    """Rates (N, F) to cos(W r + b) (N, M), W and b trained.

    W starts from N(0, pi/2), the circuit's angle at rate 1; b from U(0, 2 pi).

    Source: Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007.
    """

    def __init__(self, n_features: int, n_waves: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(n_waves, n_features) * pi / 2)
        self.phases = nn.Parameter(torch.rand(n_waves) * 2 * pi)

    def forward(self, rates: Tensor) -> Tensor:
        """Return the features."""
        return torch.cos(rates @ self.frequencies.T + self.phases)


def n_quantum_parameters(spec: HeadSpec) -> int:
    """Return how many numbers the quantum head trains: rotations, scales, readout."""
    readout = (spec.n_qubits + 1) * spec.n_classes if spec.has_readout else 0
    return 3 * spec.n_blocks * spec.n_qubits + (spec.n_features if spec.is_scale_learned else 0) + readout


def hidden_size(spec: HeadSpec) -> int:
    """Return the units between F features and K classes that come nearest to the quantum head's parameters."""
    return max(1, round((n_quantum_parameters(spec) - spec.n_classes) / (spec.n_features + 1 + spec.n_classes)))


def classical_head(kind: str, spec: HeadSpec) -> nn.Module:
    """Return a head from rates (N, F) to logits (N, K).

    Args:
        kind: ``linear``; ``mlp``, one hidden layer with ReLU; ``fourier``, see `FourierFeatures`. The latter two have
            the parameters of the quantum head of ``spec``, as nearly as whole units allow.
        spec: of the quantum head that it stands in for.
    """
    if kind == "linear":
        return nn.Linear(spec.n_features, spec.n_classes)
    n_hidden = hidden_size(spec)
    hidden: nn.Module = FourierFeatures(spec.n_features, n_hidden)
    if kind == "mlp":
        hidden = nn.Sequential(nn.Linear(spec.n_features, n_hidden), nn.ReLU())
    return nn.Sequential(hidden, nn.Linear(n_hidden, spec.n_classes))
