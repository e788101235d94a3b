"""A direct channel carries what Lava's own carries: in order, bounded, between processes, and under a selector."""

import mmap
import multiprocessing
import threading
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_networks import HAS_LAVA, import_lava
from netx_networks import write_network
from random_encoders import random_encoder

from sqdr.deploy.encoders.lava.graph import NetworkOptions
from sqdr.timing import Timing

pytestmark = [pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="needs lava-nc and lava-dl")]

SIZE = 3
SOON_S = 10.0


class Memory:
    """Stands for Lava's shared memory, without a name that could be left over."""

    def create_shared_memory(self, size):
        return SimpleNamespace(buf=mmap.mmap(-1, size))


def make_ports(shape=(2, 2), d_type=np.int32, *, is_started=True):
    module = import_lava("sqdr.deploy.encoders.lava.direct_channels")
    channel = module.DirectChannel(SimpleNamespace(smm=Memory()), "a", "b", shape, d_type, SIZE)
    if is_started:
        channel.src_port.start()
        channel.dst_port.start()
    return channel.src_port, channel.dst_port


def soon(call):
    """Return what ``call`` returns; a call that waits for ever fails the test."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(SOON_S)
    assert found, "it still waits"
    return found[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["send", "recv", "peek"]), max_size=40))
def test_channel_is_a_bounded_queue(calls):
    source, target = make_ports()
    expected = deque()
    for number, call in enumerate(calls):
        assert source.probe() == (len(expected) < SIZE)
        assert target.probe() == (len(expected) > 0)
        if call == "send" and source.probe():
            data = np.full((2, 2), number)
            source.send(data)
            data[:] = -1  # the message is a copy
            expected.append(number)
        elif call != "send" and target.probe():
            message = soon(target.peek if call == "peek" else target.recv)
            assert message.dtype == np.int32
            np.testing.assert_array_equal(message, np.full((2, 2), expected[0]))
            message[:] = -1
            if call == "recv":
                expected.popleft()


def test_messages_cross_processes_in_order_and_wait_for_room():
    source, target = make_ports((5,), np.float64, is_started=False)
    n_messages = 50 * SIZE

    def send_all():
        source.start()
        for number in range(n_messages):
            source.send(np.arange(5) + number)

    process = multiprocessing.get_context("fork").Process(target=send_all, daemon=True)
    process.start()
    target.start()
    try:
        for number in range(n_messages):
            np.testing.assert_array_equal(soon(target.recv), np.arange(5) + number)
        assert not target.probe()
        process.join(SOON_S)
        assert process.exitcode == 0
    finally:
        process.kill()


def test_full_channel_waits_until_a_message_is_taken():
    source, target = make_ports((1,))
    for number in range(SIZE):
        source.send(np.array([number]))
    sender = threading.Thread(target=source.send, args=(np.array([SIZE]),), daemon=True)
    sender.start()
    sender.join(0.1)
    assert sender.is_alive()
    assert target.recv() == [0]
    sender.join(SOON_S)
    assert not sender.is_alive()
    assert [int(soon(target.recv)[0]) for _ in range(SIZE)] == [1, 2, 3]


def test_selector_waits_for_a_message_and_leaves_it():
    source, target = make_ports((1,))
    selector = import_lava("lava.magma.compiler.channels.pypychannel").CspSelector()
    timer = threading.Timer(0.1, source.send, (np.array([7]),))
    timer.start()
    assert soon(lambda: selector.select((target, lambda: "cmd"))) == "cmd"
    timer.join()
    assert target.recv() == [7]
    assert not target.probe()  # the selector is gone: it does not wait any more


def test_send_refuses_a_message_of_another_shape():
    source, target = make_ports()
    with pytest.raises(ValueError, match=r"port a sends messages of shape \(2, 2\), not \(2,\)"):
        source.send(np.zeros(2))
    assert not target.probe()


def test_only_the_stock_graph_is_lavas_own_throughout(tmp_path: Path):
    made = random_encoder(6)
    path = write_network(tmp_path / "encoder.net", made.layers)
    layers = [layer for layer in made.layers if layer.weight is not None]

    def graph(name):
        options = NetworkOptions(
            net_path=str(path),
            input_shape=made.input_shape,
            n_outputs=int(np.prod(layers[-1].shape)),
            timing=Timing(n_steps=8, period=8, n_layers=len(layers)),
            message_bits=made.coding.message_bits,
            graph=name,
            n_batch=1,
        )
        return import_lava("sqdr.deploy.encoders.lava.netx_graph").netx_graph(options)

    assert (graph("stock").models, graph("stock").has_direct_channels) == ({}, False)
    assert len(graph("fast").models) == 2
    assert graph("fast").has_direct_channels
