"""How long each stage took, and what it was all made from: versions and hashes."""

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from sqdr import __version__
from sqdr.bundle import Bundle
from sqdr.deploy.report.evaluation import Evaluation
from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, read_json
from sqdr.errors import InputError

__all__ = ["timings_section", "versions_section"]

MAX_SECONDS = 1e9
MAX_ROWS = 64
STAGES = ("coding", "encoder", "head")


def timings_section(sources: Sources, summary: Mapping[str, Any], evaluation: Evaluation | None) -> Section:
    """Return the section.

    Args:
        sources: with run, results and demo, as far as they are there.
        summary: of the training run.
        evaluation: with the seconds of the stages, where it was worked out here.
    """
    tables, missing = [], []
    if sources.run is not None and _is_seconds(summary.get("seconds")):
        device = str(summary.get("device", ""))[:40]
        tables.append(_table(f"Training, on {device}", {"train": summary["seconds"]}, None))
    for folder, title in ((sources.results, "This run"), (sources.demo, "The demo")):
        if folder is None:
            continue
        try:
            found = read_json(folder / "summary.json")
        except InputError as error:
            missing.append(f"{title}: {error} It was not finished.")
            continue
        seconds, n = found.get("seconds"), found.get("n_samples")
        if isinstance(seconds, dict):
            table = _table(title, seconds, n if isinstance(n, int) and n > 0 else None)
            if folder == sources.results:
                table["note"] = "Encoder and head overlap: the total is less than the stages' sum where both were busy."
            tables.append(table)
    if evaluation is not None and evaluation.seconds:
        tables.append(_table("This report, integer runtime and exact circuit", evaluation.seconds, len(evaluation.ids)))
    if not any(table["rows"] for table in tables):
        missing.append("No stage was timed. `sqdr run` writes the seconds of each.")
        return Section(name="timings", title="Timings", missing=tuple(missing))
    return Section(name="timings", title="Timings", content={"tables": tables}, missing=tuple(missing))


def _table(title: str, seconds: Mapping[Any, Any], n: int | None) -> dict[str, Any]:
    known = {str(name)[:40]: float(value) for name, value in list(seconds.items())[:MAX_ROWS] if _is_seconds(value)}
    longest = max(known.values(), default=0.0) or 1.0
    rows = [
        (name, f"{value:,.3f}", "" if n is None else f"{1000 * value / n:,.4f}", round(100 * value / longest, 1))
        for name, value in known.items()
    ]
    return {"title": title, "rows": rows, "n": n, "note": ""}


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_SECONDS


def versions_section(
    bundle: Bundle | None, summary: Mapping[str, Any], model: str | None, missing: tuple[str, ...]
) -> Section:
    """Return the section: who made it, with which libraries, and the SHA-256 of every file."""
    here = {"sqdr": __version__, "python": platform.python_version(), "numpy": np.__version__}
    rows: list[tuple[str, dict[str, str]]] = [("this report", here)]
    trained = summary.get("versions")
    if isinstance(trained, dict):
        rows.append(("training run", {str(k)[:40]: str(v)[:40] for k, v in list(trained.items())[:MAX_ROWS]}))
    files: list[tuple[str, str, str]] = []
    notes: tuple[str, ...] = ()
    if bundle is not None:
        rows.append(("bundle", {"sqdr": bundle.manifest.sqdr_version, **bundle.manifest.versions}))
        files = [(name, f"{record.n_bytes:,}", record.sha256) for name, record in bundle.manifest.files.items()]
        notes = bundle.manifest.notes
    names = sorted({name for _, versions in rows for name in versions})
    table = [(name, *(versions.get(name, "") for _, versions in rows)) for name in names]
    content = {"heads": [name for name, _ in rows], "rows": table, "files": files, "model": model, "notes": notes}
    return Section(name="versions", title="Versions and hashes", content=content, missing=missing)
