"""Encoder and joint step of the preset ``tiny`` at other sizes, for subject ``growth``."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.cli.bench.head_peers import open_peer
from sqdr.cli.bench.joint import add, compare_heads, compare_sums, joint_model, model_spec, training_step
from sqdr.cli.bench.spiking_peer import SPIKINGJELLY, spikingjelly_encoder
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

    from sqdr.train.encoder.slayer import SlayerEncoder
    from sqdr.train.joint import JointModel

__all__ = ["MODEL_PARTS", "Setting"]

SUBJECT = "growth"
PRESET = "tiny"
PEER_HEAD = "TorchQuantum"
STOCK = "stock SLAYER"
# Of each repeat.
MIN_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All sizes of one measurement.

    Args:
        qubits: of the circuit, and features of the encoder.
        blocks: of the circuit.
        steps: T.
        batch: images of each call.
        size: of a side of the images.
    """

    qubits: int = 9
    blocks: int = 2
    steps: int = 8
    batch: int = 64
    size: int = 28

    @property
    def name(self) -> str:
        """What the rows call it."""
        image = f"{self.size}x{self.size}, T={self.steps}, batch {self.batch}"
        return f"{PRESET}, {image}, {self.qubits} qubits x {self.blocks} blocks"

    def model(self) -> "tuple[JointModel, Tensor, Tensor]":
        """See `sqdr.cli.bench.joint.joint_model`."""
        spec = model_spec(PRESET, n_steps=self.steps, size=self.size, n_qubits=self.qubits, n_blocks=self.blocks)
        return joint_model(spec, self.batch)


def _training(setting: Setting, repeats: int, skipped: list[str]) -> list[BenchRow]:
    """The encoder's step with a linear readout, with spikes equal to stock SLAYER's."""
    from torch import nn

    model, spikes, labels = setting.model()
    spec, stock = model.spec, _stock(model)
    encoders = {"sqdr": model.encoder, STOCK: stock}
    calls = {
        name: training_step(encoder, nn.Linear(setting.qubits, spec.head.n_classes), spikes, labels)
        for name, encoder in encoders.items()
    }
    compared = {STOCK: _compare_spikes(model, stock, spikes)}
    try:
        peer = spikingjelly_encoder(spec.encoder)
        compared[SPIKINGJELLY] = compare_sums(model, peer, spikes)
        readout = nn.Linear(setting.qubits, spec.head.n_classes)
        calls[SPIKINGJELLY] = training_step(peer, readout, spikes.movedim(-1, 0).contiguous(), labels, time_axis=0)
    except MissingDependencyError as error:
        _skip(error, skipped)
    return _rows(setting, calls, compared, repeats)


def _inference(setting: Setting, repeats: int, skipped: list[str]) -> list[BenchRow]:
    """The integer runtime from coded images to counts, against SLAYER's forward pass."""
    import torch

    from sqdr.deploy.encoders.integer import IntegerEncoder
    from sqdr.export.to_netx import write_netx

    model, spikes, _ = setting.model()
    coding, stock = model.spec.coding, _stock(model)
    with tempfile.TemporaryDirectory(prefix="sqdr-bench-") as folder:
        path = Path(folder) / "encoder.net"
        # writing takes the weight normalisation away: from a copy
        write_netx(_stock(model).eval(), coding.max_payload, path)
        integer = IntegerEncoder.from_netx(
            path,
            input_shape=model.spec.encoder.input_shape,
            n_steps=setting.steps,
            message_bits=coding.message_bits,
        )
    coded = spikes.to(torch.uint8).numpy()
    with torch.no_grad():
        expected = stock(spikes).to(torch.uint8).numpy()
    found = integer.spike_trains(coded)

    def forward() -> None:
        with torch.no_grad():
            stock(spikes)

    compared = {"SLAYER eval forward": (found.size, int((found != expected).sum()))}
    calls: dict[str, Callable[[], object]] = {
        "integer runtime": lambda: integer.encode(coded),
        "SLAYER eval forward": forward,
    }
    return _rows(setting, calls, compared, repeats)


def _joint(setting: Setting, repeats: int, skipped: list[str]) -> list[BenchRow]:
    """The whole step against SpikingJelly with TorchQuantum, see `sqdr.cli.bench.joint`."""
    from sqdr.train.head.reupload import ReuploadHead

    model, spikes, labels = setting.model()
    calls = {"sqdr": training_step(model.encoder, model.head, spikes, labels)}
    compared = {}
    try:
        encoder, head = spikingjelly_encoder(model.spec.encoder), ReuploadHead(model.spec.head)
        head.circuit = open_peer(PEER_HEAD, setting.qubits, setting.blocks, head.spec.entangler)
        name = f"{SPIKINGJELLY} + {PEER_HEAD}"
        compared[name] = add(compare_sums(model, encoder, spikes), compare_heads(model, head, spikes))
        calls[name] = training_step(encoder, head, spikes.movedim(-1, 0).contiguous(), labels, time_axis=0)
    except MissingDependencyError as error:
        _skip(error, skipped)
    return _rows(setting, calls, compared, repeats)


MODEL_PARTS: dict[str, Callable[[Setting, int, list[str]], list[BenchRow]]] = {
    "training": _training,
    "inference": _inference,
    "joint": _joint,
}
"""Name to a function of (setting, repeats, skipped) that returns rows."""


def _rows(
    setting: Setting,
    calls: "dict[str, Callable[[], None]] | dict[str, Callable[[], object]]",
    compared: dict[str, tuple[int, int]],
    repeats: int,
) -> list[BenchRow]:
    times = time_in_turn({name: (call, setting.batch) for name, call in calls.items()}, repeats, True, MIN_S)
    ours = next(iter(calls))
    return [
        BenchRow.of(SUBJECT, setting.name, (ours, times[ours]), (name, times[name]), *counts)
        for name, counts in compared.items()
    ]


def _stock(model: "JointModel") -> "SlayerEncoder":
    """The same encoder by SLAYER's own code."""
    from sqdr.train.encoder.slayer import SlayerEncoder

    stock = SlayerEncoder(model.spec.encoder, model.spec.coding.max_payload)
    stock.load_state_dict(model.encoder.state_dict())
    return stock


def _compare_spikes(model: "JointModel", stock: "SlayerEncoder", spikes: "Tensor") -> tuple[int, int]:
    import torch

    with torch.no_grad():
        pairs = zip(model.encoder.layer_spikes(spikes), stock.layer_spikes(spikes), strict=True)
        counts = [(ours.numel(), int((ours != theirs).sum())) for ours, theirs in pairs]
    return sum(n for n, _ in counts), sum(n for _, n in counts)


def _skip(error: MissingDependencyError, skipped: list[str]) -> None:
    if str(error) not in skipped:
        skipped.append(str(error))
