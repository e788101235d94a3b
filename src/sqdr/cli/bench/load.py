"""Subject ``load``: a fresh process to its first class, each further image, and peak memory, against ONNX Runtime.

Ours is the bundle on the integer encoder and `local:sv`, with all its checks (hashes, golden samples); the peer is ONNX
Runtime on the same bundle's classifier.onnx, without any.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqdr.cli.bench.harness import BenchRow, Timing
from sqdr.errors import BackendCrashError, BundleError

__all__ = ["bench_load"]

SUBJECT = "load"
OURS, PEER = "integer + local:sv", "ONNX Runtime"
CLASSIFIER = "classifier.onnx"
# Both compute in float64; logits are sums of some ten <Z> times weights of about 1.
TOLERANCE = 1e-9
TIMEOUT_S = 120.0


def bench_load(
    bundle: Path, n_images: int, repeats: int, progress: Callable[[int, int], None]
) -> tuple[list[BenchRow], dict[str, float]]:
    """Return a row for the first class and one for further images, in processor milliseconds, and peak MB by side.

    Args:
        bundle: with a classifier.onnx that takes images.
        n_images: to classify; the golden images again and again.
        repeats: processes of each side, in turn, after one that does not count.
        progress: called with (rounds done, of all).

    Raises:
        BundleError: the bundle cannot be read, or has no such file.
        BackendCrashError: a side cannot start.
    """
    import numpy as np

    from sqdr.bundle import Bundle

    found: dict[str, list[dict[str, Any]]] = {OURS: [], PEER: []}
    with tempfile.TemporaryDirectory(prefix="sqdr-bench-") as folder, Bundle.open(bundle) as opened:
        if not opened.has(CLASSIFIER):
            raise BundleError(f"{bundle} has no {CLASSIFIER} to compare with. Export again with onnx installed.")
        images = opened.golden().images
        np.save(Path(folder) / "images.npy", np.resize(images, (n_images, *images.shape[1:])))
        sides = {OURS: ("sqdr", bundle.absolute()), PEER: ("onnx", opened.path_of(CLASSIFIER))}
        for repeat in range(repeats + 1):
            for name, (kind, model) in sides.items():
                measured = _child(name, kind, model, Path(folder) / "images.npy")
                if repeat > 0:
                    found[name].append(measured)
            progress(repeat + 1, repeats + 1)
    logits = [np.array(found[name][0]["logits"]) for name in (OURS, PEER)]
    n_different = int((abs(logits[0] - logits[1]) > TOLERANCE).sum())
    rows = [
        BenchRow.of(
            SUBJECT,
            f"{bundle.name}, {what}",
            (OURS, _timing(found[OURS], key)),
            (PEER, _timing(found[PEER], key)),
            logits[0].size,
            n_different,
        )
        for key, what in (("first_ms", "fresh process to first class"), ("image_ms", f"each of {n_images} images"))
    ]
    peak_mb = {name: round(statistics.median(run["peak_mb"] for run in runs), 1) for name, runs in found.items()}
    return rows, peak_mb


def _child(name: str, kind: str, model: Path, images: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "sqdr.cli.bench.load_child", kind, str(model), str(images)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing on standard error"]
        raise BackendCrashError(f"{name} ended with {done.returncode}: {last[0]}. Run `sqdr doctor`.")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _timing(runs: list[dict[str, Any]], key: str) -> Timing:
    values = [run[key] for run in runs]
    return Timing(median=statistics.median(values), min=min(values), max=max(values))
