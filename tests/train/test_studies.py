"""Studies: definitions, runs that resume, tuning that never sees the test part, paired statistics, plots."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from scipy.stats import ttest_rel

from sqdr.errors import ConfigError, DataError, StorageError, TrainingError
from sqdr.hw_configs import BraketLocal, load_hardware
from sqdr.strict import parse
from sqdr.train.batches import CodedImages
from sqdr.train.config import TrainConfig, resolve_model
from sqdr.train.head.reupload import ReuploadHead
from sqdr.train.initial_model import build_model, initialise_model
from sqdr.train.joint import JointModel
from sqdr.train.loop import load_data, run_training
from sqdr.train.studies import single_run
from sqdr.train.studies.definition import StudyConfig, load_study, packaged_studies
from sqdr.train.studies.faults import Faults, accuracies, drop_spikes, noisy_pixels
from sqdr.train.studies.folder import Row, StudyFolder, Task
from sqdr.train.studies.plots import draw_study
from sqdr.train.studies.report import study_report
from sqdr.train.studies.run import TUNING_SEED, chosen_candidates, run_study
from sqdr.train.studies.single_run import Outcome, train_once
from sqdr.train.studies.statistics import MIN_PAIRS, paired_difference

pytestmark = pytest.mark.filterwarnings("ignore")

COMMAND = Path(sys.executable).with_name("sqdr")
MINI: dict[str, Any] = {
    "name": "mini",
    "question": "Is it whole?",
    "base": "digits_tiny",
    "overrides": {"data.limit": 96, "training.n_epochs": 1, "coding.n_steps": 4},
    "axes": {"head": {"circuit": {}, "linear": {"head.kind": "linear"}}},
    "n_seeds": 2,
    "tune": {"candidates": [{"training.head_lr": 0.02}, {"training.head_lr": 0.1}], "n_seeds": 1},
    "faults": {"pixel_noise": [0.3], "spike_drop": [0.4], "is_drop_recalibrated": True},
    "compare": [{"axis": "head", "baseline": "linear"}],
}


def study_of(**changes: Any) -> StudyConfig:
    study = parse(StudyConfig, MINI | changes, "mini")
    study.check()
    return study


def timeless(folder: Path) -> list[dict]:
    """Every row without its duration."""
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert rows
    for row in rows:
        row["outcome"].pop("seconds")
    return rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "mini"
    run_study(study_of(), out)
    return out


@pytest.mark.parametrize("name", packaged_studies())
def test_packaged_study_loads_and_its_arms_differ(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    configs = {study.config_of(arm, {}, 0).model_dump_json() for arm in study.arms}
    assert len(configs) == len(study.arms) > 1
    assert study.compare


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": {"head.n_qubit": 4}}, "override 'head.n_qubit' is not a key .* Did you mean 'n_qubits'"),
        ({"overrides": {"hed.kind": "mlp"}}, "override 'hed.kind' is not a key"),
        ({"overrides": {"head.kind.x": "mlp"}}, "override 'head.kind.x' is not a key"),
        ({"axes": {"head": {"odd": {"head.kind": "spline"}}}, "compare": []}, "study mini, arm odd: head.kind: "),
        ({"axes": {"head": {}}, "compare": []}, "axis 'head' has no label"),
        ({"compare": [{"axis": "tail", "baseline": "linear"}]}, "`compare.axis` must be one of head, got 'tail'"),
        ({"compare": [{"axis": "head", "baseline": "mlp"}]}, "`baseline` must be one of circuit, linear, got 'mlp'"),
        ({"faults": {"noise": ["local_dm"]}}, "`faults.noise` is of a circuit, which arm linear has not"),
        ({"faults": {"spike_drop": [1.5]}}, "faults.spike_drop.0: "),
        ({"tune": {"candidates": [{}]}}, "tune.candidates: "),
        ({"overrides": {"training.early_stop_patience": 2}}, "`early_stop_patience` must be null"),
        ({"seed": 3}, "unknown key 'seed'; did you mean 'n_seeds'"),
        ({"base": "digit"}, "config digit does not exist"),
    ],
)
def test_bad_definition_is_named_in_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(MINI | changes))
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


def test_run_equals_the_training_loop(tiny_config: dict, tmp_path: Path) -> None:
    chosen = parse(TrainConfig, tiny_config | {"training": tiny_config["training"] | {"n_epochs": 3}}, "test")
    summary = run_training(chosen, tmp_path / "run")
    outcome = train_once(chosen, Faults())
    assert outcome.best_epoch == summary.best_epoch
    assert outcome.metrics == {"validation": summary.val_accuracy, "test": summary.test_accuracy}
    assert outcome.n_parameters == summary.n_parameters


def test_finished_study_has_a_row_for_every_run(finished: Path) -> None:
    study, rows = study_of(), StudyFolder(finished).rows()
    assert len(rows) == study.n_runs == 8
    assert [row.stage for row in rows] == ["tune"] * 4 + ["run"] * 4
    for row in rows:
        if row.stage == "tune":
            assert row.seed >= TUNING_SEED
            assert list(row.outcome.metrics) == ["validation"]
        else:
            assert row.seed in (0, 1)
            assert {"test", "test, pixel_noise 0.3", "test, spike_drop 0.4 recalibrated"} <= set(row.outcome.metrics)
            assert row.config["training"]["head_lr"] == row.candidate["training.head_lr"]
        assert torch.__version__.startswith(row.versions["torch"].split("+")[0])
        assert "root" not in row.config["data"]
    assert len((finished / "results.csv").read_text().splitlines()) == 9


def test_two_processes_give_what_one_gives(finished: Path, tmp_path: Path) -> None:
    run_study(study_of(), tmp_path / "two", n_jobs=2)
    assert timeless(tmp_path / "two") == timeless(finished)


def test_killed_study_goes_on_where_it_was(finished: Path, tmp_path: Path) -> None:
    out, definition = tmp_path / "killed", tmp_path / "mini.yaml"
    definition.write_text(yaml.safe_dump(MINI, sort_keys=False))
    process = subprocess.Popen([COMMAND, "study", "run", definition, "--out", out], start_new_session=True)
    try:
        end = time.monotonic() + 200
        while len(list(out.glob("runs/*.json"))) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = {path.name: path.stat().st_ino for path in out.glob("runs/*.json")}
    assert 3 <= len(done) < 8
    with pytest.raises(DataError, match="is an unfinished study"):
        StudyFolder(out).rows()
    (out / "runs" / ".half.json.0").write_text('{"study":')  # as a kill amid a write leaves it
    run_study(study_of(), out)
    assert timeless(out) == timeless(finished)
    assert {name: (out / "runs" / name).stat().st_ino for name in done} == done
    text = [(folder / "study.yaml").read_bytes() for folder in (out, finished)]
    assert text[0] == text[1]


def test_killed_parent_leaves_no_worker_and_a_killed_worker_ends_in_one_line(tmp_path: Path) -> None:
    study = parse(StudyConfig, MINI | {"tune": None, "n_seeds": 400}, "mini")
    definition = tmp_path / "mini.yaml"
    definition.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    for is_parent_killed in (True, False):
        out = tmp_path / f"out-{is_parent_killed}"
        process = psutil.Popen(
            [COMMAND, "study", "run", definition, "--out", out, "--jobs", "2"], stderr=subprocess.PIPE, text=True
        )
        try:
            end = time.monotonic() + 200
            while not list(out.glob("runs/*.json")) and time.monotonic() < end:
                time.sleep(0.05)
            workers = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
            assert len(workers) == 2
            (process if is_parent_killed else workers[0]).kill()
            _, message = process.communicate(timeout=100)
            _, alive = psutil.wait_procs(workers, timeout=60)
            assert alive == []
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert message.strip() == "error: a process of the study was killed. Start it again: finished runs are kept."


def test_finished_study_computes_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (finished / "results.jsonl").read_bytes()
    monkeypatch.setattr("sqdr.train.studies.workers.train_once", lambda config, faults: pytest.fail("computed again"))
    run_study(study_of(), finished)
    assert (finished / "results.jsonl").read_bytes() == before


def test_folder_takes_more_seeds_and_no_other_study(finished: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "mini")
    folder.claim(study_of())
    folder.claim(study_of(n_seeds=3))
    assert folder.study().n_seeds == 3
    with pytest.raises(StorageError, match="holds another study"):
        folder.claim(study_of(faults={}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(StorageError, match="holds other files"):
        StudyFolder(tmp_path / "other").claim(study_of())
    task = Task({}, {}, study_of().config_of(study_of().arms[0], {}, 0), None)
    (folder.root / "runs" / f"{task.key}.json").write_text("{")
    with pytest.raises(DataError, match="is damaged. Delete it"):
        folder.outcome(task)


def test_key_follows_the_noise_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of(axes={"head": {"circuit": {}}}, compare=[], faults={"noise": ["local_dm"]})
    task = Task(study.arms[0], {}, study.config_of(study.arms[0], {}, 0), study.faults)
    packaged = task.key
    text = (Path(__file__).parents[2] / "hw_configs" / "local_dm.yaml").read_text()
    (tmp_path / "local_dm.yaml").write_text(text)
    assert task.key == packaged
    (tmp_path / "local_dm.yaml").write_text(text.replace("p1_given_0: 0.01", "p1_given_0: 0.02"))
    assert task.key != packaged


class Forbidden:
    """Stands for a test part that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the test part was read")


def test_tuning_never_reads_the_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    real = single_run.load_splits
    monkeypatch.setattr(single_run, "load_splits", lambda data: dataclasses.replace(real(data), test=Forbidden()))
    for cache in (single_run._load, single_run._code):
        cache.cache_clear()
    study = study_of()
    config = study.config_of(study.arms[0], study.tune.candidates[0], TUNING_SEED)
    try:
        assert list(train_once(config, None).metrics) == ["validation"]
        with pytest.raises(AssertionError, match="the test part was read"):
            train_once(config, Faults())
    finally:
        for cache in (single_run._load, single_run._code):
            cache.cache_clear()


def rows_of(study: StudyConfig, validation: list[float | None]) -> list[Any]:
    return [
        Row(
            study="mini",
            stage="tune",
            arm={},
            candidate={},
            seed=0,
            outcome=Outcome(error="silent") if value is None else Outcome(metrics={"validation": value}),
            config={},
            faults=None,
            cpu="",
            versions={},
        )
        for value in validation
    ]


def test_each_arm_takes_its_own_best_candidate() -> None:
    tune = {"candidates": [{"training.head_lr": lr} for lr in (0.1, 0.2)], "n_seeds": 2}
    study = study_of(tune=tune)

    def chosen(*validation: float | None) -> list[float]:
        return [c["training.head_lr"] for c in chosen_candidates(study, rows_of(study, list(validation)))]

    assert chosen(0.5, 0.6, 0.4, 0.9, 0.7, 0.7, 0.6, 0.75) == [0.2, 0.1]
    assert chosen(0.5, 0.5, 0.5, 0.5, None, 0.9, 0.1, 0.1) == [0.1, 0.2]  # of equal ones the first; a failure is last
    with pytest.raises(TrainingError, match="every candidate of arm linear failed: silent"):
        chosen(0.5, 0.5, 0.5, 0.5, None, 0.9, 0.1, None)


def test_failed_run_is_counted_and_left_out_of_pairs(finished: Path) -> None:
    rows = StudyFolder(finished).rows()
    broken = rows[-1].model_copy(update={"outcome": Outcome(error="silent")})
    report = study_report(study_of(), [*rows[:-1], broken])
    assert [arm.n_failed for arm in report.arms] == [0, 1]
    assert {d.n_pairs for d in report.differences} == {1}
    assert {d.low for d in report.differences} == {None}


def test_report_and_plots_of_a_finished_study(finished: Path, tmp_path: Path) -> None:
    rows = StudyFolder(finished).rows()
    report = study_report(study_of(), rows)
    circuit = [row.outcome.metrics["test"] for row in rows if row.stage == "run" and row.arm["head"] == "circuit"]
    linear = [row.outcome.metrics["test"] for row in rows if row.stage == "run" and row.arm["head"] == "linear"]
    assert report.arms[0].metrics["test"].mean == pytest.approx(np.mean(circuit))
    assert report.differences[0].mean == pytest.approx(np.mean(circuit) - np.mean(linear))
    assert {d.statement for d in report.differences} == {"too few seeds for a claim"}
    paths = draw_study(report, tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"mini-{name}.{kind}" for name in ("accuracy", "differences", "faults") for kind in ("png", "svg")
    )
    first = [path.read_bytes() for path in paths]
    assert b"circuit - linear" in (tmp_path / "mini-differences.svg").read_bytes()
    assert [path.read_bytes() for path in draw_study(report, tmp_path)] == first


def test_paired_interval_is_students() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.02, 12), rng.normal(0.89, 0.02, 12)
    found = paired_difference(list(a), list(b))
    known = ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    known = ttest_rel(a, b).confidence_interval(1 - 0.05 / 4)
    assert paired_difference(list(a), list(b), 4).low == pytest.approx(known.low)
    # by hand: differences 1, 2, 3; mean 2, s = 1, t(0.975, 2) = 4.302653
    by_hand = paired_difference([1, 2, 3], [0, 0, 0])
    assert (by_hand.mean, by_hand.high - by_hand.mean) == pytest.approx((2, 4.302653 / 3**0.5))


def test_nothing_is_claimed_from_few_pairs_or_across_zero() -> None:
    zeros = [0.0] * MIN_PAIRS
    steady = [0.01 + 0.001 * i for i in range(MIN_PAIRS)]
    assert paired_difference(steady, zeros).statement == "higher"
    assert paired_difference(zeros, steady).statement == "lower"
    assert paired_difference(steady[1:], zeros[1:]).statement == "too few seeds for a claim"
    assert paired_difference([(-1) ** i * 0.01 for i in range(MIN_PAIRS)], zeros).statement == "no difference shown"
    assert paired_difference(zeros, zeros).statement == "no difference shown"
    assert paired_difference([], []).statement == "too few seeds for a claim"


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        found = paired_difference(list(rng.normal(0.3, 1, 10)), [0.0] * 10)
        covered += found.low <= 0.3 <= found.high
    # 0.95 of 400 is 380; five standard deviations are 22
    assert abs(covered - 380) < 22


@pytest.fixture(scope="module")
def woken(tiny_config: dict) -> tuple[JointModel, TrainConfig]:
    chosen = parse(TrainConfig, tiny_config, "test")
    data = load_data(chosen)
    torch.manual_seed(0)
    model = build_model(chosen, resolve_model(chosen, data)).eval()
    initialise_model(model, chosen, CodedImages(data.train[:64], chosen.coding))
    return model, chosen


def test_recalibrated_loss_is_a_factor_on_the_heads_scale(woken: tuple[JointModel, TrainConfig]) -> None:
    model, chosen = woken
    images = load_data(chosen).test
    found = accuracies(model, images, Faults(spike_drop=(0.5,), is_drop_recalibrated=True), 7)
    head: ReuploadHead = model.quantum_head
    with torch.no_grad():
        head.scale_rad.mul_(2)
        scaled = accuracies(model, images, Faults(spike_drop=(0.5,)), 7)
        head.scale_rad.div_(2)
    assert scaled["spike_drop 0.5"] == found["spike_drop 0.5 recalibrated"]
    assert found["spike_drop 0.5 recalibrated"] != found["spike_drop 0.5"]


def test_noise_is_measured_as_a_model_built_with_it(woken: tuple[JointModel, TrainConfig]) -> None:
    model, chosen = woken
    images = load_data(chosen).test
    circuit = model.quantum_head.circuit
    found = accuracies(model, images, Faults(noise=("local_dm_tenfold",)), 0)
    assert model.quantum_head.circuit is circuit
    assert found["noise none"] == found["accuracy"]
    hardware = load_hardware("local_dm_tenfold")
    assert isinstance(hardware, BraketLocal)
    noisy = JointModel(model.spec, noise=hardware.noise)
    noisy.load_state_dict(model.state_dict())
    assert accuracies(noisy.eval(), images, Faults(), 0)["accuracy"] == found["noise local_dm_tenfold"]


def test_tenfold_noise_is_ten_times_local_dms() -> None:
    one, ten = load_hardware("local_dm"), load_hardware("local_dm_tenfold")
    assert isinstance(one, BraketLocal) and isinstance(ten, BraketLocal)
    small, large = one.noise.model_dump(), ten.noise.model_dump()
    n_rates = 0
    for group, rates in small.items():
        for name, rate in (rates or {}).items():
            assert large[group][name] == pytest.approx(10 * rate)
            n_rates += rate > 0
    assert n_rates == 8


def test_faults_have_the_stated_strength() -> None:
    features = torch.ones(200, 9, 8)
    kept = float(drop_spikes(features, 0.3, 0).mean())
    assert abs(kept - 0.7) < 5 * (0.21 / features.numel()) ** 0.5  # five standard deviations
    assert torch.equal(drop_spikes(features, 0.3, 0), drop_spikes(features, 0.3, 0))
    assert not torch.equal(drop_spikes(features, 0.3, 0), drop_spikes(features, 0.3, 1))
    grey = np.full((50, 1, 28, 28), 128, dtype=np.uint8)
    noisy = noisy_pixels(grey, 0.1, 0)
    assert noisy.dtype == np.uint8
    assert abs(float(noisy.std()) - 25.5) < 0.5  # the sample's standard error is 25.5 / sqrt(2 n) = 0.09
    white = noisy_pixels(np.full((1, 1, 28, 28), 255, dtype=np.uint8), 0.5, 0)
    assert white.max() == 255
    assert white.min() < 255
