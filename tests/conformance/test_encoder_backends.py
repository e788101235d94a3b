"""The suite that every encoder backend passes; a new one is added to `BACKENDS`."""

import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend
from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.fakes import FakeEncoder
from sqdr.deploy.inputs import read_input
from sqdr.errors import BackendError, ShapeError
from sqdr.plugins import load_plugin

HAS_LAVA = "SQDR_LAVA_PYTHON" in os.environ or (
    sys.version_info[:2] == (3, 10) and importlib.util.find_spec("lava") is not None
)
LAVA = (pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="Lava runs on Python 3.10 with `sqdr[lava]` only"))
HAS_ONNX = all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))
ONNX = pytest.mark.skipif(not HAS_ONNX, reason="needs the onnx extra")
BACKENDS = ["fake", "slayer", "integer", pytest.param("onnx", marks=ONNX), pytest.param("lava", marks=LAVA)]
# They hold nothing that closing could take away, and go on answering; the others refuse.
ANSWER_AFTER_CLOSE = {"slayer", "integer"}
# More than the Lava encoder sends its worker at once, and no multiple of it.
N_SAMPLES = 37

Spikes = NDArray[np.uint8]


def make(name: str, bundle: Bundle) -> EncoderBackend:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SLAYER's import warns
        kind = FakeEncoder if name == "fake" else load_plugin("sqdr.encoders", name)
        made: EncoderBackend = kind.from_bundle(bundle)
        return made


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Iterator[Bundle]:
    with Bundle.open(bundle_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def golden_spikes(bundle: Bundle) -> Spikes:
    return encode_images(bundle.golden().images, bundle.manifest.model.coding)


@pytest.fixture(scope="module")
def spikes(bundle: Bundle) -> Spikes:
    model = bundle.manifest.model
    images = read_input("digits:test", model.encoder.input_shape).images[:N_SAMPLES]
    return encode_images(images, model.coding)


@pytest.fixture(scope="module", params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backend(name: str, bundle: Bundle) -> Iterator[EncoderBackend]:
    """One started backend for all tests that leave it running."""
    with make(name, bundle) as started:
        yield started


def test_backend_keeps_the_protocol(backend: EncoderBackend, name: str) -> None:
    assert isinstance(backend, EncoderBackend)
    assert backend.name == name


def test_spike_trains_are_the_trained_models(backend: EncoderBackend, bundle: Bundle, golden_spikes: Spikes) -> None:
    golden = bundle.golden()
    assert golden.spike_trains.any()
    assert not golden.spike_trains.all()
    assert int((backend.spike_trains(golden_spikes) != golden.spike_trains).sum()) == 0
    assert np.array_equal(backend.encode(golden_spikes), golden.counts)


def test_outputs_have_the_contracts_shapes_and_types(backend: EncoderBackend, bundle: Bundle, spikes: Spikes) -> None:
    model = bundle.manifest.model
    n_features, n_steps = model.head.n_features, model.coding.n_steps
    trains, counts = backend.spike_trains(spikes), backend.encode(spikes)
    assert (trains.shape, trains.dtype) == ((len(spikes), n_features, n_steps), np.uint8)
    assert (counts.shape, counts.dtype) == ((len(spikes), n_features), np.int64)
    assert set(np.unique(trains)) <= {0, 1}
    assert np.array_equal(counts, trains.sum(axis=-1))


def test_one_sample_at_a_time_is_the_batch(backend: EncoderBackend, spikes: Spikes) -> None:
    one_by_one = np.concatenate([backend.spike_trains(spikes[i : i + 1]) for i in range(12)])
    assert np.array_equal(one_by_one, backend.spike_trains(spikes)[:12])


def test_samples_do_not_depend_on_their_order_or_on_earlier_calls(backend: EncoderBackend, spikes: Spikes) -> None:
    order = np.random.default_rng(0).permutation(len(spikes))
    first = backend.spike_trains(spikes)
    assert np.array_equal(backend.spike_trains(spikes[order]), first[order])
    assert np.array_equal(backend.spike_trains(spikes), first)


def test_input_may_lie_in_memory_in_any_order_and_stays_unchanged(backend: EncoderBackend, spikes: Spikes) -> None:
    expected, before = backend.encode(spikes), spikes.copy()
    assert np.array_equal(backend.encode(np.asfortranarray(spikes)), expected)
    assert np.array_equal(backend.encode(spikes[::-1]), expected[::-1])
    assert np.array_equal(spikes, before)


def test_input_may_be_read_only(backend: EncoderBackend, spikes: Spikes, request: pytest.FixtureRequest) -> None:
    read_only = spikes[:2].copy()
    read_only.flags.writeable = False
    assert np.array_equal(backend.encode(read_only), backend.encode(spikes[:2]))


def test_no_samples_give_no_results(backend: EncoderBackend, bundle: Bundle, spikes: Spikes) -> None:
    model = bundle.manifest.model
    n_features, n_steps = model.head.n_features, model.coding.n_steps
    trains, counts = backend.spike_trains(spikes[:0]), backend.encode(spikes[:0])
    assert (trains.shape, trains.dtype) == ((0, n_features, n_steps), np.uint8)
    assert (counts.shape, counts.dtype) == ((0, n_features), np.int64)


WRONG: dict[str, Callable[[Spikes], Spikes]] = {
    "one sample without its axis": lambda s: s[0],
    "one axis too many": lambda s: s[None],
    "two channels": lambda s: np.repeat(s, 2, axis=1),
    "one row less": lambda s: s[:, :, 1:],
    "one column more": lambda s: np.repeat(s, 2, axis=3)[:, :, :, : s.shape[3] + 1],
    "a wrong shape without samples": lambda s: s[:0, :, 1:],
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("method", ["encode", "spike_trains"])
def test_wrong_shape_is_refused_and_the_backend_goes_on(
    backend: EncoderBackend, spikes: Spikes, case: str, method: str
) -> None:
    with pytest.raises(ShapeError, match="`spikes` must be"):
        getattr(backend, method)(WRONG[case](spikes[:2]))
    assert len(getattr(backend, method)(spikes[:2])) == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s[..., :-1], id="a time step less"),
        pytest.param(lambda s: np.concatenate([s, s[..., :1]], axis=-1), id="a time step more"),
        pytest.param(lambda s: s.astype(np.float32), id="float"),
    ],
)
def test_wrong_number_of_steps_or_type_is_refused(
    backend: EncoderBackend, spikes: Spikes, change: Callable[[Spikes], Spikes], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ShapeError, match="`spikes` must be"):
        backend.encode(change(spikes[:2]))


def test_closing_twice_is_safe_and_use_after_it_is_clear(name: str, bundle: Bundle, golden_spikes: Spikes) -> None:
    backend = make(name, bundle)
    backend.close()  # never started
    answers = []

    def use_and_fail() -> None:
        with backend as started:
            assert started is backend
            answers.append(backend.encode(golden_spikes[:3]))
            raise LookupError("of the user's own")

    with pytest.raises(LookupError, match="of the user's own"):
        use_and_fail()
    backend.close()
    backend.close()
    if name in ANSWER_AFTER_CLOSE:
        assert np.array_equal(backend.encode(golden_spikes[:3]), answers[0])
        return
    for call in (backend.encode, backend.spike_trains):
        with pytest.raises(BackendError, match=r"is not started\. Use it in a `with` statement"):
            call(golden_spikes[:3])


def test_backend_agrees_with_slayer_beyond_the_golden_samples(
    backend: EncoderBackend, bundle: Bundle, spikes: Spikes
) -> None:
    if backend.name == "fake":
        pytest.skip("the fake knows the golden samples only")
    with make("slayer", bundle) as slayer:
        assert int((slayer.spike_trains(spikes) != backend.spike_trains(spikes)).sum()) == 0


def test_trace_is_the_integer_runtimes_in_every_state_of_every_layer(
    backend: EncoderBackend, bundle: Bundle, spikes: Spikes
) -> None:
    if not hasattr(backend, "trace"):
        pytest.skip("it cannot look inside itself")
    with make("integer", bundle) as integer:
        expected = integer.trace(spikes[:3])  # type: ignore[attr-defined]
    found = backend.trace(spikes[:3])
    assert [trace.name for trace in found] == [trace.name for trace in expected]
    assert any(trace.spikes.any() for trace in expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.current, other.current), one.name
        assert np.array_equal(one.voltage, other.voltage), one.name
        assert one.spikes is None or np.array_equal(one.spikes, other.spikes), one.name
    assert np.array_equal(backend.spike_trains(spikes[:3]), integer.spike_trains(spikes[:3]))  # and goes on
