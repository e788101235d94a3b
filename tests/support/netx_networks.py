"""Networks for tests: written as netx files, and run by lava-dl's own SLAYER blocks as the reference."""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from sqdr.netx import NetxLayer
from sqdr.train.encoder.slayer import import_slayer

__all__ = ["cuba", "slayer_layer_spikes", "write_network"]

# SLAYER holds weights, thresholds and biases as multiples of 1/64.
SCALE = 64


def cuba(threshold: Any = 64, *, current_decay: Any = 4096, voltage_decay: Any = 410, **more: Any) -> dict[str, Any]:
    """Return neuron parameters by their names in a netx file; one number, or a list of one for each channel."""
    return {
        "type": "CUBA",
        "iDecay": current_decay,
        "vDecay": voltage_decay,
        "vThMant": threshold,
        "refDelay": 1,
        "gradedSpike": False,
    } | more


def write_network(path: Path, layers: Sequence[NetxLayer]) -> Path:
    """Write blocks as lava-dl 0.6.0's own ``export_hdf5`` does (lava/lib/dl/slayer/block/base.py)."""
    with h5py.File(path, "x") as file:
        for index, layer in enumerate(layers):
            group = file.create_group(f"layer/{index}")
            group.create_dataset("type", (1,), "S10", [layer.kind.encode("ascii")])
            group.create_dataset("shape", data=np.array(layer.shape))
            for name in ("weight", "bias", "delay"):
                value = getattr(layer, name)
                if value is not None:
                    group.create_dataset(name, data=np.asarray(value, dtype=np.float32))
            if layer.kind == "conv":
                for name in ("stride", "padding", "dilation"):
                    group.create_dataset(name, data=np.array(getattr(layer, name)))
                group.create_dataset("groups", data=layer.groups)
            for key, value in (layer.neuron or {}).items():
                group.create_dataset(f"neuron/{key}", data=value)
    return path


def slayer_layer_spikes(layers: Sequence[NetxLayer], spikes: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return every layer's spikes (N, ..., T) as SLAYER's blocks have them, from the integers of the file.

    Args:
        layers: conv, flatten and dense blocks whose weights are even and in [-256, 254].
        spikes: (N, C, H, W, T).
    """
    x = torch.from_numpy(spikes.astype(np.float32))
    trains = []
    with torch.no_grad():
        for layer in layers:
            if layer.kind == "input":
                continue
            if layer.kind == "flatten":
                x = x.reshape(len(x), -1, x.shape[-1])
                continue
            if layer.kind == "dense":
                x = x.reshape(len(x), -1, x.shape[-1])
            x = _slayer_block(layer, x)(x)
            trains.append(x.numpy().astype(np.uint8))
    return trains


def _slayer_block(layer: NetxLayer, x: torch.Tensor) -> Any:
    cuba_blocks = import_slayer().block.cuba
    neuron = layer.neuron or {}
    assert layer.weight is not None
    parameters = {
        "threshold": neuron["vThMant"] / SCALE,
        "current_decay": 1.0,
        "voltage_decay": 0.1,
        "norm": _Bias if layer.bias is not None else None,
    }
    common = {"weight_scale": 1, "weight_norm": False, "delay": False, "delay_shift": False}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if layer.kind == "conv":
            block = cuba_blocks.Conv(
                parameters,
                x.shape[1],
                len(layer.weight),
                kernel_size=layer.weight.shape[2:4],
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                **common,
            )
        else:
            block = cuba_blocks.Dense(parameters, x.shape[1], len(layer.weight), **common)
    block.eval()
    # as the trained encoder does: v > threshold at any threshold (sqdr.train.encoder.slayer)
    block.neuron.threshold_eps = 0.5 / block.neuron.s_scale
    weight = block.synapse.weight
    weight.copy_(torch.from_numpy(layer.weight / SCALE).float().reshape(weight.shape))
    for name, key in (("current_decay", "iDecay"), ("voltage_decay", "vDecay")):
        getattr(block.neuron, name).data = _decay(
            neuron[key], len(layer.weight), x.ndim - 3 if layer.kind == "conv" else 0
        )
    if layer.bias is not None:
        block.neuron.norm.value = torch.from_numpy(layer.bias / SCALE).float()
    return block


def _decay(values: Any, channels: int, n_axes: int) -> torch.Tensor:
    """One decay, or one for each channel before ``n_axes`` axes of place.

    cuba.Neuron(shared_param=False) holds them as (C,), which its own dynamics then broadcast along the last
    axis of place; with axes of size 1 behind it the same dynamics mean the channel.
    """
    decay = torch.atleast_1d(torch.tensor(values, dtype=torch.float32))
    return decay if len(decay) == 1 else decay.reshape(channels, *(1,) * n_axes)


class _Bias(torch.nn.Module):
    """A constant between current and voltage: where SLAYER's own batch norm adds what it exports as bias."""

    def __init__(self, num_features: Any = None, **options: Any) -> None:
        super().__init__()
        self.value = torch.zeros(1)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return current + self.value.reshape(1, -1, *(1,) * (current.ndim - 2))
