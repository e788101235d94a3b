"""Whole encoders by every path against stock SLAYER: spikes, gradients, state and export."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sqdr.errors import MissingDependencyError
from sqdr.export.to_netx import write_netx
from sqdr.specification import ConvSpec, DenseSpec, EncoderSpec, NeuronSpec, SurrogateSpec
from sqdr.train.encoder.cuba import choice, compiled
from sqdr.train.encoder.initialisation import wake_layers
from sqdr.train.encoder.presets import preset_layers
from sqdr.train.encoder.slayer import SlayerEncoder

NEEDS_C = pytest.mark.skipif(compiled.library() is None, reason="no C kernels")
# the whole encoder at once with every width of vectors, and the same kernels' layers one by one
CHOICES = [
    "torch",
    *(pytest.param(name, marks=NEEDS_C) for name in ("c", "c, AVX-512", "c, AVX2", "c, portable", "c, layers")),
]
VECTORS = {"c": 3, "c, AVX-512": 2, "c, AVX2": 1, "c, portable": 0}
# sums of float32 in another order; SLAYER's own error against float64 is of this size
WEIGHT_TOLERANCE = 2e-5
# surrogates end at exp(-64), or exp(-32), for speed: where all gradients are as small, no weight moves
SMALLEST = 1e-10


def twins(spec: EncoderSpec, chosen: Any, seed: int = 0, max_payload: int = 1) -> tuple[SlayerEncoder, SlayerEncoder]:
    torch.manual_seed(seed)
    stock = SlayerEncoder(spec, max_payload)
    twin = SlayerEncoder(spec, max_payload, chosen.split(",")[0])
    twin.load_state_dict(stock.state_dict())
    assert (twin.fused is not None) == chosen.startswith("c")
    if chosen in VECTORS:
        twin.fused.vectors = VECTORS[chosen]
        assert twin.fused.can(torch.zeros(1, *spec.input_shape, 1))
    else:
        twin.fused = None
    return stock, twin


def spike_input(spec: EncoderSpec, n: int, n_steps: int, seed: int, rate: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand((n, *spec.input_shape, n_steps), generator=generator) < rate).float()


def gradients(encoder: SlayerEncoder, x: torch.Tensor, seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    encoder.zero_grad()
    x = x.clone().requires_grad_()
    out = encoder(x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)))
    assert x.grad is not None
    trained = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    return out.detach(), [x.grad, *trained]


def assert_same(stock: SlayerEncoder, twin: SlayerEncoder, x: torch.Tensor, seed: int) -> int:
    """Compare all layers' spikes and all gradients; return how many spikes were sent."""
    with torch.no_grad():
        trains = zip(stock.layer_spikes(x), twin.layer_spikes(x), strict=True)
    for expected, found in trains:
        assert found.shape == expected.shape
        assert (found != expected).sum() == 0
    expected, expected_gradients = gradients(stock, x, seed)
    found, found_gradients = gradients(twin, x, seed)
    assert torch.equal(found, expected)
    assert len(found_gradients) == len(expected_gradients) > 1
    for gradient, other in zip(expected_gradients, found_gradients, strict=True):
        assert (gradient - other).abs().max() <= WEIGHT_TOLERANCE * gradient.abs().max().clamp(min=SMALLEST)
    return int(sum(train.sum() for train in stock.layer_spikes(x)))


@pytest.mark.parametrize("chosen", CHOICES)
@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    n=st.integers(1, 35),
    n_steps=st.integers(1, 9),
    decays=st.tuples(st.integers(1, 4096) | st.just(4096), st.integers(0, 4096)),
    tau=st.sampled_from([0.005, 0.002, 0.02]),
    seed=st.integers(0, 2**31),
)
def test_random_encoders_are_slayers(
    chosen: Any,
    size: tuple[int, int],
    groups: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    n: int,
    n_steps: int,
    decays: tuple[int, int],
    tau: float,
    seed: int,
) -> None:
    reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    if any(r > s for r, s in zip(reach, size, strict=True)):
        kernel = (1, 1)
    conv = ConvSpec(
        out_channels=groups * channels[1],
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    spec = EncoderSpec(
        input_shape=(groups * channels[0], *size),
        layers=(
            conv,
            ConvSpec(out_channels=groups * channels[0], kernel_size=(1, 1), groups=groups),
            DenseSpec(out_features=channels[1]),
            DenseSpec(out_features=3),
        ),
        neuron=NeuronSpec(threshold=0.5, current_decay=decays[0] / 4096, voltage_decay=decays[1] / 4096),
        surrogate=SurrogateSpec(tau_grad=tau),
        is_weight_normalised=False,  # its gradient of one weight is a difference of equals
    )
    stock, twin = twins(spec, chosen, seed)
    assert_same(stock, twin, spike_input(spec, n, n_steps, seed), seed)


@pytest.mark.parametrize("chosen", CHOICES)
@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 35),
    n_steps=st.integers(1, 17),
    decays=st.tuples(st.integers(1, 4096) | st.just(4096), st.integers(0, 4096)),
    threshold=st.integers(1, 200),
    tau=st.sampled_from([0.005, 0.002, 0.02]),
    seed=st.integers(0, 2**31),
)
def test_neurons_gradients_are_slayers(
    chosen: Any, n: int, n_steps: int, decays: tuple[int, int], threshold: int, tau: float, seed: int
) -> None:
    """Every neuron has one input of weight 1, so that no sum but its own over time is rounded."""
    spec = EncoderSpec(
        input_shape=(1, 3, 5),
        layers=(ConvSpec(out_channels=1, kernel_size=(1, 1)), DenseSpec(out_features=15)),
        neuron=NeuronSpec(threshold=threshold / 64, current_decay=decays[0] / 4096, voltage_decay=decays[1] / 4096),
        surrogate=SurrogateSpec(tau_grad=tau),
        is_weight_normalised=False,
    )
    stock, twin = twins(spec, chosen, seed)
    for encoder in (stock, twin):
        for block, weight in zip(encoder.layers(), (torch.ones(1, 1), torch.eye(15)), strict=True):
            block.synapse.weight.data.copy_(weight.reshape(block.synapse.weight.shape))
    x = spike_input(spec, n, n_steps, seed)
    expected, found = (gradients(encoder, x, seed)[1][0] for encoder in (stock, twin))
    # the chain through both layers, each within 1e-6 of its largest
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max().clamp(min=SMALLEST)


@pytest.mark.parametrize("chosen", CHOICES)
@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_presets_are_slayers(preset: Any, chosen: Any) -> None:
    spec = EncoderSpec(input_shape=(1, 28, 28), layers=preset_layers(preset, 9))
    stock, twin = twins(spec, chosen)
    x = spike_input(spec, 20, 8, 1)
    wake_layers(stock, x, 0.1)
    wake_layers(twin, x, 0.1)
    for expected, found in zip(stock.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(expected, found)
    assert assert_same(stock, twin, x, 2) > 10_000


@pytest.mark.parametrize("chosen", CHOICES)
def test_graded_input_is_slayers(chosen: Any) -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_small", 9))
    stock, twin = twins(spec, chosen, max_payload=255)
    x = spike_input(spec, 5, 6, 1) * torch.randint(1, 256, (5, 1, 8, 8, 6))
    assert assert_same(stock, twin, x, 3) > 100


@pytest.mark.parametrize("chosen", CHOICES)
def test_states_out_of_range_fall_back_to_slayer(chosen: Any) -> None:
    layers = (ConvSpec(out_channels=3, kernel_size=(2, 2)), DenseSpec(out_features=3))
    stock, twin = twins(EncoderSpec(input_shape=(1, 4, 4), layers=layers), chosen)
    x = spike_input(stock.spec, 3, 4, 1) * 2.0**19
    with torch.no_grad():
        largest = stock.blocks[0].synapse(x).abs().max().item()
    assert largest > 2**18  # in units of 1/4096 it is the C kernel's limit of 2^30
    assert_same(stock, twin, x, 4)


@pytest.mark.parametrize("chosen", CHOICES)
def test_state_and_export_stay_slayers(chosen: Any, tmp_path: Path) -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    stock, twin = twins(spec, chosen)
    assert list(stock.state_dict()) == list(twin.state_dict())
    write_netx(stock, 1, tmp_path / "stock.net")
    write_netx(twin, 1, tmp_path / "twin.net")
    assert (tmp_path / "twin.net").read_bytes() == (tmp_path / "stock.net").read_bytes()
    import h5py

    for name, encoder in (("stock", stock), ("twin", twin)):  # SLAYER's own export, on the blocks themselves
        with h5py.File(tmp_path / f"{name}.h5", "w", libver="earliest") as file:
            for index, block in enumerate(encoder.blocks):
                block.export_hdf5(file.create_group(f"layer/{index}"))
    assert (tmp_path / "twin.h5").read_bytes() == (tmp_path / "stock.h5").read_bytes()


@pytest.mark.parametrize("chosen", CHOICES)
def test_batches_of_other_sizes_may_follow(chosen: Any) -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    stock, twin = twins(spec, chosen)
    for n, n_steps in ((3, 4), (17, 2), (1, 1)):
        x = spike_input(spec, n, n_steps, n)
        assert torch.equal(stock(x), twin(x))


@pytest.mark.parametrize("chosen", CHOICES)
def test_backward_twice_gives_the_same(chosen: Any) -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    _, twin = twins(spec, chosen)
    total = twin(spike_input(spec, 3, 4, 1)).sum()
    total.backward(retain_graph=True)
    once = [p.grad.clone() for p in twin.parameters() if p.grad is not None]
    twin.zero_grad()
    total.backward()
    assert len(once) > 0
    for first, parameter in zip(once, [p for p in twin.parameters() if p.grad is not None], strict=True):
        assert torch.equal(first, parameter.grad)


@NEEDS_C
def test_bytes_are_used_where_they_hold_everything() -> None:
    """Else tests of the widest vectors would be those of narrower ones, and nobody would know."""
    kernels = compiled.library()
    widest = kernels.sqdr_vectors()
    for tau_grad, expected in ((0.005, widest), (0.02, min(widest, 2))):  # a wider surrogate needs more than 16 bits
        spec = EncoderSpec(
            input_shape=(1, 28, 28),
            layers=preset_layers("small", 9),
            surrogate=SurrogateSpec(tau_grad=tau_grad),
        )
        layers = SlayerEncoder(spec, 1, "c").fused._layers(8)
        assert [kernels.sqdr_level(layers, len(layers), level) for level in range(4)] == [
            min(level, expected) for level in range(4)
        ]


@pytest.mark.parametrize("chosen", CHOICES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layer", [0, 1])
def test_weights_that_are_no_number_are_slayers(chosen: Any, value: float, layer: int) -> None:
    layers = (ConvSpec(out_channels=3, kernel_size=(2, 2)), DenseSpec(out_features=3))
    spec = EncoderSpec(input_shape=(1, 4, 4), layers=layers, is_weight_normalised=False)
    stock, twin = twins(spec, chosen)
    for encoder in (stock, twin):
        list(encoder.layers())[layer].synapse.weight.data.flatten()[1] = value
    x = spike_input(spec, 18, 4, 1)
    assert torch.equal(stock(x), twin(x))


@NEEDS_C
def test_all_layers_at_once_are_the_layers_one_by_one() -> None:
    spec = EncoderSpec(input_shape=(1, 28, 28), layers=preset_layers("tiny", 9))
    one, other = twins(spec, "c, layers")[1], twins(spec, "c")[1]
    for n in (1, 15, 16, 17, 64):
        x = spike_input(spec, n, 5, n)
        (spikes, found), (expected_spikes, expected) = gradients(other, x, 1), gradients(one, x, 1)
        assert torch.equal(spikes, expected_spikes)
        for gradient, same in zip(found, expected, strict=True):
            assert (gradient - same).abs().max() <= WEIGHT_TOLERANCE * same.abs().max().clamp(min=SMALLEST)


@pytest.mark.parametrize("chosen", CHOICES)
def test_a_convolution_may_end_in_one_pixel(chosen: str) -> None:
    layers = (ConvSpec(out_channels=4, kernel_size=(3, 3)), DenseSpec(out_features=5), DenseSpec(out_features=4))
    spec = EncoderSpec(input_shape=(2, 3, 3), layers=layers, neuron=NeuronSpec(threshold=0.25))
    stock, twin = twins(spec, chosen)
    assert assert_same(stock, twin, spike_input(spec, 18, 6, 1), 5) > 10


@NEEDS_C
@pytest.mark.parametrize("watched", ["hook", "decay", "weights", "shape", "type"])
def test_what_only_the_layers_mind_is_left_to_them(watched: str) -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    _, encoder = twins(spec, "c")
    x, calls = torch.zeros(2, 1, 8, 8, 3), []
    assert encoder.fused.can(x)
    block = next(encoder.layers())
    if watched == "hook":
        block.neuron.register_forward_hook(lambda *_: calls.append(1))
    elif watched == "decay":
        block.neuron.voltage_decay.requires_grad_(True)
    elif watched == "weights":
        block.synapse.pre_hook_fx = lambda weight: weight
    x = x[:, :, :7] if watched == "shape" else x.double() if watched == "type" else x
    assert not encoder.fused.can(x)
    if watched == "hook":
        encoder(x)
        assert calls == [1]


@NEEDS_C
def test_changed_constants_are_seen() -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    stock, encoder = twins(spec, "c")
    x = spike_input(spec, 20, 6, 1)
    before = encoder(x)
    for one in (stock, encoder):
        for block in one.layers():
            block.neuron.voltage_decay.data.fill_(3000)
            block.neuron._threshold = 0.5
    assert torch.equal(encoder(x), stock(x))
    assert not torch.equal(encoder(x), before)


@NEEDS_C
def test_memory_is_used_again_but_not_while_a_graph_needs_it() -> None:
    spec = EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9))
    stock, encoder = twins(spec, "c")
    inputs = [spike_input(spec, n, 4, n) for n in (20, 3, 40)]
    totals = [encoder(x).sum() for x in inputs]
    encoder(spike_input(spec, 40, 4, 9))
    for total, x in zip(totals, inputs, strict=True):
        encoder.zero_grad()
        total.backward()
        found = [p.grad for p in encoder.parameters() if p.grad is not None]
        stock.zero_grad()
        stock(x).sum().backward()
        for gradient, parameter in zip(found, [p for p in stock.parameters() if p.grad is not None], strict=True):
            assert (gradient - parameter.grad).abs().max() <= WEIGHT_TOLERANCE * parameter.grad.abs().max()
    del total, totals
    assert 1 <= len(encoder.fused.buffers.free) <= 2


def test_auto_without_kernels_is_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "library", lambda: None)
    choice.path_for.cache_clear()
    try:
        assert choice.path_for("auto", "cpu").name == "torch"
        with pytest.raises(MissingDependencyError, match="got c, whose kernels were not built. Install a C "):
            SlayerEncoder(EncoderSpec(input_shape=(1, 8, 8), layers=preset_layers("digits_tiny", 9)), 1, "c")
    finally:
        choice.path_for.cache_clear()


@pytest.mark.parametrize("fault", ["missing", "no library", "other version"])
def test_a_library_that_does_not_fit_is_left_alone(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "missing":
        monkeypatch.setattr(compiled, "MODULE", "sqdr.train.encoder.cuba._nothing")
    elif fault == "no library":
        (tmp_path / "_broken.py").write_text("not a library\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(compiled, "MODULE", "_broken")
    else:
        monkeypatch.setattr(compiled, "INTERFACE_VERSION", -1)
    assert compiled.library.__wrapped__() is None
