"""Runs the Triton kernels in Triton's interpreter against SLAYER and prints what differed, as JSON."""

import json
import os
import random

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported

import torch

from sqdr.train.encoder.cuba.fire import fire
from sqdr.train.encoder.cuba.path import NeuronConstants
from sqdr.train.encoder.cuba.triton_path import TritonPath
from sqdr.train.encoder.slayer import import_slayer

N_DRAWS = 60


def draw(rng: random.Random) -> tuple[int, int, float, int]:
    """Spikes compared, spikes that differ, error of the gradient as a part of the largest, spikes sent."""
    seed = rng.getrandbits(31)
    generator = torch.Generator().manual_seed(seed)
    threshold = rng.choice([rng.randint(1, 512), rng.randint(1, 131071)]) / 64
    decays = (rng.choice([4096, rng.randint(1, 4096)]) / 4096, rng.choice([0, 410, rng.randint(0, 4096)]) / 4096)
    neuron = import_slayer().neuron.cuba.Neuron(threshold, *decays, tau_grad=rng.choice([0.005, 1.0]), scale_grad=10)
    neuron.threshold_eps = 0.5 / neuron.s_scale
    shape = [rng.randint(1, 5), rng.randint(1, 9), rng.randint(1, 50), rng.randint(1, 12)]
    largest = rng.choice([40, 2000, 600_000])
    x = torch.randint(-largest, largest + 1, shape, generator=generator) / 32
    # at the threshold, where SLAYER's own CUDA kernel and its CPU code differ
    x[0, 0, 0, 0] = threshold
    grad = torch.randn(shape, generator=generator)
    results = []
    for call in (neuron, lambda x: fire(x, neuron, TritonPath())):
        leaf = x.clone().requires_grad_()
        spikes = call(leaf)
        spikes.backward(grad)
        results.append((spikes.detach(), leaf.grad))
    (expected, expected_grad), (found, found_grad) = results
    floor = 1e-20 * NeuronConstants.of(neuron).height
    error = (found_grad - expected_grad).abs().max() / expected_grad.abs().max().clamp(min=floor)
    return expected.numel(), int((found != expected).sum()), error.item(), int(expected.sum())


if __name__ == "__main__":
    rng = random.Random(0)
    rows = [draw(rng) for _ in range(N_DRAWS)]
    compared, different, errors, sent = zip(*rows, strict=True)
    print(json.dumps([sum(compared), sum(different), max(errors), sum(sent)]))
