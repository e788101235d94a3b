"""The Python interface to training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqdr.errors import ConfigError
from sqdr.strict import parse
from sqdr.train.config import TrainConfig, load_config
from sqdr.train.loop import run_training
from sqdr.train.run_folder import RunSummary

__all__ = ["TrainedRun", "train"]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its folder and how well it did. Usable wherever a path is."""

    path: Path
    summary: RunSummary

    def __fspath__(self) -> str:
        return str(self.path)


def train(
    config: str | Path | dict[str, Any] | TrainConfig,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: bool = False,
    data_root: str | Path | None = None,
    **training: Any,
) -> TrainedRun:
    """Train a model into the run folder ``out`` and return how well it did.

    Args:
        config: a configuration, a mapping of one, a YAML file, or the name of a packaged one such
            as ``digits_small``.
        out: the run folder to make; by default ``runs/<configuration>-seed<seed>``.
        overwrite: replace an earlier run there.
        progress: show a progress bar on standard error.
        data_root: the data set's folder, in place of the configuration's.
        training: training options to replace, such as ``seed=1``, ``n_epochs=5`` or ``n_devices=2``.

    Raises:
        ConfigError: a key or value breaks a rule, or the model could not be exported.
        DataError: the data set is missing.
        StorageError: ``out`` is in the way.
    """
    if isinstance(config, dict):
        parsed = parse(TrainConfig, config, "config")
    elif isinstance(config, TrainConfig):
        parsed = config
    elif isinstance(config, str | Path):
        parsed = load_config(config)
    else:
        raise ConfigError(f"`config` must be a file, name, mapping or TrainConfig, got {type(config).__name__}.")
    parsed = parsed.with_data_root(data_root).with_options(**training)
    path = Path("runs", f"{_name_of(config, parsed)}-seed{parsed.training.seed}") if out is None else Path(out)
    return TrainedRun(path, run_training(parsed, path, overwrite=overwrite, progress=progress))


def _name_of(config: object, parsed: TrainConfig) -> str:
    return Path(config).stem if isinstance(config, str | Path) else parsed.data.name
