"""One batch of split inference, from input to result files; what was broken off is taken up again."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sqdr.bundle import Bundle
from sqdr.data import Images
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.heads.adaptive import FIRST_SHOTS
from sqdr.deploy.heads.compose import calibration_shots
from sqdr.deploy.inputs import read_input
from sqdr.deploy.pipeline import Pipeline, Prediction, model_id, open_bundle
from sqdr.deploy.plan.cost import parse_budget
from sqdr.deploy.plan.planner import check_run_budget, n_extra_circuits
from sqdr.deploy.results import check_no_results, confusion_matrix, draw_confusion, open_results
from sqdr.deploy.run_request import RunRequest, read_request, write_request
from sqdr.errors import ConfigError, DataError
from sqdr.hw_configs.loader import own_file
from sqdr.storage import storage_errors
from sqdr.strict import parse

__all__ = ["Progress", "resume_run", "run_bundle"]

logger = logging.getLogger(__name__)

TAKE_TIMEOUT = ("lava", "onnx")
TAKE_THREADS = ("integer", "onnx")
JOURNAL = "journal.sqlite"

Progress = Callable[[int, int, str], None]
"""Told how many are done, how many there are, and of what."""


def run_bundle(
    bundle: str | Path,
    source: str,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_interrupt: Callable[[int], bool] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Classify ``source`` and write ``results.<form>``, ``summary.json`` and ``confusion.png`` to ``out``.

    The picture needs labels and matplotlib (extra ``results``); it is left out without them. ``run.json`` keeps what
    was asked for, and a paid device's ``journal.sqlite`` what it was paid for: see `resume_run`.

    Args:
        bundle: folder or ``.sqdr`` file.
        source: see `sqdr.deploy.inputs.read_input`.
        out: the folder for the results.
        overwrite: replace earlier results. A journal is never replaced.
        progress: told how it goes.
        on_interrupt: asked at Ctrl-C with the number of unfinished quantum tasks whether to cancel them; without it
            they go on and can be picked up.
        options: the other fields of `sqdr.deploy.run_request.RunRequest`.

    Returns:
        What ``summary.json`` holds.

    Raises:
        ConfigError: an option is unknown or out of range.
        SqdrError: as the encoder, the device, the input and the folder have it.
    """
    options["budget_usd"] = parse_budget(options.get("budget_usd"))
    if options.get("data_root") is not None:
        options["data_root"] = str(options["data_root"])
    request = parse(RunRequest, {"bundle": str(bundle), "source": source, **options}, "run")
    check_no_results(Path(out), overwrite=overwrite)
    return _run(request, Path(out), progress, on_interrupt, is_resumed=False)


def resume_run(
    out: str | Path,
    *,
    progress: Progress | None = None,
    on_interrupt: Callable[[int], bool] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Take up the run of a folder again: what its journal holds is neither run nor paid for again.

    Args:
        out: the folder of an earlier `run_bundle`.
        progress: told how it goes.
        on_interrupt: as of `run_bundle`.
        changes: fields of `sqdr.deploy.run_request.RunRequest` to change, such as ``budget_usd`` or
            ``has_canary``; None leaves one as it was.

    Returns:
        What ``summary.json`` holds.

    Raises:
        StorageError: no run in this folder.
        ConfigError: its ``run.json`` is damaged, or a change is out of range.
        SqdrError: as `run_bundle`.
    """
    earlier = read_request(Path(out)).model_dump()
    logger.info("taking up the run of %s again", out)
    changes["budget_usd"] = parse_budget(changes.get("budget_usd"))
    wanted = {name: value for name, value in changes.items() if value is not None}
    return _run(parse(RunRequest, {**earlier, **wanted}, "run"), Path(out), progress, on_interrupt, is_resumed=True)


def _run(
    request: RunRequest,
    out: Path,
    progress: Progress | None,
    on_interrupt: Callable[[int], bool] | None,
    *,
    is_resumed: bool,
) -> dict[str, Any]:
    tell = progress or (lambda done, total, what: None)
    pipeline = open_bundle(
        request.bundle,
        encoder=request.encoder,
        device=request.device,
        shots=request.shots,
        seed=request.seed,
        spending=request.spending,
        braket=lambda bundle: _braket_options(request, bundle, out, tell, on_interrupt),
        **_encoder_options(request),
    )
    with pipeline.bundle:
        logger.info("reading the images of %s", request.source)
        images = _images(request, pipeline.bundle)
        logger.info("%d images, encoder %s, device %s", len(images), request.encoder, request.device)
        if request.budget_usd is not None and not is_resumed:
            _check_budget(request, len(images))
        # the backends start first: if one fails, earlier results are still there
        with pipeline:
            with storage_errors(out):
                out.mkdir(parents=True, exist_ok=True)
            write_request(out, _absolute(request))
            with open_results(out, request.form, overwrite=True) as writer:
                predicted = []
                for index, prediction in enumerate(_predictions(pipeline, images, tell)):
                    label = None if images.labels is None else int(images.labels[index])
                    writer.write(images.sample_ids[index], prediction, label)
                    predicted.append(prediction.predicted)
                accuracy = _accuracy(request, pipeline.bundle, images, np.array(predicted), out)
                summary = _summary(request, pipeline, images, accuracy, out)
                writer.finish(summary)
        logger.info("results are in %s", summary["results"])
    return summary


def _check_budget(request: RunRequest, n_images: int) -> None:
    """Refuse before any call what is sure to be over the budget; the runner holds it against the journal later."""
    shots = request.shots or 0
    n_sure = n_images if request.spending.is_predictable else 1
    extra = n_extra_circuits(request.device, shots, has_canary=request.has_canary)
    check_run_budget(
        request.device,
        shots=shots if not request.is_adaptive else min(shots, FIRST_SHOTS),
        n_images=n_sure,
        budget_usd=request.budget_usd,
        n_extra_circuits_per_task=extra,
        n_calibration_shots=calibration_shots(request.shots) if request.is_readout_mitigated else 0,
        has_program_sets=request.has_program_sets,
    )


def _absolute(request: RunRequest) -> RunRequest:
    """Return the request with paths that hold in any working folder."""
    paths = {
        name: str(Path(value).resolve())
        for name in ("bundle", "source", "data_root", "journal")
        if (value := getattr(request, name)) is not None and Path(value).exists()
    }
    file = Path(request.device) if request.device.endswith((".yaml", ".yml")) else own_file(request.device)
    if file is not None and file.exists():
        paths["device"] = str(file.resolve())
    return request.model_copy(update=paths)


def _predictions(pipeline: Pipeline, images: Images, tell: Progress) -> Iterator[Prediction]:
    """Yield one prediction after another: as they come, or of a head that packs circuits, all at the end."""
    if not pipeline.takes_all_at_once:
        for done, prediction in enumerate(pipeline.stream(images.images), start=1):
            yield prediction
            tell(done, len(images), "classifying")
        return
    found = pipeline.predict(
        images.images, sample_ids=images.sample_ids, progress=lambda done, total: tell(done, total, "encoding")
    )
    for row in zip(found.counts, found.expectations, found.logits, found.predicted.tolist(), strict=True):
        yield Prediction(*row)


def _images(request: RunRequest, bundle: Bundle) -> Images:
    data_root = None if request.data_root is None else Path(request.data_root)
    images = read_input(request.source, bundle.manifest.model.encoder.input_shape, data_root)
    images = images[: request.limit] if request.limit is not None else images
    n_classes = len(bundle.manifest.class_names)
    if images.labels is not None and images.labels.max() >= n_classes:
        raise DataError(f"{request.source} has the label {images.labels.max()}, the model only {n_classes} classes.")
    return images


def _accuracy(
    request: RunRequest, bundle: Bundle, images: Images, predicted: np.ndarray[Any, Any], out: Path
) -> float | None:
    """Return the accuracy and draw the confusion matrix; None without labels."""
    if images.labels is None:
        return None
    names = bundle.manifest.class_names
    matrix = confusion_matrix(images.labels, predicted, len(names))
    accuracy = float(np.trace(matrix) / matrix.sum())
    if find_spec("matplotlib") is not None:  # never lose results for want of a picture
        title = f"{request.source} on {request.device}: {accuracy:.4f}"
        draw_confusion(matrix, names, out / "confusion.png", title)
    return accuracy


def _summary(
    request: RunRequest, pipeline: Pipeline, images: Images, accuracy: float | None, out: Path
) -> dict[str, Any]:
    report = pipeline.head.report()
    return {
        "bundle": request.bundle,
        "input": request.source,
        "n_samples": len(images),
        "n_left_out": len(images.left_out),
        "left_out": list(images.left_out),
        "accuracy": accuracy,
        "encoder": pipeline.encoder.name,
        "device": request.device,
        "head_kind": pipeline.head.accuracy,
        "shots": request.shots or 0,
        "seed": request.seed,
        "n_circuits": report.n_circuits,
        "n_shots": report.n_shots,
        "cost_usd": None if report.cost_usd is None else str(report.cost_usd),
        "paid_now_usd": _paid_now(pipeline),
        "spending": pipeline.spending_summary(),
        "seconds": {name: round(value, 3) for name, value in asdict(pipeline.seconds).items()},
        "results": str(out / f"results.{request.form}"),
    }


def _paid_now(pipeline: Pipeline) -> str | None:
    """Return the part of the cost that this run added; the rest was paid for before."""
    paid = getattr(pipeline.device, "paid_now_usd", None)
    found = Decimal(0) if paid is None else paid()
    return None if found is None else str(found)


def _braket_options(
    request: RunRequest,
    bundle: Bundle,
    out: Path,
    tell: Progress,
    on_interrupt: Callable[[int], bool] | None,
) -> BraketOptions:
    return BraketOptions(
        journal=Path(request.journal) if request.journal is not None else out / JOURNAL,
        model=model_id(bundle),
        request=request.model_dump(mode="json", exclude={"journal", "bundle", "data_root"}),
        budget_usd=request.budget_usd,
        has_program_sets=request.has_program_sets,
        has_canary=request.has_canary,
        may_wait=request.may_wait,
        max_in_flight=request.max_in_flight,
        started_on=request.started_on,
        gives_up_unreadable=request.gives_up_unreadable,
        on_progress=lambda done, total, said: tell(done, total, f"circuits {said}".strip()),
        how_to_resume=f"Run `sqdr run --resume {out}`",
        on_interrupt=on_interrupt or (lambda n_open: False),
    )


def _encoder_options(request: RunRequest) -> dict[str, Any]:
    """Return what the encoder takes of the options.

    Raises:
        ConfigError: threads or a Lava graph were asked of an encoder that takes none.
    """
    options: dict[str, Any] = {}
    if request.timeout_s is not None and request.encoder in TAKE_TIMEOUT:
        options["timeout_s"] = request.timeout_s
    if request.lava_graph is not None:
        if request.encoder != "lava":
            raise ConfigError(f"encoder '{request.encoder}' takes no `lava_graph`. Leave it out, or use encoder lava.")
        options["graph"] = request.lava_graph
    if request.n_threads is not None:
        if request.encoder not in TAKE_THREADS:
            raise ConfigError(
                f"encoder '{request.encoder}' takes no `threads`. Leave it out, or use {' or '.join(TAKE_THREADS)}."
            )
        options["n_threads"] = request.n_threads
    return options
