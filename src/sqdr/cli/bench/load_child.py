"""One process of subject ``load``: start, open a model, classify images; its figures as JSON on standard output.

``python -m sqdr.cli.bench.load_child sqdr|onnx MODEL IMAGES``: a bundle or a classifier.onnx, and a NumPy file of
images (N, C, H, W) uint8.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["main"]

Classify = Callable[["NDArray[np.uint8]"], "NDArray[np.float64]"]


def main(kind: str, model: str, images_path: str) -> None:
    """Write processor milliseconds to the first class and for each later image, peak memory, and logits."""
    import numpy as np

    images = np.load(images_path, allow_pickle=False)
    classify = _sqdr(model) if kind == "sqdr" else _onnx(model)
    classify(images[:1])
    first_ms = 1000 * time.process_time()  # since the process started
    logits = classify(images)
    later_ms = 1000 * time.process_time() - first_ms
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"first_ms": first_ms, "image_ms": later_ms / len(images), "peak_mb": peak_mb, "logits": logits.tolist()}
    sys.stdout.write(json.dumps(found))


def _sqdr(model: str) -> Classify:
    from sqdr.deploy.pipeline import open_bundle

    pipeline = open_bundle(model, encoder="integer", device="local:sv").__enter__()
    return lambda images: pipeline.predict(images).logits


def _onnx(model: str) -> Classify:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]


if __name__ == "__main__":
    main(*sys.argv[1:4])
