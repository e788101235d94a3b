"""Initial weights of the encoder, drawn before `wake_layers` scales them."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from sqdr.train.encoder.slayer import SlayerEncoder

__all__ = ["EncoderInit", "initialise_weights"]

EncoderInit = Literal["slayer", "xavier_normal", "kaiming_normal", "truncated_normal", "orthogonal"]

TRUNCATED_STD = 0.3


def _truncated_normal(weight: Tensor) -> Tensor:
    return nn.init.trunc_normal_(weight, std=TRUNCATED_STD, a=-2 * TRUNCATED_STD, b=2 * TRUNCATED_STD)


DRAW: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "truncated_normal": _truncated_normal,
    "orthogonal": nn.init.orthogonal_,
}


@torch.no_grad()
def initialise_weights(encoder: SlayerEncoder, name: EncoderInit) -> None:
    """Draw every layer's weights anew, times the specification's ``weight_scale``; ``slayer`` leaves them as made.

    Args:
        encoder: changed in place.
        name: ``xavier_normal``, ``kaiming_normal``, ``truncated_normal`` (N(0, 0.3) cut at two standard deviations) or
            ``orthogonal``.
    """
    if name == "slayer":
        return
    for block in encoder.layers():
        synapse = block.synapse
        is_normalised = hasattr(synapse, "weight_g")
        weight = synapse.weight_v if is_normalised else synapse.weight
        DRAW[name](weight)
        weight.mul_(encoder.spec.weight_scale)
        if is_normalised:
            synapse.weight_g.copy_(weight.flatten(1).norm(dim=1).reshape(synapse.weight_g.shape))
