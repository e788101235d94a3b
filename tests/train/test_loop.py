import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from sqdr.errors import ConfigError, DataError, DeviceError, StorageError, TrainingError
from sqdr.hw_configs import loader
from sqdr.strict import parse
from sqdr.train.checkpoint import load_checkpoint
from sqdr.train.config import TrainConfig
from sqdr.train.loop import resume_training, run_training
from sqdr.train.run_folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")


class BreakBefore(Callback):
    """Breaks the run off before an epoch, as a killed process would."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == self._epoch:
            raise RuntimeError("broken off")


class CtrlC(Callback):
    """Presses Ctrl-C in the second epoch."""

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)


class Ruin(Callback):
    """Makes a weight not a number in the second epoch, as too large a learning rate would."""

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if trainer.current_epoch == 1 and index == 3:
            with torch.no_grad():
                module.model.head.readout.bias[0] = torch.nan


def config(tiny: dict, **training) -> TrainConfig:
    return parse(TrainConfig, tiny | {"training": tiny["training"] | training}, "test")


def tensors(tree) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [t for item in tree for t in tensors(item)] if isinstance(tree, list | tuple) else []


def test_resumed_run_equals_unbroken_one_bit_for_bit(tiny_config: dict, tmp_path: Path) -> None:
    chosen = config(tiny_config, n_epochs=4)
    unbroken = run_training(chosen, tmp_path / "unbroken")
    with pytest.raises(RuntimeError, match="broken off"):
        run_training(chosen, tmp_path / "broken", callbacks=[BreakBefore(2)])
    with pytest.raises(DataError, match="unfinished run. Continue it with `sqdr train --resume"):
        RunFolder(tmp_path / "broken").read_summary()
    resumed = resume_training(tmp_path / "broken")

    runs = [RunFolder(tmp_path / name) for name in ("unbroken", "broken")]
    for name in ("last", "best"):
        states = [load_checkpoint(getattr(run, name)) for run in runs]
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "random_state"):
            first, second = (tensors(state[key]) for state in states)
            assert len(first) == len(second)
            assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), (name, key)
        assert states[0]["epoch"] == states[1]["epoch"]
    assert runs[0].root.joinpath("metrics.csv").read_text() == runs[1].root.joinpath("metrics.csv").read_text()
    assert unbroken.test_accuracy == resumed.test_accuracy
    assert unbroken.best_epoch == resumed.best_epoch


def test_loss_that_is_not_a_number_ends_the_run_and_saves_nothing(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the loss is not a number. Lower training.encoder_lr or head_lr"):
        run_training(config(tiny_config, n_epochs=3), tmp_path / "run", callbacks=[Ruin()])
    run = RunFolder(tmp_path / "run")
    for path in (run.last, run.best):
        state = load_checkpoint(path)
        assert state["epoch"] == 0
        assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())


def test_ctrl_c_is_an_interrupt_that_can_be_resumed(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_training(config(tiny_config), tmp_path / "run", callbacks=[CtrlC()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "run" / "summary.json").exists()
    assert resume_training(tmp_path / "run").n_epochs == 2


def test_same_seed_trains_the_same_and_another_seed_does_not(
    tiny_config: dict, trained_run: Path, tmp_path: Path
) -> None:
    run_training(config(tiny_config), tmp_path / "again")
    run_training(config(tiny_config, seed=1), tmp_path / "other")
    first, again, other = (
        load_checkpoint(RunFolder(path).last)["state_dict"]
        for path in (trained_run, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_run_folder_holds_what_it_says(trained_run: Path) -> None:
    run = RunFolder(trained_run)
    summary = run.read_summary()
    assert json.loads(run.summary.read_text())["test_accuracy"] == summary.test_accuracy
    assert summary.n_epochs == 2
    rows = (trained_run / "metrics.csv").read_text().splitlines()
    assert rows[0] == "epoch,train_accuracy,train_loss,val_accuracy,val_loss"
    assert len(rows) == 3
    assert list((trained_run / "tensorboard").glob("events*"))
    with Image.open(trained_run / "curves.png") as curves:
        assert np.asarray(curves.convert("L")).std() > 1  # not an empty picture


def test_loaded_model_predicts_as_the_summary_says(trained_run: Path) -> None:
    from sqdr.train.loop import accuracy, load_data

    run = RunFolder(trained_run)
    data = load_data(run.read_config())
    assert accuracy(run.load_model(), data.validation) == run.read_summary().val_accuracy


def test_early_stop_ends_before_the_last_epoch(tiny_config: dict, tmp_path: Path) -> None:
    # with a vanishing learning rate the validation accuracy cannot get better after the first epoch
    chosen = config(tiny_config, n_epochs=9, encoder_lr=1e-12, head_lr=1e-12, early_stop_patience=1)
    assert run_training(chosen, tmp_path / "run").n_epochs <= 3


def test_folder_in_the_way_is_refused_and_an_earlier_run_only_replaced_when_asked(
    tiny_config: dict, tmp_path: Path
) -> None:
    chosen = config(tiny_config, n_epochs=1)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds other files"):
        run_training(chosen, mine, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "years of work"
    (tmp_path / "run").mkdir()
    run_training(chosen, tmp_path / "run")
    with pytest.raises(StorageError, match="holds a run already"):
        run_training(chosen, tmp_path / "run")
    run_training(chosen, tmp_path / "run", overwrite=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_is_refused_without_a_device_before_anything_is_written(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        run_training(config(tiny_config, device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_trains_on_a_gpu(tiny_config: dict, tmp_path: Path) -> None:
    summary = run_training(config(tiny_config, device="cuda", precision="tf32"), tmp_path / "run")
    assert summary.device == "cuda"
    assert summary.val_accuracy > 0.15  # better than chance


def test_resuming_with_other_epochs_is_refused(trained_run: Path) -> None:
    with pytest.raises(ConfigError, match="must be the run's own 2"):
        resume_training(trained_run, n_epochs=5)


def test_resuming_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a training run"):
        resume_training(tmp_path)


class BestFirst(Callback):
    """Makes the first epoch's validation accuracy unbeatable."""

    def on_validation_end(self, trainer, module) -> None:
        if trainer.current_epoch == 0:
            trainer.callback_metrics["val_accuracy"] = torch.tensor(1.0)


def test_best_epoch_survives_moving_the_run_folder(tiny_config: dict, tmp_path: Path) -> None:
    chosen = config(tiny_config, n_epochs=4)
    with pytest.raises(RuntimeError, match="broken off"):
        run_training(chosen, tmp_path / "here", callbacks=[BestFirst(), BreakBefore(2)])
    assert load_checkpoint(RunFolder(tmp_path / "here").best)["epoch"] == 0
    (tmp_path / "here").rename(tmp_path / "there")
    assert resume_training(tmp_path / "there").best_epoch == 1
    assert not (tmp_path / "here").exists()


def test_last_epoch_is_kept_where_it_is_not_the_best(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken off"):
        run_training(config(tiny_config, n_epochs=4), tmp_path / "run", callbacks=[BestFirst(), BreakBefore(3)])
    run = RunFolder(tmp_path / "run")
    assert [load_checkpoint(path)["epoch"] for path in (run.best, run.last)] == [0, 2]
    summary = resume_training(tmp_path / "run")
    assert (summary.best_epoch, summary.n_epochs) == (1, 4)


def test_folder_that_only_looks_like_a_run_is_never_replaced(tiny_config: dict, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: 1")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds other files"):
        run_training(config(tiny_config), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_training_leaves_the_process_as_it_was(tiny_config: dict, tmp_path: Path) -> None:
    state, variables = torch.get_rng_state(), dict(os.environ)
    run_training(config(tiny_config, n_epochs=1), tmp_path / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert dict(os.environ) == variables


def test_half_written_log_does_not_stop_a_resumed_run(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken off"):
        run_training(config(tiny_config), tmp_path / "run", callbacks=[BreakBefore(1)])
    log = RunFolder(tmp_path / "run").attempts[0]
    log.write_text(log.read_text() + "1,7")
    assert resume_training(tmp_path / "run").n_epochs == 2


def test_run_is_trained_and_evaluated_under_the_noise_of_a_file(
    tiny_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = Path(loader.__file__).with_name("local_dm.yaml").read_text(encoding="utf-8")
    Path("worn_out.yaml").write_text(text.replace("depolarizing: 0.001", "depolarizing: 0.7"), encoding="utf-8")
    noisy = run_training(config(tiny_config, n_epochs=1, noise="worn_out"), tmp_path / "noisy")
    quiet = run_training(config(tiny_config, n_epochs=1), tmp_path / "quiet")
    assert noisy.noise == str(tmp_path / "worn_out.yaml")
    assert quiet.noise is None
    losses = [(tmp_path / name / "metrics.csv").read_text(encoding="utf-8") for name in ("noisy", "quiet")]
    assert losses[0] != losses[1]
    monkeypatch.chdir("/")  # the noise is found again from anywhere
    assert RunFolder(tmp_path / "noisy").read_config().training.noise_model() is not None


@pytest.mark.parametrize(
    ("noise", "message"),
    [("local_dn", "Did you mean 'local_dm'"), ("braket_local_sv", "a hardware file with a noise model")],
)
def test_noise_that_no_file_has_is_refused_before_a_folder_is_made(noise, message, tiny_config, tmp_path) -> None:
    with pytest.raises((ConfigError, DeviceError), match=message):
        run_training(config(tiny_config, noise=noise), tmp_path / "run")
    assert not (tmp_path / "run").exists()
