"""The Triton kernels: in Triton's interpreter anywhere, on a GPU where there is one."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sqdr.specification import EncoderSpec
from sqdr.train.encoder.cuba.choice import path_for
from sqdr.train.encoder.presets import preset_layers
from sqdr.train.encoder.slayer import SlayerEncoder

CHILD = Path(__file__).with_name("cuba_triton_child.py")


def test_interpreted_kernels_are_slayers() -> None:
    pytest.importorskip("triton", reason="comes with torch's wheels for GPUs")
    done = subprocess.run([sys.executable, CHILD], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    n_compared, n_different, error, n_spikes = json.loads(done.stdout)
    assert n_compared > 20_000
    assert n_spikes > 1_000
    assert n_different == 0
    assert error <= 1e-6  # exp in float32


def test_gpu_path_without_a_working_triton_is_torch(caplog: pytest.LogCaptureFixture) -> None:
    """Here Triton has no driver; elsewhere no C compiler or too old a GPU: training goes on."""
    pytest.importorskip("triton", reason="comes with torch's wheels for GPUs")
    if torch.cuda.is_available():
        pytest.skip("Triton works here")
    with caplog.at_level(logging.WARNING, "sqdr"):
        assert path_for.__wrapped__("auto", "cuda").name == "torch"
    assert "the encoder runs without Triton, which is slower" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_gpu_gives_the_spikes_of_the_cpu(preset) -> None:
    assert path_for("auto", "cuda").name == "triton"
    spec = EncoderSpec(input_shape=(1, 28, 28), layers=preset_layers(preset, 9))
    torch.manual_seed(0)
    stock, gpu = SlayerEncoder(spec), SlayerEncoder(spec, 1, "auto")
    gpu.load_state_dict(stock.state_dict())
    gpu.to("cuda")
    x = (torch.rand(32, 1, 28, 28, 8) < 0.3).float()
    for expected, found in zip(stock.layer_spikes(x), gpu.layer_spikes(x.cuda()), strict=True):
        assert torch.equal(expected, found.cpu())
    stock(x).sum().backward()
    gpu(x.cuda()).sum().backward()
    pairs = [(p.grad, q.grad) for p, q in zip(stock.parameters(), gpu.parameters(), strict=True) if p.grad is not None]
    assert len(pairs) > 3
    for expected, found in pairs:  # sums in another order, and exp by the GPU's approximation
        assert (expected - found.cpu()).abs().max() <= 1e-4 * expected.abs().max()
