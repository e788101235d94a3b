"""Every path's neurons against SLAYER's: the same spikes, the same gradients, on anything that could be drawn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqdr.errors import TrainingError
from sqdr.train.encoder.cuba.compiled import CompiledPath, library
from sqdr.train.encoder.cuba.eager import EagerPath
from sqdr.train.encoder.cuba.fire import fire
from sqdr.train.encoder.cuba.path import CubaPath, NeuronConstants, OutOfRange
from sqdr.train.encoder.slayer import import_slayer

# SLAYER weights are multiples of 1/32, spikes are integers: so are weighted spikes
STEP = 1 / 32


def paths() -> list[Any]:
    kernels = library()
    compiled = [] if kernels is None else [CompiledPath(kernels)]
    return [pytest.param(path, id=path.name) for path in [EagerPath(), *compiled]]


def neuron(
    threshold: float = 1.0, current_decay: float = 1.0, voltage_decay: float = 0.1, tau_grad: float = 0.005
) -> Any:
    made = import_slayer().neuron.cuba.Neuron(
        threshold, current_decay, voltage_decay, tau_grad=tau_grad, scale_grad=10, requires_grad=False
    )
    made.current_decay.requires_grad_(False)
    made.voltage_decay.requires_grad_(False)
    made.threshold_eps = 0.5 / made.s_scale
    return made


def differentiated(call: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, seed: int) -> Any:
    """Spikes, and the gradient of x for a random gradient of the spikes."""
    x = x.clone().requires_grad_()
    spikes = call(x)
    spikes.backward(torch.randn(spikes.shape, generator=torch.Generator().manual_seed(seed)))
    return spikes.detach(), x.grad


def weighted_spikes(shape: tuple[int, ...], largest: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, shape, generator=generator) * STEP


def assert_out_of_range(stock: Any, x: torch.Tensor, path: CubaPath) -> None:
    """The C kernel gives up from 2^30 of 1/4096 on, which is 2^18; the other paths do not here."""
    assert path.name == "c"
    assert max(state.abs().max().item() for state in stock.dynamics(x)) >= 2**18


@pytest.mark.parametrize("path", paths())
@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 40)),
    n_steps=st.integers(1, 20),
    current_decay=st.integers(1, 4096) | st.just(4096),
    voltage_decay=st.integers(0, 4096) | st.sampled_from([0, 410, 4096]),
    threshold=st.integers(1, 131071) | st.integers(1, 512),
    tau_grad=st.sampled_from([0.005, 0.05, 1.0]),
    largest=st.sampled_from([0, 1, 40, 2000, 100_000, 600_000]),
    seed=st.integers(0, 2**31),
)
def test_spikes_and_gradients_are_slayers(
    path: CubaPath,
    shape: tuple[int, ...],
    n_steps: int,
    current_decay: int,
    voltage_decay: int,
    threshold: int,
    tau_grad: float,
    largest: int,
    seed: int,
) -> None:
    stock = neuron(threshold / 64, current_decay / 4096, voltage_decay / 4096, tau_grad)
    x = weighted_spikes((*shape, n_steps), largest, seed)
    spikes, grad = differentiated(stock, x, seed)
    # SLAYER's states may outgrow float32's 2^24, in which it compares; ours must follow it there, too
    try:
        found, found_grad = differentiated(lambda x: fire(x, stock, path), x, seed)
    except OutOfRange:
        assert_out_of_range(stock, x, path)
        return
    assert (found != spikes).sum() == 0
    # exp and its sum over time in float32, of the largest gradient; where all are tiny, the C kernel's surrogate
    # ends at exp(-64) = 1.6e-28 of its height
    largest_grad = max(grad.abs().max().item(), 1e-20 * NeuronConstants.of(stock).height)
    assert (found_grad - grad).abs().max() <= 1e-6 * largest_grad
    with torch.no_grad():
        assert torch.equal(fire(x, stock, path), spikes)


@pytest.mark.parametrize("path", paths())
@settings(max_examples=60, deadline=None)
@given(
    threshold=st.integers(1, 131071),
    steps_above=st.integers(-2, 2),
    n=st.integers(1, 40),
)
def test_voltage_at_the_threshold_neither_spikes_nor_resets(
    path: CubaPath, threshold: int, steps_above: int, n: int
) -> None:
    stock = neuron(threshold / 64, 1.0, 0.0)
    x = torch.zeros(1, n, 3)
    x[..., 0] = threshold / 64 + steps_above / stock.s_scale
    x[..., 1] = 1 / stock.s_scale
    with torch.no_grad():
        found = fire(x, stock, path)
    # v > threshold is the rule; what did not spike is still there one step later, one unit more
    expected = [1.0, 0.0, 0.0] if steps_above > 0 else [0.0, float(steps_above == 0), 0.0]
    assert found[0].unique(dim=0).tolist() == [expected]
    assert torch.equal(found, stock(x))


@pytest.mark.parametrize("path", paths())
def test_every_order_in_memory_gives_the_same(path: CubaPath) -> None:
    stock = neuron(0.5)
    x = weighted_spikes((3, 4, 5, 6, 7), 40, 1)
    expected = stock(x)
    assert 0.05 < expected.mean() < 0.95
    for order in ((0, 1, 2, 3, 4), (4, 0, 1, 2, 3), (4, 1, 2, 3, 0), (2, 4, 0, 3, 1)):
        back = [order.index(axis) for axis in range(5)]
        turned = x.permute(order).contiguous().permute(back)
        before = turned.clone()
        assert torch.equal(fire(turned, stock, path), expected)
        assert torch.equal(turned, before), "the inputs are the caller's"


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_states_out_of_range_are_said_to_be(path: CubaPath, value: float) -> None:
    x = torch.zeros(2, 3, 4)
    x[1, 2, 1] = value
    with pytest.raises(OutOfRange):
        fire(x, neuron(), path)


@settings(max_examples=60, deadline=None)
@given(magnitude=st.integers(15, 21), n_steps=st.integers(1, 12), decay=st.integers(1, 4096), seed=st.integers(0, 999))
def test_compiled_neurons_are_exact_or_out_of_range(magnitude: int, n_steps: int, decay: int, seed: int) -> None:
    kernels = library()
    assume(kernels is not None)
    assert kernels is not None
    stock = neuron(1.0, decay / 4096, 0.0)
    x = weighted_spikes((2, 8, n_steps), 2 ** (magnitude + 5), seed)
    expected = stock(x)
    try:
        found = fire(x, stock, CompiledPath(kernels))
    except OutOfRange:
        assert_out_of_range(stock, x, CompiledPath(kernels))
        return
    assert torch.equal(found, expected)


@pytest.mark.parametrize("path", paths())
def test_gradients_of_the_decays_are_refused(path: CubaPath) -> None:
    stock = neuron()
    stock.voltage_decay.requires_grad_(True)
    with pytest.raises(TrainingError, match="the decays must not require gradients: SLAYER's are -4096 times"):
        fire(torch.zeros(1, 1, 1), stock, path)


def test_slayers_gradient_of_a_decay_is_not_the_true_one() -> None:
    """Why decays are refused: without spikes v is differentiable, so that the true gradient can be measured."""
    stock = neuron(2000.0, 1.0, 0.25)
    stock.voltage_decay.requires_grad_(True)
    x = weighted_spikes((1, 64, 8), 200, 3)
    stock.dynamics(x)[1].sum().backward()
    sums = []
    for decay in (1024 - 64, 1024 + 64):
        stock.voltage_decay.data.fill_(decay)
        sums.append(stock.dynamics(x)[1].sum().item())
    true = (sums[1] - sums[0]) / 128
    assert true != 0
    # the difference quotient is taken over 3% of the decay
    assert stock.voltage_decay.grad.item() / true == pytest.approx(-4096, rel=0.02)
