"""What a path computes, and the constants of a neuron."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Convolution", "CubaPath", "NeuronConstants", "OutOfRange"]

# Decays count in units of 1/4096: lava-dl 0.6.0, neuron/cuba.py, p_scale.
DECAY_UNITY = 4096
# neuron/cuba.py: what its heuristics multiply tau_grad and scale_grad by.
TAU_FACTOR = 100
HEIGHT_FACTOR = 0.1


class OutOfRange(Exception):
    """A state does not fit the integers of this path: SLAYER's own dynamics take over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronConstants:
    """What a layer's neurons compute with.

    Args:
        scale: integer states are real ones times this; a power of two.
        current_decays: (1,) of 4096, where the neuron has it: a GPU's is not fetched.
        voltage_decays: likewise.
        threshold: real; a neuron spikes from here on. It lies half a step above SLAYER's threshold, so that
            v == threshold does not spike.
        tau: of the surrogate gradient ``height * exp(-|v - threshold| / tau)``.
        height: likewise.
    """

    scale: int
    current_decays: Tensor
    voltage_decays: Tensor
    threshold: float
    tau: float
    height: float

    @classmethod
    def of(cls, neuron: Any) -> "NeuronConstants":
        """Return those of a SLAYER CUBA neuron."""
        tau = neuron.tau_rho * TAU_FACTOR
        return cls(
            scale=neuron.s_scale,
            current_decays=neuron.current_decay.detach(),
            voltage_decays=neuron.voltage_decay.detach(),
            threshold=neuron.threshold + neuron.threshold_eps,
            tau=tau,
            height=neuron.scale_rho * HEIGHT_FACTOR / 2 / tau,
        )

    @property
    def current_decay(self) -> int:
        """Of 4096, rounded as SLAYER does."""
        return round(self.current_decays.item())

    @property
    def voltage_decay(self) -> int:
        """Of 4096, rounded as SLAYER does."""
        return round(self.voltage_decays.item())

    @property
    def kept_current(self) -> float:
        """The fraction of the current that a step leaves."""
        return 1 - self.current_decay / DECAY_UNITY

    @property
    def kept_voltage(self) -> float:
        """The fraction of the voltage that a step leaves."""
        return 1 - self.voltage_decay / DECAY_UNITY


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """Of one layer, (height, width) each; a dense layer is one of images of one pixel."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


class CubaPath(Protocol):
    """One way to compute a layer. Tensors are (N, C, H, W, T) or (N, F, T) and float32 to the outside.

    In memory each path has an order of its own with time first, *major*: layers that follow each other
    hand it on, and nothing is copied between them.
    """

    name: str

    def major(self, x: Tensor) -> Tensor:
        """Return ``x`` with its axes in this path's order, contiguous."""
        ...

    def logical(self, major: Tensor) -> Tensor:
        """Undo `major`, without a copy."""
        ...

    def weigh(self, spikes: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
        """Return the weighted spikes (N, C', H', W', T) for ``weight`` (C', C / groups, kernel), differentiable."""
        ...

    def fire(self, inputs: Tensor, constants: NeuronConstants, *, is_spent: bool = False) -> tuple[Tensor, Tensor]:
        """Return spikes and voltages before the reset for weighted spikes, all *major*.

        Args:
            inputs: weighted spikes.
            constants: of the neurons.
            is_spent: nobody needs ``inputs`` any more, so their memory may be used.

        Raises:
            OutOfRange: a state is too large for this path.
        """
        ...

    def gradient(self, grad: Tensor, voltage: Tensor, constants: NeuronConstants) -> Tensor:
        """Return the gradient of the weighted spikes for that of the spikes, all *major*."""
        ...
