"""What the model makes of images: as a run's results have it, or as it is worked out here."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.inputs import read_input
from sqdr.deploy.report.rows import ResultRows
from sqdr.errors import SqdrError
from sqdr.head import counts_to_angles, readout

__all__ = ["Evaluation", "at_hand", "of_bundle", "of_golden", "of_rows", "of_validation"]

PIECE = 256


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """N images and what became of them.

    Args:
        source: which images, and what ran.
        ids: N names.
        labels: (N,), -1 where unknown.
        counts: (N, F).
        expectations: (N, n_qubits).
        logits: (N, K).
        predicted: (N,).
        images: (N, C, H, W) uint8, or None.
        seconds: of each stage, where it was worked out here.
        has_image: (N,) whether ``images`` holds it; None for all.
    """

    source: str
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]
    predicted: NDArray[np.int64]
    images: NDArray[np.uint8] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    has_image: NDArray[np.bool_] | None = None

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Which are misclassified, of those with labels, the surest first."""
        found = np.flatnonzero((self.labels >= 0) & (self.labels != self.predicted))
        at = np.arange(len(found))
        margin = self.logits[found].max(axis=1) - self.logits[found][at, self.labels[found]]
        return np.asarray(found[np.argsort(-margin, kind="stable")])

    @property
    def accuracy(self) -> float | None:
        """Of those with labels; None without any."""
        known = self.labels >= 0
        return float((self.labels == self.predicted)[known].mean()) if known.any() else None


def at_hand(bundle: Bundle, source: str, limit: int | None, data_root: Path | None) -> Images | str:
    """Return the images, or why there are none."""
    try:
        return read_input(source, bundle.manifest.model.encoder.input_shape, data_root)[:limit]
    except SqdrError as error:
        return f"The images of {source} are not at hand: {error}"


def of_bundle(bundle: Bundle, encoder: IntegerEncoder, images: Images, source: str) -> Evaluation:
    """Return what the bundle makes of images: the integer runtime and the exact circuit."""
    coding, seconds = bundle.manifest.model.coding, {"coding": 0.0, "encoder": 0.0}
    pieces = []
    for start in range(0, len(images), PIECE):
        begun = time.perf_counter()
        spikes = encode_images(images.images[start : start + PIECE], coding)
        coded = time.perf_counter()
        pieces.append(encoder.encode(spikes))
        seconds["coding"] += coded - begun
        seconds["encoder"] += time.perf_counter() - coded
    begun = time.perf_counter()
    found = _of_counts(bundle, np.concatenate(pieces), f"{source}, integer runtime and exact circuit")
    seconds["head"] = time.perf_counter() - begun
    labels = _labels(bundle, len(images), images.labels)
    return Evaluation(
        **vars(found) | {"ids": images.sample_ids, "labels": labels, "images": images.images, "seconds": seconds}
    )


def of_rows(rows: ResultRows, source: str, images: Images | None) -> Evaluation:
    """Return a run's results, with their images where they are at hand."""
    found, has_image = None, None
    if images is not None:
        place = {name: index for index, name in enumerate(images.sample_ids)}
        at = np.array([place.get(name, -1) for name in rows.ids])
        if (at >= 0).any():
            found, has_image = images.images[at], at >= 0
    return Evaluation(
        source=source,
        ids=rows.ids,
        labels=rows.labels,
        counts=rows.counts,
        expectations=rows.expectations,
        logits=rows.logits,
        predicted=rows.predicted,
        images=found,
        has_image=has_image,
    )


def of_validation(bundle: Bundle) -> Evaluation | None:
    """Return the validation samples in the bundle, without images; None in a bundle without them."""
    stored = bundle.validation()
    if stored is None:
        return None
    found = _of_counts(bundle, stored.counts, "validation images in the bundle, exact circuit")
    return Evaluation(**vars(found) | {"labels": stored.labels})


def of_golden(bundle: Bundle) -> Evaluation:
    """Return the bundle's golden images, which have no labels."""
    golden = bundle.golden()
    found = _of_counts(bundle, golden.counts, "golden images in the bundle, exact circuit")
    return Evaluation(**vars(found) | {"images": golden.images})


def _of_counts(bundle: Bundle, counts: NDArray[np.int64], source: str) -> Evaluation:
    model, parameters = bundle.manifest.model, bundle.head_parameters()
    angles = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, model.head)
    head = StatevectorHead(weights=parameters.weights, entangler=model.head.entangler)
    expectations = head.expectations(angles)
    logits = readout(expectations, parameters, model.head)
    return Evaluation(
        source=source,
        ids=tuple(f"sample {index}" for index in range(len(counts))),
        labels=np.full(len(counts), -1),
        counts=counts,
        expectations=expectations,
        logits=logits,
        predicted=logits.argmax(axis=1),
    )


def _labels(bundle: Bundle, n: int, labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Labels of classes that the model has; the images of others may be any data set's."""
    if labels is None or labels.max(initial=0) >= len(bundle.manifest.class_names):
        return np.full(n, -1)
    return labels
