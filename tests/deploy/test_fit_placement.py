"""Connections, placement and activity against brute force on random networks."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from random_networks import RandomNetwork, random_networks

from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import IntegerLayer, integer_layers
from sqdr.deploy.fit.activity import measure_activity
from sqdr.deploy.fit.connectivity import Connectivity
from sqdr.deploy.fit.placement import Placement, place
from sqdr.errors import BundleError
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.netx import NetxLayer
from sqdr.specification import CodingSpec
from sqdr.strict import parse


def layers_of(network: RandomNetwork) -> list[IntegerLayer]:
    payload = 255 if network.message_bits else 1
    try:
        return integer_layers(network.layers, network.spikes.shape[1:4], payload, network.spikes.shape[-1])
    except BundleError as error:
        if not any(reason in str(error) for reason in ("overflows Lava's 32 bits", "Lava rounds its weights")):
            raise
        reject()


def synapses(layer: IntegerLayer) -> np.ndarray:
    """(n_neurons, n_inputs) of 1 where there is a synapse, found tap by tap."""
    n_inputs, n_neurons = int(np.prod(layer.in_shape)), int(np.prod(layer.shape))
    found = np.zeros((n_neurons, n_inputs), np.int64)
    if not layer.is_conv:
        return found + 1
    inputs = np.arange(n_inputs).reshape(layer.in_shape)
    neurons = np.arange(n_neurons).reshape(layer.shape)
    n_out, n_in = layer.shape[0] // layer.groups, layer.in_shape[0] // layer.groups
    for c, y, x in product(*map(range, layer.shape)):
        for d, i, j in product(*map(range, layer.weight.shape[1:])):
            row = y * layer.stride[0] - layer.padding[0] + i * layer.dilation[0]
            column = x * layer.stride[1] - layer.padding[1] + j * layer.dilation[1]
            if 0 <= row < layer.in_shape[1] and 0 <= column < layer.in_shape[2]:
                found[neurons[c, y, x], inputs[c // n_out * n_in + d, row, column]] += 1
    return found


def chip(**values: Any) -> Loihi2:
    """Oheo Gulch with other figures; None is unknown."""
    data = packaged_hardware("loihi2_oheo_gulch").model_dump(mode="json")
    for name, value in values.items():
        if isinstance(data[name], dict):
            data[name] = {**data[name], "value": "unknown" if value is None else value}
        else:
            data[name] = value
    return parse(Loihi2, data, "test")


@settings(max_examples=40)
@given(network=random_networks())
def test_connectivity_is_that_of_every_tap(network: RandomNetwork) -> None:
    for layer in layers_of(network):
        expected, found = synapses(layer), Connectivity(layer)
        assert expected.max() <= 1  # no pair is joined twice
        assert np.array_equal(found.fan_out, expected.sum(axis=0))
        assert np.array_equal(found.fan_in, expected.sum(axis=1))
        assert found.n_synapses == expected.sum()


CHIPS = st.builds(
    chip,
    n_neurons_per_core=st.integers(1, 40),
    n_cores_per_chip=st.integers(1, 6),
    n_synapses_per_chip=st.integers(20, 2000),
    core_memory_bytes=st.none() | st.integers(20, 800),
    synaptic_memory_bytes_per_core=st.none() | st.integers(20, 500),
    n_fan_in_axons_per_core=st.none() | st.integers(1, 60),
    n_fan_out_axons_per_core=st.none() | st.integers(1, 60),
    convolution_storage=st.sampled_from([None, "shared", "unrolled"]),
)


def limits_of(hardware: Loihi2) -> dict[str, int | None]:
    figures = {
        "n_neurons": hardware.n_neurons_per_core,
        "n_stored": hardware.n_synapses_per_chip,
        "memory_bytes": hardware.core_memory_bytes,
        "synaptic_bytes": hardware.synaptic_memory_bytes_per_core,
        "fan_in_axons": hardware.n_fan_in_axons_per_core,
        "fan_out_axons": hardware.n_fan_out_axons_per_core,
    }
    return {name: None if figure is None else figure.value for name, figure in figures.items()}


@settings(max_examples=60)
@given(network=random_networks(), hardware=CHIPS)
def test_placement_holds_every_neuron_once_and_no_core_is_over_a_limit(
    network: RandomNetwork, hardware: Loihi2
) -> None:
    layers = layers_of(network)
    placement = place(layers, hardware)
    oversized = {layer for layer, *_ in placement.oversized}
    for index, layer in enumerate(layers):
        cores = placement.of_layer(index)
        held = [n for core in cores for n in range(core.first_neuron, core.first_neuron + core.n_neurons)]
        assert held == list(range(int(np.prod(layer.shape))))
        assert sum(core.n_synapses for core in cores) == synapses(layer).sum()
        for core, (name, limit) in product(cores, limits_of(hardware).items()):
            is_held = limit is None or getattr(core, name) <= limit
            assert is_held or (index in oversized and core.n_neurons == 1)
    assert len(placement.cores) == sum(len(placement.of_layer(index)) for index in range(len(layers)))
    check_axons([synapses(layer) for layer in layers], placement)
    check_chips(placement, hardware)


def check_axons(joined: list[np.ndarray], placement: Placement) -> None:
    for core in placement.cores:
        neurons = slice(core.first_neuron, core.first_neuron + core.n_neurons)
        assert core.fan_in_axons == joined[core.layer][neurons].any(axis=0).sum()
        pairs = 0
        if core.layer + 1 < len(joined):
            following = joined[core.layer + 1]
            for target in placement.of_layer(core.layer + 1):
                rows = following[target.first_neuron : target.first_neuron + target.n_neurons]
                pairs += rows[:, neurons].any(axis=0).sum()
        assert core.fan_out_axons == pairs


def check_chips(placement: Placement, hardware: Loihi2) -> None:
    chips = [core.chip for core in placement.cores]
    assert chips == sorted(chips) and set(chips) == set(range(placement.n_chips))
    for number in set(chips):
        on_it = [core for core in placement.cores if core.chip == number]
        assert len(on_it) <= hardware.n_cores_per_chip.value
        assert sum(core.n_stored for core in on_it) <= hardware.n_synapses_per_chip.value or len(on_it) == 1


def test_placement_fills_a_core_before_the_next() -> None:
    weight = np.full((10, 4), 2)
    layer = dense(weight)
    cores = place([layer], chip(n_neurons_per_core=4)).cores
    assert [core.n_neurons for core in cores] == [4, 4, 2]
    # 4 weights of 8 bits and 2 states of 24 bits a neuron: 10 bytes
    cores = place([layer], chip(core_memory_bytes=35)).cores
    assert [core.n_neurons for core in cores] == [3, 3, 3, 1]
    assert [core.memory_bytes for core in cores] == [30, 30, 30, 10]


def dense(weight: np.ndarray) -> IntegerLayer:
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": 64}
    return integer_layers([NetxLayer(kind="dense", shape=(len(weight),), weight=weight, neuron=neuron)], (4,))[0]


def test_placement_stores_shared_kernels_once_on_each_core() -> None:
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": 64}
    block = NetxLayer(kind="conv", shape=(2, 4, 4), weight=np.full((2, 1, 3, 3), 2), padding=(1, 1), neuron=neuron)
    layers = integer_layers([block], (1, 4, 4))
    shared = place(layers, chip(convolution_storage="shared", n_neurons_per_core=16)).cores
    assert [core.n_stored for core in shared] == [9, 9]
    (both,) = place(layers, chip(convolution_storage="shared")).cores
    (unrolled,) = place(layers, chip(convolution_storage="unrolled")).cores
    assert (both.n_stored, unrolled.n_stored, both.n_synapses) == (18, 200, 200)
    # 2 x 200 synapses of 3x3 kernels on 4x4 places: 4 corners of 4, 8 edges of 6, 4 of 9
    assert unrolled.n_synapses == 2 * (4 * 4 + 8 * 6 + 4 * 9)


@settings(max_examples=25)
@given(network=random_networks(), n_steps=st.integers(1, 6), seed=st.integers(0, 1000))
def test_activity_is_a_count_of_every_spike_and_synapse(network: RandomNetwork, n_steps: int, seed: int) -> None:
    layers = layers_of(replace(network, message_bits=0, spikes=network.spikes[..., :1].repeat(n_steps, axis=-1)))
    coding = CodingSpec(kind="rate", n_steps=n_steps)
    images = np.random.default_rng(seed).integers(0, 256, network.spikes.shape[:4]).astype(np.uint8)
    with IntegerEncoder(layers, input_shape=images.shape[1:], n_steps=n_steps) as encoder:
        found = measure_activity(encoder, images, coding)
        traces = encoder.trace(encode_images(images, coding))
    came_in = encode_images(images, coding).reshape(len(images), -1, n_steps)
    for layer, activity, trace in zip(layers, found, traces, strict=True):
        joined = synapses(layer)
        operations = np.zeros(len(images), np.int64)
        for sample, source, _ in np.argwhere(came_in):
            operations[sample] += joined[:, source].sum()
        assert np.array_equal(activity.synaptic_operations, operations)
        assert np.array_equal(activity.input_spikes, came_in.sum(axis=(1, 2)))
        assert trace.spikes is not None
        came_in = trace.spikes.reshape(len(images), -1, n_steps)
        assert np.array_equal(activity.output_spikes, came_in.sum(axis=(1, 2)))
        assert activity.max_state == max(abs(trace.current).max(), abs(trace.voltage).max())


def test_activity_is_the_same_in_any_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 2, 2)).astype(np.uint8)
    coding = CodingSpec(kind="rate", n_steps=4)
    with IntegerEncoder([dense(np.arange(-12, 28, 2).reshape(5, 4))], input_shape=(1, 2, 2), n_steps=4) as encoder:
        (whole,) = measure_activity(encoder, images, coding)
        # 5 neurons and 4 steps of 17 bytes: two images at a time
        monkeypatch.setattr("sqdr.deploy.fit.activity.MAX_TRACE_BYTES", 2 * 340)
        told: list[tuple[int, int]] = []
        (pieces,) = measure_activity(encoder, images, coding, lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert np.array_equal(whole.synaptic_operations, pieces.synaptic_operations)
    assert np.array_equal(whole.output_spikes, pieces.output_spikes)
    assert whole.max_state == pieces.max_state > 0
