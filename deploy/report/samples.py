"""A few samples on their way through the model, as the page's script takes them."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.heads.lightcone import bloch_vectors
from sqdr.deploy.report.evaluation import Evaluation
from sqdr.deploy.report.section import Section
from sqdr.head import counts_to_angles

__all__ = ["chosen", "image_uri", "samples_section"]

# What one sample may take of the file: rasters of 4 KiB a layer, and images of 96 pixels.
MAX_RASTER_BITS = 1 << 15
MAX_RASTER_NEURONS = 512
MAX_PIXELS = 96
MAX_QUBITS = 32
MAX_LOGITS = 100
NAME, TITLE = "samples", "One sample, from spikes to class"


def chosen(evaluation: Evaluation, n_samples: int) -> NDArray[np.int64]:
    """Return which samples to show: misclassified ones first, then others, evenly spaced."""
    if evaluation.images is not None and evaluation.has_image is not None and evaluation.has_image.any():
        usable = evaluation.has_image
    else:
        usable = np.ones(len(evaluation.ids), np.bool_)
    wrong = [index for index in evaluation.wrong if usable[index]]
    taken = wrong[: max(1, n_samples * 3 // 4)]
    rest = np.setdiff1d(np.flatnonzero(usable), wrong)
    n_rest = min(n_samples - len(taken), len(rest))
    return np.array([*taken, *rest[np.arange(n_rest) * len(rest) // max(n_rest, 1)]], np.int64)


def image_uri(image: NDArray[np.uint8]) -> str:
    """Return an image (C, H, W) as a small PNG in a data URI."""
    n_channels = len(image)
    array = np.moveaxis(image, 0, -1) if n_channels == 3 else image.mean(axis=0).astype(np.uint8)
    picture = Image.fromarray(array)
    picture.thumbnail((MAX_PIXELS, MAX_PIXELS))
    png = io.BytesIO()
    picture.save(png, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def samples_section(
    evaluation: Evaluation | None,
    bundle: Bundle | None,
    encoder: IntegerEncoder | None,
    class_names: tuple[str, ...],
    n_samples: int,
    missing: tuple[str, ...],
) -> Section:
    """Return the section; rasters need images and a bundle, angles a bundle."""
    if evaluation is None:
        return Section(name=NAME, title=TITLE, missing=missing)
    index = chosen(evaluation, n_samples)
    shown = [_sample(evaluation, at, class_names) for at in index]
    layers: list[dict[str, Any]] = []
    notes = list(missing)
    if bundle is not None:
        _add_angles(shown, evaluation.counts[index], bundle)
        if encoder is not None and evaluation.images is not None:
            layers = _add_rasters(shown, evaluation.images[index], evaluation.counts[index], bundle, encoder)
    n_qubits, n_logits = evaluation.expectations.shape[1], evaluation.logits.shape[1]
    if n_qubits > MAX_QUBITS:
        notes.append(f"Only the first {MAX_QUBITS} of {n_qubits:,} qubits are shown. `sqdr run` writes all.")
    if n_logits > MAX_LOGITS:
        notes.append(f"Only the first {MAX_LOGITS} of {n_logits:,} logits are shown. `sqdr run` writes all.")
    if layers and any(sample.get("isOther") for sample in shown):
        notes.append("Counts marked * are the run's and differ from the integer runtime's. Run `sqdr verify`.")
    model = None if bundle is None else bundle.manifest.model
    content = {
        "samples": shown,
        "source": evaluation.source,
        "layers": layers,
        "has_angles": bundle is not None,
        "features_per_qubit": 1 if model is None else model.head.features_per_qubit,
    }
    names = [class_names[k] if k < len(class_names) else str(k) for k in range(min(n_logits, MAX_LOGITS))]
    n_steps = None if model is None else model.coding.n_steps
    data = {"samples": shown, "layers": layers, "classes": names, "steps": n_steps}
    return Section(name=NAME, title=TITLE, content=content, missing=tuple(notes), data=data)


def _sample(evaluation: Evaluation, at: int, class_names: tuple[str, ...]) -> dict[str, Any]:
    label, predicted = int(evaluation.labels[at]), int(evaluation.predicted[at])

    def name(k: int) -> str:
        return class_names[k] if k < len(class_names) else str(k)

    has_image = evaluation.images is not None and (evaluation.has_image is None or bool(evaluation.has_image[at]))
    return {
        "id": evaluation.ids[at],
        "label": None if label < 0 else name(label),
        "predicted": name(predicted),
        "isWrong": label >= 0 and label != predicted,
        "image": image_uri(evaluation.images[at]) if has_image and evaluation.images is not None else None,
        "counts": [int(count) for count in evaluation.counts[at]][: 3 * MAX_QUBITS],
        "z": _rounded(evaluation.expectations[at][:MAX_QUBITS]),
        "logits": _rounded(evaluation.logits[at][:MAX_LOGITS]),
    }


def _rounded(values: NDArray[np.float64]) -> Any:
    return np.round(np.asarray(values, np.float64), 4).tolist()


def _add_angles(shown: list[dict[str, Any]], counts: NDArray[np.int64], bundle: Bundle) -> None:
    model, parameters = bundle.manifest.model, bundle.head_parameters()
    angles = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, model.head)
    bloch = bloch_vectors(angles, parameters.weights)
    for sample, angle, vector in zip(shown, angles, bloch, strict=True):
        sample["angles"] = _rounded(angle[:MAX_QUBITS])
        sample["bloch"] = _rounded(vector[:MAX_QUBITS])


def _add_rasters(
    shown: list[dict[str, Any]],
    images: NDArray[np.uint8],
    counts: NDArray[np.int64],
    bundle: Bundle,
    encoder: IntegerEncoder,
) -> list[dict[str, Any]]:
    """Add each layer's spikes, of as many neurons as there is room for, its rate and its spikes at each step."""
    n_steps = bundle.manifest.model.coding.n_steps
    layers = []
    for layer in encoder.layers:
        n_neurons = int(np.prod(layer.shape))
        n_rows = max(1, min(n_neurons, MAX_RASTER_NEURONS, MAX_RASTER_BITS // n_steps))
        rows = np.arange(n_rows) * n_neurons // n_rows
        shape = " x ".join(map(str, layer.shape))
        layers.append({"name": layer.name, "shape": shape, "n": n_neurons, "rows": rows.tolist()})
    # one by one: a trace keeps every state of every step
    for sample, image, count in zip(shown, images, counts, strict=True):
        trace = encoder.trace(encode_images(image[None], bundle.manifest.model.coding))
        spikes = [np.asarray(each.spikes).reshape(-1, n_steps) for each in trace]
        sample["rasters"] = [
            base64.b64encode(np.packbits(each[layer["rows"]].astype(np.bool_)).tobytes()).decode("ascii")
            for each, layer in zip(spikes, layers, strict=True)
        ]
        sample["rates"] = [round(float((each > 0).mean()), 4) for each in spikes]
        sample["isOther"] = not np.array_equal(spikes[-1].sum(axis=1), count)
    return layers
