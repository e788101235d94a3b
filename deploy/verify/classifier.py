"""The whole model in one ONNX file against encoder, exact circuit and readout."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.onnx import open_session, run_session
from sqdr.deploy.encoders.onnx_model import OPERATORS, import_onnx, largest_value, read_onnx
from sqdr.deploy.heads.devices import open_head
from sqdr.deploy.verify.compare import compare_values
from sqdr.deploy.verify.report import VerifyRow
from sqdr.errors import BundleError, MissingDependencyError
from sqdr.head import counts_to_angles, readout

__all__ = ["CLASSIFIER", "CLASSIFIER_OPERATORS", "verify_classifier"]

CLASSIFIER = "classifier.onnx"
# Both compute in float64; logits are sums of some ten <Z> times weights of about 1.
TOLERANCE = 1e-9
PIECE = 64
TIMEOUT_S = 120.0
# What the circuit and the readout add to the encoder.
CLASSIFIER_OPERATORS = OPERATORS | {"MatMul", "Sin"}


def verify_classifier(
    bundle: Bundle, images: NDArray[np.uint8], counts: NDArray[np.int64], skipped: list[str], *, is_asked: bool = False
) -> list[VerifyRow]:
    """Return a row for the golden samples and one for the images; none where the file or ONNX Runtime is missing.

    Args:
        bundle: opened.
        images: (N, C, H, W) uint8.
        counts: (N, F) spike counts of the images.
        skipped: gets a line if the comparison cannot be made.
        is_asked: whether the user named it: then it must be made.
    """
    if not bundle.has(CLASSIFIER) and not is_asked:
        skipped.append(f"{CLASSIFIER}: the bundle has none. Export again with onnx installed.")
        return []
    try:
        session, takes_images = _session(bundle)
    except MissingDependencyError as error:
        if is_asked:
            raise
        skipped.append(str(error))
        return []
    spec, parameters, golden = bundle.manifest.model, bundle.head_parameters(), bundle.golden()
    angles = counts_to_angles(counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
    with open_head(
        "local:sv",
        openqasm=bundle.circuit(),
        weights=parameters.weights,
        entangler=spec.head.entangler,
        n_qubits=spec.head.n_qubits,
        shots=None,
    ) as head:
        expected = readout(head.expectations(angles), parameters, spec.head)
    rows = []
    for source, shown, logits in (
        ("trained model", golden.images, golden.logits),
        ("integer + local:sv", images, expected),
    ):
        start = time.perf_counter()
        found = _logits(session, takes_images, bundle, shown)
        seconds = time.perf_counter() - start
        rows.append(compare_values(source, CLASSIFIER, logits, found, seconds, what="logits", tolerance=TOLERANCE))
    return rows


def _session(bundle: Bundle) -> tuple[Any, bool]:
    """Return the session, and whether it takes images; what the export would not write is refused."""
    import_onnx(f"reading {CLASSIFIER}")
    path, n_classes = bundle.path_of(CLASSIFIER), bundle.manifest.model.head.n_classes
    model = read_onnx(path, CLASSIFIER_OPERATORS)
    largest_value(model, path)
    sizes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.output}
    if sizes.get("logits", [])[1:] != [n_classes]:
        raise BundleError(f"{CLASSIFIER} does not give logits of {n_classes} classes. Export again.")
    return open_session(model, CLASSIFIER, 1), any(value.name == "images" for value in model.graph.input)


def _logits(session: Any, takes_images: bool, bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    coding = bundle.manifest.model.coding
    parts = []
    for start in range(0, len(images), PIECE):
        piece = images[start : start + PIECE]
        fed = {"images": piece} if takes_images else {"spikes": encode_images(piece, coding)}
        parts += run_session(session, ["logits"], fed, TIMEOUT_S)
    return np.concatenate(parts)
