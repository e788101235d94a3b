"""Validation samples of an export: evenly chosen, counted by the encoder, as accurate as training said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sqdr.bundle import MANIFEST, VALIDATION, Bundle
from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.plan import plan_run
from sqdr.errors import BundleError, IntegrityError
from sqdr.export.validation import make_validation
from sqdr.specification import CodingSpec
from sqdr.train.run_folder import RunFolder
from sqdr.validation_samples import MAX_VALIDATION_SAMPLES


class FirstPixels:
    """An encoder whose counts are the first two pixels of each image."""

    def encode(self, spikes: np.ndarray) -> np.ndarray:
        return spikes[:, 0, 0, :2].sum(axis=-1)


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 999, 1000, 1001, 2500])
def test_make_validation_spreads_samples_evenly_and_keeps_images_and_labels_together(n: int) -> None:
    # pixel 0 is 255 in the second half of the set, as is the label
    labels = (np.arange(n) >= n // 2).astype(np.int64)
    images = np.zeros((n, 1, 2, 2), np.uint8)
    images[:, 0, 0, 0] = 255 * labels
    made = make_validation(
        FirstPixels(),  # type: ignore[arg-type]
        Images(images=images, labels=labels, sample_ids=tuple(map(str, range(n)))),
        CodingSpec(kind="rate", n_steps=4),
    )
    assert made is not None and len(made) == min(n, MAX_VALIDATION_SAMPLES)
    assert (made.counts[:, 0] == 4 * made.labels).all() and (made.counts[:, 1] == 0).all()
    assert abs(made.labels.mean() - labels.mean()) <= 1 / len(made)


def test_make_validation_gives_nothing_without_labels() -> None:
    images = Images(images=np.zeros((3, 1, 2, 2), np.uint8), labels=None, sample_ids=("a", "b", "c"))
    assert make_validation(FirstPixels(), images, CodingSpec(n_steps=4)) is None  # type: ignore[arg-type]


def test_bundle_holds_the_counts_of_validation_images(bundle_path: Path, trained_run: Path) -> None:
    from sqdr.train.loop import load_data

    data = load_data(RunFolder(trained_run).read_config()).validation
    with Bundle.open(bundle_path) as bundle, IntegerEncoder.from_bundle(bundle) as encoder:
        stored, coding = bundle.validation(), bundle.manifest.model.coding
        assert stored is not None and stored.counts.any()
        assert len(stored) == len(data) <= MAX_VALIDATION_SAMPLES
        assert (stored.counts == encoder.encode(encode_images(data.images, coding))).all()
        assert (stored.labels == data.labels).all()
        accuracy = bundle.manifest.training.val_accuracy
    plan = plan_run(bundle_path, "local:sv", shots=0, n_images=1)
    assert plan.exact_accuracy is not None
    # training computes in float32: an image on the edge between two classes may fall to either side
    assert plan.exact_accuracy == pytest.approx(accuracy, abs=1.5 / len(data))


def altered(bundle_path: Path, folder: Path, data: bytes | None) -> Path:
    """A copy of the bundle with other validation samples, in the file alone, or (None) without any."""
    shutil.copytree(bundle_path, folder)
    if data is None:
        (folder / VALIDATION).unlink()
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        del manifest["files"][VALIDATION]
        (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    else:
        (folder / VALIDATION).write_bytes(data)
    return folder


def test_bundle_without_validation_samples_opens_and_plans(bundle_path: Path, tmp_path: Path) -> None:
    path = altered(bundle_path, tmp_path / "older", None)
    with Bundle.open(path) as bundle:
        assert bundle.validation() is None
        with pytest.raises(BundleError, match=r"older has no file 'validation\.npz'\. Export again"):
            bundle.path_of(VALIDATION)
    plan = plan_run(path, "local:sv", shots=10, n_images=3)
    assert plan.agreement == () and plan.accuracy_source is None
    assert any("the bundle has no validation samples. Export it again, or pass --input" in note for note in plan.notes)


def test_damaged_validation_samples_are_refused_by_hash(bundle_path: Path, tmp_path: Path) -> None:
    data = bytearray((bundle_path / VALIDATION).read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(IntegrityError, match=r"validation\.npz does not match its SHA-256"):
        plan_run(altered(bundle_path, tmp_path / "flipped", bytes(data)), "local:sv", shots=10, n_images=3)
    with pytest.raises(IntegrityError, match=r"validation\.npz has \d+ bytes, the manifest says"):
        plan_run(altered(bundle_path, tmp_path / "cut", bytes(data[:-10])), "local:sv", shots=10, n_images=3)
