"""Do what is left of a study: tune every arm, then run it, on one core for each job."""

from collections.abc import Callable
from pathlib import Path

from sqdr.errors import TrainingError
from sqdr.machine import cpu_name
from sqdr.train.studies.definition import Overrides, StudyConfig
from sqdr.train.studies.folder import Row, StudyFolder, Task
from sqdr.train.studies.workers import outcomes
from sqdr.train.versions import library_versions

__all__ = ["TUNING_SEED", "chosen_candidates", "run_study"]

# Seeds that tune start here, those that count at 0.
TUNING_SEED = 1_000_000

Progress = Callable[[int, int], None]


def run_study(
    study: StudyConfig,
    out: Path,
    *,
    n_jobs: int = 1,
    data_root: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Do every run that is not in ``out`` yet, then write the table.

    Args:
        study: the definition.
        out: the study's folder; runs that are there are kept.
        n_jobs: processes, each with one thread.
        data_root: the data set's folder, in place of the configuration's.
        progress: called with the runs done and the runs of the whole study.

    Raises:
        ConfigError: an arm does not fit the data.
        DataError: the data set is missing.
        StorageError: ``out`` is in the way or cannot be written.
        BackendCrashError: a process was killed.
        TrainingError: every candidate of an arm failed.
    """
    folder = StudyFolder(out)
    folder.claim(study)
    tuning, n_total = _tuning_tasks(study), study.n_runs
    rows = _do(folder, study, tuning, n_jobs, data_root, lambda done: progress(done, n_total))
    chosen = chosen_candidates(study, rows)
    final = [
        Task(arm, candidate, study.config_of(arm, candidate, seed), study.faults)
        for arm, candidate in zip(study.arms, chosen, strict=True)
        for seed in range(study.n_seeds)
    ]
    rows += _do(folder, study, final, n_jobs, data_root, lambda done: progress(len(tuning) + done, n_total))
    folder.write_table(rows)


def chosen_candidates(study: StudyConfig, tuning: list[Row]) -> list[Overrides]:
    """Return each arm's candidate with the best mean validation accuracy, the first of equal ones.

    A candidate of which a run failed comes after all others.

    Raises:
        TrainingError: every candidate of an arm failed.
    """
    if study.tune is None:
        return [{} for _ in study.arms]
    n_seeds, n_candidates = study.tune.n_seeds, len(study.tune.candidates)
    scores = [row.outcome.metrics.get("validation", float("-inf")) for row in tuning]
    chosen = []
    for number, arm in enumerate(study.arms):
        start = number * n_candidates * n_seeds
        sums = [sum(scores[start + i * n_seeds : start + (i + 1) * n_seeds]) for i in range(n_candidates)]
        if max(sums) == float("-inf"):
            error = tuning[start].outcome.error
            raise TrainingError(
                f"study {study.name}: every candidate of arm {' / '.join(arm.values())} failed: {error}"
            )
        chosen.append(study.tune.candidates[sums.index(max(sums))])
    return chosen


def _tuning_tasks(study: StudyConfig) -> list[Task]:
    if study.tune is None:
        return []
    return [
        Task(arm, candidate, study.config_of(arm, candidate, TUNING_SEED + number), None)
        for arm in study.arms
        for candidate in study.tune.candidates
        for number in range(study.tune.n_seeds)
    ]


def _do(
    folder: StudyFolder,
    study: StudyConfig,
    tasks: list[Task],
    n_jobs: int,
    data_root: Path | None,
    progress: Callable[[int], None],
) -> list[Row]:
    """Return the rows of all tasks, in order, after doing those that are missing."""
    left = {task.key: task for task in tasks if folder.outcome(task) is None}
    cpu, versions = cpu_name(), library_versions()
    n_done = len(tasks) - len(left)
    progress(n_done)
    for task, outcome in outcomes(list(left.values()), n_jobs, data_root):
        folder.save(task, study, outcome, cpu, versions)
        n_done += 1
        progress(n_done)
    rows = [folder.outcome(task) for task in tasks]
    # arms may share a run
    return [
        row.model_copy(update={"arm": task.arm, "candidate": task.candidate})
        for row, task in zip(rows, tasks, strict=True)
        if row is not None
    ]
