"""Training over several devices: two processes on the CPU do what one does, and end together."""

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ddp_child
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback

from sqdr.cli.app import main
from sqdr.data import Images
from sqdr.errors import BackendCrashError, ConfigError, StorageError, TrainingError
from sqdr.specification import CodingSpec
from sqdr.strict import parse
from sqdr.train import batches as batches_module
from sqdr.train import loop
from sqdr.train.batches import batches
from sqdr.train.checkpoint import load_checkpoint
from sqdr.train.config import TrainConfig
from sqdr.train.ddp import launcher
from sqdr.train.ddp.share import Share
from sqdr.train.ddp.strategy import started_share
from sqdr.train.run_folder import RunFolder, RunSummary

pytestmark = pytest.mark.filterwarnings("ignore")

# The means of two halves are added in another order than the whole; 4e-7 was seen, relative to each tensor's largest.
TOLERANCE = 1e-5
# Two processes import torch first, which takes most of it on a busy machine.
BOUND_S = 120
# 129 images: three batches an epoch, the last of one image, for which one of two processes has none.
LIMIT, N_EPOCHS = 129, 3


def config(tiny: dict, **training) -> TrainConfig:
    data = tiny["data"] | {"limit": LIMIT}
    wanted = {"n_epochs": N_EPOCHS, "spike_dropout": 0.2, "gradient_clip": 1.0} | training
    return parse(TrainConfig, tiny | {"data": data, "training": tiny["training"] | wanted}, "test")


@pytest.fixture
def in_children(monkeypatch: pytest.MonkeyPatch):
    """Return a function that says what the processes shall do beside training."""

    def want(**wanted) -> None:
        monkeypatch.setattr(launcher, "START", ddp_child.START)
        monkeypatch.setenv("SQDR_TEST_DDP", json.dumps(wanted))

    return want


def living(run: Path) -> list[int]:
    """The processes that train into a folder, which is on their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_dead = (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if not is_dead and f'"run":"{run}"'.encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def wait_until(is_so, timeout_s: float = BOUND_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def differences(first: Path, second: Path) -> dict[str, float]:
    """The largest difference of each trained tensor, relative to its largest value."""
    states = [load_checkpoint(RunFolder(path).last)["state_dict"] for path in (first, second)]
    assert states[0].keys() == states[1].keys()
    found = {}
    for name, value in states[0].items():
        if value.numel() and not name.endswith("_state"):
            found[name] = float((value - states[1][name]).abs().max() / value.abs().max().clamp(min=1e-12))
    assert len(found) > 8
    return found


@pytest.fixture(scope="module")
def both(tiny_config: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Path]]:
    """The same run on one device and on two; and what each of the two processes wrote down."""
    root = tmp_path_factory.mktemp("ddp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "START", ddp_child.START)
        patch.setenv("SQDR_TEST_DDP", json.dumps({"record": str(root)}))
        for name, n_devices in (("one", 1), ("two", 2)):
            loop.run_training(config(tiny_config, n_devices=n_devices), root / name)
    return root / "one", root / "two", root


# ---- the same training


@given(n=st.integers(1, 300), n_ranks=st.integers(1, 9))
def test_parts_make_the_batch_and_their_weighted_means_its_mean(n: int, n_ranks: int) -> None:
    parts = [Share(rank, n_ranks).of(n) for rank in range(n_ranks)]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(n))
    assert max(part.n_own for part in parts) - min(part.n_own for part in parts) <= 1
    losses = np.random.default_rng(n).random(n)
    means = [part.weight * losses[part.rows].mean() for part in parts]  # each computes something, if it counts or not
    assert np.mean(means) == pytest.approx(losses.mean(), rel=1e-12)


@pytest.mark.parametrize("n_ranks", [2, 3, 5])
@pytest.mark.parametrize("kind", ["rate", "bernoulli"])
@pytest.mark.parametrize("kept_bytes", [1 << 30, 0], ids=["coded before", "coded by batch"])
def test_processes_together_see_the_batches_of_one(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, kind: str, n_ranks: int
) -> None:
    monkeypatch.setattr(batches_module, "MAX_KEPT_BYTES", kept_bytes)
    pixels = np.random.default_rng(0).integers(0, 256, (34, 1, 4, 4), dtype=np.uint8)
    images = Images(images=pixels, labels=np.arange(34), sample_ids=tuple(map(str, range(34))))
    coding = CodingSpec(kind=kind, n_steps=3)
    one = batches(images, coding, 8, seed=5)
    several = [batches(images, coding, 8, seed=5, share=Share(rank, n_ranks)) for rank in range(n_ranks)]
    assert [len(each) for each in several] == [len(one)] * n_ranks
    for epoch in range(2):
        for loader in (one, *several):
            loader.sampler.set_epoch(epoch)
        n_steps = 0
        for (spikes, labels), *shared in zip(one, *several, strict=True):
            own = [(s[: part.n_own], found[: part.n_own]) for s, found, part in shared]
            assert torch.equal(torch.cat([found for _, found in own]), labels)  # a label is its image's number
            assert torch.equal(torch.cat([s for s, _ in own]), spikes)
            n_steps += 1
        assert n_steps == 5  # the last of two images, for up to five processes


def test_two_processes_train_the_weights_of_one(both: tuple[Path, Path, Path]) -> None:
    one, two, _ = both
    assert max(differences(one, two).values()) <= TOLERANCE
    states = [load_checkpoint(RunFolder(path).last) for path in (one, two)]
    assert torch.equal(states[0]["random_state"], states[1]["random_state"])
    assert states[0]["global_step"] == states[1]["global_step"] == 3 * N_EPOCHS
    assert states[0]["lr_schedulers"] == states[1]["lr_schedulers"]


def test_two_processes_report_the_figures_of_one(both: tuple[Path, Path, Path]) -> None:
    one, two, _ = both
    summaries = [RunFolder(path).read_summary() for path in (one, two)]
    same = RunSummary.model_fields.keys() - {"seconds", "n_devices"}
    assert summaries[0].model_dump(include=same) == summaries[1].model_dump(include=same)
    assert [each.n_devices for each in summaries] == [1, 2]
    rows = [list(csv.DictReader((path / "metrics.csv").open())) for path in (one, two)]
    assert len(rows[0]) == N_EPOCHS
    for first, second in zip(*rows, strict=True):
        for name in ("train_accuracy", "val_accuracy"):
            assert first[name] == second[name]
        for name in ("train_loss", "val_loss"):
            assert float(first[name]) == pytest.approx(float(second[name]), rel=TOLERANCE)


# ---- one owner


def test_run_folder_has_the_files_of_one_device(both: tuple[Path, Path, Path]) -> None:
    names = []
    for root in both[:2]:
        found = [str(path.relative_to(root)) for path in root.rglob("*")]
        names.append(sorted(re.sub(r"tfevents.*", "tfevents", name) for name in found))
    assert names[0] == names[1]
    assert len(names[0]) > 10
    configs = [(root / "config.yaml").read_text() for root in both[:2]]
    assert configs[0].replace("n_devices: 1", "n_devices: 2") == configs[1] != configs[0]


def test_only_the_first_process_writes(both: tuple[Path, Path, Path]) -> None:
    _, two, records = both
    first, second = (json.loads((records / f"{rank}.json").read_text())["written"] for rank in (0, 1))
    assert any(str(two) in name for name in first)  # the record sees what is written
    assert [name for name in second if not name.startswith(("/dev/", "/proc/"))] == []


def test_step_waits_for_nothing_but_the_gradients(tiny_config: dict, tmp_path: Path, in_children) -> None:
    """Torch averages them itself. Beside one device's step no value is fetched and no process asked, nor by Lightning.

    What the step of one device fetches are constants of the CPU's kernels; test_no_synchronisation.py holds the GPU's.
    """
    in_children(record=str(tmp_path))
    loop.run_training(config(tiny_config, n_devices=2, batch_size=22), tmp_path / "run")
    alone = command(tiny_config, tmp_path, "--overwrite", batch_size=22)[1:]
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); import ddp_child; from sqdr.cli.app import main; main()"
    subprocess.run(
        [sys.executable, "-c", start, str(Path(ddp_child.__file__).parent), *alone],
        check=True,
        capture_output=True,
        timeout=BOUND_S,
    )
    of_one, *of_two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (-1, 0, 1))
    for found in of_two:
        assert found["steps"] == of_one["steps"] == 6 * N_EPOCHS
        assert found["calls"]["all_reduce"] > 0  # at the ends of epochs
        assert found["step_calls"] == of_one["step_calls"]
    assert of_one["step_calls"]["item"] > 0


# ---- going on


def test_run_of_two_that_a_fault_ended_is_resumed_by_one(
    both: tuple[Path, Path, Path], tiny_config: dict, tmp_path: Path, in_children
) -> None:
    run = tmp_path / "run"
    in_children(fault="raise", rank=1, epoch=1, step=1)
    with pytest.raises(TrainingError, match=r"^a fault was asked for\.$"):
        loop.run_training(config(tiny_config, n_devices=2), run)
    assert living(run) == []
    assert load_checkpoint(RunFolder(run).last)["epoch"] == 0
    summary = loop.resume_training(run, n_devices=1)
    assert (summary.n_epochs, summary.n_devices) == (N_EPOCHS, 1)
    assert max(differences(both[0], run).values()) <= TOLERANCE


class BreakBefore(Callback):
    """Breaks the run off before an epoch, as a killed process would."""

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("broken off")


def test_run_of_one_is_resumed_by_two(both: tuple[Path, Path, Path], tiny_config: dict, tmp_path, caplog) -> None:
    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="broken off"):
        loop.run_training(config(tiny_config), run, callbacks=[BreakBefore()])
    with caplog.at_level(logging.INFO, "sqdr"):
        caplog.clear()
        summary = loop.resume_training(run, n_devices=2)
    told = [re.sub(r":.*", "", text) for text in caplog.messages if text.startswith("epoch")]
    assert told == ["epoch 2", "epoch 2", "epoch 3", "epoch 3"]  # of validation and training, by the first process
    assert (summary.n_epochs, summary.n_devices) == (N_EPOCHS, 2)
    assert max(differences(both[0], run).values()) <= TOLERANCE
    assert summary.test_accuracy == RunFolder(both[0]).read_summary().test_accuracy
    assert len(RunFolder(run).attempts) == 2


# ---- faults


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            "kill",
            BackendCrashError,
            r"the process of device 1 was killed by signal 9\. Continue with `sqdr train --res",
        ),
        ("unexpected", BackendCrashError, "the process of device 1 failed: ZeroDivisionError: nobody thought of this$"),
        ("nan", TrainingError, "the loss is not a number"),
    ],
)
def test_fault_in_one_process_ends_all_with_its_error(
    fault: str, error: type, message: str, tiny_config: dict, tmp_path: Path, in_children
) -> None:
    in_children(fault=fault, rank=1, epoch=1, step=0)
    start = time.monotonic()
    with pytest.raises(error, match=message) as caught:
        loop.run_training(config(tiny_config, n_devices=2), tmp_path / "run")
    assert time.monotonic() - start < BOUND_S
    assert "\n" not in str(caught.value)
    assert living(tmp_path / "run") == []
    run = RunFolder(tmp_path / "run")
    assert load_checkpoint(run.last)["epoch"] == 0  # nothing was saved after the fault
    assert not list(run.root.rglob(".last*")) and not run.summary.exists()


@pytest.mark.slow
def test_process_that_hangs_is_not_waited_for_longer_than_the_time_out(
    tiny_config: dict, tmp_path: Path, in_children, monkeypatch: pytest.MonkeyPatch
) -> None:
    # also that of the start, at which the processes wait for one another's imports
    monkeypatch.setattr(loop, "TIMEOUT_S", 30.0)
    in_children(fault="stop", rank=1, epoch=1, step=0)
    with pytest.raises(BackendCrashError, match=r"the process of device 0 failed: .*[Tt]imed out"):
        loop.run_training(config(tiny_config, n_devices=2), tmp_path / "run")
    assert living(tmp_path / "run") == []


# ---- the command line, and Python elsewhere


def command(tiny: dict, root: Path, *more: str, **training) -> list[str]:
    file = root / "two.yaml"
    file.write_text(config(tiny, **training).to_yaml(), encoding="utf-8")
    sqdr = str(Path(sys.executable).with_name("sqdr"))
    return [sqdr, "train", "--config", str(file), "--out", str(root / "run"), *more]


def test_command_prints_one_object_and_nothing_else(
    both: tuple[Path, Path, Path], tiny_config: dict, tmp_path: Path
) -> None:
    done = subprocess.run(
        command(tiny_config, tmp_path, "--devices", "2", "--json"),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["n_devices"] == 2
    assert found["test_accuracy"] == RunFolder(both[0]).read_summary().test_accuracy


def test_finished_run_is_reported_with_its_devices(both: tuple[Path, Path, Path], monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["sqdr", "train", "--resume", str(both[1]), "--devices", "1"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert " on 2 x cpu " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["Ctrl-C", "killed", "a process of two killed"])
def test_ended_command_leaves_no_process_and_can_be_resumed(ending: str, tiny_config: dict, tmp_path: Path) -> None:
    asked = command(tiny_config, tmp_path, "--devices", "2", n_epochs=2000)
    run = RunFolder(tmp_path / "run")
    # a session of its own, as a terminal's; only the command itself gets the signal
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            wait_until(lambda: run.last.is_file() or process.poll() is not None)
            assert len(living(run.root)) == 2
            if ending == "a process of two killed":
                os.kill(living(run.root)[1], signal.SIGKILL)
            else:
                process.send_signal(signal.SIGINT if ending == "Ctrl-C" else signal.SIGKILL)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    wait_until(lambda: not living(run.root), 10)
    if ending == "Ctrl-C":
        assert (process.returncode, out, err) == (130, b"", b"error: interrupted\n")
        assert not list(run.root.rglob(".last*"))
    elif ending != "killed":
        assert (process.returncode, out) == (3, b"")
        assert re.fullmatch(rb"error: the process of device \d was killed by signal 9\. Continue with .*\n", err)
    assert not run.summary.exists()
    assert load_checkpoint(run.last)["epoch"] < 1999


@pytest.mark.slow
def test_script_without_a_main_guard_trains_once_and_no_file_beside_it_is_run(
    tiny_config: dict, tmp_path: Path
) -> None:
    (tmp_path / "two.yaml").write_text(config(tiny_config, n_epochs=1).to_yaml(), encoding="utf-8")
    (tmp_path / "json.py").write_text("open('intruder', 'w').close()", encoding="utf-8")
    (tmp_path / "script").mkdir()
    script = tmp_path / "script" / "mine.py"
    script.write_text(
        "import sqdr\nprint('here')\nrun = sqdr.train('two.yaml', 'run', n_devices=2)\nprint(run.summary.n_devices)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n2\n", "")
    assert not (tmp_path / "intruder").exists()


def torchrun(n: int, asked: list[str]) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", "--no-python"]
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*line, *asked], capture_output=True, text=True, timeout=BOUND_S, check=False, env=env)


@pytest.mark.slow
def test_torchrun_starts_the_processes(both: tuple[Path, Path, Path], tiny_config: dict, tmp_path: Path) -> None:
    done = torchrun(2, command(tiny_config, tmp_path, "--devices", "2", "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_devices"] == 2  # once
    assert max(differences(both[0], tmp_path / "run").values()) <= TOLERANCE


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
SLURM = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "mine"}
SLURM |= {"SLURM_PROCID": "1", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("variables", "n_devices", "share"),
    [
        ({}, 1, Share()),
        ({}, 2, None),
        (TORCHRUN, 2, Share(1, 2)),
        (SLURM, 2, Share(1, 2)),
        (SLURM, 1, Share()),  # tasks that are runs of their own
        (SLURM | {"SLURM_NTASKS": "1"}, 2, None),  # one task with two GPUs
        (SLURM | {"SLURM_JOB_NAME": "bash"}, 2, None),  # at a prompt
    ],
)
def test_processes_are_started_unless_someone_has(variables, n_devices, share, monkeypatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert started_share(n_devices) == share


@pytest.mark.parametrize(
    ("variables", "n_devices", "message"),
    [
        (TORCHRUN, 1, "must be the 2 processes that were started, got 1. Use --devices 2."),
        (SLURM | {"SLURM_NTASKS": "4"}, 2, "must be the 4 processes that were started, got 2"),
        ({"SLURM_NTASKS": "2"}, 2, "HINT: Use `--ntasks-per-node=2` instead"),
        (TORCHRUN | {"GROUP_WORLD_SIZE": "2"}, 2, "those of one machine"),
        (SLURM | {"SLURM_NNODES": "2"}, 2, "those of one machine"),
    ],
)
def test_processes_that_do_not_fit_are_refused(variables, n_devices, message, monkeypatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        started_share(n_devices)


# ---- what is refused


def test_batch_smaller_than_the_devices_is_refused(tiny_config: dict) -> None:
    with pytest.raises(ConfigError, match="`batch_size` must be at least `n_devices`, got 2 and 3"):
        config(tiny_config, batch_size=2, n_devices=3)


def test_more_gpus_than_there_are_are_refused_before_anything_is_written(
    tiny_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="at most the 1 CUDA devices that torch sees, got 2. Use --devices 1"):
        loop.run_training(config(tiny_config, device="auto", n_devices=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_callbacks_are_refused(tiny_config: dict, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`callbacks` cannot go to the processes"):
        loop.run_training(config(tiny_config, n_devices=2), tmp_path / "run", callbacks=[BreakBefore()])
    assert not (tmp_path / "run").exists()


def test_folder_in_the_way_is_refused_before_a_process_starts(
    tiny_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_start", lambda *_: pytest.fail("a process was started"))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds other files"):
        loop.run_training(config(tiny_config, n_devices=2), tmp_path)


# ---- GPUs


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_trains_on_two_gpus(tiny_config: dict, tmp_path: Path) -> None:
    summaries = [loop.run_training(config(tiny_config, device="cuda", n_devices=n), tmp_path / str(n)) for n in (1, 2)]
    assert [(each.device, each.n_devices) for each in summaries] == [("cuda", 1), ("cuda", 2)]
    # sums of gradients in another order, on kernels that add in no fixed order
    assert max(differences(tmp_path / "1", tmp_path / "2").values()) <= 1e-3
