"""One run of a study: the same training as `sqdr.train.loop`, in memory, without Lightning and checkpoints.

Data sets and coded images are kept for the runs after it, which a process has many of.
"""

import functools
import time

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from sqdr.data import DataSplits, Images
from sqdr.errors import TrainingError
from sqdr.specification import CodingSpec
from sqdr.strict import StrictModel
from sqdr.train.batches import CodedImages, EpochBatches
from sqdr.train.config import DataConfig, TrainConfig, resolve_model
from sqdr.train.initial_model import build_model, initialise_model
from sqdr.train.joint import JointModel, float_spikes, n_trained_parameters
from sqdr.train.loop import load_splits
from sqdr.train.optimiser import optimiser_and_schedule
from sqdr.train.studies.faults import Faults, accuracies

__all__ = ["Outcome", "train_once"]


class Outcome(StrictModel):
    """How one run did.

    Args:
        metrics: ``validation`` and, for runs that are not for tuning, ``test`` and each fault by name.
        error: why there are no metrics; null where there are.
    """

    n_parameters: int = 0
    n_head_parameters: int = 0
    best_epoch: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


def train_once(config: TrainConfig, faults: Faults | None) -> Outcome:
    """Train, keep the epoch with the best validation accuracy, and measure it.

    Args:
        config: of the run.
        faults: to measure on the test part beside its accuracy; None, for tuning, leaves the test part unread.

    Raises:
        ConfigError: the model does not fit the data.
        DataError: the data set is missing.
    """
    start = time.perf_counter()
    data = _data(config.data)
    torch.manual_seed(config.training.seed)
    model = build_model(config, resolve_model(config, data))
    coding = config.coding
    train, validation = _coded(config.data, coding, "train"), _coded(config.data, coding, "validation")
    try:
        initialise_model(model, config, train)
        best_epoch, best = _fit(model, config, train, validation)
    except TrainingError as error:
        return Outcome(error=str(error), seconds=round(time.perf_counter() - start, 3))
    metrics = {"validation": best}
    if faults is not None:
        found = accuracies(model.eval(), data.test, faults, config.training.seed)
        metrics |= {"test": found.pop("accuracy")} | {f"test, {name}": value for name, value in found.items()}
    return Outcome(
        n_parameters=n_trained_parameters(model),
        n_head_parameters=n_trained_parameters(model.head),
        best_epoch=best_epoch,
        metrics=metrics,
        seconds=round(time.perf_counter() - start, 3),
    )


def _fit(model: JointModel, config: TrainConfig, train: CodedImages, validation: CodedImages) -> tuple[int, float]:
    """Leave the best epoch's weights in the model; return the epoch, from 1, and its validation accuracy."""
    training = config.training
    order = EpochBatches(len(train), training.batch_size, training.seed)
    optimiser, schedule = optimiser_and_schedule(model, training, training.n_epochs * len(order))
    best_epoch, best, weights = 0, -1.0, {}
    for epoch in range(training.n_epochs):
        model.train()
        order.set_epoch(epoch)
        for positions in order:
            spikes, labels = train[positions]
            loss = cross_entropy(model(float_spikes(spikes)), labels)
            if not torch.isfinite(loss):
                raise TrainingError("the loss is not a number. Lower training.encoder_lr or head_lr.")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if training.gradient_clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
            optimiser.step()
            schedule.step()
        found = _accuracy(model, validation)
        # of equal epochs the later, as in the training loop
        if found >= best:
            best_epoch, best = epoch + 1, found
            weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    return best_epoch, best


@torch.no_grad()
def _accuracy(model: JointModel, coded: CodedImages) -> float:
    model.eval()
    n_right = 0
    for positions in EpochBatches(len(coded), 256, None):
        spikes, labels = coded[positions]
        n_right += int((model(float_spikes(spikes)).argmax(dim=1) == labels).sum())
    return n_right / len(coded)


def _data(config: DataConfig) -> DataSplits:
    return _load(config.model_dump_json())


@functools.lru_cache(maxsize=4)
def _load(data: str) -> DataSplits:
    return load_splits(DataConfig.model_validate_json(data))


def _coded(config: DataConfig, coding: CodingSpec, part: str) -> CodedImages:
    return _code(config.model_dump_json(), coding.model_dump_json(), part)


@functools.lru_cache(maxsize=8)
def _code(data: str, coding: str, part: str) -> CodedImages:
    images: Images = _load(data).part(part)
    return CodedImages(images, CodingSpec.model_validate_json(coding))
