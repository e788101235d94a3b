"""Subject ``encoder``: the integer encoder against SLAYER's own forward pass and stock netx in Lava."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sqdr.specification import ModelSpec

__all__ = ["PRESETS", "Network", "bench_encoder", "bundle_network", "preset_networks"]

SUBJECT = "encoder"
PRESETS = ("tiny", "small", "base")
N_STEPS = 8
RATE = 0.1
# Lava takes some 70 ms for each.
N_LAVA = 16
SLAYER_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network file and what to feed it."""

    name: str
    net_path: Path
    model: "ModelSpec"
    images: "NDArray[np.uint8]"


def bench_encoder(
    bundle: Path | None,
    n_images: int,
    repeats: int,
    skipped: list[str],
    progress: Callable[[int, int], None],
) -> list[BenchRow]:
    """Return a row for each network and peer.

    Args:
        bundle: whose encoder to run on its own kind of images; None for the presets at 28x28, with
            weights as training starts from them.
        n_images: for the integer encoder and SLAYER; Lava gets 16.
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (networks done, of all).
    """
    rows: list[BenchRow] = []
    with contextlib.ExitStack() as stack:
        networks = list(
            bundle_network(bundle, n_images, stack) if bundle else preset_networks(PRESETS, n_images, stack)
        )
        for index, network in enumerate(networks):
            rows += _rows(network, repeats, skipped)
            progress(index + 1, len(networks))
    return rows


def bundle_network(path: Path, n_images: int, stack: contextlib.ExitStack) -> Iterator[Network]:
    """Give a bundle's encoder with images of its data set."""
    import numpy as np

    from sqdr.bundle import Bundle
    from sqdr.errors import SqdrError
    from sqdr.plugins import load_plugin

    bundle = stack.enter_context(Bundle.open(path))
    model = bundle.manifest.model
    images = bundle.golden().images
    with contextlib.suppress(SqdrError):  # without its data set, the golden images serve again and again
        images = load_plugin("sqdr.datasets", bundle.manifest.training.data)(None).test.images
    chosen = np.resize(images, (n_images, *images.shape[1:]))
    yield Network(name=bundle.name, net_path=bundle.path_of("encoder.net"), model=model, images=chosen)


def preset_networks(presets: Sequence[str], n_images: int, stack: contextlib.ExitStack) -> Iterator[Network]:
    """Give each preset at 28x28 with random weights that spike, and random images."""
    import numpy as np
    import torch

    from sqdr.coding import encode_images
    from sqdr.export.to_netx import write_netx
    from sqdr.specification import CodingSpec, EncoderSpec, HeadSpec, ModelSpec
    from sqdr.train.encoder.initialisation import wake_layers
    from sqdr.train.encoder.presets import preset_layers
    from sqdr.train.encoder.slayer import SlayerEncoder
    from sqdr.train.joint import float_spikes

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sqdr-bench-")))
    images = np.random.default_rng(0).integers(0, 256, (n_images, 1, 28, 28), dtype=np.uint8)
    coding = CodingSpec(kind="rate", n_steps=N_STEPS)
    for name in presets:
        layers = preset_layers(name, 9)  # type: ignore[arg-type]
        spec = EncoderSpec(input_shape=(1, 28, 28), layers=layers)
        torch.manual_seed(0)
        encoder = SlayerEncoder(spec)
        wake_layers(encoder, float_spikes(torch.from_numpy(encode_images(images[:128], coding))), RATE)
        write_netx(encoder.eval(), coding.max_payload, folder / f"{name}.net")
        model = ModelSpec(coding=coding, encoder=spec, head=HeadSpec(n_qubits=9))
        yield Network(name=f"{name}, 28x28, T={N_STEPS}", net_path=folder / f"{name}.net", model=model, images=images)


def _rows(network: Network, repeats: int, skipped: list[str]) -> list[BenchRow]:
    from sqdr.coding import encode_images
    from sqdr.deploy.encoders.integer import IntegerEncoder

    model = network.model
    spikes = encode_images(network.images, model.coding)
    ours = IntegerEncoder.from_netx(
        network.net_path,
        input_shape=model.encoder.input_shape,
        n_steps=model.coding.n_steps,
        message_bits=model.coding.message_bits,
    )
    expected = ours.spike_trains(spikes)
    calls: dict[str, tuple[Callable[[], Any], int]] = {"integer": (lambda: ours.encode(spikes), len(spikes))}
    found: dict[str, NDArray[np.uint8]] = {}
    with contextlib.ExitStack() as stack:
        for name, start in (("slayer", _slayer), ("lava", _lava)):
            try:
                call, n_items, found[name] = start(network, spikes, stack)
                calls[name] = (call, n_items)
            except MissingDependencyError as error:
                skipped.append(str(error))
        times = time_in_turn(calls, repeats)
    peers = {"slayer": "SLAYER eval forward", "lava": "stock netx in Lava"}
    return [
        BenchRow.of(
            SUBJECT,
            network.name,
            ("integer", times["integer"]),
            (peers[name], times[name]),
            trains.size,
            int((trains != expected[: len(trains)]).sum()),
        )
        for name, trains in found.items()
    ]


def _slayer(
    network: Network, spikes: "NDArray[np.uint8]", stack: contextlib.ExitStack
) -> "tuple[Callable[[], Any], int, NDArray[np.uint8]]":
    """SLAYER's blocks in evaluation mode on tensors that are ready: only the forward pass is timed."""
    from sqdr.plugins import load_plugin

    model = network.model
    kind = load_plugin("sqdr.encoders", "slayer")
    import torch

    backend = kind(network.net_path, model.encoder, model.coding.n_steps, model.coding.max_payload)
    torch.set_num_threads(1)
    batches = [batch.float() for batch in torch.split(torch.from_numpy(spikes), SLAYER_BATCH)]

    def forward() -> None:
        with torch.no_grad():
            for batch in batches:
                backend.encoder(batch)

    return forward, len(spikes), backend.spike_trains(spikes)


def _lava(
    network: Network, spikes: "NDArray[np.uint8]", stack: contextlib.ExitStack
) -> "tuple[Callable[[], Any], int, NDArray[np.uint8]]":
    """Stock netx, compiled and warm: samples stream through the running network."""
    from sqdr.deploy.encoders.lava import LavaEncoder

    model = network.model
    encoder = LavaEncoder(
        network.net_path,
        input_shape=model.encoder.input_shape,
        n_outputs=model.encoder.n_features,
        timing=model.timing,
        message_bits=model.coding.message_bits,
        graph="stock",
        timeout_s=600.0,
    )
    stack.enter_context(encoder)
    some = spikes[:N_LAVA]
    return (lambda: encoder.encode(some)), len(some), encoder.spike_trains(some)
