"""The integer encoder is exact: SLAYER's spikes, Lava's states, whatever the batch, the threads or the Python."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from integer_reference import reference_states
from lava_networks import NEEDS_LAVA, lava_encoder
from numpy.typing import NDArray
from random_networks import RandomNetwork, random_networks
from threadpoolctl import threadpool_info, threadpool_limits

import sqdr.deploy
from sqdr.backends import EncoderBackend
from sqdr.bundle import Bundle, Golden, sha256_of, write_zip
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.blas import OneBlasThread
from sqdr.errors import BundleError, ConfigError, DataError, NotEqualError, ShapeError
from sqdr.netx import NetxLayer

pytest.importorskip("torch", reason="needs the train extra")

from netx_networks import cuba, slayer_layer_spikes, write_network

Spikes = NDArray[np.uint8]
SHAPE = (2, 7, 5)
STATE_LIMIT = 1 << 23
# Weights that bring a current, 64 times as large, or a sum to the end of 24 bits, beside it, and some turns beyond.
CURRENT_EDGES = [sign * (1 << 17) + beside for sign in (1, -1) for beside in (-1, 0, 1)]
SUM_EDGES = [sign * (1 << 23) + beside for sign in (1, -1) for beside in (-1, 0, 1)]
EDGES = [*CURRENT_EDGES, *SUM_EDGES, 3 << 17, -(1 << 20), (1 << 24) - 1]
N_OUTPUTS = 3
BYTES_PER_COUNT = 8


def even(rng: np.random.Generator, *size: int, low: int = -60, high: int = 64) -> NDArray[np.int64]:
    return (2 * rng.integers(low, high, size)).astype(np.int64)


def conv(rng: np.random.Generator, **values: Any) -> NetxLayer:
    """From `SHAPE` to (4, 4, 3)."""
    fixed: dict[str, Any] = {
        "kind": "conv",
        "shape": (4, 4, 3),
        "weight": even(rng, 4, 2, 3, 3),
        "stride": (2, 2),
        "padding": (1, 1),
        "dilation": (1, 1),
        "neuron": cuba(),
    }
    return NetxLayer(**fixed | values)


def dense(rng: np.random.Generator, n_inputs: int, n_outputs: int = 6, **values: Any) -> NetxLayer:
    fixed: dict[str, Any] = {
        "kind": "dense",
        "shape": (n_outputs,),
        "weight": even(rng, n_outputs, n_inputs),
        "neuron": cuba(),
    }
    return NetxLayer(**fixed | values)


def flatten(n_values: int) -> NetxLayer:
    return NetxLayer(kind="flatten", shape=(n_values,))


def random_spikes(
    rng: np.random.Generator, n: int, shape: tuple[int, ...] = SHAPE, n_steps: int = 6, bits: int = 0
) -> Spikes:
    fires = (rng.random((n, *shape, n_steps)) < 0.4).astype(np.uint8)
    return fires * rng.integers(0, 1 << bits, fires.shape).astype(np.uint8) if bits else fires


def usual(rng: np.random.Generator, **neuron: Any) -> list[NetxLayer]:
    """A conv and two dense layers, with everything that SLAYER can export."""
    values = cuba(current_decay=1500, voltage_decay=200, **neuron)
    return [
        conv(rng, neuron=values, bias=rng.integers(-20, 30, 4)),
        flatten(48),
        dense(rng, 48, neuron=values, bias=rng.integers(-9, 30, 6)),
        dense(rng, 6, 3, neuron=cuba()),
    ]


def made(folder: Path, layers: list[NetxLayer], shape: tuple[int, int, int] = SHAPE, **options: Any) -> IntegerEncoder:
    return IntegerEncoder.from_netx(write_network(folder / "encoder.net", layers), input_shape=shape, **options)


def assert_reference(encoder: IntegerEncoder, layers: list[NetxLayer], spikes: Spikes, is_graded: bool = False) -> Any:
    """Compare u, v and spikes of every layer with the plain loops, and return theirs."""
    states = reference_states(layers, spikes, is_graded=is_graded)
    traces = encoder.trace(spikes)
    weighted = [index for index, layer in enumerate(layers) if layer.weight is not None]
    assert [trace.name for trace in traces] == [f"layer {index} ({layers[index].kind})" for index in weighted]
    for trace, (u, v, fires) in zip(traces, states, strict=True):
        assert (trace.current.dtype, trace.voltage.dtype) == (np.int64, np.int64)
        assert np.array_equal(trace.current, u), trace.name
        assert np.array_equal(trace.voltage, v), trace.name
        assert np.array_equal(trace.spikes, fires), trace.name  # type: ignore[arg-type]
    trains = states[-1][2].reshape(len(spikes), -1, spikes.shape[-1])
    assert np.array_equal(encoder.spike_trains(spikes), trains)
    assert np.array_equal(encoder.encode(spikes), trains.sum(axis=-1))
    return states


# --- SLAYER


SLAYER_CASES: dict[str, tuple[tuple[int, int, int], int, dict[str, Any]]] = {
    "not square": ((2, 7, 5), 8, {}),
    "one step": ((2, 7, 5), 1, {}),
    "two steps": ((2, 7, 6), 2, {}),
    "long": ((2, 8, 6), 70, {}),
    "strides, paddings and dilations apart": (
        (2, 7, 5),
        8,
        {"shape": (4, 3, 9), "stride": (2, 1), "padding": (0, 3), "dilation": (1, 2), "size": (4, 2, 3, 2)},
    ),
    "groups": ((2, 7, 5), 8, {"groups": 2, "size": (4, 1, 3, 3)}),
    "one wide row": ((2, 1, 40), 8, {"shape": (4, 1, 38), "padding": (0, 0), "stride": (1, 1), "size": (4, 2, 1, 3)}),
    "kernel as large as the input": ((2, 7, 5), 8, {"shape": (4, 1, 1), "padding": (0, 0), "size": (4, 2, 7, 5)}),
}


@pytest.mark.parametrize("case", SLAYER_CASES)
def test_every_spike_of_every_layer_is_slayers(case: str, tmp_path: Path) -> None:
    shape, n_steps, values = SLAYER_CASES[case]
    rng = np.random.default_rng(1)
    values = dict(values)
    size = values.pop("size", (4, 2, 3, 3))
    out = values.setdefault("shape", (4, (shape[1] + 1) // 2, (shape[2] + 1) // 2))
    n_values = int(np.prod(out))
    first = conv(rng, weight=even(rng, *size), neuron=cuba(30, current_decay=3000), **values)
    layers = [first, flatten(n_values), dense(rng, n_values), dense(rng, 6, 5, neuron=cuba(voltage_decay=0))]
    spikes = random_spikes(rng, 21, shape, n_steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SLAYER's import warns
        expected = slayer_layer_spikes(layers, spikes)
    traces = made(tmp_path, layers, shape).trace(spikes)
    for trace, trains in zip(traces, expected, strict=True):
        assert trains.any()
        assert not trains.all()
        assert trace.spikes is not None
        assert int((trace.spikes != trains).sum()) == 0


def test_a_network_that_begins_flat_gives_slayers_spikes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    layers = [dense(rng, 70), dense(rng, 6, 4)]
    spikes = random_spikes(rng, 21)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = slayer_layer_spikes(layers, spikes)[-1]
    assert expected.any()
    for name, blocks in {"dense": layers, "flatten": [flatten(70), *layers]}.items():
        (tmp_path / name).mkdir()
        assert np.array_equal(made(tmp_path / name, blocks).spike_trains(spikes), expected)


@pytest.mark.parametrize("n_steps_below", [1, 2, 16, 258, 516])
def test_a_voltage_at_the_threshold_does_not_spike_however_high_it_is(n_steps_below: int, tmp_path: Path) -> None:
    weight = 254
    threshold = n_steps_below * weight  # up to 131,064 of 131,071
    values = {"shape": (1, 1, 1), "stride": (1, 1), "padding": (0, 0)}
    layers = [
        conv(
            np.random.default_rng(0),
            weight=np.full((1, 1, 1, 1), weight),
            neuron=cuba(threshold, voltage_decay=0),
            **values,
        )
    ]
    spikes = np.ones((1, 1, 1, 1, 2 * n_steps_below + 3), np.uint8)
    fires = made(tmp_path, layers, (1, 1, 1)).spike_trains(spikes)[0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(slayer_layer_spikes(layers, spikes)[0].reshape(-1), fires)
    assert np.flatnonzero(fires).tolist() == [n_steps_below, 2 * n_steps_below + 1]


# --- plain loops over integers


@settings(max_examples=200)
@given(found=random_networks())
def test_every_state_of_a_random_network_is_that_of_plain_loops(
    found: RandomNetwork, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    n_steps = found.spikes.shape[-1]
    shape = found.spikes.shape[1:4]
    try:
        encoder = made(folder, found.layers, shape, message_bits=found.message_bits, n_steps=n_steps)  # type: ignore[arg-type]
    except BundleError as error:
        if not any(reason in str(error) for reason in ("overflows Lava's 32 bits", "Lava rounds its weights")):
            raise
        reject()
    assert_reference(encoder, found.layers, found.spikes, is_graded=found.message_bits > 0)


def test_the_number_of_steps_may_be_left_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    layers = usual(rng)
    encoder = made(tmp_path, layers)
    for n_steps in (1, 9, 40):
        assert_reference(encoder, layers, random_spikes(rng, 3, n_steps=n_steps))


def test_bias_of_each_neuron_lies_as_netx_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    bias = rng.integers(-50, 60, (3, 4, 4))  # (W, H, C)
    layers = [conv(rng, bias=bias, weight=even(rng, 4, 2, 3, 3, low=-2, high=3))]
    spikes = random_spikes(rng, 5)
    traces = made(tmp_path, layers).trace(spikes)
    for channel, row, column in np.ndindex(4, 4, 3):
        alone = [replace(layers[0], bias=np.full(4, bias[column, row, channel]))]
        v = reference_states(alone, spikes)[0][1]
        assert np.array_equal(traces[0].voltage[:, channel, row, column], v[:, channel, row, column])


# --- special cases, in Lava too


def all_inputs(weight: int, **neuron: Any) -> list[NetxLayer]:
    """A conv whose kernel is the image: a channel of positive weights, one of negative ones, one of both."""
    rng = np.random.default_rng(5)
    weights = np.full((3, *SHAPE), weight) * np.array([1, -1, 1]).reshape(3, 1, 1, 1)
    weights[2, :, ::2] *= -1
    first = conv(rng, shape=(3, 1, 1), weight=weights, stride=(1, 1), padding=(0, 0), neuron=cuba(5000, **neuron))
    return [first, flatten(3), dense(rng, 3)]


def special_cases() -> dict[str, dict[str, Any]]:
    """Networks that SLAYER cannot train but netx honours, and some that overflow."""
    rng = np.random.default_rng(6)
    apart = {"current_decay": [4096, 900, 1, 2500], "voltage_decay": [0, 410, 4096, 77]}
    delays = rng.integers(0, 4, (6, 48))
    return {
        "per channel": {
            "layers": [
                conv(rng, bias=np.array([9, -3, 20, 0]), neuron=cuba([64, 30, 1, 200], **apart)),
                flatten(48),
                # odd weights, which Lava keeps up to 255
                dense(rng, 48, weight=rng.integers(-254, 255, (6, 48)), neuron=cuba([20, 64, 300, 64, 5, 900])),
                dense(rng, 6, bias=rng.integers(-9, 40, 6), neuron=cuba(current_decay=[1, 9, 4096, 700, 2000, 4095])),
            ]
        },
        "graded, after a pause": {"layers": usual(rng, threshold=900), "bits": 8, "period": 8},
        "begins flat": {"layers": [dense(rng, 70), dense(rng, 6, 3)]},
        "convs only": {"layers": [conv(rng, groups=2, weight=even(rng, 4, 1, 3, 3))]},
        "current wraps": {
            "layers": all_inputs(10, voltage_decay=10, current_decay=900),
            "bits": 8,
            "n_steps": 16,
        },
        "voltage clips": {"layers": all_inputs(250, voltage_decay=1), "bits": 2, "n_steps": 16},
        "sums wrap": {"layers": all_inputs(900, voltage_decay=4000), "bits": 8, "n_steps": 16},
        # a current of 2^23 stays, one of -2^23 goes round; a sum of 2^23 goes round, one of -2^23 stays
        "at the edges": {
            "layers": [
                conv(
                    rng,
                    shape=(15, 1, 1),
                    weight=np.array(EDGES)[:, None, None, None] * np.array([1, 0])[:, None, None],
                    stride=(7, 5),
                    padding=(0, 0),
                    neuron=cuba(131071, voltage_decay=4000),
                ),
                flatten(15),
                dense(rng, 15),
            ],
            "n_steps": 12,
        },
        # Lava's lines of pending spikes outlive a sample: a pause as long as all three delays together empties them
        "delays": {
            "layers": [
                conv(rng),
                flatten(48),
                dense(rng, 48, delay=delays),
                dense(rng, 6, delay=np.array([0, 3, 1, 2, 0, 1])),
                dense(rng, 6, 5, delay=np.arange(6) % 4),
            ],
            "n_steps": 12,
            "period": 21,
        },
    }


SPECIAL = special_cases()


def special_spikes(case: dict[str, Any]) -> Spikes:
    bits = case.get("bits", 0)
    spikes = random_spikes(np.random.default_rng(7), 9, n_steps=case.get("n_steps", 6), bits=bits)
    spikes[0] = max(1, (1 << bits) - 1)  # every input at its largest
    return spikes


@pytest.mark.parametrize("name", SPECIAL)
def test_special_networks_have_the_states_of_plain_loops(name: str, tmp_path: Path) -> None:
    case = SPECIAL[name]
    bits = case.get("bits", 0)
    states = assert_reference(
        made(tmp_path, case["layers"], message_bits=bits), case["layers"], special_spikes(case), is_graded=bits > 0
    )
    assert states[-1][2].any()
    assert not states[-1][2].all()


def test_overflows_are_what_they_are_called() -> None:
    states = {}
    for name in ("current wraps", "voltage clips", "sums wrap"):
        case = SPECIAL[name]
        states[name] = reference_states(case["layers"], special_spikes(case), is_graded=True)[0]
    # the first channel has positive weights only: where its current is negative, something went round
    assert 255 * 10 * 70 < STATE_LIMIT  # and here it was not the sum
    assert (states["current wraps"][0][:, 0] < 0).any()
    # a sum of 2^23 or more turns negative, and 64 times it is too far below 24 bits for one turn of the current
    assert STATE_LIMIT < 255 * 900 * 70
    assert (states["sums wrap"][0][:, 0] < -STATE_LIMIT).any()
    assert (states["voltage clips"][1][:, 1] == 1 - STATE_LIMIT).any()
    assert np.abs(states["voltage clips"][0]).max() < STATE_LIMIT


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS_LAVA) for name in SPECIAL])
def test_special_networks_have_lavas_spikes_and_states(name: str, tmp_path: Path) -> None:
    case = SPECIAL[name]
    bits, spikes = case.get("bits", 0), special_spikes(case)
    encoder = made(tmp_path, case["layers"], message_bits=bits)
    options = {"period": case.get("period"), "message_bits": bits}
    with lava_encoder(tmp_path / "encoder.net", SHAPE, spikes.shape[-1], **options) as lava:
        assert int((lava.spike_trains(spikes) != encoder.spike_trains(spikes)).sum()) == 0
        assert np.array_equal(lava.encode(spikes[::-1]), encoder.encode(spikes)[::-1])
        for found, expected in zip(lava.trace(spikes[:2]), encoder.trace(spikes[:2]), strict=True):
            assert found.name == expected.name
            assert np.array_equal(found.current, expected.current), found.name
            assert np.array_equal(found.voltage, expected.voltage), found.name


# --- batches, threads, memory


@pytest.mark.parametrize("n_threads", [1, 2, 0])
@pytest.mark.parametrize("lane_samples", [1, 3, 128])
def test_results_depend_on_neither_batches_nor_threads(
    n_threads: int, lane_samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    layers = [*usual(rng)[:3], dense(rng, 6, delay=rng.integers(0, 5, (6, 6)))]
    spikes = random_spikes(rng, 300)
    expected = reference_states(layers, spikes)
    trains = expected[-1][2]
    monkeypatch.setattr("sqdr.deploy.encoders.integer.encoder.MAX_LANE_SAMPLES", lane_samples)
    encoder = made(tmp_path, layers, n_threads=n_threads)
    for n in (1, 2, 3, 7, 127, 128, 129, 255, 300, 5):
        assert np.array_equal(encoder.spike_trains(spikes[:n]), trains[:n])
        assert np.array_equal(encoder.encode(spikes[-n:]), trains[-n:].sum(axis=-1))
    for trace, (u, v, fires) in zip(encoder.trace(spikes[:140]), expected, strict=True):
        assert np.array_equal(trace.current, u[:140])
        assert np.array_equal(trace.voltage, v[:140])
        assert np.array_equal(trace.spikes, fires[:140])  # type: ignore[arg-type]


def test_a_sample_does_not_depend_on_those_beside_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    encoder = made(tmp_path, usual(rng))
    spikes = random_spikes(rng, 200)
    expected = encoder.spike_trains(spikes)
    order = rng.permutation(200)
    assert np.array_equal(encoder.spike_trains(spikes[order]), expected[order])
    loud = spikes.copy()
    loud[::2] = 1
    assert np.array_equal(encoder.spike_trains(loud)[1::2], expected[1::2])


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_use_from_many_threads_at_once_is_safe(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    encoder = made(tmp_path, usual(rng))
    parts = [random_spikes(rng, n) for n in (1, 60, 128, 128, 200, 64, 3, 128)]
    expected = [encoder.encode(part) for part in parts]
    before = blas_threads()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(encoder.encode, parts))
            assert all(np.array_equal(one, two) for one, two in zip(found, expected, strict=True))
    assert blas_threads() == before


def test_blas_has_its_threads_back_whoever_leaves_first(tmp_path: Path) -> None:
    first, second = OneBlasThread(), made(tmp_path, usual(np.random.default_rng(10)))
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        if max(before, default=1) < 2:
            pytest.skip("needs a BLAS that takes two threads")
        first.__enter__()
        first.__enter__()
        assert set(blas_threads()) == {1}
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        first.__exit__(None, None, None)
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError, match="division by zero"), first:
            1 / 0  # noqa: B018
        assert blas_threads() == before
        second.encode(np.ones((3, *SHAPE, 6), np.uint8))
        assert blas_threads() == before


def peak_bytes(encoder: IntegerEncoder, n_samples: int, n_at_once: int) -> int:
    """Return what encoding allocates at most, besides its input."""
    spikes = np.broadcast_to(np.ones((1, *SHAPE, 6), np.uint8), (n_at_once, *SHAPE, 6))  # takes no memory
    tracemalloc.start()
    try:
        for _ in range(0, n_samples, n_at_once):
            encoder.encode(spikes)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_memory_does_not_grow_with_the_number_of_samples(n_threads: int, tmp_path: Path) -> None:
    encoder = made(tmp_path, usual(np.random.default_rng(11)), n_threads=n_threads, n_steps=6)
    # A lane of 1 MiB at most, as `LANE_BYTES` says, the one that it replaces, and the input of one batch.
    limit = n_threads * 2 * ((1 << 20) + 128 * 70 * 6)
    for n_at_once in (None, 500):
        encoder.encode(np.ones((300, *SHAPE, 6), np.uint8))  # makes buffers
        few, many = (
            peak_bytes(encoder, n, n_at_once or n) - (n_at_once or n) * N_OUTPUTS * BYTES_PER_COUNT
            for n in (2_000, 20_000)
        )
        assert many < limit
        # One batch of at most 128 samples costs a slice, and of two threads a future: below 1 KiB; 16 KiB are the
        # interpreter's own free lists. Whether two threads hold all they may at once depends on the moment.
        n_batches = (n_at_once or 20_000) // 128
        assert many < (few if n_threads == 1 else limit) + (16 << 10) + n_batches * (1 << 10)


# --- checks


def test_it_keeps_the_backend_protocol(tmp_path: Path) -> None:
    encoder = made(tmp_path, usual(np.random.default_rng(12)))
    assert isinstance(encoder, EncoderBackend)
    assert encoder.name == "integer"
    assert [layer.name for layer in encoder.layers] == ["layer 0 (conv)", "layer 2 (dense)", "layer 3 (dense)"]


@pytest.mark.parametrize("value", [-1, 1.5, True, "2", None])
def test_the_number_of_threads_must_be_one(value: Any, tmp_path: Path) -> None:
    path = write_network(tmp_path / "encoder.net", usual(np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=r"`n_threads` must be a whole number of at least 0, got .*\. 0 uses all"):
        IntegerEncoder.from_netx(path, input_shape=SHAPE, n_threads=value)


@pytest.mark.parametrize("value", [-1, 9])
def test_the_message_bits_must_be_a_bytes(value: int, tmp_path: Path) -> None:
    path = write_network(tmp_path / "encoder.net", usual(np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=r"`message_bits` must be 0 to 8, got"):
        IntegerEncoder.from_netx(path, input_shape=SHAPE, message_bits=value)


@pytest.mark.parametrize("bits", [0, 1, 3, 8])
def test_values_beyond_the_message_bits_are_refused(bits: int, tmp_path: Path) -> None:
    encoder = made(tmp_path, usual(np.random.default_rng(13)), message_bits=bits)
    limit = max(2, 1 << bits)
    spikes = np.full((2, *SHAPE, 4), limit - 1, np.uint8)
    assert encoder.encode(spikes).shape == (2, 3)
    if limit <= 255:
        spikes[1, 0, 0, 0, 0] = limit
        with pytest.raises(DataError, match=rf"`spikes` must be below {limit}, got {limit}\. Code the images first\."):
            encoder.encode(spikes)


@pytest.mark.parametrize("starts_flat", [False, True])
@pytest.mark.parametrize("size", [(2, 5, 7, 4), (7, 5, 2, 4), (1, 7, 5, 4), (70, 4), (70, 1, 1, 4)])
def test_samples_of_another_shape_are_refused(starts_flat: bool, size: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    encoder = made(tmp_path, [dense(rng, 70)] if starts_flat else usual(rng))
    with pytest.raises(ShapeError, match=r"`spikes` must be \(N, C, H, W, T\) with C, H, W, T = \(2, 7, 5, 'T'\), got"):
        encoder.encode(np.zeros((3, *size), np.uint8))


def test_samples_without_steps_or_with_another_number_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "encoder.net", usual(np.random.default_rng(15)))
    with pytest.raises(ShapeError, match=r"`spikes` must be \(N, C, H, W, T\)"):
        IntegerEncoder.from_netx(path, input_shape=SHAPE).encode(np.zeros((3, *SHAPE, 0), np.uint8))
    with pytest.raises(ShapeError, match=r"C, H, W, T = \(2, 7, 5, 6\), got \(3, 2, 7, 5, 5\)"):
        IntegerEncoder.from_netx(path, input_shape=SHAPE, n_steps=6).encode(np.zeros((3, *SHAPE, 5), np.uint8))


def test_the_files_input_block_gives_the_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(16)
    layers = usual(rng)
    spikes = random_spikes(rng, 4)
    path = write_network(tmp_path / "encoder.net", [NetxLayer(kind="input", shape=SHAPE), *layers])
    assert np.array_equal(
        IntegerEncoder.from_netx(path).encode(spikes), reference_states(layers, spikes)[-1][2].sum(axis=-1)
    )


# --- bundles


@pytest.fixture(scope="module")
def golden(bundle_path: Path) -> tuple[Spikes, Golden]:
    from sqdr.coding import encode_images

    with Bundle.open(bundle_path) as bundle:
        samples = bundle.golden()
        return encode_images(samples.images, bundle.manifest.model.coding), samples


def test_a_bundle_may_be_a_folder_a_zip_or_open(
    bundle_path: Path, golden: tuple[Spikes, Golden], tmp_path: Path
) -> None:
    spikes, samples = golden
    write_zip(bundle_path, tmp_path / "bundle.sqdr")
    encoders = [
        IntegerEncoder.from_bundle(bundle_path),
        IntegerEncoder.from_bundle(str(bundle_path)),
        IntegerEncoder.from_bundle(tmp_path / "bundle.sqdr"),
        IntegerEncoder.from_bundle(bundle_path, n_threads=0, check_golden=False),
    ]
    with Bundle.open(bundle_path) as bundle:
        encoders.append(IntegerEncoder.from_bundle(bundle))
    for encoder in encoders:  # the bundle is closed, and its unpacked files are gone
        assert np.array_equal(encoder.spike_trains(spikes), samples.spike_trains)
        assert np.array_equal(encoder.encode(spikes), samples.counts)


def altered(bundle: Path, folder: Path, name: str, **model: Any) -> Path:
    """A copy of a bundle whose file ``name`` is that in ``folder``'s parent, with a manifest that says so."""
    shutil.copytree(bundle, folder)
    shutil.copyfile(folder.parent / name, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = sha256_of(folder / name).model_dump()
    for part, values in model.items():
        manifest["model"][part] |= values
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.mark.parametrize("n_altered", [1, 3])
def test_a_bundle_whose_golden_spikes_it_does_not_reproduce_is_refused(
    n_altered: int, bundle_path: Path, golden: tuple[Spikes, Golden], tmp_path: Path
) -> None:
    trains = golden[1].spike_trains.copy()
    trains.reshape(-1)[:: trains.size // n_altered][:n_altered] ^= 1
    replace(golden[1], spike_trains=trains).save(tmp_path / "golden.npz")
    path = altered(bundle_path, tmp_path / "altered", "golden.npz")
    message = (
        rf"^encoder 'integer' differs from the trained model in {n_altered} of {trains.size} golden spikes and will "
        r"not serve\. Run `sqdr verify` to see where\.$"
    )
    with pytest.raises(NotEqualError, match=message):
        IntegerEncoder.from_bundle(path)
    with pytest.raises(NotEqualError, match=message), Bundle.open(path) as bundle:
        IntegerEncoder.from_bundle(bundle, n_threads=2)
    unchecked = IntegerEncoder.from_bundle(path, check_golden=False)
    assert np.array_equal(unchecked.spike_trains(golden[0]), golden[1].spike_trains)


def test_a_bundle_that_says_the_same_otherwise_is_served(
    bundle_path: Path, golden: tuple[Spikes, Golden], tmp_path: Path
) -> None:
    golden[1].save(tmp_path / "golden.npz")
    path = altered(bundle_path, tmp_path / "copy", "golden.npz")
    assert np.array_equal(IntegerEncoder.from_bundle(path).encode(golden[0]), golden[1].counts)


def test_payloads_beyond_the_codings_own_are_computed_as_lava_does(bundle_path: Path, tmp_path: Path) -> None:
    # a byte may carry 255, though the weighted phase sends at most 128, up to which this current stays in 24 bits
    weight = np.full((1, 1, 8, 8), 14)
    assert 64 * int(weight.sum()) * 128 < STATE_LIMIT < 64 * int(weight.sum()) * 255
    values = {"shape": (1, 1, 1), "stride": (1, 1), "padding": (0, 0), "neuron": cuba(900)}
    layers = [conv(np.random.default_rng(0), weight=weight, **values)]
    write_network(tmp_path / "encoder.net", layers)
    coding = {"kind": "weighted_phase", "n_steps": 5}
    encoder = IntegerEncoder.from_bundle(
        altered(bundle_path, tmp_path / "bundle", "encoder.net", coding=coding), check_golden=False
    )
    spikes = np.array([128, 255, 254, 3, 255], np.uint8) * np.ones((2, 1, 8, 8, 1), np.uint8)
    (u, _, _) = assert_reference(encoder, layers, spikes, is_graded=True)[0]
    assert (u < 0).any()


# --- without the rest

BLOCKED = ("torch", "lava", "onnx", "onnxruntime", "nir", "pennylane", "braket", "boto3", "h5py", "scipy", "sklearn")
SCRIPT = """
import sys
for name in {blocked}:
    sys.modules[name] = None
import numpy as np
from sqdr.deploy.encoders.integer import IntegerEncoder
spikes = np.load(sys.argv[2])
with IntegerEncoder.from_bundle(sys.argv[1]) as encoder:
    np.savez(sys.argv[3], trains=encoder.spike_trains(spikes), counts=encoder.encode(spikes))
"""


def run_alone(python: str, env: dict[str, str], bundle: Path, golden: tuple[Spikes, Golden], folder: Path) -> None:
    """Serve the golden samples in a Python of its own and compare."""
    np.save(folder / "spikes.npy", golden[0])
    command = [python, "-W", "error", "-c", SCRIPT.format(blocked=BLOCKED)]
    files = [str(bundle), str(folder / "spikes.npy"), str(folder / "found.npz")]
    ended = subprocess.run(
        [*command, *files], env=env, capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with np.load(folder / "found.npz") as found:
        assert np.array_equal(found["trains"], golden[1].spike_trains)
        assert np.array_equal(found["counts"], golden[1].counts)


def test_it_runs_without_torch_lava_onnx_pennylane_or_h5py(
    bundle_path: Path, golden: tuple[Spikes, Golden], tmp_path: Path
) -> None:
    run_alone(sys.executable, dict(os.environ), bundle_path, golden, tmp_path)


NEEDED = "import numpy, pydantic, threadpoolctl, yaml"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_it_runs_on_newer_pythons(
    version: str, bundle_path: Path, golden: tuple[Spikes, Golden], tmp_path: Path
) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", NEEDED], capture_output=True, check=False).returncode:
        pytest.skip(f"needs a python{version} on PATH with numpy, pydantic, threadpoolctl and PyYAML")
    # sqdr as it would be installed there
    package, top = tmp_path / "site" / "sqdr", Path(sqdr.deploy.__file__).parents[1]
    package.mkdir(parents=True)
    for item in (top / "src" / "sqdr").iterdir():
        (package / item.name).symlink_to(item)
    for name in ("deploy", "hw_configs"):
        (package / name).symlink_to(top / name)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    run_alone(python, env, bundle_path, golden, tmp_path)
