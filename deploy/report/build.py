"""Put a report together: find what there is, work out what can be, and say what is missing."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqdr import __version__
from sqdr.bundle import Bundle
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.error_budget import ErrorBudget
from sqdr.deploy.fit import FitReport
from sqdr.deploy.pipeline import model_id
from sqdr.deploy.report.checks import budget_section, cost_section, equality_section, fit_section, noisy_device
from sqdr.deploy.report.circuit import circuit_section
from sqdr.deploy.report.evaluation import Evaluation, at_hand, of_bundle, of_golden, of_rows, of_validation
from sqdr.deploy.report.page import GENERATOR, check_installed, render
from sqdr.deploy.report.provenance import timings_section, versions_section
from sqdr.deploy.report.results import confusion_section, misclassified_section
from sqdr.deploy.report.rows import read_rows
from sqdr.deploy.report.samples import samples_section
from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, find_sources, read_json
from sqdr.deploy.report.training import run_summary, training_section
from sqdr.errors import ConfigError, SqdrError, StorageError
from sqdr.hw_configs import load_hardware
from sqdr.specification import ModelSpec
from sqdr.storage import write_atomically
from sqdr.strict import parse

__all__ = ["SECTIONS", "Report", "ReportOptions", "write_report"]

SECTIONS = (
    "training",
    "confusion",
    "misclassified",
    "samples",
    "circuit",
    "equality",
    "fit",
    "budget",
    "cost",
    "timings",
    "versions",
)
CAN_SKIP = ("equality", "fit", "budget")
DEFAULT_HARDWARE = ("loihi2_oheo_gulch", "braket_iqm_garnet")
MAX_SAMPLES, MAX_SHOTS = 256, 1_000_000
MARK_BYTES = 1024
BUDGET_IMAGES = 200

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How a report is made.

    Args:
        bundle, run, results: wins over what was found beside the path that was named.
        source: images, see `sqdr.deploy.inputs.read_input`; by default the results' own, else the test part of the
            data set that the model was trained on.
        limit: only the first images.
        n_samples: shown one by one.
        hardware: names or paths of hardware files.
        shots: of the error budget.
        skip: sections among equality, fit and budget that are left out.
        data_root: where data sets are.
        overwrite: replace a file that is no report.
    """

    bundle: Path | None = None
    run: Path | None = None
    results: Path | None = None
    source: str | None = None
    limit: int = 2000
    n_samples: int = 64
    hardware: Sequence[str] = DEFAULT_HARDWARE
    shots: int = 100
    skip: Sequence[str] = ()
    data_root: Path | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise a ConfigError where a number or a name is out of range."""
        for name, value, most in (
            ("limit", self.limit, 100_000),
            ("samples", self.n_samples, MAX_SAMPLES),
            ("shots", self.shots, MAX_SHOTS),
        ):
            if not 1 <= value <= most:
                raise ConfigError(f"`{name}` must be 1 to {most:,}, got {value}.")
        for section in self.skip:
            if section not in CAN_SKIP:
                raise ConfigError(f"`skip` must be one of {', '.join(CAN_SKIP)}, got {section[:40]!r}.")
        for hardware in self.hardware:
            load_hardware(hardware)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written, and what the figures are drawn from."""

    path: Path
    n_bytes: int
    sources: Sources
    sections: tuple[Section, ...]
    evaluation: Evaluation | None
    fit: FitReport | None
    budget: ErrorBudget | None


@dataclass
class _Model:
    """What is known of the model."""

    sources: Sources
    bundle: Bundle | None = None
    encoder: IntegerEncoder | None = None
    spec: ModelSpec | None = None
    class_names: tuple[str, ...] = ()
    why_no_bundle: str = ""
    notes: list[str] = field(default_factory=list)


def write_report(
    path: str | Path, out: str | Path, options: ReportOptions | None = None, progress: Progress | None = None
) -> Report:
    """Write one HTML file of a bundle, a training run, the results of a run, or a demo.

    What is missing is named in its section; what is damaged too, unless it is what ``path`` names.

    Args:
        path: see `sqdr.deploy.report.sources.find_sources`.
        out: the file.
        options: None for the defaults.
        progress: told (done, all, of what).

    Raises:
        ConfigError: an option is out of range.
        StorageError: ``path`` is none of these, or ``out`` cannot be written or is no report.
        BundleError: ``path`` is a damaged bundle.
        MissingDependencyError: Jinja2 or plotly is not installed.
    """
    chosen, target = options or ReportOptions(), Path(out)
    chosen.check()
    check_installed()
    _check_target(target, chosen.overwrite)
    sources = find_sources(Path(path), bundle=chosen.bundle, run=chosen.run, results=chosen.results)
    with contextlib.ExitStack() as stack:
        model = _open(sources, stack)
        return _write(model, chosen, target, str(path), progress or (lambda done, total, what: None))


def _check_target(target: Path, overwrite: bool) -> None:
    """Replace an earlier report, and nothing else unasked."""
    if target.is_dir():
        raise StorageError(f"{target} is a folder. Choose a file for --out, such as report.html.")
    if overwrite or not target.exists():
        return
    with target.open("rb") as file:
        if f'content="{GENERATOR}"'.encode() not in file.read(MARK_BYTES):
            raise StorageError(f"{target} is no report of sqdr. Choose another --out, or add --overwrite.")


def _open(sources: Sources, stack: contextlib.ExitStack) -> _Model:
    model = _Model(sources, why_no_bundle=sources.how_to_bundle)
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


def _write(model: _Model, options: ReportOptions, target: Path, shown: str, tell: Progress) -> Report:
    n_steps, sources, bundle = 6, model.sources, model.bundle
    tell(0, n_steps, "reading results")
    evaluation, notes = _evaluate(model, options)
    validation = of_validation(bundle) if bundle is not None else None
    confused = evaluation if evaluation is not None and evaluation.accuracy is not None else validation or evaluation
    viewed = evaluation if evaluation is not None else of_golden(bundle) if bundle is not None else None
    tell(1, n_steps, "following samples")
    record = {} if bundle is None else bundle.manifest.training.model_dump()
    summary = run_summary(sources.run)
    no_bundle = () if bundle is not None else (model.why_no_bundle,)
    made = [
        training_section(sources, record),
        confusion_section(confused, model.class_names, (*notes, *(no_bundle if confused is None else ()))),
        misclassified_section(evaluation, model.class_names, options.n_samples, (*notes, *no_bundle)),
        samples_section(viewed, bundle, model.encoder, model.class_names, options.n_samples, (*notes, *no_bundle)),
        circuit_section(
            None if model.spec is None else model.spec.head, (*model.notes, *(no_bundle if model.spec is None else ()))
        ),
    ]
    tell(2, n_steps, "comparing stages")
    made.append(
        _checked(
            "equality",
            model,
            options,
            lambda path, opened: equality_section(opened, _images(viewed, opened), str(path)),
        )
    )
    tell(3, n_steps, "fitting")
    fits: list[FitReport | None] = [None]
    budgets: list[ErrorBudget | None] = [None]

    def fit(path: Path, opened: Bundle) -> Section:
        section, fits[0] = fit_section(path, options.hardware, None)
        return section

    def budget(path: Path, opened: Bundle) -> Section:
        device = noisy_device(options.hardware)
        section, budgets[0] = budget_section(path, device, options.shots, min(options.limit, BUDGET_IMAGES))
        return section

    made.append(_checked("fit", model, options, fit))
    tell(4, n_steps, "budgeting errors")
    made.append(_checked("budget", model, options, budget))
    tell(5, n_steps, "writing")
    why_no_cost = "; ".join(made[-2].missing) or "the fit names no quantum device."
    made += [
        cost_section(fits[0], sources, why_no_cost),
        timings_section(sources, summary, evaluation),
        versions_section(bundle, summary, None if bundle is None else model_id(bundle), no_bundle),
    ]
    page = render(made, title=_title(sources, shown), facts=_facts(model, evaluation), made=f"sqdr {__version__}")
    data = page.encode("utf-8", "replace")
    write_atomically(target, data)
    tell(n_steps, n_steps, "done")
    return Report(
        path=target,
        n_bytes=len(data),
        sources=sources,
        sections=tuple(made),
        evaluation=confused if evaluation is None else evaluation,
        fit=fits[0],
        budget=budgets[0],
    )


TITLES = {"equality": "Equality, stage by stage", "fit": "Fit for both chips", "budget": "Error budget"}


def _checked(name: str, model: _Model, options: ReportOptions, make: Callable[[Path, Bundle], Section]) -> Section:
    """Return a section that needs a bundle, unless it is skipped."""
    if name in options.skip:
        return Section(name=name, title=TITLES[name], missing=(f"Left out: make it again without --skip {name}.",))
    if model.bundle is None or model.sources.bundle is None:
        return Section(name=name, title=TITLES[name], missing=(model.why_no_bundle,))
    return make(model.sources.bundle, model.bundle)


def _images(evaluation: Evaluation | None, bundle: Bundle) -> Any:
    """The images to compare stages on: those of the report, or the golden ones."""
    if evaluation is None or evaluation.images is None:
        return bundle.golden().images
    return evaluation.images if evaluation.has_image is None else evaluation.images[evaluation.has_image]


def _evaluate(model: _Model, options: ReportOptions) -> tuple[Evaluation | None, tuple[str, ...]]:
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


def _lacking(sources: Sources, rows: Any) -> list[str]:
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


def _title(sources: Sources, shown: str) -> str:
    kind = {"bundle": "Bundle", "run": "Training run", "results": "Run", "demo": "Demo"}[sources.kind]
    return f"{kind} {shown}"


def _facts(model: _Model, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    facts = []
    if evaluation is not None and evaluation.accuracy is not None:
        facts.append(("accuracy", f"{evaluation.accuracy:.4f}"))
        facts.append(("images", f"{int((evaluation.labels >= 0).sum()):,}"))
    if model.spec is not None:
        facts += [
            ("time steps", str(model.spec.coding.n_steps)),
            ("coding", model.spec.coding.kind),
            ("spiking layers", str(len(model.spec.encoder.layers))),
            ("qubits", f"{model.spec.head.n_qubits:,}"),
            ("blocks", str(model.spec.head.n_blocks)),
        ]
    if model.bundle is not None:
        facts.append(("parameters", f"{model.bundle.manifest.training.n_parameters:,}"))
    return facts
