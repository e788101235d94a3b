"""`sqdr bench`: both sides compute the same before they are timed, and the rows say what was measured."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sqdr.cli.bench import app, export, joint, noisy_head
from sqdr.cli.bench.growth import SWEEPS, Sweep, bench_growth, draw_growth
from sqdr.cli.bench.harness import BenchRow, Timing, machine, one_core, time_in_turn
from sqdr.cli.bench.head import OWN_CONES, HeadCircuit, bench_head
from sqdr.cli.bench.head_peers import PEERS
from sqdr.cli.bench.joint import PEER_HEADS, bench_joint
from sqdr.cli.bench.load import bench_load
from sqdr.cli.bench.local_braket import bench_local_braket
from sqdr.cli.bench.memory import bench_memory
from sqdr.cli.bench.memory_child import SIDES
from sqdr.cli.bench.startup import bench_startup
from sqdr.train.encoder.cuba.compiled import library
from sqdr.train.run_folder import RunFolder

PRESETS = ("tiny", "small", "base")
COMMAND = Path(sys.executable).with_name("sqdr")


def bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SQDR_LAVA_PYTHON": str(cwd / "no-python")}  # spares the start of Lava's worker
    return subprocess.run(
        [COMMAND, "bench", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_encoder_rows_hold_ratio_and_differences(bundle_path: Path, tmp_path: Path) -> None:
    done = bench(
        "encoder", bundle_path, "--images", 16, "--repeats", 2, "--json", "--out", tmp_path / "rows.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "rows.json").read_text())
    (row,) = result["rows"]
    assert (row["subject"], row["name"], row["peer"]) == ("encoder", "integer", "SLAYER eval forward")
    assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ms"])
    assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"]
    assert (row["n_different"], row["n_compared"]) == (0, 16 * 4 * 5)
    assert result["machine"]["n_threads"] == 1
    assert {"sqdr", "numpy", "torch"} <= set(result["machine"]["versions"])
    assert len(result["skipped"]) == 1  # Lava, which is not where the test says


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_encoder_is_measured_beside_lava(bundle_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    command = [COMMAND, "bench", "encoder", bundle_path, "--images", "8", "--repeats", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["peer"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"SLAYER eval forward", "stock netx in Lava"}
    assert rows["stock netx in Lava"]["n_different"] == 0
    assert rows["stock netx in Lava"]["n_compared"] > 0


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_lavas_faster_graphs_are_measured_beside_stock(bundle_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    command = [COMMAND, "bench", "lava", bundle_path, "--images", "20", "--repeats", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"fast", "batched"}
    assert rows["batched"]["n_compared"] == (20 + 16) * 4 * 5  # samples of both sides, features, steps
    assert all((row["peer"], row["n_different"]) == ("stock netx in Lava", 0) for row in rows.values())


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_split_inference_is_measured_with_equal_counts_and_expectations(bundle_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    command = [COMMAND, "bench", "split", bundle_path, "--images", "16", "--repeats", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["n_compared"], row["n_different"]) == (8 * (4 + 4), 0)  # counts and <Z> of 8 images, 4 qubits


def test_lava_bench_says_how_to_install_it(bundle_path: Path, tmp_path: Path) -> None:
    done = bench("lava", bundle_path, "--images", 2, "--repeats", 1, cwd=tmp_path)
    assert done.returncode != 0
    assert "SQDR_LAVA_PYTHON" in done.stderr


def test_training_rows_are_measured_with_equal_spikes(tmp_path: Path) -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    done = bench("training", "--repeats", 1, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = [row for row in result["rows"] if row["peer"] == "stock SLAYER"]
    assert {row["network"] for row in rows} == {f"{n}{head}" for n in PRESETS for head in ("", " + quantum head")}
    names = {row["name"] for row in rows}
    assert names >= {"torch"}
    assert "c" not in names or library().sqdr_vectors() == 0 or "c, any processor's" in names
    for row in rows:
        assert row["n_different"] == 0
        assert row["n_compared"] > 100_000
    assert {row["peer"] for row in result["rows"]} == {"stock SLAYER", "SpikingJelly"} or any(
        "SpikingJelly" in reason for reason in result["skipped"]
    )


def test_joint_rows_compare_sums_and_circuit_first() -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    skipped: list[str] = []
    rows = bench_joint(1, skipped, lambda done, total: None, presets=("tiny",))
    assert len(rows) + len(skipped) >= len(PEER_HEADS) or any("SpikingJelly" in reason for reason in skipped)
    for row in rows:
        assert row.peer.startswith("SpikingJelly + ")
        # 14x14x2, 7x7x4 and 3x3x4 conv sums and 9 dense ones, 8 steps, 64 images; then <Z>, angles and weights
        n_sums = 64 * 8 * (14 * 14 * 2 + 7 * 7 * 4 + 3 * 3 * 4 + 9)
        assert (row.n_different, row.n_compared) == (0, n_sums + 64 * 9 + 64 * 27 + 2 * 27)


def test_joint_says_how_many_values_of_a_wrong_circuit_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    pytest.importorskip("spikingjelly", reason="needs the bench extra")

    def shifted(n_qubits: int, n_blocks: int, entangler: Any) -> Any:
        return lambda angles, weights: angles.sum(-1) + 0 * weights.sum()

    monkeypatch.setitem(PEERS, "TorchQuantum", shifted)
    monkeypatch.setattr(joint, "PEER_HEADS", ("TorchQuantum",))
    (row,) = bench_joint(1, [], lambda done, total: None, presets=("tiny",))
    assert row.n_different > 64


def test_wrong_bundle_ends_in_one_line(tmp_path: Path) -> None:
    done = bench("encoder", tmp_path / "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "does not exist" in done.stderr


def test_head_is_measured_beside_each_peer_that_is_installed() -> None:
    skipped: list[str] = []
    circuits = [
        HeadCircuit(n_qubits=5, n_blocks=2, peers=(*PEERS, OWN_CONES)),
        HeadCircuit(n_qubits=7, n_blocks=3, entangler="chain", peers=("PennyLane broadcast", OWN_CONES)),
    ]
    rows = bench_head(circuits, batch=3, repeats=1, skipped=skipped, progress=lambda done, total: None)
    assert {row.name for row in rows} == {"lightcone", "cone of width 5"}
    assert len(rows) + len(skipped) == len(PEERS) + 3
    assert all("sqdr[bench]" in line for line in skipped)
    for row in rows:
        # <Z>, the angles' gradients and the weights'
        n_qubits, n_blocks = (5, 2) if row.name == "lightcone" else (7, 3)
        assert (row.n_different, row.n_compared) == (0, 3 * n_qubits + 9 * n_qubits + 3 * n_blocks * n_qubits)


def test_head_says_how_many_values_of_a_wrong_peer_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(n_qubits: int, n_blocks: int, entangler: Any) -> Any:
        return lambda angles, weights: angles.sum(-1) + 0 * weights.sum()

    monkeypatch.setitem(PEERS, "wrong", shifted)
    (row,) = bench_head(
        [HeadCircuit(n_qubits=3, n_blocks=1, peers=("wrong",))], 2, 1, skipped=[], progress=lambda done, total: None
    )
    assert row.n_different > 6


def test_noisy_head_is_measured_beside_density_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noisy_head, "WIDE", 3)
    monkeypatch.setattr(noisy_head, "NARROW", 2)
    skipped: list[str] = []
    rows = noisy_head.bench_noisy_head(2, 1, skipped, lambda done, total: None)
    assert skipped == []
    assert {row.peer for row in rows} == {
        noisy_head.MIXED,
        noisy_head.MIXED_BACKWARD,
        noisy_head.BRAKET,
        noisy_head.BRAKET_SHOTS,
    }
    assert all(row.n_different == 0 and row.n_compared > 0 for row in rows)


def test_local_head_is_measured_beside_braket() -> None:
    rows = bench_local_braket(8, 1, [], lambda done, total: None)
    assert len(rows) == 2 * 2 * 3
    assert all((row.n_different, row.n_compared) == (0, 4 * 9) for row in rows)


def test_load_gives_times_memory_and_the_same_logits(bundle_path: Path) -> None:
    rows, peak_mb = bench_load(bundle_path, 5, 1, lambda done, total: None)
    assert [row.peer for row in rows] == ["ONNX Runtime"] * 2
    assert all((row.n_different, row.n_compared) == (0, 5 * 10) for row in rows)
    assert all(peak > 20 for peak in peak_mb.values())  # Python with NumPy alone takes more


def test_export_is_measured_once_both_files_hold_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    monkeypatch.setattr(export, "PRESETS", ("tiny",))
    monkeypatch.setenv("SQDR_LAVA_PYTHON", str(tmp_path / "no-python"))
    done = CliRunner().invoke(app, ["export", "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    network, bundle = result["rows"]
    assert (network["network"], bundle["network"]) == (
        "tiny, 28x28, T=8, encoder.net",
        "tiny, 28x28, T=8, bundle, verified",
    )
    for row in (network, bundle):
        assert (row["peer"], row["n_different"]) == ("SLAYER export_hdf5", 0)
        assert row["n_compared"] > 64 * 9 * 8  # the spikes of the test images, and every weight
    # what no stage counts is the start of the call
    (stages,) = result["stages_ms"].values()
    assert len(stages) == 8 and sum(stages.values()) == pytest.approx(bundle["ms"], rel=0.05)
    assert any("SQDR_LAVA_PYTHON" in reason for reason in result["skipped"])


def test_export_counts_every_number_that_differs(bundle_path: Path, trained_run: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the train extra")
    run = RunFolder(trained_run)
    ours, other = bundle_path / "encoder.net", tmp_path / "other.net"
    shutil.copy(ours, other)
    n_compared, n_different = export._differences(ours, other, run)
    assert n_compared > 0 and n_different == 0
    with h5py.File(other, "r+") as file:
        file["layer/0/weight"][0, 0, 0, 0] += 2
        file["layer/1/neuron/vDecay"][...] -= 1
    n_spikes = int((export._spikes(ours, run) != export._spikes(other, run)).sum())
    assert export._differences(ours, other, run) == (n_compared, 2 + n_spikes)
    with h5py.File(other, "r+") as file:  # a layer less
        n_last = file["layer"].pop(max(file["layer"], key=int))["weight"].size
    assert export._differences(ours, other, run)[1] > n_last > 0


def test_torch_onnx_fails_on_slayers_blocks(trained_run: Path, tmp_path: Path) -> None:
    """`NOT_COMPARED` says so; once it no longer does, it is a peer to measure."""
    torch = pytest.importorskip("torch", reason="needs the train extra")
    pytest.importorskip("onnx", reason="needs the onnx extra")
    blocks = torch.nn.Sequential(*export._slayer_blocks(RunFolder(trained_run)))
    assert "torch.onnx" in export.NOT_COMPARED
    # torch 2.3 fails with IndexError, others with errors of their own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((IndexError, RuntimeError), match="map|autograd|ONNX|onnx"):
            torch.onnx.export(blocks, (torch.zeros(1, 1, 8, 8, 5),), str(tmp_path / "theirs.onnx"))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
def test_memory_is_that_of_the_calls_and_both_sides_give_the_same_spikes() -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    skipped: list[str] = []
    rows, memory = bench_memory(1, skipped, lambda done, total: None, ("tiny",), {"step": 64, "encode": 64})
    compared = {row.peer: (row.n_different, row.n_compared) for row in rows}
    assert compared["stock step"] == compared["slayer encode"] == (0, 64 * 9 * 8)
    sides = memory["tiny"]
    assert set(sides) == {*SIDES} - ({"spikingjelly step"} if skipped else set())
    # stock SLAYER keeps at least the first layer's weighted spikes as float32 and its voltages as integers
    assert sides["stock step"]["call_mb"] > 64 * 2 * 14 * 14 * 8 * 4 * 2 / 1e6
    assert all(0 <= mb["call_mb"] < mb["peak_mb"] for mb in sides.values())


def test_growth_draws_a_panel_for_each_sweep(tmp_path: Path) -> None:
    sweeps = [
        Sweep(part="head", axis="qubits", values=(2, 3), batch=2),
        Sweep(part="head", axis="batch", values=(1, 2)),
    ]
    points = bench_growth(sweeps, 1, [], lambda done, total: None)
    found = {(point.sweep.axis, point.value, point.row.network) for point in points}
    assert found == {
        ("qubits", 2, "2 qubits x 2 blocks, batch 2"),
        ("qubits", 3, "3 qubits x 2 blocks, batch 2"),
        ("batch", 1, "9 qubits x 2 blocks, batch 1"),
        ("batch", 2, "9 qubits x 2 blocks, batch 2"),
    }
    assert all(point.row.n_different == 0 for point in points)
    draw_growth(points, tmp_path / "growth.png", "a processor")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_growth_of_encoder_and_joint_step_compares_first(tmp_path: Path) -> None:
    pytest.importorskip("lava.lib.dl", reason="needs the train extra")
    sweeps = [
        Sweep(part="training", axis="steps", values=(2,), batch=3),
        Sweep(part="inference", axis="size", values=(14,), batch=3),
        Sweep(part="joint", axis="qubits", values=(4,), batch=3),
    ]
    skipped: list[str] = []
    points = bench_growth(sweeps, 1, skipped, lambda done, total: None)
    names = [point.row.network for point in points]
    assert "tiny, 28x28, T=2, batch 3, 9 qubits x 2 blocks" in names
    assert "tiny, 14x14, T=8, batch 3, 9 qubits x 2 blocks" in names
    assert "tiny, 28x28, T=8, batch 3, 4 qubits x 2 blocks" in names or skipped
    assert all(point.row.n_different == 0 and point.row.n_compared > 0 for point in points)
    draw_growth(points, tmp_path / "growth.png", "a processor")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_growth_covers_what_it_is_to_cover() -> None:
    axes = {name: {(sweep.part, sweep.axis) for sweep in sweeps} for name, sweeps in SWEEPS.items()}
    sizes = ("steps", "batch", "size")
    assert axes["head"] == {("head", axis) for axis in ("qubits", "blocks", "batch")}
    assert axes["encoder"] == {(part, axis) for part in ("training", "inference") for axis in sizes}
    assert axes["joint"] == {("joint", axis) for axis in (*sizes, "qubits", "blocks")}
    assert {min(s.values) for s in (*SWEEPS["head"], *SWEEPS["joint"]) if s.axis == "qubits"} == {4}
    assert {max(s.values) for s in (*SWEEPS["head"], *SWEEPS["joint"]) if s.axis == "qubits"} == {14}


def test_start_up_is_measured_beside_its_limits() -> None:
    rows = bench_startup(1, lambda done, total: None)
    assert [(row.name, row.peer, row.peer_ms) for row in rows] == [
        ("empty Python", "limit", 300.0),
        ("import sqdr", "limit", 300.0),
        ("sqdr --help", "limit", 500.0),
    ]
    assert all(row.ms > 0 for row in rows)


def test_time_in_turn_takes_turns_after_one_warm_up() -> None:
    calls: list[str] = []
    times = time_in_turn({"a": (lambda: calls.append("a"), 1), "b": (lambda: calls.append("b"), 1000)}, repeats=3)
    assert "".join(calls) == "ab" + "ababab"
    assert all(timing.min <= timing.median <= timing.max for timing in times.values())


def test_one_core_gives_back_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)

    def fail() -> None:
        with one_core():
            assert len(os.sched_getaffinity(0)) == 1
            assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
            raise LookupError("of the subject's own")

    with pytest.raises(LookupError, match="of the subject's own"):
        fail()
    assert os.sched_getaffinity(0) == before
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_row_is_how_many_times_as_fast_ours_is() -> None:
    def timing(value: float) -> Timing:
        return Timing(median=value, min=value / 2, max=value * 2)

    row = BenchRow.of("s", "n", ("ours", timing(2.0)), ("theirs", timing(6.0)), 10, 1)
    assert (row.ratio, row.n_compared, row.n_different) == (3.0, 10, 1)


def test_machine_names_the_processor_only() -> None:
    about: dict[str, Any] = machine()
    text = json.dumps(about)
    assert about["cpu"]
    for private in (os.uname().nodename, str(Path.home()), os.getcwd()):
        assert private not in text or len(private) < 3
