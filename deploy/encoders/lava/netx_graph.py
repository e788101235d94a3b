"""The network as netx builds it: one Lava process for every synapse and for every layer's neurons.

Only the worker imports this module: it needs lava-nc and lava-dl.
"""

from functools import partial
from typing import Any

import numpy as np
from lava.lib.dl.netx.blocks.process import Conv, Dense
from lava.lib.dl.netx.hdf5 import Network
from lava.proc.conv.process import Conv as ConvSynapse
from lava.proc.lif.process import LIFReset
from numpy.typing import NDArray

from sqdr.deploy.encoders.lava.graph import Graph, LayerStates, NetworkOptions, check_described
from sqdr.deploy.encoders.lava.processes.lif_reset import LifResetModel
from sqdr.deploy.encoders.lava.processes.sparse_conv import SparseConvModel
from sqdr.errors import BundleError, ConfigError

__all__ = ["netx_graph"]


def netx_graph(options: NetworkOptions) -> Graph:
    """Return the processes of a network.

    With graph ``fast``, convolutions and neurons have models of our own, and messages go by direct channels.

    Raises:
        BundleError: the file is not a netx network.
        ConfigError: the network is not the one that ``options`` describes.
    """
    network = _load(options)
    output = network.out
    if len(output.shape) > 1:
        output = output.transpose([2, 1, 0]).flatten()  # (W, H, C) -> (C * H * W,)
    is_fast = options.graph == "fast"
    return Graph(
        inp=network.inp,
        out=output,
        n_batch=1,
        timing=options.timing,
        n_flush=options.timing.n_flush_periods,
        to_item=_to_flat if len(network.inp.shape) == 1 else _to_lava,
        layers=_layers(network),
        has_direct_channels=is_fast,
        models={ConvSynapse: SparseConvModel, LIFReset: LifResetModel} if is_fast else {},
        places={
            part.id: f" of layer {index}"
            for index, layer in enumerate(network.layers)
            for part in (layer.synapse, layer.neuron)
        },
    )


def _layers(network: Any) -> list[LayerStates]:
    blocks = network.net_config["layer"]
    kinds = [(place, str(blocks[place]["type"])) for place in range(len(blocks))]
    names = [f"layer {place} ({kind})" for place, kind in kinds if kind in ("conv", "dense")]
    return [
        LayerStates(
            name=name,
            shape=tuple(int(size) for size in layer.neuron.u.shape[::-1]),
            delay=index + 1,
            variables=(layer.neuron.u, layer.neuron.v),
            take=partial(_take, layer.neuron.u.shape),
        )
        for index, (name, layer) in enumerate(zip(names, network.layers, strict=True))
    ]


def _take(shape: tuple[int, ...], values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(shape).transpose().reshape(-1)  # (W, H, C) -> (C, H, W)


def _to_lava(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(samples[0].transpose(3, 2, 1, 0))  # (1, C, H, W, T) -> (T, W, H, C)


def _to_flat(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(samples[0].reshape(-1, samples.shape[-1]).T)  # (1, C, H, W, T) -> (T, C * H * W)


def _load(options: NetworkOptions) -> Any:
    channels, height, width = options.input_shape
    try:
        network = Network(
            options.net_path,
            input_shape=(width, height, channels),
            reset_interval=options.timing.period,
            reset_offset=options.timing.reset_offset,
            input_message_bits=options.message_bits,
        )
    except Exception as error:  # netx has no errors of its own: KeyError, OSError, RuntimeError, ...
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BundleError(f"{options.net_path} is not a network that netx can load: {reason}") from error
    _check(network, options)
    return network


def _check(network: Any, options: NetworkOptions) -> None:
    kinds = [type(layer).__name__ for layer in network.layers if type(layer) not in (Conv, Dense)]
    if kinds:
        raise ConfigError(f"the network may only have Conv and Dense layers, got {kinds[0]}.")
    check_described(options, len(network.layers), int(np.prod(network.out.shape)))
    channels, height, width = options.input_shape
    shape, n_values = tuple(network.inp.shape), channels * height * width
    if shape not in ((width, height, channels), (n_values,)):
        raise ConfigError(
            f"`input_shape` (C, H, W) must fit the network's input {shape} (W, H, C), got {options.input_shape}."
        )
