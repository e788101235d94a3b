"""What a path is: a bundle, a training run, the results of a run, or a demo; and what belongs to it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sqdr.bundle import MANIFEST
from sqdr.deploy.run_request import RunRequest, read_request
from sqdr.errors import ConfigError, InputError, StorageError

__all__ = ["Sources", "find_sources", "read_json"]

MAX_JSON_BYTES = 1 << 20
RESULT_NAMES = ("results.jsonl", "results.parquet", "results.partial.jsonl", "run.json")
DEMO_RESULTS = ("sampled", "exact")

Kind = Literal["bundle", "run", "results", "demo"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a report is made from; None is what is not at hand.

    Args:
        kind: of the path that was named.
        bundle: folder or ``.sqdr`` file.
        run: folder of a training run.
        results: folder of `sqdr run`.
        request: what that run was asked for.
        demo: folder of `sqdr demo`.
        notes: what was looked for and not found, each with how to get it.
    """

    kind: Kind
    bundle: Path | None = None
    run: Path | None = None
    results: Path | None = None
    request: RunRequest | None = None
    demo: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def how_to_bundle(self) -> str:
        """What to do for want of a bundle."""
        if self.run is not None:
            return f"No bundle. Make one with `sqdr export {self.run} --out model.sqdr`, then add --bundle model.sqdr."
        return "No bundle. Name one that `sqdr export` made with --bundle."


def find_sources(
    path: Path, *, bundle: Path | None = None, run: Path | None = None, results: Path | None = None
) -> Sources:
    """Return what ``path`` is and what belongs to it.

    Args:
        path: a bundle, a folder of `sqdr train`, of `sqdr run` or of `sqdr demo`.
        bundle: wins over the one that was found.
        run: likewise.
        results: likewise.

    Raises:
        StorageError: ``path`` is none of them.
    """
    found = _found(path)
    return _with_request(
        replace(found, bundle=bundle or found.bundle, run=run or found.run, results=results or found.results)
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file that nobody vouches for.

    Raises:
        ConfigError: missing, too large, or not a JSON object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError("too large")
        content = json.loads(data)
        if not isinstance(content, dict):
            raise ValueError("no object")
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} is not a JSON object.") from error
    return content


def _found(path: Path) -> Sources:
    try:
        if path.is_file():
            return Sources(kind="bundle", bundle=path)
        names = {item.name for item in path.iterdir()}
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    if MANIFEST in names:
        return Sources(kind="bundle", bundle=path)
    if "config.yaml" in names:
        return Sources(kind="run", run=path)
    if names & {*RESULT_NAMES}:
        return Sources(kind="results", results=path)
    if ".sqdr-demo" in names:
        return _demo(path, names)
    raise StorageError(
        f"{path} is no bundle and no folder of `sqdr train`, `sqdr run` or `sqdr demo`. Name one of these."
    )


def _demo(path: Path, names: set[str]) -> Sources:
    results = next((path / name for name in DEMO_RESULTS if (path / name).is_dir()), None)
    return Sources(
        kind="demo",
        bundle=path / "bundle" if "bundle" in names else None,
        run=path / "run" if "run" in names else None,
        results=results,
        demo=path,
        notes=() if "summary.json" in names else (f"The demo was broken off. Run `sqdr demo --out {path}` again.",),
    )


def _with_request(sources: Sources) -> Sources:
    """Read what the results were made with, and take its bundle where none was named."""
    if sources.results is None:
        return sources
    try:
        request = read_request(sources.results)
    except InputError as error:
        return replace(sources, notes=(*sources.notes, str(error)))
    bundle, notes = sources.bundle, sources.notes
    if bundle is None:
        if Path(request.bundle).exists():
            bundle = Path(request.bundle)
        else:
            notes = (*notes, f"The bundle of the results, {request.bundle}, is gone. Name it with --bundle.")
    return replace(sources, request=request, bundle=bundle, notes=notes)
