"""Split inference through the Python interface: NumPy in and out, and nothing unproved is served."""

import itertools
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sqdr
from sqdr.bundle import Bundle, write_zip
from sqdr.deploy.fakes import FakeEncoder, FakeHead, FakeScript
from sqdr.deploy.pipeline import CHUNK_SAMPLES, Pipeline, Prediction, Predictions, open_bundle
from sqdr.errors import (
    BackendCrashError,
    BackendError,
    BundleError,
    ConfigError,
    DataError,
    DeviceError,
    IntegrityError,
    NotEqualError,
    ShapeError,
)

N = 2 * CHUNK_SAMPLES + 5

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(5).integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)


def fake_pipeline(path: Path, encoder: FakeScript | None = None, head: FakeScript | None = None) -> Pipeline:
    bundle = Bundle.open(path)
    return Pipeline(bundle, FakeEncoder.from_bundle(bundle, script=encoder), FakeHead.from_bundle(bundle, script=head))


def assert_same(found: list[Prediction], expected: Predictions) -> None:
    assert len(found) == len(expected.predicted)
    for index, one in enumerate(found):
        assert np.array_equal(one.counts, expected.counts[index])
        assert np.array_equal(one.expectations, expected.expectations[index])
        # the readout's matrix product rounds differently for other chunk sizes
        np.testing.assert_allclose(one.logits, expected.logits[index], rtol=0, atol=1e-12)
        assert one.predicted == expected.predicted[index]


def test_real_backends_reproduce_the_golden_samples(bundle_path: Path) -> None:
    with sqdr.open_bundle(bundle_path, encoder="slayer", device="local:braket-sv") as pipeline:
        golden = pipeline.bundle.golden()
        found = pipeline.predict(golden.images)
    assert np.array_equal(found.counts, golden.counts)
    # double precision on both sides, rounded in another order
    np.testing.assert_allclose(found.expectations, golden.expectations, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.logits, golden.logits, rtol=0, atol=1e-9)
    assert np.array_equal(found.predicted, golden.logits.argmax(axis=1))


def test_predict_gives_numpy_arrays_of_the_contracts_shapes(bundle_path: Path, images: Images) -> None:
    with fake_pipeline(bundle_path) as pipeline:
        found = pipeline.predict(images)
        model = pipeline.bundle.manifest.model
    assert (found.counts.shape, found.counts.dtype) == ((N, model.head.n_features), np.int64)
    assert (found.expectations.shape, found.expectations.dtype) == ((N, 4), np.float64)
    assert (found.logits.shape, found.logits.dtype) == ((N, 10), np.float64)
    assert (found.predicted.shape, found.predicted.dtype) == ((N,), np.int64)
    assert np.ptp(found.counts) > 0
    assert found.seconds.total >= found.seconds.head > 0
    assert found.seconds.encoder > 0


def test_predict_takes_images_of_one_channel_without_its_axis(bundle_path: Path, images: Images) -> None:
    with fake_pipeline(bundle_path) as pipeline:
        assert np.array_equal(pipeline.predict(images[:, 0]).logits, pipeline.predict(images).logits)


@pytest.mark.parametrize("chunk_samples", [1, 5, CHUNK_SAMPLES, N + 1])
def test_stream_gives_what_predict_gives(bundle_path: Path, images: Images, chunk_samples: int) -> None:
    with fake_pipeline(bundle_path) as pipeline:
        expected = pipeline.predict(images)
        assert_same(list(pipeline.stream(iter(images), chunk_samples=chunk_samples)), expected)
        assert_same(list(pipeline.stream(list(images[:, 0]), chunk_samples=chunk_samples)), expected)


def test_stream_takes_images_as_they_come(bundle_path: Path, images: Images) -> None:
    """A result comes before the next image is there, and a source without end is no obstacle."""
    seen = threading.Event()

    def camera() -> Iterator[Images]:
        yield images[0]
        assert seen.wait(20)
        yield from itertools.cycle(images[1:])

    with fake_pipeline(bundle_path) as pipeline:
        expected = pipeline.predict(images)
        running = pipeline.stream(camera(), chunk_samples=1)
        found = [next(running)]
        seen.set()
        found += list(itertools.islice(running, N - 1))
        assert_same(found, expected)
        running.close()
        assert np.array_equal(pipeline.predict(images).logits, expected.logits)  # after leaving early


def test_stream_of_nothing_gives_nothing(bundle_path: Path) -> None:
    with fake_pipeline(bundle_path) as pipeline:
        assert list(pipeline.stream([])) == []


def test_stream_refuses_chunks_of_nothing(bundle_path: Path, images: Images) -> None:
    with fake_pipeline(bundle_path) as pipeline, pytest.raises(ConfigError, match="`chunk_samples` must be at least 1"):
        next(pipeline.stream(images, chunk_samples=0))


BAD_IMAGES: dict[str, tuple[Callable[[Images], Any], type[Exception], str]] = {
    "empty": (lambda i: i[:0], DataError, "`images` is empty. Give at least one image"),
    "float": (lambda i: i / 255, DataError, "`images` must be uint8 with values 0..255, got float64. Convert"),
    "signed": (lambda i: i.astype(np.int64), DataError, "must be uint8 with values 0..255, got int64"),
    "bool": (lambda i: i > 0, DataError, "must be uint8 with values 0..255, got bool"),
    "text": (lambda i: np.array(["a"]), DataError, "must be uint8"),
    "NaN": (lambda i: np.full(i.shape, np.nan), DataError, "`images` holds NaN. Remove or repair"),
    "one image": (lambda i: i[0, 0], ShapeError, r"must have axes \(N, C, H, W\), got shape \(8, 8\)"),
    "channels": (lambda i: np.repeat(i, 3, axis=1), ShapeError, r"\(C, H, W\) = \(1, 8, 8\) each, got \(3, 8, 8\)"),
    "channels last": (lambda i: i.transpose(0, 2, 3, 1), ShapeError, r"= \(1, 8, 8\) each, got \(8, 8, 1\)"),
    "size": (lambda i: i[:, :, :7], ShapeError, r"= \(1, 8, 8\) each, got \(1, 7, 8\). Resize"),
}


@pytest.mark.parametrize(("change", "error", "match"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_predict_refuses_bad_images_and_goes_on(
    bundle_path: Path, images: Images, change: Callable[[Images], Any], error: type[Exception], match: str
) -> None:
    with fake_pipeline(bundle_path) as pipeline:
        with pytest.raises(error, match=match):
            pipeline.predict(change(images))
        assert len(pipeline.predict(images).predicted) == N


def test_bad_image_in_a_stream_ends_it_and_the_pipeline_goes_on(bundle_path: Path, images: Images) -> None:
    source = [*images[:3], images[3] / 255, *images[4:]]
    with fake_pipeline(bundle_path) as pipeline:
        running = pipeline.stream(source, chunk_samples=1)
        assert len(list(itertools.islice(running, 3))) == 3
        with pytest.raises(DataError, match="must be uint8"):
            next(running)
        assert len(pipeline.predict(images).predicted) == N


def test_wrong_encoder_is_not_served_and_closed(bundle_path: Path, images: Images) -> None:
    bundle = Bundle.open(bundle_path)
    model = bundle.manifest.model
    # knows nothing of the golden samples
    encoder = FakeEncoder(model.encoder.input_shape, model.encoder.n_features, model.coding.n_steps)
    pipeline = Pipeline(bundle, encoder, FakeHead.from_bundle(bundle))
    with pytest.raises(NotEqualError, match="encoder 'fake' differs from the trained model in [0-9]+ of [0-9]+ golden"):
        pipeline.__enter__()
    with pytest.raises(BackendError, match="is not started"):
        encoder.encode(np.zeros((1, 1, 8, 8, 5), np.uint8))
    with pytest.raises(BackendError, match="the pipeline is not open"):
        pipeline.predict(images)


class NotANumberHead(FakeHead):
    """Answers NaN, which compares as neither larger nor smaller than any tolerance."""

    def expectations(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(super().expectations(angles).shape, np.nan)


@pytest.mark.parametrize("kind", [FakeHead, NotANumberHead])
def test_wrong_exact_head_is_not_served(bundle_path: Path, kind: type[FakeHead]) -> None:
    bundle = Bundle.open(bundle_path)
    pipeline = Pipeline(bundle, FakeEncoder.from_bundle(bundle), kind(4))
    with pytest.raises(NotEqualError, match="device 'fake' differs from the trained model by .* will not serve"):
        pipeline.__enter__()


def test_nothing_is_run_on_a_head_that_samples_before_the_first_image(bundle_path: Path, images: Images) -> None:
    bundle = Bundle.open(bundle_path)
    head = FakeHead.from_bundle(bundle, shots=100)
    with Pipeline(bundle, FakeEncoder.from_bundle(bundle), head) as pipeline:
        assert head.report().n_circuits == 0  # a golden check would cost money
        pipeline.predict(images[:3])
    assert (head.report().n_circuits, head.report().n_shots) == (3, 300)


def test_pipeline_that_is_not_open_does_not_serve(bundle_path: Path, images: Images) -> None:
    pipeline = fake_pipeline(bundle_path)
    with pytest.raises(BackendError, match="the pipeline is not open. Use it in a `with` statement"):
        pipeline.predict(images)
    with pipeline:
        pipeline.predict(images[:1])
    pipeline.close()
    with pytest.raises(BackendError, match="the pipeline is not open"):
        next(pipeline.stream(images))


def test_error_of_a_backend_reaches_the_caller_of_predict(bundle_path: Path, images: Images) -> None:
    # call 1 is the golden check
    script = FakeScript(error=BackendCrashError("the worker was killed"), error_on_call=3)
    with (
        fake_pipeline(bundle_path, encoder=script) as pipeline,
        pytest.raises(BackendCrashError, match="the worker was killed"),
    ):
        pipeline.predict(images)


@pytest.mark.parametrize("shots", [-1, 10.0, "10", True, float("nan")])
def test_open_bundle_refuses_shots_that_are_no_count(bundle_path: Path, shots: Any) -> None:
    with pytest.raises(ConfigError, match="`shots` must be a whole number of at least 0, got .* Use 0 for exact"):
        open_bundle(bundle_path, encoder="slayer", shots=shots)


def test_open_bundle_refuses_shots_outside_the_devices_range(bundle_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"`shots` must be 1 to \d+ on local:braket-sv, got 1000000000"):
        open_bundle(bundle_path, encoder="slayer", shots=10**9)


@pytest.mark.parametrize("shots", [0, None])
def test_open_bundle_takes_no_shots_for_exact(bundle_path: Path, shots: int | None) -> None:
    assert open_bundle(bundle_path, encoder="slayer", shots=shots).head.accuracy == "exact"


def test_seed_makes_shots_repeatable(bundle_path: Path) -> None:
    def classify(seed: int) -> NDArray[np.float64]:
        with open_bundle(bundle_path, encoder="slayer", shots=50, seed=seed) as pipeline:
            return pipeline.predict(pipeline.bundle.golden().images[:3]).expectations

    assert np.array_equal(classify(1), classify(1))
    assert not np.array_equal(classify(1), classify(2))


def test_open_bundle_names_the_nearest_encoder(bundle_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown encoder 'slyer'. Did you mean 'slayer'?"):
        open_bundle(bundle_path, encoder="slyer")


def test_open_bundle_refuses_a_changed_bundle(bundle_path: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, copy := tmp_path / "bundle")
    with (copy / "head.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(IntegrityError, match=r"head.safetensors does not match its SHA-256"):
        open_bundle(copy, encoder="slayer")
    with pytest.raises(BundleError, match=r"nowhere does not exist. Give a bundle folder or a .sqdr file"):
        open_bundle(tmp_path / "nowhere")


def test_sqdr_file_serves_as_its_folder_and_leaves_nothing_unpacked(bundle_path: Path, tmp_path: Path) -> None:
    write_zip(bundle_path, packed := tmp_path / "model.sqdr")
    assert zipfile.is_zipfile(packed)
    with open_bundle(packed, encoder="slayer") as pipeline, fake_pipeline(bundle_path) as other:
        unpacked = pipeline.bundle.path_of("encoder.net").parent
        images = pipeline.bundle.golden().images[:4]
        assert unpacked.is_dir()
        assert np.array_equal(pipeline.predict(images).counts, other.predict(images).counts)
    assert not unpacked.exists()


def test_sqdr_file_that_cannot_be_opened_leaves_nothing_unpacked(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zip(bundle_path, packed := tmp_path / "model.sqdr")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(DeviceError, match="device 'local:braket-sw' is unknown. Did you mean 'local:braket-sv'?"):
        open_bundle(packed, device="local:braket-sw")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_paid_device_needs_shots_in_so_many_words(bundle_path: Path) -> None:
    for device in ("braket_sv1", "arn:aws:braket:::device/quantum-simulator/amazon/sv1"):
        with pytest.raises(ConfigError, match="may cost money for every circuit: say how many `shots`"):
            open_bundle(bundle_path, encoder="slayer", device=device)


# raised inside Braket's density matrix simulator with NumPy 1.26
@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0 to a scalar:DeprecationWarning")
@pytest.mark.parametrize("shots", [None, 20000])
def test_density_matrix_runs_through_the_plugin_too(bundle_path: Path, shots: int | None) -> None:
    with Bundle.open(bundle_path) as bundle:
        golden = bundle.golden()
    device = "pennylane:braket.local.qubit:braket_dm"
    with open_bundle(bundle_path, encoder="slayer", device=device, shots=shots) as pipeline:
        found = pipeline.predict(golden.images[:2]).expectations
    # float64 rounding; or five standard errors of a mean of 20,000 values of +-1
    assert np.abs(found - golden.expectations[:2]).max() < (1e-10 if shots is None else 5 / 20000**0.5)
