"""Subject ``training``: a whole training step with our CUBA layers against stock SLAYER and SpikingJelly."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.cli.bench.spiking_peer import SPIKINGJELLY, spikingjelly_encoder
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sqdr.specification import EncoderSpec

__all__ = ["bench_training"]

Step = Callable[[], None]

SUBJECT = "training"
PRESETS = ("tiny", "small", "base")
N_STEPS = 8
BATCH = 64
N_CLASSES = 10
# One feature for each of the 9 qubits of the joint model's head.
N_QUBITS = 9
RATE = 0.1
# Training is one step after another: each side's turn is a few, or peers would push its data out of the caches.
MIN_S = 0.1
STOCK = "stock SLAYER"
# The same kernels with narrower vectors, see `sqdr.train.encoder.cuba.fused`.
NARROWER = {"c, AVX-512 without VNNI": 2, "c, AVX2": 1, "c, any processor's": 0}


def bench_training(repeats: int, skipped: list[str], progress: Callable[[int, int], None]) -> list[BenchRow]:
    """Return rows for the presets at 28x28 and 8 steps, milliseconds for each training step of 64 images.

    A step is forward, cross-entropy, backward and Adam, on coded images that are ready as float32 in the
    order that each side takes. With a linear readout; once more with the quantum head of the joint model.
    SpikingJelly: the same shapes and steps, IF neurons, multi-step mode, torch backend.

    Args:
        repeats: of each timing.
        skipped: gets a line for each path or peer that is not installed.
        progress: called with (networks done, of all).
    """
    rows: list[BenchRow] = []
    for index, name in enumerate(PRESETS):
        rows += _rows(name, repeats, skipped if index == 0 else [])
        progress(index + 1, len(PRESETS))
    return rows


def _rows(name: str, repeats: int, skipped: list[str]) -> list[BenchRow]:
    import torch

    from sqdr.coding import encode_images
    from sqdr.specification import CodingSpec, EncoderSpec, HeadSpec
    from sqdr.train.encoder.presets import preset_layers
    from sqdr.train.head.reupload import ReuploadHead

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, N_CLASSES, (BATCH,), generator=generator)
    spikes = torch.from_numpy(encode_images(images.numpy(), CodingSpec(kind="rate", n_steps=N_STEPS))).float()
    spec = EncoderSpec(input_shape=(1, 28, 28), layers=preset_layers(name, N_QUBITS))  # type: ignore[arg-type]

    encoders = _encoders(spec, spikes, skipped)
    quantum = HeadSpec(n_qubits=N_QUBITS, n_classes=N_CLASSES)
    calls: dict[str, Step] = {}
    for path, encoder in encoders.items():
        calls[path] = _step(encoder, torch.nn.Linear(N_QUBITS, N_CLASSES), spikes, labels)
        if path not in NARROWER:
            calls[f"{path}, joint"] = _step(encoder, ReuploadHead(quantum), spikes, labels)
    try:
        peer, time_major = spikingjelly_encoder(spec), spikes.movedim(-1, 0).contiguous()
        calls[SPIKINGJELLY] = _step(peer, torch.nn.Linear(N_QUBITS, N_CLASSES), time_major, labels, time_axis=0)
    except MissingDependencyError as error:
        skipped.append(str(error))
    trains = {path: _layer_spikes(encoder, spikes) for path, encoder in encoders.items()}
    times = time_in_turn({key: (call, 1) for key, call in calls.items()}, repeats, True, MIN_S)
    rows = []
    for path in (path for path in encoders if path != STOCK):
        compared = (trains[path].numel(), int((trains[path] != trains[STOCK]).sum()))
        rows.append(BenchRow.of(SUBJECT, name, (path, times[path]), (STOCK, times[STOCK]), *compared))
        if path not in NARROWER:
            joint = ((path, times[f"{path}, joint"]), (STOCK, times[f"{STOCK}, joint"]))
            rows.append(BenchRow.of(SUBJECT, f"{name} + quantum head", *joint, *compared))
        if path != "torch" and SPIKINGJELLY in times:  # other neurons: there is nothing to compare
            rows.append(BenchRow.of(SUBJECT, name, (path, times[path]), (SPIKINGJELLY, times[SPIKINGJELLY]), 0, 0))
    return rows


def _encoders(spec: "EncoderSpec", spikes: "Tensor", skipped: list[str]) -> "dict[str, nn.Module]":
    """The same encoder by each path."""
    import torch

    from sqdr.train.encoder.cuba import CubaChoice
    from sqdr.train.encoder.initialisation import wake_layers
    from sqdr.train.encoder.slayer import SlayerEncoder

    torch.manual_seed(0)
    stock = SlayerEncoder(spec)
    wake_layers(stock, spikes, RATE)
    encoders: dict[str, nn.Module] = {STOCK: stock}
    choices: dict[str, CubaChoice] = {"c": "c", **dict.fromkeys(NARROWER, "c"), "torch": "torch"}
    for path, choice in choices.items():
        try:
            encoder = SlayerEncoder(spec, 1, choice)
        except MissingDependencyError as error:
            if path not in NARROWER:
                skipped.append(str(error))
            continue
        if path in NARROWER and encoder.fused is not None:
            if encoder.fused.vectors <= NARROWER[path]:
                continue  # `c` is as narrow here
            encoder.fused.vectors = NARROWER[path]
        encoder.load_state_dict(stock.state_dict())
        encoders[path] = encoder
    return encoders


def _layer_spikes(encoder: Any, spikes: "Tensor") -> "Tensor":
    import torch

    with torch.no_grad():
        return torch.cat([train.flatten() for train in encoder.layer_spikes(spikes)])


def _step(encoder: "nn.Module", head: "nn.Module", x: "Tensor", labels: "Tensor", time_axis: int = -1) -> Step:
    import torch
    from torch.nn.functional import cross_entropy

    parameters = [p for module in (encoder, head) for p in module.parameters() if p.requires_grad]
    # a learning rate of 0 keeps the spikes, and so the work, the same in every repeat; Adam does all of its own
    optimiser = torch.optim.Adam(parameters, lr=0.0)

    def step() -> None:
        optimiser.zero_grad()
        cross_entropy(head(encoder(x).mean(time_axis)), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step
