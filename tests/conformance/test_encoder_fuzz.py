"""Hundreds of random encoders: every backend gives every spike of SLAYER's, or the export rules refuse the network."""

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from integer_reference import reference_states
from lava_networks import NEEDS_LAVA, lava_encoder
from numpy.typing import NDArray
from random_encoders import RandomEncoder, random_encoder

from sqdr.backends import LayerTrace
from sqdr.coding import largest_payloads
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.errors import BundleError
from sqdr.export.rules import Network, violations

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")

from netx_networks import slayer_layer_spikes, write_network  # noqa: E402

from sqdr.deploy.encoders.onnx import OnnxEncoder  # noqa: E402
from sqdr.export.to_onnx import encoder_onnx  # noqa: E402

N_NUMBERS = 450
N_BLOCKS = 15
MIN_COMPARED = 300
MIN_REFUSED = 60
N_IN_LAVA = 40
# Lava's start takes seconds whatever the network, its steps only where there are many neurons.
MAX_LAVA_NEURON_STEPS = 3000
# Every so many networks are compared in all states, too.
STATES_OF_EVERY = 4

Spikes = NDArray[np.uint8]


@cache
def encoder(number: int) -> RandomEncoder:
    return random_encoder(number)


@cache
def refusals(number: int) -> frozenset[str]:
    """The export rules that the network breaks."""
    made = encoder(number)
    return frozenset(found.rule for found in violations(Network(made.layers, payloads=largest_payloads(made.coding))))


def compared() -> list[int]:
    return [number for number in range(N_NUMBERS) if not refusals(number)]


def in_lava() -> Iterator[int]:
    """Those of the compared networks that are small enough, and whose last layer spikes now and then."""
    for number in range(N_NUMBERS):
        made = encoder(number)
        if made.n_neurons * made.coding.n_steps <= MAX_LAVA_NEURON_STEPS and not refusals(number):
            fires = reference_states(made.layers, made.spikes, is_graded=made.coding.message_bits > 0)[-1][2]
            if fires.any() and not fires.all():
                yield number


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only lose by more threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def integer(number: int, folder: Path) -> IntegerEncoder:
    made = encoder(number)
    path = write_network(folder / f"{number}.net", made.layers)
    return IntegerEncoder.from_netx(
        path,
        input_shape=made.input_shape,
        n_steps=made.coding.n_steps,
        message_bits=made.coding.message_bits,
    )


def slayer_spikes(number: int) -> list[Spikes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SLAYER's import warns
        return slayer_layer_spikes(encoder(number).layers, encoder(number).spikes)


def assert_same(name: str, number: int, layer: str, expected: NDArray, found: NDArray) -> None:  # type: ignore[type-arg]
    """Fail with the place of the first difference in time, and among those the first in order."""
    if np.array_equal(expected, found):
        return
    places = np.argwhere(expected != found)
    sample, *neuron, step = places[np.argmin(places[:, -1])].tolist()
    pytest.fail(
        f"network {number}, {layer}: {name} differs at {len(places)} of {expected.size} places, first at sample "
        f"{sample}, neuron {tuple(neuron)}, step {step}"
    )


def assert_reference(name: str, number: int, traces: list[LayerTrace]) -> None:
    """Fail where a state or spike is not that of the plain loops."""
    made = encoder(number)
    states = reference_states(made.layers, made.spikes, is_graded=made.coding.message_bits > 0)
    for trace, (u, v, fires) in zip(traces, states, strict=True):
        assert_same(f"u in {name}", number, trace.name, u, trace.current)
        assert_same(f"v in {name}", number, trace.name, v, trace.voltage)
        assert trace.spikes is not None
        assert_same(f"{name}", number, trace.name, fires, trace.spikes)


@pytest.mark.slow
def test_enough_networks_are_compared_and_some_are_refused() -> None:
    numbers = compared()
    refused = Counter(rule for number in range(N_NUMBERS) for rule in refusals(number))
    assert len(numbers) >= MIN_COMPARED
    assert N_NUMBERS - len(numbers) >= MIN_REFUSED
    assert set(refused) == {
        "current_stays_in_24_bits",
        "voltage_stays_in_24_bits",
        "weights_are_not_all_zero",
        "dense_weight_is_exact",
    }


@pytest.mark.slow
def test_networks_are_of_every_kind() -> None:
    made = [encoder(number) for number in compared()]
    layers = [layer for one in made for layer in one.layers if layer.weight is not None and layer.neuron is not None]
    convs = [layer for layer in layers if layer.kind == "conv"]
    kinds = {
        "one step": sum(one.coding.n_steps == 1 for one in made),
        "32 steps": sum(one.coding.n_steps == 32 for one in made),
        "graded": sum(one.coding.message_bits > 0 for one in made),
        "8-bit payload": sum(one.coding.max_payload == 255 for one in made),
        "not square": sum(one.input_shape[1] != one.input_shape[2] for one in made),
        "four convs": sum(sum(layer.kind == "conv" for layer in one.layers) == 4 for one in made),
        "two dense": sum(sum(layer.kind == "dense" for layer in one.layers) == 2 for one in made),
        "no dense": sum(one.layers[-1].kind == "conv" for one in made),
        "groups": sum(layer.groups > 1 for layer in convs),
        "strides apart": sum(layer.stride[0] != layer.stride[1] for layer in convs),
        "paddings apart": sum(layer.padding[0] != layer.padding[1] for layer in convs),
        "dilations apart": sum(layer.dilation[0] != layer.dilation[1] for layer in convs),
        "bias": sum(layer.bias is not None for layer in layers),
        "lowest weight": sum(int(layer.weight.min()) == -256 for layer in layers),  # type: ignore[union-attr]
        "highest weight": sum(int(layer.weight.max()) == 254 for layer in layers),  # type: ignore[union-attr]
        "threshold above 2^16": sum(layer.neuron["vThMant"] > 1 << 16 for layer in layers),  # type: ignore[index]
        "threshold 1": sum(layer.neuron["vThMant"] == 1 for layer in layers),  # type: ignore[index]
        "current decays apart": sum(isinstance(layer.neuron["iDecay"], list) for layer in layers),  # type: ignore[index]
        "voltage decays apart": sum(isinstance(layer.neuron["vDecay"], list) for layer in layers),  # type: ignore[index]
        "current decay 1": sum(layer.neuron["iDecay"] == 1 for layer in layers),  # type: ignore[index]
        "voltage decay 0": sum(layer.neuron["vDecay"] == 0 for layer in layers),  # type: ignore[index]
        "voltage decay 4096": sum(layer.neuron["vDecay"] == 4096 for layer in layers),  # type: ignore[index]
    }
    assert {name: count for name, count in kinds.items() if count < 10} == {}


@pytest.mark.slow
@pytest.mark.parametrize("block", range(N_BLOCKS))
def test_integer_and_onnx_give_slayers_spikes_in_every_layer(block: int, tmp_path: Path) -> None:
    active = layers = 0
    for number in compared()[block::N_BLOCKS]:
        runtime = integer(number, tmp_path)
        traces = runtime.trace(encoder(number).spikes)
        for trace, spikes in zip(traces, slayer_spikes(number), strict=True):
            assert trace.spikes is not None
            assert_same("the integer runtime", number, trace.name, spikes, trace.spikes)
            active += bool(spikes.any() and not spikes.all())
            layers += 1
        if number % STATES_OF_EVERY == 0:
            assert_reference("the integer runtime", number, traces)
        compare_onnx(number, traces, tmp_path / f"{number}.onnx")
        trains = runtime.spike_trains(encoder(number).spikes)
        assert_same("the output", number, "the last layer", trains, flat(traces[-1].spikes))
    assert layers > N_NUMBERS / N_BLOCKS
    assert active > layers / 3  # or equality would say little


def compare_onnx(number: int, traces: list[LayerTrace], path: Path) -> None:
    made = encoder(number)
    expected = flat(traces[-1].spikes)
    path.write_bytes(encoder_onnx(made.layers, made.input_shape, made.coding, {}))
    with OnnxEncoder(
        path,
        input_shape=made.input_shape,
        n_features=expected.shape[1],
        n_steps=made.coding.n_steps,
        message_bits=made.coding.message_bits,
        n_threads=1,
    ) as runtime:
        assert_same("ONNX", number, "the last layer", expected, runtime.spike_trains(made.spikes))
        if number % STATES_OF_EVERY == 0:
            assert_reference("ONNX", number, runtime.trace(made.spikes))


def flat(spikes: Spikes | None) -> Spikes:
    """(N, C, H, W, T) -> (N, F, T)."""
    assert spikes is not None
    return spikes.reshape(len(spikes), -1, spikes.shape[-1])


@pytest.mark.slow
def test_refused_networks_that_the_integer_runtime_takes_wrap_and_clip_as_lava_does(tmp_path: Path) -> None:
    counts = Counter[str]()
    for number in range(N_NUMBERS):
        if not refusals(number):
            continue
        try:
            runtime = integer(number, tmp_path)
        except BundleError:
            counts["refused by the integer runtime"] += 1
            assert "dense_weight_is_exact" in refusals(number)
            continue
        traces = runtime.trace(encoder(number).spikes)
        assert_reference("the integer runtime", number, traces)
        counts["clips"] += any((np.abs(trace.voltage) == (1 << 23) - 1).any() for trace in traces)
        counts["taken"] += 1
    assert counts["taken"] >= MIN_REFUSED / 2
    assert counts["clips"]
    assert counts["refused by the integer runtime"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [pytest.param(rank, marks=NEEDS_LAVA) for rank in range(N_IN_LAVA)])
def test_lava_gives_slayers_spikes(rank: int, tmp_path: Path) -> None:
    number = next(islice(in_lava(), rank, None))
    made = encoder(number)
    expected = flat(slayer_spikes(number)[-1])
    assert expected.any()
    path = write_network(tmp_path / "encoder.net", made.layers)
    with lava_encoder(path, made.input_shape, made.coding.n_steps, message_bits=made.coding.message_bits) as lava:
        assert_same("Lava", number, "the last layer", expected, lava.spike_trains(made.spikes))
