"""The C sources by themselves: no warning of the compiler, and the same results without this processor's vectors."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d

import sqdr.train.encoder.cuba
from sqdr.train.encoder.cuba.compiled import CompiledPath, load
from sqdr.train.encoder.cuba.eager import EagerPath
from sqdr.train.encoder.cuba.path import Convolution, NeuronConstants

SOURCES = sorted(Path(sqdr.train.encoder.cuba.__file__).parent.glob("*.c"))
COMPILER = shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(scope="module", params=["portable", "dispatched"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CompiledPath:
    if COMPILER is None:
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("kernels") / "kernels.so"
    options = ["-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    options += ["-DSQDR_PORTABLE"] if request.param == "portable" else []
    assert len(SOURCES) == 4
    subprocess.run([COMPILER, *options, *SOURCES, "-o", target], check=True, timeout=120)
    kernels = load(str(target))
    assert kernels is not None
    return CompiledPath(kernels)


@pytest.mark.parametrize("n", [1, 7, 8, 16, 17, 40])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_are_torchs(path: CompiledPath, n: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(n)
    spikes = (torch.rand((n, 4, 9, 8, 3), generator=generator) < 0.4).float().requires_grad_()
    weight = (torch.randint(-128, 128, (6, 4 // groups, 3, 2), generator=generator) / 32).requires_grad_()
    convolution = Convolution(stride=(2, 1), padding=(1, 1), dilation=(1, 2), groups=groups)
    found = path.weigh(spikes, weight, convolution)
    grad = torch.randn(found.shape, generator=generator)
    gradients = torch.autograd.grad(found, (spikes, weight), grad)
    merged = conv2d(spikes.movedim(-1, 0).flatten(0, 1), weight, None, (2, 1), (1, 1), (1, 2), groups)
    expected = merged.unflatten(0, (3, n)).movedim(0, -1)
    assert torch.equal(found, expected)
    for ours, torchs in zip(gradients, torch.autograd.grad(expected, (spikes, weight), grad), strict=True):
        # sums of float32 in another order
        assert (ours - torchs).abs().max() <= 1e-5 * torchs.abs().max()


@pytest.mark.parametrize("current_decay", [4096, 1000])
@pytest.mark.parametrize("n", [1, 5, 511, 512, 1300])
def test_neurons_are_those_of_the_torch_path(path: CompiledPath, n: int, current_decay: int) -> None:
    generator = torch.Generator().manual_seed(n)
    constants = NeuronConstants(
        scale=4096,
        current_decays=torch.tensor([float(current_decay)]),
        voltage_decays=torch.tensor([410.0]),
        threshold=1 + 0.5 / 4096,
        tau=0.5,
        height=1.0,
    )
    inputs = torch.randint(-64, 80, (6, n), generator=generator) / 32
    grad = torch.randn(inputs.shape, generator=generator)
    (spikes, voltage), (expected, expected_voltage) = (p.fire(inputs, constants) for p in (path, EagerPath()))
    assert torch.equal(spikes, expected)
    assert torch.equal(voltage, expected_voltage)
    gradients = [p.gradient(grad, voltage, constants) for p in (path, EagerPath())]
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-6 * gradients[1].abs().max()
