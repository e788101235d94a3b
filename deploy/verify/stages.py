"""The whole verification of a bundle."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.deploy.encoders.lava import LavaGraph
from sqdr.deploy.inputs import read_input
from sqdr.deploy.verify.classifier import CLASSIFIER, verify_classifier
from sqdr.deploy.verify.encoders import verify_encoders
from sqdr.deploy.verify.heads import DEFAULT_HEADS, check_devices, verify_heads
from sqdr.deploy.verify.report import VerifyReport
from sqdr.errors import ConfigError, DataError, MissingDependencyError
from sqdr.plugins import plugin_names

__all__ = ["verify_bundle", "verify_images"]

# From most to least trusted; others follow by name.
ENCODER_ORDER = ("slayer", "integer", "onnx", "lava")
ENCODER_GROUP = "sqdr.encoders"
SHOTS = 1000

Progress = Callable[[int, int], None]


def verify_bundle(
    path: str | Path,
    *,
    n_samples: int = 32,
    source: str | None = None,
    data_root: Path | None = None,
    against: Sequence[str] = (),
    shots: int = SHOTS,
    seed: int = 0,
    lava_graph: LavaGraph = "stock",
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every stage on the same samples.

    The golden spikes, which are the trained model's own, with each encoder; SLAYER with the integer
    encoder, and that with every other one, on ``n_samples`` images; the state vector with the other
    exact heads, and shots with their confidence interval; the whole model in one ONNX file with
    encoder, circuit and readout.

    Args:
        path: a bundle.
        n_samples: how many images.
        source: which images; by default the test part of the data set that the model was trained on, or
            the golden ones where that is not at hand.
        data_root: where data sets are.
        against: encoders, devices and ``classifier.onnx``, each of which must then run; by default all
            that are installed, and those devices that cost nothing.
        shots: of each circuit where shots are compared; 0 leaves that out.
        seed: of the shots.
        lava_graph: what runs as the encoder ``lava`` (`sqdr.deploy.encoders.lava.LavaEncoder`); by default
            Lava's own models alone, with nothing of sqdr's in their place.
        progress: called with (images done, of all).

    Raises:
        BundleError: the bundle cannot be read.
        DataError: the images cannot be read.
        ConfigError: a device in ``against`` may cost money.
        DeviceError: a name in ``against`` is not known, or cannot run the circuit.
        MissingDependencyError: a stage in ``against`` is not installed.
    """
    with Bundle.open(path) as bundle:
        skipped: list[str] = []
        images = _images(bundle, source, data_root, skipped)[:n_samples]
        report = verify_images(
            bundle, images, against=against, shots=shots, seed=seed, lava_graph=lava_graph, progress=progress
        )
        return VerifyReport(rows=report.rows, skipped=(*skipped, *report.skipped))


def _images(bundle: Bundle, source: str | None, data_root: Path | None, skipped: list[str]) -> NDArray[np.uint8]:
    """Return the images asked for, else the test part, else, where the data set is not at hand, the golden ones."""
    manifest = bundle.manifest
    name = source or f"{manifest.training.data}:test"
    try:
        return read_input(name, manifest.model.encoder.input_shape, data_root).images
    except (DataError, MissingDependencyError) as error:
        if source is not None or data_root is not None or "SQDR_DATA_DIR" in os.environ:
            raise
        skipped.append(f"images of {name}, so the golden samples alone were used; give others with --input: {error}")
        return bundle.golden().images


def verify_images(
    bundle: Bundle,
    images: NDArray[np.uint8],
    *,
    against: Sequence[str] = (),
    shots: int = SHOTS,
    seed: int = 0,
    lava_graph: LavaGraph = "stock",
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every stage of an opened bundle on images (N, C, H, W); see `verify_bundle`."""
    known = plugin_names(ENCODER_GROUP)
    ordered = [name for name in ENCODER_ORDER if name in known] + [name for name in known if name not in ENCODER_ORDER]
    encoders = [name for name in ordered if not against or name in against]
    devices = [name for name in against if name not in ordered and name != CLASSIFIER] if against else DEFAULT_HEADS
    skipped: list[str] = []
    is_asked = bool(against)
    if is_asked:
        check_devices(bundle, devices)
    rows, counts = verify_encoders(
        bundle, images, encoders, skipped, is_asked=is_asked, lava_graph=lava_graph, progress=progress
    )
    rows += verify_heads(bundle, counts, devices, is_asked=is_asked, shots=shots, seed=seed, skipped=skipped)
    if not against or CLASSIFIER in against:
        rows += verify_classifier(bundle, images, counts, skipped, is_asked=is_asked)
    if not rows:
        raise ConfigError(f"nothing could be compared: {' '.join(skipped)}")
    return VerifyReport(rows=tuple(rows), skipped=tuple(skipped))
