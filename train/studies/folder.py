"""The folder of a study: one small file for each finished run, and all of them as one table.

- ``study.yaml``: the definition
- ``runs/<key>.json``: one finished run, named by the hash of what it was; written whole or not at all
- ``results.jsonl``: one row a run, in the definition's order, tuning first; exists only when the study is finished
- ``results.csv``: the same, flat
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sqdr.errors import DataError, StorageError
from sqdr.storage import storage_errors, write_atomically
from sqdr.strict import StrictModel
from sqdr.train.config import TrainConfig
from sqdr.train.studies.definition import Arm, Overrides, StudyConfig, load_study
from sqdr.train.studies.faults import Faults, noise_of
from sqdr.train.studies.single_run import Outcome

__all__ = ["Row", "StudyFolder", "Task"]

DEFINITION = "study.yaml"


@dataclass(frozen=True)
class Task:
    """One run to do.

    Args:
        arm: which.
        candidate: what was or is being tuned.
        config: of the training.
        faults: to measure; None for a run that tunes.
    """

    arm: Arm
    candidate: Overrides
    config: TrainConfig
    faults: Faults | None

    @property
    def key(self) -> str:
        """A hash of all that the run depends on; of the data, its name and limit only."""
        what: list[Any] = [_plain(self.config), None if self.faults is None else self.faults.model_dump(mode="json")]
        names = {self.config.training.noise or "none", *(self.faults.noise if self.faults else ())} - {"none"}
        if names:
            # a hardware file is the user's to edit
            what.append({name: str(noise_of(name)) for name in names})
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _plain(config: TrainConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"data": {"root"}})


class Row(StrictModel):
    """One finished run.

    Args:
        stage: ``tune`` or ``run``.
        config: the training configuration, without the data's folder.
    """

    study: str
    stage: str
    arm: Arm
    candidate: Overrides
    seed: int
    outcome: Outcome
    config: dict[str, Any]
    faults: Faults | None
    cpu: str
    versions: dict[str, str]


@dataclass(frozen=True)
class StudyFolder:
    """Paths, reader and writer of one study's results."""

    root: Path

    @property
    def tables(self) -> tuple[Path, Path]:
        """All rows, as JSONL and as CSV; they exist only when the study is finished."""
        return self.root / "results.jsonl", self.root / "results.csv"

    def claim(self, study: StudyConfig) -> None:
        """Make the folder, or go on in one of the same study, with another number of seeds too.

        Raises:
            StorageError: it holds something else.
        """
        definition = self.root / DEFINITION
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(f"{self.root} is a file. Choose another --out.")
        if self.root.is_dir() and any(self.root.iterdir()) and not definition.is_file():
            raise StorageError(f"{self.root} holds other files. Choose another --out.")
        if definition.is_file() and self.study() == study:
            return
        # other seeds take over what is there
        if definition.is_file() and self.study().model_copy(update={"n_seeds": study.n_seeds}) != study:
            raise StorageError(f"{self.root} holds another study, or another version of it. Choose another --out.")
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for table in self.tables:
                table.unlink(missing_ok=True)
            write_atomically(definition, yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False).encode())
            (self.root / "runs").mkdir(exist_ok=True)

    def study(self) -> StudyConfig:
        """Return the definition.

        Raises:
            DataError: not a study's folder.
        """
        if not (self.root / DEFINITION).is_file():
            raise DataError(f"{self.root} is no study's folder. Make one with `sqdr study run NAME --out {self.root}`.")
        return load_study(self.root / DEFINITION)

    def outcome(self, task: Task) -> Row | None:
        """Return a task's row, or None if it is still to be done.

        Raises:
            DataError: the file is damaged.
        """
        path = self._path(task)
        if not path.is_file():
            return None
        try:
            return Row.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataError(f"{path} is damaged. Delete it and run the study again.") from error

    def save(self, task: Task, study: StudyConfig, outcome: Outcome, cpu: str, versions: dict[str, str]) -> None:
        """Write one finished run."""
        row = Row(
            study=study.name,
            stage="tune" if task.faults is None else "run",
            arm=task.arm,
            candidate=task.candidate,
            seed=task.config.training.seed,
            outcome=outcome,
            config=_plain(task.config),
            faults=task.faults,
            cpu=cpu,
            versions=versions,
        )
        write_atomically(self._path(task), row.model_dump_json().encode())

    def write_table(self, rows: list[Row]) -> None:
        """Write all rows as JSONL and as CSV."""
        lines = [json.dumps(row.model_dump(mode="json")) for row in rows]
        jsonl, table = self.tables
        flat = [_flat(row) for row in rows]
        columns = list(dict.fromkeys(name for row in flat for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        write_atomically(table, text.getvalue().encode())
        write_atomically(jsonl, "\n".join([*lines, ""]).encode())

    def rows(self) -> list[Row]:
        """Return the finished study's rows.

        Raises:
            DataError: it is unfinished, or damaged.
        """
        path, _ = self.tables
        if not path.is_file():
            self.study()
            raise DataError(f"{self.root} is an unfinished study. Continue it with the same `sqdr study run`.")
        try:
            return [Row.model_validate_json(line) for line in path.read_bytes().splitlines()]
        except ValidationError as error:
            raise DataError(f"{path} is damaged. Run the study again: finished runs are kept in runs/.") from error

    def _path(self, task: Task) -> Path:
        return self.root / "runs" / f"{task.key}.json"


def _flat(row: Row) -> dict[str, Any]:
    outcome = row.outcome
    flat: dict[str, Any] = {"study": row.study, "stage": row.stage} | {f"arm.{k}": v for k, v in row.arm.items()}
    flat |= dict(_leaves("config", row.config))
    flat |= {"n_parameters": outcome.n_parameters, "n_head_parameters": outcome.n_head_parameters}
    flat |= {"best_epoch": outcome.best_epoch, "error": outcome.error, "seconds": outcome.seconds}
    return flat | outcome.metrics | {"cpu": row.cpu} | dict(_leaves("versions", row.versions))


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, child in value.items() for leaf in _leaves(f"{name}.{key}", child)]
    return [(name, value)]
