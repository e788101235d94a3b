"""Wake every layer before training: set weight scales from data so that no channel is silent.

A channel that never spikes passes no gradient to the layers before it, and in a small network one
dead channel of two is what collapsed runs have in common.

Source: the idea of layer-sequential unit-variance initialisation, arXiv 1511.06422, with the spike
rate of each output channel in place of a layer's variance.
"""

from typing import Any

import torch
from torch import Tensor

from sqdr.errors import TrainingError
from sqdr.train.encoder.slayer import SlayerEncoder

__all__ = ["wake_layers"]

N_HALVINGS = 14
MIN_FACTOR = 1 / 64
# SLAYER clamps weights to [-4, 3.97] and gives clamped ones no gradient: start well inside.
MAX_WEIGHT = 2.0


@torch.no_grad()
def wake_layers(encoder: SlayerEncoder, spikes: Tensor, rate: float) -> list[float]:
    """Scale the weights into each output channel, first layer to last, towards a mean spike rate.

    A channel that stays below half of ``rate`` at every scale is tried again with its weights negated,
    and the better of the two is kept. Where no factor reaches ``rate`` (weights clamped, few inputs),
    the nearest rate is kept.

    Args:
        encoder: changed in place.
        spikes: (N, C, H, W, T) float32, coded training images; a few hundred will do.
        rate: spikes per neuron and step, between 0 and 1.

    Returns:
        The mean rate of every layer afterwards.

    Raises:
        TrainingError: a layer stays silent at any scale.
    """
    rates: list[float] = []
    for block in encoder.blocks:
        if not hasattr(block, "neuron"):
            spikes = block(spikes)  # flatten
            continue
        _wake_channels(block, spikes, rate)
        spikes = block(spikes)
        rates.append(spikes.mean().item())
        if rates[-1] == 0:
            raise TrainingError(
                f"layer {len(rates) - 1} stays silent at any weight scale. Lower encoder.neuron.threshold, or "
                "use a larger kernel or another seed."
            )
    return rates


def _wake_channels(block: Any, spikes: Tensor, rate: float) -> None:
    length, direction = _length(block), _direction(block)
    start = length.clone()
    found = _scale_channels(block, spikes, rate)
    is_quiet = found < rate / 2
    if not is_quiet.any():
        return
    scaled = length.clone()
    length.copy_(start)
    direction[is_quiet] *= -1
    is_worse = _scale_channels(block, spikes, rate) <= found
    direction[is_quiet & is_worse] *= -1
    keep = ~is_quiet | is_worse
    length[keep] = scaled[keep]


def _scale_channels(block: Any, spikes: Tensor, rate: float) -> Tensor:
    """Bisect one factor per output channel on a logarithmic scale; return each channel's rate."""
    length = _length(block)
    start = length.clone()
    shape = (len(start), *[1] * (start.dim() - 1))
    low = torch.full(shape, MIN_FACTOR)
    high = (MAX_WEIGHT / _largest_weights(block)).clamp(min=1.0).reshape(shape)
    best_factor, best_distance, best_rate = (
        torch.ones(shape),
        torch.full(shape, torch.inf),
        torch.zeros(shape),
    )
    for _ in range(N_HALVINGS):
        factor = (low * high).sqrt()
        length.copy_(start * factor)
        found = _channel_rates(block(spikes)).reshape(shape)
        distance = torch.where(found > 0, (found - rate).abs(), torch.inf)
        is_better = distance < best_distance
        best_factor = torch.where(is_better, factor, best_factor)
        best_rate = torch.where(is_better, found, best_rate)
        best_distance = torch.minimum(distance, best_distance)
        low, high = torch.where(found < rate, factor, low), torch.where(found < rate, high, factor)
    length.copy_(start * best_factor)
    return best_rate.flatten()


def _largest_weights(block: Any) -> Tensor:
    """(C,): the largest |weight| into each output channel."""
    synapse = block.synapse
    if not hasattr(synapse, "weight_g"):
        return synapse.weight.flatten(1).abs().amax(dim=1).clamp(min=1e-6)  # type: ignore[no-any-return]
    direction = synapse.weight_v.flatten(1)
    unit = direction.abs().amax(dim=1) / direction.norm(dim=1).clamp(min=1e-6)
    return (synapse.weight_g.flatten() * unit).abs().clamp(min=1e-6)  # type: ignore[no-any-return]


def _channel_rates(spikes: Tensor) -> Tensor:
    """(N, C, ..., T) -> (C,)."""
    return spikes.transpose(0, 1).flatten(1).mean(dim=1)


def _length(block: Any) -> Tensor:
    """The tensor whose scale is the scale of the weights, output channels first."""
    synapse = block.synapse
    return (synapse.weight_g if hasattr(synapse, "weight_g") else synapse.weight).data  # type: ignore[no-any-return]


def _direction(block: Any) -> Tensor:
    synapse = block.synapse
    return (synapse.weight_v if hasattr(synapse, "weight_v") else synapse.weight).data  # type: ignore[no-any-return]
