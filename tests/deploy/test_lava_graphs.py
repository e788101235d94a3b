"""Every graph gives the integer runtime's spikes and states; the arithmetic of each is tested on its own besides."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from integer_reference import reference_states
from lava_networks import HAS_LAVA, import_lava, lava_encoder
from netx_networks import write_network
from random_encoders import random_encoder
from random_networks import random_networks

from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import integer_layers
from sqdr.deploy.verify import verify_bundle
from sqdr.errors import BundleError, ConfigError
from sqdr.timing import Timing

pytestmark = [pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="needs lava-nc and lava-dl")]

OTHERS = ["fast", "batched"]
# Convs, with groups and dilation of their own, before dense layers; and payloads of 8 bits into convs alone.
NUMBERS = [6, 23, 12]
N_BATCH = 16


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("graph", OTHERS)
def test_graph_gives_the_integer_runtimes_spikes_and_states(graph: str, number: int, tmp_path: Path) -> None:
    made = random_encoder(number)
    path = write_network(tmp_path / "encoder.net", made.layers)
    coding = made.coding
    integer = IntegerEncoder.from_netx(path, input_shape=made.input_shape, message_bits=coding.message_bits)
    # two full batches and a last one that is not
    order = np.random.default_rng(0).integers(0, len(made.spikes), 2 * N_BATCH + 3)
    spikes = made.spikes[order]
    expected = integer.spike_trains(spikes)
    assert 0 < expected.mean() < 1
    with lava_encoder(path, made.input_shape, coding.n_steps, message_bits=coding.message_bits, graph=graph) as encoder:
        assert (encoder.spike_trains(spikes) != expected).sum() == 0
        one_by_one = [encoder.spike_trains(sample[None]) for sample in spikes[:5]]
        assert (np.concatenate(one_by_one) != expected[:5]).sum() == 0
        np.testing.assert_array_equal(encoder.encode(spikes[:N_BATCH]), expected[:N_BATCH].sum(axis=-1))
        np.testing.assert_array_equal(encoder.encode(spikes[::-1]), expected[::-1].sum(axis=-1))
        traced = encoder.trace(spikes[:2])
        assert (encoder.spike_trains(spikes[:3]) != expected[:3]).sum() == 0  # nothing of the trace is left
    for layer, own in zip(traced, integer.trace(spikes[:2]), strict=True):
        assert layer.name == own.name
        np.testing.assert_array_equal(layer.current, own.current)
        np.testing.assert_array_equal(layer.voltage, own.voltage)


class Port:
    """Stands for both ports of a model, which then runs without a runtime."""

    def __init__(self, steps=()):
        self.steps = list(steps)
        self.sent = []

    def recv(self):
        return self.steps.pop(0)

    def send(self, data):
        self.sent.append(data.astype(np.int32))  # a copy, as the channel between two processes makes


@settings(max_examples=60)
@given(random_networks())
def test_batched_model_gives_the_references_spikes_batch_after_batch(drawn) -> None:
    n_samples, n_steps = len(drawn.spikes), drawn.spikes.shape[-1]
    payload = 255 if drawn.message_bits else 1
    try:
        layers = integer_layers(drawn.layers, drawn.spikes.shape[1:4], payload, n_steps)
    except BundleError:
        assume(False)
    model_class = import_lava("sqdr.deploy.encoders.lava.processes.batched_network").BatchedNetworkModel
    timing = Timing(n_steps=n_steps, period=n_steps + 1, n_layers=1)
    options = {"layers": layers, "n_samples": n_samples, "timing": timing, "wants_states": threading.Event()}
    model = model_class(options)
    steps = drawn.spikes.transpose(4, 1, 2, 3, 0).astype(np.int32)  # (N, C, H, W, T) -> (T, C, H, W, N)
    blank = np.zeros_like(steps[:1])
    model.s_in = Port(np.concatenate([steps, blank, 0 * steps, blank, steps, blank]))
    model.s_out = Port()
    n_periods = 3
    for step in range(n_periods * timing.period):
        model.time_step = step + 1
        model.run_spk()
    sent = np.array(model.s_out.sent).reshape(n_periods, timing.period, -1, n_samples)
    reference = reference_states(drawn.layers, drawn.spikes, is_graded=drawn.message_bits > 0)[-1][2]
    expected = reference.reshape(n_samples, -1, n_steps).transpose(2, 1, 0)  # (T, F, N)
    for period in (0, 2):  # with a batch of blank samples in between
        assert not sent[period, 0].any()
        np.testing.assert_array_equal(sent[period, 1:], expected)


@pytest.mark.parametrize("graph", OTHERS)
def test_trained_bundle_is_verified_in_the_graph_asked_for(bundle_path: Path, graph: str) -> None:
    report = verify_bundle(bundle_path, n_samples=20, source="digits:test", against=("lava",), lava_graph=graph)
    assert [row.n_samples for row in report.rows if row.target == "lava"] == [8, 20]  # golden, digits
    assert report.equal


def test_verify_refuses_a_graph_that_is_not_known(bundle_path: Path) -> None:
    with pytest.raises(ConfigError, match="`graph` must be stock or fast or batched, got 'other'"):
        verify_bundle(bundle_path, n_samples=1, source="digits:test", against=("lava",), lava_graph="other")
