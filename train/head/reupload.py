"""The quantum head as a torch module: rates to angles, the reupload circuit, a linear readout."""

from math import pi

import torch
from torch import Tensor, nn

from sqdr.head import HeadParameters
from sqdr.hw_configs import NoiseModel
from sqdr.specification import HeadSpec
from sqdr.train.head.simulator import choose_circuit

__all__ = ["ReuploadHead"]

# N(0, 0.3) and the half turn on the middle angle, found on mnist10k's validation part.
INIT_STD_RAD = 0.3
TRUNCATED_AT_STD = 2.0


class ReuploadHead(nn.Module):
    """Spike rates (N, F) to logits (N, K).

    Args:
        spec: of the head.
        simulator: ``auto``, ``statevector``, ``lightcone`` or ``pennylane:<device>``; all compute the same, see
            `sqdr.train.head.simulator`.
        noise: of gates and readout, to train and evaluate under; None for none.

    Attributes:
        weights: (n_blocks, n_qubits, 3) radians.
        scale_rad: (F,) radians at rate 1; trained only if the specification says so.
        readout: linear (n_qubits -> K), or None.
    """

    def __init__(self, spec: HeadSpec, simulator: str = "auto", noise: NoiseModel | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.weights = nn.Parameter(_initial_weights(spec))
        self.scale_rad = nn.Parameter(
            torch.full((spec.n_features,), spec.scale_rad), requires_grad=spec.is_scale_learned
        )
        self.readout = nn.Linear(spec.n_qubits, spec.n_classes) if spec.has_readout else None
        _, self.circuit = choose_circuit(spec, simulator, noise)

    def angles(self, rates: Tensor) -> Tensor:
        """Return (N, n_qubits, 3) radians for rates (N, F); see `sqdr.head.counts_to_angles`."""
        angles = rates * self.scale_rad
        if self.spec.features_per_qubit == 3:
            return angles.reshape(len(rates), self.spec.n_qubits, 3)
        zeros = torch.zeros_like(angles)
        return torch.stack([zeros, angles, zeros], dim=-1)

    def expectations(self, rates: Tensor) -> Tensor:
        """Return <Z> (N, n_qubits)."""
        return self.circuit(self.angles(rates), self.weights)

    def forward(self, rates: Tensor) -> Tensor:
        """Return logits (N, K)."""
        z = self.expectations(rates)
        return z[:, : self.spec.n_classes] if self.readout is None else self.readout(z)

    def parameters_for_deployment(self) -> HeadParameters:
        """Return the trained values as float64 arrays."""

        def array(tensor: Tensor):  # type: ignore[no-untyped-def]
            return tensor.detach().double().cpu().numpy()

        return HeadParameters(
            weights=array(self.weights),
            scale_rad=array(self.scale_rad),
            readout_weight=None if self.readout is None else array(self.readout.weight),
            readout_bias=None if self.readout is None else array(self.readout.bias),
        )


def _initial_weights(spec: HeadSpec) -> Tensor:
    shape = (spec.n_blocks, spec.n_qubits, 3)
    if spec.weight_init == "uniform":
        return torch.rand(shape) * 2 * pi
    if spec.weight_init == "truncated_normal":
        cut = TRUNCATED_AT_STD * INIT_STD_RAD
        return nn.init.trunc_normal_(torch.empty(shape), std=INIT_STD_RAD, a=-cut, b=cut)
    weights = torch.randn(shape) * INIT_STD_RAD
    weights[..., 1] += pi / 2
    return weights
