"""The Lava encoder gives SLAYER's spikes, every one, whatever the shape, timing or call pattern."""

import contextlib
import importlib.util
import io
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netx_networks import cuba, write_network

from sqdr.backends import EncoderBackend
from sqdr.deploy.encoders.lava import LavaEncoder
from sqdr.deploy.encoders.lava.frames import Frame, FrameDecoder, FrameError
from sqdr.errors import BackendError, BundleError, ConfigError, DataError, MissingDependencyError, ShapeError
from sqdr.netx import NetxLayer
from sqdr.timing import Timing

needs_lava = pytest.mark.skipif(
    sys.version_info[:2] != (3, 10) or importlib.util.find_spec("lava") is None,
    reason="Lava runs on Python 3.10 with `sqdr[lava]` only",
)

N_OUTPUTS = 9
TIMING = Timing(n_steps=8, period=8, n_layers=3)
# The stock worker without the import of torch, which takes most of its start.
QUICK_WORKER = Path(__file__).parent / "lava_fault_worker.py"


@dataclass(frozen=True)
class Case:
    """A network and how samples follow one another: convs are (out, kernel, stride, padding)."""

    shape: tuple
    n_steps: int
    period: int
    convs: tuple = ((4, 3, 2, 1), (6, 3, 1, 0))
    has_dense: bool = True
    is_stock_worker: bool = False
    message_bits: int = 0
    n_samples: int = 24
    graph: str = "stock"

    @property
    def timing(self):
        n_layers = len(self.convs) + self.has_dense
        return Timing(n_steps=self.n_steps, period=self.period, n_layers=n_layers)


CASES = {
    "square": Case((1, 8, 8), n_steps=8, period=8, is_stock_worker=True),
    "not square, two channels": Case((2, 7, 10), n_steps=8, period=8, graph="fast"),
    "odd, period longer than the sample": Case((1, 9, 5), n_steps=5, period=8, graph="batched"),
    "period shorter than the pipeline": Case((1, 5, 11), n_steps=2, period=2, n_samples=40),
    "graded": Case((1, 7, 10), n_steps=4, period=8, message_bits=8, graph="fast"),
    "convolutions only": Case((3, 7, 6), n_steps=6, period=6, has_dense=False, graph="batched"),
    "dense only": Case((2, 3, 5), n_steps=8, period=8, convs=()),
}


@contextlib.contextmanager
def quiet():
    """SLAYER warns and prints when imported and when it builds a block."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def slayer():
    with quiet():
        import torch  # noqa: F401
        from lava.lib.dl import slayer
    return slayer


def build(slayer, case):
    """The network of `case`, always with the same weights; export wants a copy of its own."""
    import torch

    torch.manual_seed(3)
    cuba = slayer.block.cuba
    options = {"weight_norm": True, "weight_scale": 2, "delay": False, "delay_shift": False}
    neuron = {"current_decay": 1.0, "voltage_decay": 0.1, "requires_grad": False}
    channels, blocks, threshold = case.shape[0], [], 255.0 if case.message_bits else 1.0
    values = torch.zeros(1, *case.shape, 2)
    with quiet(), torch.no_grad():
        for out, kernel, stride, padding in case.convs:
            blocks.append(
                cuba.Conv(
                    {**neuron, "threshold": threshold},
                    channels,
                    out,
                    kernel,
                    stride=stride,
                    padding=padding,
                    **options,
                )
            )
            values, channels, threshold = blocks[-1](values), out, 1.0
        if case.has_dense:
            blocks.append(cuba.Flatten())
            values = blocks[-1](values)
            blocks.append(cuba.Dense({**neuron, "threshold": threshold}, values.shape[1], N_OUTPUTS, **options))
            blocks[-1](values)
        if case.message_bits:
            # Lava spikes at v > threshold. SLAYER adds 0.01 / 4096 to the threshold for that, which a
            # float32 of 64 or more cannot hold; this is still below the least step of v, 1 / 4096.
            blocks[0].neuron.threshold_eps = 1e-4
        for index, block in enumerate(blocks):
            is_graded = case.message_bits and index == 0
            for name, parameter in block.named_parameters():
                if name.endswith("weight_g"):
                    parameter *= 1 if is_graded else 3  # or later layers stay silent
    return blocks


def expected_trains(slayer, case, spikes):
    import torch

    with quiet(), torch.no_grad():
        values = torch.tensor(spikes, dtype=torch.float32)
        blocks = build(slayer, case)
        if case.message_bits:
            # In weight units, 1 / 64; beyond it Lava's current wraps at 24 bits and SLAYER's does not.
            assert 64 * blocks[0].synapse(values).abs().max() < 1 << 17
        for block in blocks:
            values = block(values)
    return values.numpy().astype(np.uint8).reshape(len(spikes), -1, case.n_steps)


def export(slayer, case, path):
    import h5py

    with quiet(), h5py.File(path, "w") as file:
        for index, block in enumerate(build(slayer, case)):
            block.export_hdf5(file.create_group(f"layer/{index}"))
    return path


def make_spikes(case):
    rng = np.random.default_rng(5)
    shape = (case.n_samples, *case.shape, case.n_steps)
    if case.message_bits:
        values = rng.integers(0, 256, shape).astype(np.uint8)
        values[::2] = 255 * (values[::2] > 100)  # saturated pixels, whose sums often meet the threshold
        return values
    return (rng.random(shape) < 0.5).astype(np.uint8)


@needs_lava
@pytest.mark.lava
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_encoder_equals_slayer_over_streamed_samples(slayer, tmp_path, case, record_property):
    spikes = make_spikes(case)
    expected = expected_trains(slayer, case, spikes)
    path = export(slayer, case, tmp_path / "encoder.net")
    options = {"n_outputs": expected.shape[1], "timing": case.timing, "message_bits": case.message_bits}
    options["graph"] = case.graph
    if not case.is_stock_worker:
        options["worker_command"] = [sys.executable, str(QUICK_WORKER), "none", "0"]
    with LavaEncoder(path, input_shape=case.shape, timeout_s=60.0, **options) as encoder:
        # 17 samples need two requests; then one sample; then counts; then spikes again.
        trains = [encoder.spike_trains(spikes[:17]), encoder.spike_trains(spikes[17:18])]
        counts = encoder.encode(spikes[3:9])
        trains.append(encoder.spike_trains(spikes[18:]))
    found = np.concatenate(trains)
    record_property("spikes", int(expected.sum()))
    assert 0.02 < expected.mean() < 0.9  # or equality would say little
    assert (found.dtype, counts.dtype) == (np.uint8, np.int64)
    assert int((found != expected).sum()) == 0
    np.testing.assert_array_equal(counts, expected[3:9].sum(axis=-1))


@needs_lava
@pytest.mark.lava
def test_encoder_checks_samples_and_its_own_state(slayer, tmp_path):
    case = CASES["square"]
    path = export(slayer, case, tmp_path / "encoder.net")
    encoder = LavaEncoder(path, input_shape=case.shape, n_outputs=N_OUTPUTS, timing=case.timing)
    spikes = make_spikes(case)[:3]
    with pytest.raises(BackendError, match="is not started"):
        encoder.encode(spikes)
    with encoder:
        assert isinstance(encoder, EncoderBackend)
        with pytest.raises(BackendError, match="already started"):
            encoder.__enter__()
        with pytest.raises(ShapeError, match=r"C, H, W, T = \(1, 8, 8, 8\), got \(3, 1, 8, 8, 7\)"):
            encoder.encode(spikes[..., :7])
        with pytest.raises(ShapeError, match="must be a uint8 array, got float64"):
            encoder.encode(spikes.astype(float))
        with pytest.raises(DataError, match="must be below 2, got 2"):
            encoder.encode(spikes * 2)
        assert encoder.encode(spikes[:0]).shape == (0, N_OUTPUTS)
        assert encoder.spike_trains(spikes[:0]).shape == (0, N_OUTPUTS, 8)
        expected = expected_trains(slayer, case, spikes)
        np.testing.assert_array_equal(encoder.spike_trains(spikes[::-1]), expected[::-1])
    encoder.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (8, 8)}, r"`input_shape` must be \(C, H, W\)"),
        ({"n_outputs": 0}, "`n_outputs` must be at least 1"),
        ({"message_bits": 9}, "`message_bits` must be 0 to 8"),
        ({"graph": "quick"}, "`graph` must be stock or fast or batched, got 'quick'"),
        ({"timeout_s": 0.0}, "`timeout_s` must be above 0"),
        ({"start_timeout_s": float("nan")}, "`start_timeout_s` must be above 0"),
    ],
)
def test_encoder_rejects_an_option_that_breaks_its_rule(tmp_path, options, message):
    path = tmp_path / "encoder.net"
    path.touch()
    with pytest.raises(ConfigError, match=message):
        LavaEncoder(path, **{"input_shape": (1, 8, 8), "n_outputs": 9, "timing": TIMING} | options)


def test_encoder_rejects_a_missing_file(tmp_path):
    with pytest.raises(BundleError, match="there is no network file"):
        LavaEncoder(tmp_path / "encoder.net", input_shape=(1, 8, 8), n_outputs=9, timing=TIMING)


@pytest.mark.parametrize("is_variable", [True, False])
def test_encoder_says_what_to_set_when_the_python_cannot_be_run(tmp_path, monkeypatch, is_variable):
    path = tmp_path / "encoder.net"
    path.touch()
    python = str(tmp_path / "python")
    monkeypatch.setenv("SQDR_LAVA_PYTHON", python if is_variable else sys.executable)
    encoder = LavaEncoder(
        path, input_shape=(1, 8, 8), n_outputs=9, timing=TIMING, python=None if is_variable else python
    )
    with pytest.raises(MissingDependencyError, match=r"cannot be run: No such file.*SQDR_LAVA_PYTHON"), encoder:
        pass


@settings(deadline=None)
@given(
    header=st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=5)),
    shape=st.none() | st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from([np.uint8, np.int64]),
    piece=st.integers(1, 50),
)
def test_frames_survive_any_division_into_pieces(header, shape, dtype, piece):
    array = None if shape is None else np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    data = Frame(header, array).encode() * 2
    decoder, found = FrameDecoder(), []
    for start in range(0, len(data), piece):
        found += decoder.feed(data[start : start + piece])
    assert [frame.header for frame in found] == [header, header]
    for frame in found:
        if array is None:
            assert frame.array is None
        else:
            assert frame.array.dtype == dtype
            np.testing.assert_array_equal(frame.array, array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff" * 12, "cannot hold"),
        (bytes([0, 0, 0, 2, *[0] * 8]) + b"{,", "not a frame"),
        (bytes([0, 0, 0, 2, *[0] * 8]) + b"[]", "not a frame"),
        (Frame(array=np.zeros(3, np.uint8)).encode().replace(b"uint8", b"float"), "is not allowed"),
        (Frame(array=np.zeros(3, np.uint8)).encode().replace(b"[3]", b"[4]"), "not a frame"),
    ],
)
def test_frame_decoder_rejects_other_bytes(data, message):
    with pytest.raises(FrameError, match=message):
        FrameDecoder().feed(data)


def test_from_bundle_reads_the_manifest_and_refuses_a_damaged_network(tmp_path):
    dense = NetxLayer(kind="dense", shape=(9,), weight=np.full((9, 64), 2), neuron=cuba())
    path = write_network(tmp_path / "encoder.net", [dense])
    model = SimpleNamespace(
        encoder=SimpleNamespace(input_shape=[1, 8, 8]),
        head=SimpleNamespace(n_features=9),
        coding=SimpleNamespace(message_bits=0),
    )
    bundle = SimpleNamespace(path_of=lambda name: tmp_path / name, manifest=SimpleNamespace(model=model, timing=TIMING))
    encoder = LavaEncoder.from_bundle(bundle, timeout_s=5.0)
    assert (encoder.name, encoder.worker_pid) == ("lava", None)
    path.write_bytes(path.read_bytes()[:-100])  # libhdf5, which netx reads it with, can hang on such a file
    with pytest.raises(BundleError, match=r"encoder\.net is not a readable netx network"):
        LavaEncoder.from_bundle(bundle)
