"""A training step asks no tensor for its value and stays on one device.

Meta tensors have shapes and no values: `item`, `bool`, `nonzero` and a mixture with the CPU's tensors raise. What would
make a GPU wait for the CPU therefore fails here without a GPU; tests/train/test_gpu.py sees it happen on one.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from sqdr.data import Images
from sqdr.hw_configs import load_hardware
from sqdr.specification import CodingSpec, EncoderSpec, HeadSpec, ModelSpec
from sqdr.train import batches as batches_module
from sqdr.train.batches import batches
from sqdr.train.config import TrainingConfig
from sqdr.train.encoder.cuba import blocks
from sqdr.train.encoder.cuba.eager import merged_convolution
from sqdr.train.encoder.presets import preset_layers
from sqdr.train.joint import JointModel
from sqdr.train.lightning_module import JointTraining

N, BATCH, N_STEPS = 20, 8, 4


class Kernels:
    """A `CubaPath` with the shapes of the GPU's: its two kernels take pointers, and return nothing to wait for."""

    name = "shapes"

    def major(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 0).contiguous()

    def logical(self, major: Tensor) -> Tensor:
        return major.movedim(0, -1)

    def weigh(self, spikes: Tensor, weight: Tensor, convolution) -> Tensor:
        return merged_convolution(spikes, weight, convolution)

    def fire(self, inputs: Tensor, constants, *, is_spent: bool = False) -> tuple[Tensor, Tensor]:
        return torch.empty_like(inputs), torch.empty_like(inputs)

    def gradient(self, grad: Tensor, voltage: Tensor, constants) -> Tensor:
        return torch.empty_like(grad)


def module_without_values(
    monkeypatch: pytest.MonkeyPatch, n_blocks: int = 2, noise=None, is_weight_normalised: bool = True
) -> JointTraining:
    coding = CodingSpec(kind="rate", n_steps=N_STEPS)
    encoder = EncoderSpec(
        input_shape=(1, 28, 28), layers=preset_layers("tiny", 9), is_weight_normalised=is_weight_normalised
    )
    head = HeadSpec(n_qubits=9, n_blocks=n_blocks, n_classes=10)
    model = JointModel(ModelSpec(coding=coding, encoder=encoder, head=head), noise=noise)
    monkeypatch.setattr(blocks._Chosen, "cuba_path", lambda self, x: Kernels())
    module = JointTraining(model, TrainingConfig(n_epochs=1, encoder_lr=0.01), 10).to("meta")
    for layer in module.modules():  # what weight_norm left in a plain attribute, until its next forward pass
        for name in [name for name, value in vars(layer).items() if isinstance(value, Tensor)]:
            delattr(layer, name)
    return module


def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (N, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Images(images=pixels.numpy(), labels=np.arange(N) % 10, sample_ids=[str(i) for i in range(N)])


@pytest.mark.parametrize("kept_bytes", [1 << 30, 0], ids=["coded before", "coded by batch"])
def test_step_never_asks_for_a_value(monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> None:
    monkeypatch.setattr(batches_module, "MAX_KEPT_BYTES", kept_bytes)
    # for the backward pass of weight_norm, one kernel of torch's, there is no meta form
    module = module_without_values(monkeypatch, is_weight_normalised=False)
    chosen = module.configure_optimizers()
    n_steps = 0
    for index, batch in enumerate(batches(images(), module.model.spec.coding, BATCH, seed=0, device="meta")):
        assert {tensor.device.type for tensor in batch} == {"meta"}
        chosen["optimizer"].zero_grad()
        module.training_step(batch, index).backward()
        chosen["optimizer"].step()
        chosen["lr_scheduler"]["scheduler"].step()
        module.validation_step(batch, index)
        n_steps += 1
    assert n_steps == 3
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    assert len(gradients) == 4 + 3  # layers; circuit, readout's weight and bias
    assert all(gradient is not None and gradient.device.type == "meta" for gradient in gradients)


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
def test_head_never_asks_for_a_value(monkeypatch: pytest.MonkeyPatch, n_blocks: int) -> None:
    """Closed form, cones and state vector."""
    module = module_without_values(monkeypatch, n_blocks)
    module.model.head(torch.rand(BATCH, 9, device="meta")).sum().backward()
    assert module.model.head.weights.grad is not None


def test_noisy_head_never_asks_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_without_values(monkeypatch, noise=load_hardware("local_dm").noise)
    module.model.head(torch.rand(BATCH, 9, device="meta")).sum().backward()
    assert module.model.head.weights.grad is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda loss: loss.item(),
        lambda loss: bool(torch.isfinite(loss)),
        lambda loss: loss.nonzero(),
        lambda loss: loss.cpu(),
        lambda loss: loss + torch.zeros(3),
    ],
    ids=["item", "bool", "nonzero", "cpu", "another device"],
)
def test_step_that_asks_for_a_value_is_found(monkeypatch: pytest.MonkeyPatch, ask) -> None:
    """The tests above can fail."""
    module = module_without_values(monkeypatch)
    (batch, *_) = batches(images(), module.model.spec.coding, BATCH, device="meta")
    loss = module.training_step(batch, 0)
    assert loss.requires_grad  # weight_norm was part of it
    with pytest.raises((RuntimeError, NotImplementedError), match=r"meta|Meta|device"):
        ask(loss)
