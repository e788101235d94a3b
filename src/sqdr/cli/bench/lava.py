"""Subject ``lava``: the faster graphs of the Lava encoder against stock netx, all of them running and warm."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.encoder import PRESETS, Network, bundle_network, preset_networks
from sqdr.cli.bench.harness import BenchRow, time_in_turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sqdr.deploy.encoders.lava import LavaEncoder, LavaGraph

__all__ = ["bench_lava"]

SUBJECT = "lava"
PEER = "stock"
# Stock and fast take some 50 ms for each.
N_STREAMED = 16


def bench_lava(
    bundle: Path | None, n_images: int, repeats: int, progress: Callable[[int, int], None]
) -> list[BenchRow]:
    """Return a row for each network and graph beside ``stock``, in milliseconds per image without the start.

    Args:
        bundle: whose encoder to run on its own kind of images; None for presets at 28x28, with weights as
            training starts from them.
        n_images: for the batched graph; the others get 16.
        repeats: of each timing.
        progress: called with (networks done, of all).

    Raises:
        MissingDependencyError: Lava is not installed.
    """
    rows: list[BenchRow] = []
    with contextlib.ExitStack() as stack:
        networks = list(
            bundle_network(bundle, n_images, stack) if bundle else preset_networks(PRESETS, n_images, stack)
        )
        for index, network in enumerate(networks):
            rows += _rows(network, repeats)
            progress(index + 1, len(networks))
    return rows


def _rows(network: Network, repeats: int) -> list[BenchRow]:
    """Count the spikes that differ from the integer runtime's, ours and stock's, before anything is timed."""
    from sqdr.coding import encode_images
    from sqdr.deploy.encoders.integer import IntegerEncoder

    model = network.model
    spikes = encode_images(network.images, model.coding)
    integer = IntegerEncoder.from_netx(
        network.net_path,
        input_shape=model.encoder.input_shape,
        n_steps=model.coding.n_steps,
        message_bits=model.coding.message_bits,
    )
    expected = integer.spike_trains(spikes)
    graphs: dict[LavaGraph, NDArray[np.uint8]] = {
        "stock": spikes[:N_STREAMED],
        "fast": spikes[:N_STREAMED],
        "batched": spikes,
    }
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    compared: dict[str, tuple[int, int]] = {}
    with contextlib.ExitStack() as stack:
        for graph, given in graphs.items():
            encoder = stack.enter_context(_lava(network, graph))
            found = encoder.spike_trains(given)
            compared[graph] = found.size, int((found != expected[: len(found)]).sum())
            calls[graph] = _call(encoder, given), len(given)
        times = time_in_turn(calls, repeats)
    return [
        BenchRow.of(
            SUBJECT,
            network.name,
            (graph, times[graph]),
            ("stock netx in Lava", times[PEER]),
            compared[graph][0] + compared[PEER][0],
            compared[graph][1] + compared[PEER][1],
        )
        for graph in graphs
        if graph != PEER
    ]


def _lava(network: Network, graph: "LavaGraph") -> "LavaEncoder":
    from sqdr.deploy.encoders.lava import LavaEncoder

    model = network.model
    return LavaEncoder(
        network.net_path,
        input_shape=model.encoder.input_shape,
        n_outputs=model.encoder.n_features,
        timing=model.timing,
        message_bits=model.coding.message_bits,
        graph=graph,
        timeout_s=600.0,
    )


def _call(encoder: "LavaEncoder", spikes: "NDArray[np.uint8]") -> Callable[[], Any]:
    return lambda: encoder.encode(spikes)
