"""The whole model in one ONNX file against encoder, exact circuit and readout."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.heads.devices import open_head
from sqdr.deploy.verify.compare import compare_values
from sqdr.deploy.verify.report import VerifyRow
from sqdr.errors import BundleError, MissingDependencyError
from sqdr.head import counts_to_angles, readout
from sqdr.plugins import missing

__all__ = ["CLASSIFIER", "verify_classifier"]

CLASSIFIER = "classifier.onnx"
# Both compute in float64; logits are sums of some ten <Z> times weights of about 1.
TOLERANCE = 1e-9
PIECE = 64
# ONNX Runtime's number for messages on what is fatal only; errors reach us as exceptions.
FATAL = 4


def verify_classifier(
    bundle: Bundle, images: NDArray[np.uint8], counts: NDArray[np.int64], skipped: list[str]
) -> list[VerifyRow]:
    """Return a row for the golden samples and one for the images; none where the file or ONNX Runtime is missing.

    Args:
        bundle: opened.
        images: (N, C, H, W) uint8.
        counts: (N, F) spike counts of the images.
        skipped: gets a line if the comparison cannot be made.
    """
    if not bundle.has(CLASSIFIER):
        skipped.append(f"{CLASSIFIER}: the bundle has none. Export again with onnx installed.")
        return []
    try:
        session = _session(bundle)
    except MissingDependencyError as error:
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
        found = _logits(session, bundle, shown)
        seconds = time.perf_counter() - start
        rows.append(compare_values(source, CLASSIFIER, logits, found, seconds, what="logits", tolerance=TOLERANCE))
    return rows


def _session(bundle: Bundle) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(error, CLASSIFIER) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    try:
        data = bundle.path_of(CLASSIFIER).read_bytes()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise BundleError(f"{CLASSIFIER} cannot be run by ONNX Runtime. Export again.") from error


def _logits(session: Any, bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    coding = bundle.manifest.model.coding
    takes_images = any(value.name == "images" for value in session.get_inputs()) or any(
        value.name == "images" for value in session.get_overridable_initializers()
    )
    parts = []
    for start in range(0, len(images), PIECE):
        piece = images[start : start + PIECE]
        fed = {"images": piece} if takes_images else {"spikes": encode_images(piece, coding)}
        try:
            parts.append(session.run(["logits"], fed)[0])
        except Exception as error:  # its exceptions have no common base
            raise BundleError(f"{CLASSIFIER} cannot be run by ONNX Runtime. Export again.") from error
    return np.concatenate(parts)
