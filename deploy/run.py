"""One batch of split inference, from input to result files."""

from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sqdr.deploy.inputs import read_input
from sqdr.deploy.pipeline import open_bundle
from sqdr.deploy.plan.cost import parse_budget
from sqdr.deploy.plan.planner import check_run_budget
from sqdr.deploy.results import ResultFormat, confusion_matrix, draw_confusion, open_results
from sqdr.errors import ConfigError, DataError

__all__ = ["run_bundle"]

TAKE_TIMEOUT = ("lava", "onnx")
TAKE_THREADS = ("integer", "onnx")


def run_bundle(
    bundle: str | Path,
    source: str,
    out: str | Path,
    *,
    encoder: str = "lava",
    device: str = "local:braket-sv",
    shots: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    form: ResultFormat = "jsonl",
    timeout_s: float | None = None,
    n_threads: int | None = None,
    budget_usd: Any = None,
    data_root: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Classify ``source`` and write ``results.<form>``, ``summary.json`` and ``confusion.png`` to ``out``.

    The picture needs labels and matplotlib (extra ``results``); it is left out without them.

    Args:
        bundle: folder or ``.sqdr`` file.
        source: see `sqdr.deploy.inputs.read_input`.
        out: the folder for the results.
        encoder: name of the encoder backend.
        device: see `sqdr.deploy.pipeline.open_bundle`.
        shots: per image; 0 for exact expectations, which is also what None means on a free device.
        seed: of sampling.
        limit: only the first images.
        form: ``jsonl`` or ``parquet``.
        timeout_s: for each call to an encoder that takes one.
        n_threads: of an encoder that takes them, 0 for all cores; None for its own choice.
        budget_usd: refuse, before any call, a run whose estimate (`sqdr.deploy.plan`) is over it.
        data_root: where data sets are.
        overwrite: replace earlier results.
        progress: called after each image with how many are done and how many there are.

    Returns:
        What ``summary.json`` holds.
    """
    parse_budget(budget_usd)  # a mistake in it shows before anything is opened
    options = _options(encoder, timeout_s, n_threads)
    pipeline = open_bundle(bundle, encoder=encoder, device=device, shots=shots, seed=seed, **options)
    manifest = pipeline.bundle.manifest
    with pipeline.bundle:
        images = read_input(source, manifest.model.encoder.input_shape, data_root)
        images = images[:limit] if limit is not None else images
        if budget_usd is not None:
            check_run_budget(device, shots=shots or 0, n_images=len(images), budget_usd=budget_usd)
        n_classes = len(manifest.class_names)
        if images.labels is not None and images.labels.max() >= n_classes:
            raise DataError(f"{source} has the label {images.labels.max()}, the model only {n_classes} classes.")
        # the backends start first: if one fails, earlier results are still there
        with pipeline, open_results(Path(out), form, overwrite=overwrite) as writer:
            predicted = []
            for index, prediction in enumerate(pipeline.stream(images.images)):
                label = None if images.labels is None else int(images.labels[index])
                writer.write(images.sample_ids[index], prediction, label)
                predicted.append(prediction.predicted)
                if progress is not None:
                    progress(len(predicted), len(images))
            accuracy = None
            if images.labels is not None:
                matrix = confusion_matrix(images.labels, np.array(predicted), n_classes)
                accuracy = float(np.trace(matrix) / matrix.sum())
                title = f"{source} on {device}: {accuracy:.4f}"
                if find_spec("matplotlib") is not None:  # never lose results for want of a picture
                    draw_confusion(matrix, manifest.class_names, Path(out) / "confusion.png", title)
            report = pipeline.head.report()
            summary = {
                "bundle": str(bundle),
                "input": source,
                "n_samples": len(images),
                "accuracy": accuracy,
                "encoder": pipeline.encoder.name,
                "device": device,
                "head_kind": pipeline.head.accuracy,
                "shots": shots or 0,
                "seed": seed,
                "n_circuits": report.n_circuits,
                "n_shots": report.n_shots,
                "cost_usd": None if report.cost_usd is None else str(report.cost_usd),
                "seconds": {name: round(value, 3) for name, value in asdict(pipeline.seconds).items()},
                "results": str(Path(out) / f"results.{form}"),
            }
            writer.finish(summary)
    return summary


def _options(encoder: str, timeout_s: float | None, n_threads: int | None) -> dict[str, Any]:
    """Return what the encoder takes of the options.

    Raises:
        ConfigError: threads were asked of an encoder that takes none.
    """
    options: dict[str, Any] = {}
    if timeout_s is not None and encoder in TAKE_TIMEOUT:
        options["timeout_s"] = timeout_s
    if n_threads is not None:
        if encoder not in TAKE_THREADS:
            raise ConfigError(
                f"encoder '{encoder}' takes no `threads`. Leave it out, or use {' or '.join(TAKE_THREADS)}."
            )
        options["n_threads"] = n_threads
    return options
