"""The folder that a training run leaves: read it back, or continue it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sqdr.errors import DataError
from sqdr.metrics import run_logs
from sqdr.specification import ModelSpec
from sqdr.strict import StrictModel, parse
from sqdr.train.checkpoint import load_checkpoint
from sqdr.train.config import TrainConfig, load_config
from sqdr.train.joint import JointModel

__all__ = ["RunFolder", "RunSummary", "load_weights"]


class RunSummary(StrictModel):
    """How a finished run did. Written last: a run without it is unfinished.

    Args:
        noise: hardware file under whose noise the run was trained and its accuracies were measured; None for none.
        left_out: files of the data set that could not be read.
        n_devices: that shared each batch, at the end.
    """

    data: str
    seed: int
    n_parameters: int
    n_epochs: int
    best_epoch: int
    train_accuracy: float
    val_accuracy: float
    test_accuracy: float
    seconds: float
    device: str
    class_names: tuple[str, ...]
    versions: dict[str, str]
    noise: str | None = None
    left_out: tuple[str, ...] = ()
    n_devices: int = 1


@dataclass(frozen=True)
class RunFolder:
    """Paths and readers of one run.

    Holds ``config.yaml``, ``model.json``, ``logs/``, ``tensorboard/``, ``checkpoints/best`` and ``last``
    (safetensors) and, when finished, ``metrics.csv``, ``curves.png`` and ``summary.json``.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The configuration, every default written out."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """The model specification."""
        return self.root / "model.json"

    @property
    def attempts(self) -> list[Path]:
        """Lightning's log of each start of the run, first to last."""
        return run_logs(self.root)

    @property
    def summary(self) -> Path:
        """The result; exists only when the run is finished."""
        return self.root / "summary.json"

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation accuracy."""
        return self.root / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.root / "checkpoints" / "last.safetensors"

    def read_config(self) -> TrainConfig:
        """Return the run's configuration."""
        return load_config(self.config)

    def read_summary(self) -> RunSummary:
        """Return the result.

        Raises:
            DataError: not a run, or an unfinished one.
        """
        if not self.config.is_file():
            raise DataError(f"{self.root} is not a training run. Make one with `sqdr train --out {self.root}`.")
        if not self.summary.is_file():
            raise DataError(f"{self.root} is an unfinished run. Continue it with `sqdr train --resume {self.root}`.")
        return parse(RunSummary, _read_json(self.summary), str(self.summary))

    def read_spec(self) -> ModelSpec:
        """Return the model specification."""
        return parse(ModelSpec, _read_json(self.model), str(self.model))

    def load_model(self, simulator: str = "auto") -> JointModel:
        """Return the best model, rebuilt from its specification and checkpoint."""
        return load_weights(JointModel(self.read_spec(), simulator, variant=self.read_config().head.variant), self.best)


def load_weights(model: JointModel, checkpoint: Path) -> JointModel:
    """Load a checkpoint's weights into a model and return it in evaluation mode.

    Raises:
        DataError: damaged, or of another model.
    """
    state = load_checkpoint(checkpoint)
    try:
        weights = {
            name.removeprefix("model."): value
            for name, value in state["state_dict"].items()
            if isinstance(value, torch.Tensor)
        }
        model.load_state_dict(weights)
    except (KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise DataError(f"checkpoint {checkpoint} does not hold this run's model. Train again.") from error
    return model.eval()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read. Train again.") from error
