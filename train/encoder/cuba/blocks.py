"""SLAYER's blocks with their synapses and neurons computed by a path of ours; all else stays SLAYER's."""

from typing import Any

import torch
from torch import Tensor

from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.cuba.choice import path_for
from sqdr.train.encoder.cuba.fire import fire
from sqdr.train.encoder.cuba.path import Convolution, CubaPath, OutOfRange
from sqdr.train.encoder.slayer import import_slayer

__all__ = ["CubaConv", "CubaConvBlock", "CubaDense", "CubaDenseBlock", "CubaNeuron", "accelerate"]

_slayer: Any = import_slayer()
# SLAYER's classes, untyped to the type checker
_Conv: Any = _slayer.synapse.Conv
_Dense: Any = _slayer.synapse.Dense
_Neuron: Any = _slayer.neuron.cuba.Neuron
_ConvBlock: Any = _slayer.block.cuba.Conv
_DenseBlock: Any = _slayer.block.cuba.Dense


class _Chosen:
    """Knows which path was chosen; None where SLAYER's own computation must do."""

    cuba_choice: CubaChoice = "auto"

    def cuba_path(self, x: Tensor) -> CubaPath | None:
        """Return the path for ``x``, which must be float32 on a CPU or a GPU and not empty."""
        if x.dtype != torch.float32 or x.device.type not in ("cpu", "cuda") or not x.numel():
            return None
        return path_for(self.cuba_choice, x.device.type)


class CubaConv(_Chosen, _Conv):  # type: ignore[misc]
    """A SLAYER convolution of all steps at once."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W, T) -> (N, C', H', W', T)."""
        path = self.cuba_path(input)
        if path is None:
            return super().forward(input)  # type: ignore[no-any-return]
        convolution = Convolution(
            stride=self.stride[:2], padding=self.padding[:2], dilation=self.dilation[:2], groups=self.groups
        )
        return path.weigh(input, self._pre_hook_fx(self.weight).squeeze(-1), convolution)


class CubaDense(_Chosen, _Dense):  # type: ignore[misc]
    """A SLAYER dense synapse of all steps at once."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, F, T) -> (N, F', T)."""
        path = self.cuba_path(input)
        if path is None or input.dim() != 3 or self.in_channels != input.shape[1]:
            return super().forward(input)  # type: ignore[no-any-return]
        weighed = path.weigh(input[:, :, None, None], self._pre_hook_fx(self.weight).squeeze(-1), Convolution())
        return weighed.flatten(1, 3)


class CubaNeuron(_Chosen, _Neuron):  # type: ignore[misc]
    """SLAYER's neurons over all steps; without norm, dropout, kept state or graded spikes, see `accelerate`."""

    def forward(self, input: Tensor, is_spent: bool = False) -> Tensor:
        """Return spikes (N, ..., T) for weighted spikes.

        Raises:
            OutOfRange: of inputs that are spent: compute them again, and call without.
        """
        path = self.cuba_path(input)
        # the first call, in which SLAYER takes note of the shape, and one that it would refuse
        if path is None or self.shape != input.shape[1:-1]:
            return super().forward(input)  # type: ignore[no-any-return]
        try:
            return fire(input, self, path, is_spent=is_spent)
        except OutOfRange:
            if is_spent:
                raise
            return super().forward(input)  # type: ignore[no-any-return]


class _Block:
    """Lets the neurons have the memory of their weighted spikes, which nobody else gets to see."""

    synapse: Any
    neuron: Any

    def forward(self, x: Tensor) -> Tensor:
        """Return output spikes (N, ..., T) for input spikes."""
        try:
            return self.neuron(self.synapse(x), is_spent=True)  # type: ignore[no-any-return]
        except OutOfRange:
            return self.neuron(self.synapse(x))  # type: ignore[no-any-return]


class CubaConvBlock(_Block, _ConvBlock):  # type: ignore[misc]
    """A SLAYER conv block without delays."""


class CubaDenseBlock(_Block, _DenseBlock):  # type: ignore[misc]
    """A SLAYER dense block without delays."""


def accelerate(block: Any, choice: CubaChoice) -> None:
    """Let a path compute a SLAYER CUBA block, in place; ``stock`` leaves it alone.

    Args:
        block: conv or dense as `SlayerEncoder` builds them: plain neurons of shared decays, without norm,
            dropout, kept state, graded spikes, mask, delays or log.
        choice: of the path.
    """
    if choice == "stock":
        return
    is_dense = isinstance(block.synapse, _Dense)
    # SLAYER builds its blocks itself: what they are is changed afterwards, what they hold stays
    block.__class__ = CubaDenseBlock if is_dense else CubaConvBlock
    block.synapse.__class__ = CubaDense if is_dense else CubaConv
    block.neuron.__class__ = CubaNeuron
    block.synapse.cuba_choice = block.neuron.cuba_choice = choice
