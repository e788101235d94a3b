"""Put a report together: find what there is, work out what can be, and say what is missing."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqdr import __version__
from sqdr.bundle import Bundle
from sqdr.deploy.error_budget import ErrorBudget
from sqdr.deploy.fit import FitReport
from sqdr.deploy.pipeline import model_id
from sqdr.deploy.report import budget, equality, fit
from sqdr.deploy.report.circuit import circuit_section
from sqdr.deploy.report.cost import cost_section
from sqdr.deploy.report.evaluation import Evaluation, of_golden, of_validation
from sqdr.deploy.report.gathering import Gathered, evaluate, gather
from sqdr.deploy.report.options import ReportOptions
from sqdr.deploy.report.page import GENERATOR, check_installed, render
from sqdr.deploy.report.provenance import timings_section, versions_section
from sqdr.deploy.report.results import confusion_section, misclassified_section
from sqdr.deploy.report.samples import samples_section
from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, find_sources
from sqdr.deploy.report.training import run_summary, training_section
from sqdr.errors import StorageError
from sqdr.storage import write_atomically

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
MARK_BYTES = 1024
# Seconds of work at 9 qubits.
BUDGET_IMAGES = 200
TITLES = {"equality": equality.TITLE, "fit": fit.TITLE, "budget": budget.TITLE}

Progress = Callable[[int, int, str], None]


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
        model = gather(sources, stack)
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


def _write(model: Gathered, options: ReportOptions, target: Path, shown: str, tell: Progress) -> Report:
    n_steps, sources, bundle = 6, model.sources, model.bundle
    tell(0, n_steps, "reading results")
    evaluation, notes = evaluate(model, options)
    viewed = evaluation if evaluation is not None else of_golden(bundle) if bundle is not None else None
    confused = _with_labels(evaluation, bundle)
    tell(1, n_steps, "following samples")
    made = _of_images(model, options, evaluation, confused, viewed, notes)
    tell(2, n_steps, "comparing stages")
    path = sources.bundle
    made.append(
        _unavailable("equality", model, options)
        or equality.equality_section(_opened(bundle), _images(viewed, _opened(bundle)), str(path))
    )
    tell(3, n_steps, "fitting")
    fitted, budgeted = None, None
    section = _unavailable("fit", model, options)
    if section is None and path is not None:
        section, fitted = fit.fit_section(path, options.hardware)
    made.append(section or Section(name="fit", title=fit.TITLE))
    tell(4, n_steps, "budgeting errors")
    section = _unavailable("budget", model, options)
    if section is None and path is not None:
        device = budget.noisy_device(options.hardware)
        section, budgeted = budget.budget_section(path, device, options.shots, min(options.limit, BUDGET_IMAGES))
    made.append(section or Section(name="budget", title=budget.TITLE))
    tell(5, n_steps, "writing")
    summary, no_bundle = run_summary(sources.run), _no_bundle(model)
    made += [
        cost_section(fitted, sources, "; ".join(made[-2].missing) or "the fit names no quantum device."),
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
        evaluation=evaluation or confused,
        fit=fitted,
        budget=budgeted,
    )


def _of_images(
    model: Gathered,
    options: ReportOptions,
    evaluation: Evaluation | None,
    confused: Evaluation | None,
    viewed: Evaluation | None,
    notes: tuple[str, ...],
) -> list[Section]:
    """The sections that show training, images, and the circuit that they pass."""
    record = {} if model.bundle is None else model.bundle.manifest.training.model_dump()
    no_bundle, names, n_shown = _no_bundle(model), model.class_names, options.n_samples
    head = None if model.spec is None else model.spec.head
    return [
        training_section(model.sources, record),
        confusion_section(confused, names, (*notes, *(no_bundle if confused is None else ()))),
        misclassified_section(evaluation, names, n_shown, (*notes, *no_bundle)),
        samples_section(viewed, model.bundle, model.encoder, names, n_shown, (*notes, *no_bundle)),
        circuit_section(head, (*model.notes, *(no_bundle if head is None else ()))),
    ]


def _with_labels(evaluation: Evaluation | None, bundle: Bundle | None) -> Evaluation | None:
    """What the confusion matrix is of: the images, or for want of labels the bundle's validation samples."""
    if bundle is None or (evaluation is not None and evaluation.accuracy is not None):
        return evaluation
    return of_validation(bundle) or evaluation


def _no_bundle(model: Gathered) -> tuple[str, ...]:
    return () if model.bundle is not None else (model.why_no_bundle,)


def _opened(bundle: Bundle | None) -> Bundle:
    assert bundle is not None  # what needs one is asked only where there is one
    return bundle


def _unavailable(name: str, model: Gathered, options: ReportOptions) -> Section | None:
    """Return the section without content where it is skipped or has no bundle; else None."""
    if name in options.skip:
        return Section(name=name, title=TITLES[name], missing=(f"Left out: make it again without --skip {name}.",))
    if model.bundle is None:
        return Section(name=name, title=TITLES[name], missing=(model.why_no_bundle,))
    return None


def _images(evaluation: Evaluation | None, bundle: Bundle) -> Any:
    """The images to compare stages on: those of the report, or the golden ones."""
    if evaluation is None or evaluation.images is None:
        return bundle.golden().images
    return evaluation.images if evaluation.has_image is None else evaluation.images[evaluation.has_image]


def _title(sources: Sources, shown: str) -> str:
    kind = {"bundle": "Bundle", "run": "Training run", "results": "Run", "demo": "Demo"}[sources.kind]
    return f"{kind} {shown}"


def _facts(model: Gathered, evaluation: Evaluation | None) -> list[tuple[str, str]]:
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
