"""What a study asks: a base configuration, axes of overrides, seeds, what is tuned and what is compared."""

import difflib
import importlib.resources
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from sqdr.errors import ConfigError
from sqdr.strict import StrictModel, load_yaml, parse
from sqdr.train.config import TrainConfig, load_config
from sqdr.train.studies.faults import Faults, noise_of

__all__ = ["Arm", "Comparison", "StudyConfig", "Tuning", "load_study", "packaged_studies"]

Overrides = dict[str, Any]
"""Dotted key of the configuration to value: ``head.kind: linear``."""
Arm = dict[str, str]
"""One label of each axis: ``{head: linear, remedy: none}``."""


class Tuning(StrictModel):
    """What each arm chooses for itself, by mean validation accuracy over seeds of its own; the test part is not read.

    Args:
        candidates: sets of overrides; of equal ones the first is taken.
        n_seeds: seeds of every candidate, none of which is a seed of the study.
    """

    candidates: tuple[Overrides, ...] = Field(min_length=2)
    n_seeds: int = Field(default=3, ge=1, le=100)


class Comparison(StrictModel):
    """Paired differences along one axis, for each combination of the other axes.

    Args:
        axis: its name.
        baseline: the label that the others are compared with.
    """

    axis: str
    baseline: str


class StudyConfig(StrictModel):
    """One study.

    Args:
        name: letters, digits, - and _.
        question: in one sentence.
        base: name or path of a training configuration.
        overrides: of the base, for every arm.
        axes: axis to label to overrides; an arm is one label of each axis.
        n_seeds: how many seeds every arm is trained with: 0, 1, ...
        tune: what each arm chooses; null for nothing.
        faults: see `Faults`.
        compare: see `Comparison`; none for means alone.
    """

    schema_version: int = Field(default=1, ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    question: str
    base: str
    overrides: Overrides = Field(default_factory=dict)
    axes: dict[str, dict[str, Overrides]] = Field(min_length=1)
    n_seeds: int = Field(default=10, ge=1, le=1000)
    tune: Tuning | None = None
    faults: Faults = Faults()
    compare: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def _comparison_exists(self) -> "StudyConfig":
        empty = [name for name, labels in self.axes.items() if not labels]
        if empty:
            raise ValueError(f"axis '{empty[0]}' has no label. Give at least one.")
        for comparison in self.compare:
            if comparison.axis not in self.axes:
                raise ValueError(f"`compare.axis` must be one of {', '.join(self.axes)}, got '{comparison.axis}'.")
            labels = self.axes[comparison.axis]
            if comparison.baseline not in labels:
                raise ValueError(f"`baseline` must be one of {', '.join(labels)}, got '{comparison.baseline}'.")
        return self

    @property
    def arms(self) -> list[Arm]:
        """Every combination of labels, the last axis moving fastest."""
        return [dict(zip(self.axes, labels, strict=True)) for labels in itertools.product(*self.axes.values())]

    @property
    def n_runs(self) -> int:
        """Of the whole study, tuning included."""
        n_tuning = len(self.tune.candidates) * self.tune.n_seeds if self.tune else 0
        return len(self.arms) * (self.n_seeds + n_tuning)

    def config_of(self, arm: Arm, candidate: Mapping[str, Any], seed: int) -> TrainConfig:
        """Return the training configuration of one run.

        Raises:
            ConfigError: a key or value breaks a rule; the arm is named.
        """
        tree = load_config(self.base).model_dump(mode="json")
        for axis_overrides in (self.overrides, *(self.axes[axis][label] for axis, label in arm.items()), candidate):
            for key, value in axis_overrides.items():
                _override(tree, key, value)
        tree["training"] |= {"seed": seed, "n_threads": 1, "device": "cpu"}
        return parse(TrainConfig, tree, f"study {self.name}, arm {' / '.join(arm.values())}")

    def check(self) -> None:
        """Refuse a study with an arm that could not be trained, before the first one is.

        Raises:
            ConfigError: in one line.
        """
        for arm in self.arms:
            for candidate in self.tune.candidates if self.tune else ({},):
                config = self.config_of(arm, candidate, 0)
                if self.faults.noise and config.head.kind != "quantum":
                    raise ConfigError(
                        f"study {self.name}: `faults.noise` is of a circuit, which arm {' / '.join(arm.values())} has "
                        "not. Take the noise or the arm out."
                    )
                if config.training.early_stop_patience is not None:
                    raise ConfigError(
                        f"study {self.name}: `early_stop_patience` must be null: arms train equally long."
                    )
                config.training.noise_model()
        for name in self.faults.noise:
            noise_of(name)


def _override(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        child = tree.get(parent)
        tree = child if isinstance(child, dict) else {}
    if last not in tree:
        near = difflib.get_close_matches(last, tree, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "Name it as in a training configuration."
        raise ConfigError(f"override '{key}' is not a key of the configuration. {hint}")
    tree[last] = value


def packaged_studies() -> list[str]:
    """Return the names of the studies that come with sqdr."""
    folder = importlib.resources.files("sqdr.train.studies")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_study(name: str | Path) -> StudyConfig:
    """Read a study from a YAML file, or a packaged one by its name.

    Raises:
        ConfigError: missing, not YAML, or a key or value breaks a rule, of an arm's configuration too.
    """
    path = Path(name)
    if not path.is_file() and str(name) in packaged_studies():
        packaged = importlib.resources.files("sqdr.train.studies") / f"{name}.yaml"
        with importlib.resources.as_file(packaged) as real:
            study = parse(StudyConfig, load_yaml(real), str(name))
    elif not path.exists():
        raise ConfigError(f"study {name} does not exist. Packaged ones: {', '.join(packaged_studies())}.")
    else:
        study = parse(StudyConfig, load_yaml(path, "study"), str(path))
    study.check()
    return study
