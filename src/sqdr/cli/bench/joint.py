"""Subject ``joint``: a training step of encoder and head as one, against what others would compose it of."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.harness import BenchRow, Timing, time_in_turn
from sqdr.cli.bench.head import n_different, value_and_gradients
from sqdr.cli.bench.head_peers import open_peer
from sqdr.cli.bench.spiking_peer import SPIKINGJELLY, spikingjelly_encoder
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sqdr.specification import ModelSpec
    from sqdr.train.joint import JointModel

__all__ = [
    "NOT_COMPARED",
    "PEER_HEADS",
    "PRESETS",
    "add",
    "bench_joint",
    "compare_heads",
    "compare_sums",
    "joint_model",
    "model_spec",
    "training_step",
]

SUBJECT = "joint"
PRESETS = ("tiny", "small", "base")
PEER_HEADS = ("TorchQuantum", "PennyLane broadcast", "PennyLane loop")
"""Of `PEERS`; the last one with SpikingJelly is how the published reference of SQDR-CNN is composed."""
NOT_COMPARED = (
    "SpikingJelly's IF neurons are not CUBA neurons: spikes, and so losses, of whole steps differ by definition. "
    "Compared are each layer's weighted sums of the same spikes by the same weights, exactly, and the circuit's <Z> "
    "and gradients for the same angles."
)
N_STEPS = 8
BATCH = 64
N_QUBITS, N_CLASSES = 9, 10
IMAGE_SIZE = 28
# About what training leaves a layer with.
RATE = 0.1
# Of each repeat.
MIN_S = 0.25


def bench_joint(
    repeats: int, skipped: list[str], progress: Callable[[int, int], None], presets: tuple[str, ...] = PRESETS
) -> list[BenchRow]:
    """Return a row for each preset at 28x28 and peer: processor milliseconds for each training step of 64 images.

    A step is forward, cross-entropy, backward and Adam, of encoder, circuit (9 qubits, 2 blocks) and linear readout, on
    coded images that are ready as float32 in the order that each side takes. See `NOT_COMPARED`.

    Args:
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (presets done, of all).
        presets: of the encoder.
    """
    rows: list[BenchRow] = []
    for index, preset in enumerate(presets):
        rows += _rows(preset, repeats, skipped)
        progress(index + 1, len(presets))
    return rows


def model_spec(
    preset: str, *, n_steps: int = N_STEPS, size: int = IMAGE_SIZE, n_qubits: int = N_QUBITS, n_blocks: int = 2
) -> "ModelSpec":
    """Return a preset's joint model for square images of one channel."""
    from sqdr.specification import CodingSpec, EncoderSpec, HeadSpec, ModelSpec
    from sqdr.train.encoder.presets import preset_layers

    layers = preset_layers(preset, n_qubits)  # type: ignore[arg-type]
    return ModelSpec(
        coding=CodingSpec(kind="rate", n_steps=n_steps),
        encoder=EncoderSpec(input_shape=(1, size, size), layers=layers),
        head=HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, n_classes=N_CLASSES),
    )


def joint_model(spec: "ModelSpec", batch: int = BATCH) -> "tuple[JointModel, Tensor, Tensor]":
    """Return a joint model whose layers spike, random coded images (N, C, H, W, T) float32 and labels (N,)."""
    import torch

    from sqdr.coding import encode_images
    from sqdr.train.encoder.initialisation import wake_layers
    from sqdr.train.joint import JointModel, float_spikes

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = JointModel(spec)
    images = torch.randint(0, 256, (max(batch, BATCH), *spec.encoder.input_shape), dtype=torch.uint8)
    spikes = float_spikes(torch.from_numpy(encode_images(images.numpy(), spec.coding)))
    wake_layers(model.encoder, spikes, RATE)
    return model, spikes[:batch].contiguous(), torch.randint(0, spec.head.n_classes, (batch,))


def training_step(
    encoder: "nn.Module", head: "nn.Module", x: "Tensor", labels: "Tensor", time_axis: int = -1
) -> Callable[[], None]:
    """Return forward, cross-entropy, backward and Adam as one call."""
    import torch
    from torch.nn.functional import cross_entropy

    groups = [{"params": [p for p in part.parameters() if p.requires_grad]} for part in (encoder, head)]
    # a learning rate of 0 keeps the spikes, and so the work, the same in every repeat; Adam does all of its own
    optimiser = torch.optim.Adam(groups, lr=0.0)

    def step() -> None:
        optimiser.zero_grad()
        cross_entropy(head(encoder(x).mean(time_axis)), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def _rows(preset: str, repeats: int, skipped: list[str]) -> list[BenchRow]:
    from sqdr.train.head.reupload import ReuploadHead

    model, spikes, labels = joint_model(model_spec(preset))
    ours = "sqdr"
    calls = {ours: training_step(model.encoder, model.head, spikes, labels)}
    compared: dict[str, tuple[int, int]] = {}
    for name in PEER_HEADS:
        try:
            encoder, head = spikingjelly_encoder(model.spec.encoder), ReuploadHead(model.spec.head)
            head.circuit = open_peer(name, head.spec.n_qubits, head.spec.n_blocks, head.spec.entangler)
        except MissingDependencyError as error:
            if str(error) not in skipped:
                skipped.append(str(error))
            continue
        name = f"{SPIKINGJELLY} + {name}"
        compared[name] = add(compare_sums(model, encoder, spikes), compare_heads(model, head, spikes))
        calls[name] = training_step(encoder, head, spikes.movedim(-1, 0).contiguous(), labels, time_axis=0)
    times: dict[str, Timing] = time_in_turn({key: (call, 1) for key, call in calls.items()}, repeats, True, MIN_S)
    what = f"{preset}, {IMAGE_SIZE}x{IMAGE_SIZE}, T={N_STEPS}, batch {BATCH}"
    return [
        BenchRow.of(SUBJECT, what, (ours, times[ours]), (name, times[name]), *counts)
        for name, counts in compared.items()
    ]


def compare_sums(model: "JointModel", peer: "nn.Sequential", spikes: "Tensor") -> tuple[int, int]:
    """Return how many weighted sums of all layers were compared, and how many differ.

    Every layer of the peer gets our weights and our layer's input: sums of multiples of 1/32 are exact.
    """
    import torch

    synapses = [module for module in peer if hasattr(module, "weight")]
    compared = (0, 0)
    with torch.no_grad():
        for block in model.encoder.blocks:
            if hasattr(block, "neuron"):
                theirs: Any = synapses.pop(0)
                weight = block.synapse._pre_hook_fx(block.synapse.weight)  # as SLAYER quantises it
                theirs.weight.copy_(weight.reshape(theirs.weight.shape))
                expected = block.synapse(spikes)
                found = theirs(spikes.movedim(-1, 0).contiguous()).movedim(0, -1)
                compared = add(compared, (expected.numel(), int((found != expected).sum())))
            spikes = block(spikes)
    return compared


def compare_heads(model: "JointModel", peer: Any, spikes: "Tensor") -> tuple[int, int]:
    """Return how many <Z> and gradients were compared for our model's angles, and how many differ."""
    import torch

    with torch.no_grad():
        angles = model.head.angles(model.encoder(spikes).mean(-1))
    weights = model.head.weights.detach()
    inputs = angles.requires_grad_(), weights.clone().requires_grad_()
    expected = value_and_gradients(model.head.circuit, *inputs)
    found = value_and_gradients(peer.circuit, *inputs)
    return sum(tensor.numel() for tensor in expected), n_different(found, expected)


def add(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    """Return the sum of two pairs of (compared, different)."""
    return first[0] + second[0], first[1] + second[1]
