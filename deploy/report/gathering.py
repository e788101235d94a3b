"""What is at hand of a model: its bundle, its specification, and what became of images."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from sqdr.bundle import Bundle
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.report.evaluation import Evaluation, at_hand, of_bundle, of_rows
from sqdr.deploy.report.options import ReportOptions
from sqdr.deploy.report.rows import ResultRows, read_rows
from sqdr.deploy.report.sources import Sources, read_json
from sqdr.errors import ConfigError, SqdrError
from sqdr.specification import ModelSpec
from sqdr.strict import parse

__all__ = ["Gathered", "evaluate", "gather"]


@dataclass
class Gathered:
    """What is known of the model; ``why_no_bundle`` says what to do for want of one."""

    sources: Sources
    bundle: Bundle | None = None
    encoder: IntegerEncoder | None = None
    spec: ModelSpec | None = None
    class_names: tuple[str, ...] = ()
    why_no_bundle: str = ""
    notes: list[str] = field(default_factory=list)


def gather(sources: Sources, stack: contextlib.ExitStack) -> Gathered:
    """Open what there is; ``stack`` closes it."""
    model = Gathered(sources, why_no_bundle=sources.how_to_bundle)
    if sources.bundle is not None:
        try:
            model.bundle = stack.enter_context(Bundle.open(sources.bundle))
            model.spec, model.class_names = model.bundle.manifest.model, model.bundle.manifest.class_names
            model.encoder = stack.enter_context(IntegerEncoder.from_bundle(model.bundle, check_golden=False))
        except SqdrError as error:
            if sources.kind == "bundle":
                raise
            model.bundle, model.encoder = None, None
            model.why_no_bundle = f"The bundle cannot be read: {error}"
    if model.spec is None and sources.run is not None:
        try:
            model.spec = parse(ModelSpec, read_json(sources.run / "model.json"), "model.json")
        except SqdrError as error:
            model.notes.append(f"The run's model cannot be read: {error}")
    return model


def evaluate(model: Gathered, options: ReportOptions) -> tuple[Evaluation | None, tuple[str, ...]]:
    """Return what became of the images, and what is missing there."""
    sources, bundle, request = model.sources, model.bundle, model.sources.request
    notes = list(sources.notes)
    source = options.source or (request.source if request is not None else None)
    root = options.data_root or (Path(request.data_root) if request is not None and request.data_root else None)
    if sources.results is not None and options.source is None:
        try:
            rows = read_rows(sources.results)
        except SqdrError as error:
            notes.append(str(error))
        else:
            notes += _lacking(sources, rows)
            images = None
            if bundle is not None and source is not None:
                found = at_hand(bundle, source, None, root)
                images = None if isinstance(found, str) else found
                notes += [found] if isinstance(found, str) else []
            device = "" if request is None else f", {request.encoder} and {request.device}"
            shots = "" if request is None or not request.shots else f" of {request.shots:,} shots"
            made = of_rows(rows, f"{source or rows.file}{device}{shots}", images)
            if images is not None and made.images is None:
                notes.append(
                    f"No image of {source} has a result's name. With --input images are classified here instead."
                )
            return made, tuple(notes)
    if bundle is None or model.encoder is None:
        return None, tuple(notes)
    name = source or f"{bundle.manifest.training.data}:test"
    found = at_hand(bundle, name, options.limit, root)
    if isinstance(found, str):
        if options.source is not None:
            raise ConfigError(found)
        return None, (*notes, f"{found} Set SQDR_DATA_DIR, or name images with --input.")
    return of_bundle(bundle, model.encoder, found, name), tuple(notes)


def _lacking(sources: Sources, rows: ResultRows) -> list[str]:
    """What the rows lack against what the run said of itself."""
    notes = []
    again = f"`sqdr run --resume {sources.results}` makes them again; what was paid for is not paid again."
    if rows.n_unreadable:
        notes.append(f"{rows.n_unreadable:,} lines of {rows.file} cannot be read. {again}")
    try:
        n_samples = read_json((sources.results or Path()) / "summary.json").get("n_samples")
    except SqdrError:
        return [*notes, f"The run is unfinished: it has no readable summary.json. {again}"]
    n_rows = len(rows.ids) + rows.n_unreadable
    if isinstance(n_samples, int) and n_samples > n_rows:
        notes.append(f"{n_samples - n_rows:,} of {n_samples:,} results are missing. {again}")
    return notes
