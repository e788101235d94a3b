"""The tables of a finished study: every arm's mean and spread, and paired differences."""

from typing import Any

import numpy as np

from sqdr.strict import StrictModel
from sqdr.train.studies.definition import Arm, Overrides, StudyConfig
from sqdr.train.studies.folder import Row
from sqdr.train.studies.statistics import paired_difference

__all__ = ["ArmResult", "Difference", "Spread", "StudyReport", "study_report"]

VALIDATION = "validation"


class Spread(StrictModel):
    """Of one metric over seeds; ``std`` is the sample's, 0 for one seed."""

    n: int
    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


class ArmResult(StrictModel):
    """One arm.

    Args:
        candidate: what it was tuned to.
        n_failed: runs without a result, which no mean contains.
    """

    arm: Arm
    candidate: Overrides
    n_parameters: int
    n_head_parameters: int
    n_failed: int
    metrics: dict[str, Spread]


class Difference(StrictModel):
    """One arm's metric minus that of the same arm with the baseline's label, paired by seed.

    Args:
        axis: that differs.
        label: of the one.
        baseline: of the other.
        within: the labels that both share.
        low: end of the interval, null below two pairs.
        n_comparisons: that share the confidence of 95%: those of this axis and metric.
    """

    metric: str
    axis: str
    label: str
    baseline: str
    within: Arm
    n_pairs: int
    mean: float | None
    low: float | None
    high: float | None
    n_comparisons: int
    statement: str


class StudyReport(StrictModel):
    """All that a study says."""

    study: str
    question: str
    overrides: Overrides
    cpus: tuple[str, ...]
    versions: tuple[dict[str, str], ...]
    n_runs: int
    seconds: float
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]


def study_report(study: StudyConfig, rows: list[Row]) -> StudyReport:
    """Return the tables for all rows of a finished study."""
    counted = [row for row in rows if row.stage == "run"]
    by_arm = [[row for row in counted if row.arm == arm] for arm in study.arms]
    versions = {tuple(sorted(row.versions.items())): row.versions for row in rows}
    return StudyReport(
        study=study.name,
        question=study.question,
        overrides=study.overrides,
        cpus=tuple(sorted({row.cpu for row in rows})),
        versions=tuple(versions.values()),
        n_runs=len(rows),
        seconds=round(sum(row.outcome.seconds for row in rows), 1),
        arms=tuple(_arm_result(arm, mine) for arm, mine in zip(study.arms, by_arm, strict=True)),
        differences=tuple(_differences(study, counted)),
    )


def _arm_result(arm: Arm, rows: list[Row]) -> ArmResult:
    whole = [row.outcome for row in rows if row.outcome.error is None]
    names = list(whole[0].metrics) if whole else []
    first = whole[0] if whole else rows[0].outcome
    return ArmResult(
        arm=arm,
        candidate=rows[0].candidate,
        n_parameters=first.n_parameters,
        n_head_parameters=first.n_head_parameters,
        n_failed=len(rows) - len(whole),
        metrics={name: _spread([outcome.metrics[name] for outcome in whole]) for name in names},
    )


def _spread(values: list[float]) -> Spread:
    array = np.array(values)
    std = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return Spread(
        n=len(array), mean=float(array.mean()), std=std, low=min(values), high=max(values), values=tuple(values)
    )


def _differences(study: StudyConfig, rows: list[Row]) -> list[Difference]:
    names = list(dict.fromkeys(name for row in rows for name in row.outcome.metrics if name != VALIDATION))
    found: dict[tuple[str, ...], dict[int, dict[str, float]]] = {}
    for row in rows:
        found.setdefault(tuple(row.arm.values()), {})[row.seed] = row.outcome.metrics
    result = []
    for comparison in study.compare:
        pairs = [
            (arm, arm | {comparison.axis: comparison.baseline})
            for arm in study.arms
            if arm[comparison.axis] != comparison.baseline
        ]
        for name in names:
            for arm, other in pairs:
                mine, theirs = found[tuple(arm.values())], found[tuple(other.values())]
                seeds = [seed for seed in mine if name in mine[seed] and name in theirs.get(seed, {})]
                difference = paired_difference(
                    [mine[seed][name] for seed in seeds], [theirs[seed][name] for seed in seeds], len(pairs)
                )
                result.append(
                    Difference(
                        metric=name,
                        axis=comparison.axis,
                        label=arm[comparison.axis],
                        baseline=comparison.baseline,
                        within={axis: label for axis, label in arm.items() if axis != comparison.axis},
                        n_pairs=difference.n_pairs,
                        mean=_finite(difference.mean),
                        low=_finite(difference.low),
                        high=_finite(difference.high),
                        n_comparisons=len(pairs),
                        statement=difference.statement,
                    )
                )
    return result


def _finite(value: float) -> Any:
    return value if np.isfinite(value) else None
