"""Training on a GPU: nothing leaves it and nothing waits for it. Skipped, with the reason, where there is none."""

import pytest
import torch

from sqdr.data import Images
from sqdr.specification import CodingSpec, EncoderSpec, HeadSpec, ModelSpec
from sqdr.train import batches as batches_module
from sqdr.train.batches import batches
from sqdr.train.config import TrainingConfig
from sqdr.train.encoder.presets import preset_layers
from sqdr.train.encoder.slayer import SlayerEncoder
from sqdr.train.joint import JointModel
from sqdr.train.lightning_module import JointTraining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

N, BATCH = 40, 16
CODING = CodingSpec(kind="rate", n_steps=8)


def images() -> Images:
    pixels = torch.randint(0, 256, (N, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(N).remainder(10)
    return Images(images=pixels.numpy(), labels=labels.numpy(), sample_ids=tuple(map(str, range(N))))


def encoder_spec() -> EncoderSpec:
    return EncoderSpec(input_shape=(1, 28, 28), layers=preset_layers("tiny", 9))


def training() -> JointTraining:
    torch.manual_seed(0)
    spec = ModelSpec(coding=CODING, encoder=encoder_spec(), head=HeadSpec(n_qubits=9, n_classes=10))
    return JointTraining(JointModel(spec), TrainingConfig(n_epochs=1, encoder_lr=0.01, device="cuda"), 10).to("cuda")


@pytest.mark.parametrize("kept_bytes", [1 << 30, 0], ids=["coded before", "coded by batch"])
def test_batches_on_the_gpu_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> None:
    monkeypatch.setattr(batches_module, "MAX_KEPT_BYTES", kept_bytes)
    n = 0
    both = [batches(images(), CODING, BATCH, seed=1, device=device) for device in ("cpu", "cuda")]
    for (spikes, labels), (on_gpu, labels_on_gpu) in zip(*both, strict=True):
        assert on_gpu.device.type == labels_on_gpu.device.type == "cuda"
        assert torch.equal(spikes, on_gpu.cpu())
        assert torch.equal(labels, labels_on_gpu.cpu())
        n += len(labels)
    assert n == N


def test_step_never_waits_for_the_gpu() -> None:
    module = training()
    chosen = module.configure_optimizers()
    optimiser, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]

    def step(batch, index: int) -> None:
        optimiser.zero_grad()
        module.training_step(batch, index).backward()
        optimiser.step()
        schedule.step()

    ready = list(batches(images(), CODING, BATCH, seed=1, device="cuda"))
    step(ready[0], 0)  # compiles the kernels, and makes the sums and Adam's state
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index, batch in enumerate(ready):
            step(batch, index)
            module.validation_step(batch, index)
        with pytest.raises(RuntimeError, match="synchroniz"):
            module.training_step(ready[0], 0).item()  # the mode sees what it should
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert all(p.grad.device.type == "cuda" for p in module.parameters() if p.requires_grad)


def test_triton_gives_the_spikes_and_gradients_of_the_torch_path() -> None:
    torch.manual_seed(0)
    triton, eager = (SlayerEncoder(encoder_spec(), 1, choice) for choice in ("auto", "torch"))
    eager.load_state_dict(triton.state_dict())
    x = (torch.rand(32, 1, 28, 28, 8, device="cuda") < 0.3).float()
    for module in (triton, eager):
        module.to("cuda")
        module(x).sum().backward()
    for found, expected in zip(triton.layer_spikes(x), eager.layer_spikes(x), strict=True):
        assert torch.equal(found, expected)
    pairs = zip(triton.parameters(), eager.parameters(), strict=True)
    gradients = [(p.grad, q.grad) for p, q in pairs if q.grad is not None]
    assert len(gradients) > 3
    for found, expected in gradients:  # sums in another order, and exp by another approximation
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
