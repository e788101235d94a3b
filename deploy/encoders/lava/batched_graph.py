"""The whole network in one Lava process, for many samples side by side.

Lava's messages between processes take most of a sample's time; here one message carries a step of B samples.
The arithmetic is the integer runtime's, which equals Lava's fixed-point models bit for bit.
Only the worker imports this module: it needs lava-nc.
"""

import multiprocessing
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import integer_layers
from sqdr.deploy.encoders.lava.graph import Graph, LayerStates, NetworkOptions, check_described
from sqdr.deploy.encoders.lava.processes.batched_network import BatchedNetwork
from sqdr.netx import read_network
from sqdr.timing import Timing

__all__ = ["batched_graph"]


def batched_graph(options: NetworkOptions) -> Graph:
    """Return the network as one process that answers one step later.

    Raises:
        BundleError: the file is not a netx network, or not one that runs as it was trained.
        ConfigError: the network is not the one that ``options`` describes.
    """
    n_steps, n_batch = options.timing.n_steps, options.n_batch
    max_payload = max(1, (1 << options.message_bits) - 1)
    layers = integer_layers(read_network(Path(options.net_path)), options.input_shape, max_payload, n_steps)
    check_described(options, len(layers), int(np.prod(layers[-1].shape)))
    # One step more than a sample has: its last output is out before the next one comes.
    timing = Timing(n_steps=n_steps, period=n_steps + 1, n_layers=1)
    wants_states = multiprocessing.Event()
    network = BatchedNetwork(
        layers=layers,
        input_shape=options.input_shape,
        n_samples=n_batch,
        timing=timing,
        wants_states=wants_states,
    )
    ends = np.cumsum([np.prod(layer.shape) for layer in layers]).tolist()
    return Graph(
        inp=network.s_in,
        out=network.s_out,
        n_batch=n_batch,
        timing=timing,
        n_flush=0,
        to_item=partial(_to_item, n_batch),
        layers=[
            LayerStates(
                name=layer.name,
                shape=layer.shape,
                delay=0,
                variables=(network.u, network.v),
                take=itemgetter(slice(start, end)),
            )
            for layer, start, end in zip(layers, [0, *ends], ends, strict=False)
        ],
        has_direct_channels=True,
        wants_states=wants_states,
    )


def _to_item(n_batch: int, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(b, C, H, W, T) -> (T, C, H, W, B); a last batch that is not full ends with blank samples."""
    by_step = samples.transpose(4, 1, 2, 3, 0)
    item = np.zeros((*by_step.shape[:-1], n_batch), np.uint8)
    item[..., : len(samples)] = by_step
    return item
