"""`sqdr bench gpu` and benchmarks/gpu.sh: figures where there is a GPU, a plain word where there is none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from sqdr.cli.bench.gpu import GpuUse, bytes_of_operations  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
needs_sh = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")


def gpu_sh(python: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(python)}
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=120, check=False)


@needs_sh
@without_gpu
def test_script_without_a_gpu_says_so_and_writes_nothing() -> None:
    before = sorted((ROOT / "benchmarks" / "results").iterdir())
    done = gpu_sh(Path(sys.executable))
    assert (done.returncode, done.stdout, done.stderr) == (0, "skipped: no GPU\n", "")
    assert sorted((ROOT / "benchmarks" / "results").iterdir()) == before


@needs_sh
def test_script_without_torch_is_not_a_skip(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = gpu_sh(python)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no torch" in done.stderr


@without_gpu
def test_command_without_a_gpu_ends_in_one_line() -> None:
    command = [Path(sys.executable).with_name("sqdr"), "bench", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "torch sees no CUDA device" in done.stderr


def test_fractions_are_of_the_steps_time() -> None:
    use = GpuUse(
        network="n", step_ms=2.0, n_kernels=100, busy_ms=0.5, launch_us=5.0, n_bytes=4_000_000, copy_gb_s=1000.0
    )
    assert use.bandwidth_fraction == pytest.approx(4e6 / 2e-3 / 1e12)
    assert use.launch_fraction == pytest.approx(0.25)
    assert use.busy_fraction == pytest.approx(0.25)
    assert json.dumps(use.as_dict()).count("fraction") == 3


def test_bytes_are_those_that_operations_take_and_return() -> None:
    x = torch.ones(10, 4, requires_grad=True)
    with bytes_of_operations() as count:
        torch.empty(1000)
        x.detach().t().reshape(4, 10)[1:]
        views = count()
        y = x.detach() + 1  # reads and writes 160 bytes
        forward = count()
        (x * y).sum().backward()
    # the product 3 x 160, the sum 160 + 4, its gradient 4 of ones_like (4 + 4), the product's 3 x 160 and no more
    assert (views, forward) == (0, 320)
    assert 3 * 160 + 164 + 3 * 160 <= count() - forward <= 3 * 160 + 164 + 3 * 160 + 400


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_are_measured_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqdr.cli.bench import gpu

    monkeypatch.setattr(gpu, "PRESETS", ("tiny",))
    monkeypatch.setattr(gpu, "BATCHES", (64,))
    rows, (use,) = gpu.bench_gpu(1, [], lambda done, total: None)
    assert all(row.n_different == 0 for row in rows)
    assert use.n_kernels > 20
    assert 0 < use.bandwidth_fraction < 1
    assert 0 < use.launch_fraction
    assert 0 < use.busy_fraction <= 1.1
