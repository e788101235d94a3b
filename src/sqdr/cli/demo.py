"""``sqdr demo``: the whole path on embedded data."""

import json
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sqdr.cli.console import JsonOption, emit_json, errors, output, progress_bar, table_of, wants_progress
from sqdr.errors import NotEqualError, StorageError
from sqdr.storage import storage_errors, write_atomically

__all__ = ["demo"]

SHOTS = 1000
CONFIG = "digits_small"
MARKER = ".sqdr-demo"
N_VERIFIED = 200


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that the demo makes.")] = Path(
        "out/demo"
    ),
    json_output: JsonOption = False,
) -> None:
    """Train on scikit-learn's digits, export, verify, and run split inference: Lava and Braket.

    A folder of an earlier demo is replaced.

    Example: sqdr demo --out out/demo
    """
    from sqdr.deploy.run import run_bundle
    from sqdr.deploy.verify import verify_bundle
    from sqdr.export.api import export
    from sqdr.train.api import train

    _claim(out)
    shown = wants_progress(json_output)
    seconds: dict[str, float] = {}

    def stage(name: str, action: Any) -> Any:
        errors().print(f"{len(seconds) + 1}/5 {name} ...", style="bold")
        start = time.perf_counter()
        result = action()
        seconds[name] = round(time.perf_counter() - start, 1)
        return result

    def infer(name: str, shots: int) -> dict[str, Any]:
        with progress_bar(name, shown) as progress:
            return run_bundle(
                out / "bundle", "digits:test", out / name, encoder="lava", shots=shots, seed=0, progress=progress
            )

    def write() -> None:
        with progress_bar("exporting", shown) as progress:
            export(out / "run", out / "bundle", progress=progress)

    def verify() -> Any:
        with progress_bar("verifying", shown) as progress:
            return verify_bundle(out / "bundle", n_samples=N_VERIFIED, source="digits:test", progress=progress)

    trained = stage("train", lambda: train(CONFIG, out / "run", progress=shown, device="cpu", n_threads=1)).summary
    stage("export", write)
    report = stage("verify", verify)
    exact = stage("run exact", lambda: infer("exact", 0))
    sampled = stage(f"run {SHOTS} shots", lambda: infer("sampled", SHOTS))
    spikes = [row for row in report.rows if row.what == "spikes"]
    summary = {
        "train_accuracy": trained.train_accuracy,
        "val_accuracy": trained.val_accuracy,
        "test_accuracy": trained.test_accuracy,
        "n_parameters": trained.n_parameters,
        "n_spikes_compared": sum(row.n_compared for row in spikes),
        "n_spike_mismatches": sum(row.n_different for row in spikes),
        "all_stages_equal": report.equal,
        "split_accuracy_exact": exact["accuracy"],
        "split_accuracy_shots": sampled["accuracy"],
        "shots": SHOTS,
        "n_test_images": exact["n_samples"],
        "seconds": seconds,
    }
    write_atomically(out / "summary.json", json.dumps(summary, indent=2).encode())
    if json_output:
        emit_json(summary)
    else:
        output().print(table_of("sqdr demo: digits", _rows(summary)))
    if not report.equal:
        errors().print("error: two stages differ. Run `sqdr verify` to see where.", style="bold red")
        raise typer.Exit(NotEqualError.exit_code)


def _claim(out: Path) -> None:
    """Empty the folder of an earlier demo; refuse any other."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise StorageError(f"{out} holds other files. Choose another --out.")
        with storage_errors(out):
            shutil.rmtree(out)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).touch()


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("training accuracy", f"{summary['train_accuracy']:.4f}"),
        ("test accuracy (SLAYER + state vector)", f"{summary['test_accuracy']:.4f}"),
        ("spike mismatches", f"{summary['n_spike_mismatches']} of {summary['n_spikes_compared']:,}"),
        ("split inference, exact (Lava + Braket)", f"{summary['split_accuracy_exact']:.4f}"),
        (f"split inference, {summary['shots']:,} shots", f"{summary['split_accuracy_shots']:.4f}"),
        *((f"seconds: {name}", f"{value:.1f}") for name, value in summary["seconds"].items()),
    ]
