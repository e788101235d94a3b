"""The bridge keeps order, bounds its queue, works on both sides at once, and always ends its thread."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.coding import encode_images
from sqdr.deploy import bridge as bridge_module
from sqdr.deploy.bridge import Bridge, Passed
from sqdr.deploy.fakes import FakeEncoder, FakeHead, FakeScript
from sqdr.errors import BackendCrashError, ConfigError, TaskError
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.specification import CodingSpec, ConvSpec, DenseSpec, EncoderSpec, HeadSpec, ModelSpec

SPEC = ModelSpec(
    coding=CodingSpec(n_steps=4),
    encoder=EncoderSpec(input_shape=(1, 4, 4), layers=(ConvSpec(out_channels=2), DenseSpec(out_features=3))),
    head=HeadSpec(n_qubits=3, n_classes=2),
)
_RNG = np.random.default_rng(7)
PARAMETERS = HeadParameters(
    weights=np.zeros((2, 3, 3)),
    scale_rad=np.full(3, np.pi / 2),
    readout_weight=_RNG.normal(size=(2, 3)),
    readout_bias=_RNG.normal(size=2),
)
# Longest wait for the other side; reached only when a test fails.
PATIENCE_S = 20.0

Images = NDArray[np.uint8]


def chunks_of(*sizes: int) -> list[Images]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (size, 1, 4, 4), dtype=np.uint8) for size in sizes]


def encoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sqdr-encoder"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert encoder_threads() == []


class Rig:
    """A bridge between started fakes, with their scripts at hand."""

    def __init__(self, encoder: FakeScript | None = None, head: FakeScript | None = None, **options: Any) -> None:
        self.encoder = FakeEncoder((1, 4, 4), 3, 4, script=encoder)
        self.head = FakeHead(3, script=head)
        self.bridge = Bridge(self.encoder.__enter__(), self.head.__enter__(), SPEC, PARAMETERS, **options)

    def n_encoded(self) -> int:
        return len(self.encoder.script.calls)


def expected_of(images: Images) -> Passed:
    with FakeEncoder((1, 4, 4), 3, 4) as encoder, FakeHead(3) as head:
        counts = encoder.encode(encode_images(images, SPEC.coding))
        expectations = head.expectations(counts_to_angles(counts, 4, PARAMETERS.scale_rad, SPEC.head))
    return Passed(counts, expectations, readout(expectations, PARAMETERS, SPEC.head))


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), max_size=12), max_waiting=st.integers(1, 5))
def test_run_gives_every_chunk_in_order(sizes: list[int], max_waiting: int) -> None:
    chunks = chunks_of(*sizes)
    passed = list(Rig(max_waiting=max_waiting).bridge.run(iter(chunks)))
    assert len(passed) == len(chunks)
    for images, found in zip(chunks, passed, strict=True):
        expected = expected_of(images)
        assert np.array_equal(found.counts, expected.counts)
        assert np.array_equal(found.expectations, expected.expectations)
        assert np.array_equal(found.logits, expected.logits)


def test_run_keeps_the_encoder_within_the_queue() -> None:
    max_waiting, n_passed, ahead = 2, 0, []
    script = FakeScript(on_call=lambda number: ahead.append(number - n_passed))
    rig = Rig(encoder=script, max_waiting=max_waiting)
    taken = []

    def source() -> Iterator[Images]:
        for index, images in enumerate(chunks_of(*[1] * 12)):
            taken.append(index)
            yield images

    for _ in rig.bridge.run(source()):
        if not n_passed:
            deadline = time.monotonic() + PATIENCE_S
            # one is here, two wait in the queue, and one waits to enter it
            while rig.n_encoded() < max_waiting + 2 and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(0.3)  # long enough for an encoder without a bound to run away
            assert rig.n_encoded() == len(taken) == max_waiting + 2
        n_passed += 1
    assert n_passed == 12
    assert max(ahead) <= max_waiting + 2


def test_run_works_on_both_sides_at_once() -> None:
    n = 6
    meeting = threading.Barrier(2)

    # encoder call k + 1 and head call k wait for each other, which only concurrent calls survive
    def in_encoder(number: int) -> None:
        if number > 1:
            meeting.wait(PATIENCE_S)

    def in_head(number: int) -> None:
        if number < n:
            meeting.wait(PATIENCE_S)

    rig = Rig(encoder=FakeScript(on_call=in_encoder), head=FakeScript(on_call=in_head))
    assert len(list(rig.bridge.run(chunks_of(*[2] * n)))) == n


def test_encoder_error_reaches_the_caller_after_what_passed_before() -> None:
    error = BackendCrashError("the worker was killed")
    rig = Rig(encoder=FakeScript(error=error, error_on_call=3))
    passed = []
    with pytest.raises(BackendCrashError, match="the worker was killed") as caught:
        passed.extend(rig.bridge.run(chunks_of(1, 1, 1, 1, 1)))
    assert caught.value is error
    assert encoder_threads() == []
    assert rig.n_encoded() == 3


def test_chunks_before_an_encoder_error_are_given() -> None:
    running = Rig(encoder=FakeScript(error=BackendCrashError("gone"), error_on_call=3)).bridge.run(chunks_of(1, 1, 1))
    assert len(next(running).counts) == 1
    assert len(next(running).counts) == 1
    with pytest.raises(BackendCrashError, match="gone"):
        next(running)
    with pytest.raises(StopIteration, match=""):
        next(running)


def test_head_error_stops_the_encoder_which_can_serve_again() -> None:
    rig = Rig(head=FakeScript(error=TaskError("task failed"), error_on_call=2), max_waiting=1)
    with pytest.raises(TaskError, match="task failed"):
        list(rig.bridge.run(chunks_of(*[1] * 10)))
    assert encoder_threads() == []
    assert rig.n_encoded() <= 2 + rig.bridge.max_waiting + 1
    assert len(list(rig.bridge.run(chunks_of(1, 1)))) == 2


def test_error_of_the_source_reaches_the_caller() -> None:
    def source() -> Iterator[Images]:
        yield from chunks_of(1, 1)
        raise OSError("camera unplugged")

    running = Rig().bridge.run(source())
    assert len([next(running), next(running)]) == 2
    with pytest.raises(OSError, match="camera unplugged"):
        next(running)


def test_leaving_early_stops_the_thread_and_keeps_the_encoder() -> None:
    rig = Rig(max_waiting=1)
    for _ in rig.bridge.run(chunks_of(*[1] * 50)):
        break
    assert encoder_threads() == []
    assert rig.n_encoded() <= 1 + rig.bridge.max_waiting + 1
    assert len(list(rig.bridge.run(chunks_of(2)))) == 1


def test_leaving_early_closes_an_encoder_that_does_not_end_its_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "LEAVE_S", 0.2)
    in_second = threading.Event()

    def on_call(number: int) -> None:
        if number == 2:
            rig.encoder.script.delay_s = 3600
            in_second.set()

    rig = Rig(encoder=FakeScript(on_call=on_call))
    running = rig.bridge.run(chunks_of(1, 1))
    next(running)
    assert in_second.wait(PATIENCE_S)
    running.close()
    assert encoder_threads() == []


def test_leaving_early_does_not_wait_for_a_source_that_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "LEAVE_S", 0.2)
    more = threading.Event()

    def source() -> Iterator[Images]:
        yield from chunks_of(1)
        more.wait(PATIENCE_S)
        yield from chunks_of(1)

    rig = Rig()
    running = rig.bridge.run(source())
    next(running)
    running.close()
    threads = encoder_threads()
    assert [thread.daemon for thread in threads] == [True]  # ends with the process at the latest
    more.set()
    threads[0].join(PATIENCE_S)
    assert rig.n_encoded() == 1
    rig.encoder.encode(np.zeros((1, 1, 4, 4, 4), np.uint8))  # still open


def test_interrupt_in_the_head_ends_an_encode_call_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "LEAVE_S", 3 * PATIENCE_S)  # Ctrl-C does not wait for it
    is_encoding = threading.Event()

    def in_encoder(number: int) -> None:
        if number == 2:
            rig.encoder.script.delay_s = 3600
            is_encoding.set()

    def in_head(number: int) -> None:
        assert is_encoding.wait(PATIENCE_S)

    head = FakeScript(on_call=in_head, error=KeyboardInterrupt())
    rig = Rig(encoder=FakeScript(on_call=in_encoder), head=head)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match=""):
        list(rig.bridge.run(chunks_of(1, 1, 1)))
    assert time.monotonic() - start < PATIENCE_S
    assert encoder_threads() == []


def test_interrupt_in_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        for _ in Rig(max_waiting=1).bridge.run(chunks_of(*[1] * 20)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=""):
        consume()
    assert encoder_threads() == []


def test_run_that_is_never_iterated_starts_nothing() -> None:
    rig = Rig()
    running = rig.bridge.run(chunks_of(1))
    assert encoder_threads() == []
    running.close()
    assert rig.n_encoded() == 0


def test_times_are_filled() -> None:
    rig = Rig(encoder=FakeScript(delay_s=0.02), head=FakeScript(delay_s=0.03))
    list(rig.bridge.run(chunks_of(1, 1, 1)))
    times = rig.bridge.times
    assert times.coding > 0
    assert times.encoder >= 3 * 0.02
    assert times.head >= 3 * 0.03
    assert times.total >= times.head


@pytest.mark.parametrize("max_waiting", [0, -1])
def test_bridge_refuses_a_queue_without_bound(max_waiting: int) -> None:
    with pytest.raises(ConfigError, match=f"`max_waiting` must be at least 1, got {max_waiting}"):
        Rig(max_waiting=max_waiting)
