"""The path that needs nothing but torch: one convolution for all steps, and whole-layer operations over time."""

import contextlib
import itertools

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from sqdr.train.encoder.cuba.path import DECAY_UNITY, Convolution, NeuronConstants, OutOfRange

__all__ = ["EagerPath", "merged_convolution"]

# Below it a state times a decay is an integer that a float64 holds: 2^40 * 2^12 < 2^53.
LARGEST_STATE = float(1 << 40)


def merged_convolution(spikes: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
    """Return one 2-D convolution of all steps of all samples, as `CubaPath.weigh` does.

    Sums of 8-bit weights are exact in float32 in any order below 2^18, so this is SLAYER's 3-D convolution.
    NNPACK, torch's choice where oneDNN is missing, transforms 3x3 kernels and would round: it is kept off.
    """
    major = spikes.movedim(-1, 0)
    size = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
    with contextlib.nullcontext() if torch.backends.mkldnn.is_available() else _without_nnpack():  # type: ignore[no-untyped-call]
        out = conv2d(major.flatten(0, 1), weight, None, *size)
    return out.reshape(*major.shape[:2], *out.shape[1:]).movedim(0, -1)


def _without_nnpack() -> contextlib.AbstractContextManager[None]:
    from torch.backends import nnpack

    return nnpack.flags(enabled=False)


class EagerPath:
    """A `CubaPath` in torch operations; (T, N, C, H, W) in memory.

    States are integers in float64, which hold them and their products exactly up to 2^40.
    """

    name = "torch"

    def major(self, x: Tensor) -> Tensor:
        """(N, ..., T) -> (T, N, ...)."""
        return x.movedim(-1, 0).contiguous()

    def logical(self, major: Tensor) -> Tensor:
        """(T, N, ...) -> (N, ..., T)."""
        return major.movedim(0, -1)

    def weigh(self, spikes: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
        """See `CubaPath`."""
        return merged_convolution(spikes, weight, convolution)

    def fire(self, inputs: Tensor, constants: NeuronConstants, *, is_spent: bool = False) -> tuple[Tensor, Tensor]:
        """See `CubaPath`."""
        states = (inputs * constants.scale).double().trunc_()
        largest = [states.abs().max()] if states.numel() else []
        if constants.current_decay < DECAY_UNITY and states.numel():
            for before, current in itertools.pairwise(states):
                current += (before * constants.kept_current).trunc_()
            largest.append(states.abs().max())
            states = states.float().double()  # SLAYER hands the current on as float32, which rounds above 2^24
        spikes = torch.empty_like(inputs)
        # as SLAYER, which compares in float32
        threshold = torch.tensor(constants.threshold * constants.scale, dtype=torch.float32, device=inputs.device)
        left: Tensor | None = None
        for voltage, spike in zip(states, spikes, strict=True):
            if left is not None:
                voltage += left
            torch.ge(voltage.float(), threshold, out=spike)
            left = (voltage * constants.kept_voltage).trunc_().mul_(1 - spike)
        if largest:
            largest.append(states.abs().max())
            if not bool((torch.stack(largest) < LARGEST_STATE).all()):
                raise OutOfRange
        return spikes, (states.float() / constants.scale)

    def gradient(self, grad: Tensor, voltage: Tensor, constants: NeuronConstants) -> Tensor:
        """See `CubaPath`."""
        # a division by a tensor, as SLAYER's, rounds; one by a number may become a product and differ
        tau = torch.tensor(-constants.tau, dtype=torch.float32, device=voltage.device)
        surrogate = (voltage - constants.threshold).abs_().div_(tau).exp_()
        out = surrogate.mul_(constants.height).mul_(grad)
        for kept in (constants.kept_voltage, constants.kept_current):
            for step in range(len(out) - 2, -1, -1) if kept else ():
                out[step].add_(out[step + 1], alpha=kept)
        return out
