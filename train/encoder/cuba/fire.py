"""The neurons of one layer as one differentiable function, whatever the path."""

from typing import Any

import torch
from torch import Tensor

from sqdr.errors import TrainingError
from sqdr.train.encoder.cuba.path import CubaPath, NeuronConstants

__all__ = ["fire"]


def fire(inputs: Tensor, neuron: Any, path: CubaPath, *, is_spent: bool = False) -> Tensor:
    """Return the spikes of a SLAYER CUBA neuron for its weighted input spikes.

    Args:
        inputs: (N, ..., T) float32.
        neuron: of which the constants are read.
        path: that computes.
        is_spent: nobody needs ``inputs`` any more: the path may use their memory, also when it raises.

    Raises:
        TrainingError: a gradient of the decays is asked for.
        OutOfRange: a state is too large for the path.
    """
    if neuron.current_decay.requires_grad or neuron.voltage_decay.requires_grad:
        raise TrainingError(
            "the decays must not require gradients: SLAYER's are -4096 times the true ones. "
            "Freeze them with requires_grad_(False)."
        )
    constants = NeuronConstants.of(neuron)
    if torch.is_grad_enabled() and inputs.requires_grad:
        spikes: Tensor = _Fire.apply(inputs, path, constants, is_spent)  # type: ignore[no-untyped-call]
        return spikes
    return path.logical(_states(inputs, path, constants, is_spent)[0])


def _states(inputs: Tensor, path: CubaPath, constants: NeuronConstants, is_spent: bool) -> tuple[Tensor, Tensor]:
    major = path.major(inputs)
    is_copy = major.data_ptr() != inputs.data_ptr()
    return path.fire(major, constants, is_spent=is_spent or is_copy)


class _Fire(torch.autograd.Function):
    """Steps forward as the hardware does, backward by SLAYER's surrogate.

    With s' = height * exp(-|v - threshold| / tau), of the voltage v before the reset, which the gradient
    ignores: dv[t] = s'(v[t]) ds[t] + kept_voltage dv[t+1] and du[t] = dv[t] + kept_current du[t+1].
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, path: CubaPath, constants: NeuronConstants, is_spent: bool) -> Tensor:
        spikes, voltage = _states(inputs, path, constants, is_spent)
        ctx.path, ctx.constants = path, constants
        ctx.save_for_backward(voltage)
        return path.logical(spikes)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (voltage,) = ctx.saved_tensors
        path: CubaPath = ctx.path
        return path.logical(path.gradient(path.major(grad), voltage, ctx.constants)), None, None, None
