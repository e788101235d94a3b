"""Subject ``export``: the network file and the whole verified bundle beside SLAYER's own ``export_hdf5``.

The models are those that training starts from, after one step on random images. The peer's time is of its call alone,
each on a model of its own: ``export_hdf5`` takes the weight normalisation off the model that it writes.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.harness import BenchRow, time_in_turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sqdr.train.run_folder import RunFolder

__all__ = ["NOT_COMPARED", "bench_export"]

SUBJECT = "export"
PEER = "SLAYER export_hdf5"
PRESETS = ("tiny", "small", "base")
N_STEPS = 8
N_CLASSES = 10
# In training as many as export measures ranges on.
N_IMAGES = {"train": 512, "validation": 64, "test": 64}
NOT_COMPARED = (
    "torch.onnx, which fails on SLAYER's blocks; exporters to NIR: lava-dl has none, and those of other toolkits take "
    "their own neurons; the rest of the bundle and its verification, which no peer has: the bundle's row says what all "
    "of it costs beside SLAYER's one file"
)


@dataclass
class _Stages:
    """Collects the milliseconds of each stage of an export by name, one list entry an export."""

    times: dict[str, list[float]]

    def run(self, export: Callable[[Callable[[int, int, str], None]], Any]) -> None:
        """Time one export."""
        marks: list[tuple[str, float]] = []
        export(lambda done, total, what: marks.append((what, time.perf_counter())))
        ends = [start for _, start in marks[1:]] + [time.perf_counter()]
        for (what, start), end in zip(marks, ends, strict=True):
            self.times.setdefault(what, []).append(1000 * (end - start))

    def medians(self) -> dict[str, float]:
        """Of all exports but the first, the warm-up."""
        return {what: round(statistics.median(times[1:]), 3) for what, times in self.times.items()}


def bench_export(
    repeats: int, skipped: list[str], progress: Callable[[int, int], None]
) -> tuple[list[BenchRow], dict[str, dict[str, float]]]:
    """Return two rows for each preset, in milliseconds per export, and the bundle's milliseconds by stage.

    Before the timing both sides' network files are read back: every weight, threshold, decay and shape is compared, and
    every output spike of the test images in the integer runtime.

    Args:
        repeats: of each timing, after one warm-up.
        skipped: gets a line for each stage of the verification that is not installed.
        progress: called with (presets done, of all).

    Raises:
        MissingDependencyError: lava-dl or h5py is not installed.
    """
    rows: list[BenchRow] = []
    stages: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="sqdr-bench-") as name:
        folder = Path(name)
        _write_images(folder / "images")
        for index, preset in enumerate(PRESETS):
            run = _run(preset, folder / "images", folder / preset)
            found, stages[preset] = _rows(preset, run, folder / f"{preset}-files", repeats, skipped)
            rows += found
            progress(index + 1, len(PRESETS))
    return rows, stages


def _write_images(root: Path) -> None:
    """A data set of the kind ``folder``: random pixels in ten classes."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for part, n_images in N_IMAGES.items():
        for index, pixels in enumerate(random.integers(0, 256, (n_images, 28, 28), dtype=np.uint8)):
            path = root / part / str(index % N_CLASSES) / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def _run(preset: str, images: Path, out: Path) -> "RunFolder":
    """A run of one step: the weights that training starts from, but for that step."""
    from sqdr.train.api import train
    from sqdr.train.run_folder import RunFolder

    config = {
        "data": {"name": "folder", "root": str(images)},
        "coding": {"kind": "rate", "n_steps": N_STEPS},
        "encoder": {"preset": preset, "initial_rate": 0.1},
        "head": {"n_qubits": 9, "n_blocks": 2},
        "training": {
            "n_epochs": 1,
            "batch_size": N_IMAGES["train"],
            "encoder_lr": 0.001,
            "head_lr": 0.001,
            "device": "cpu",
            "n_threads": 1,
        },
    }
    train(config, out)
    return RunFolder(out)


def _rows(
    preset: str, run: "RunFolder", folder: Path, repeats: int, skipped: list[str]
) -> tuple[list[BenchRow], dict[str, float]]:
    from sqdr.export.api import export
    from sqdr.export.to_netx import write_netx

    folder.mkdir()
    numbers = itertools.count()
    model = run.load_model()
    payload = model.spec.coding.max_payload

    def new(suffix: str) -> Path:  # readers keep network files open: never the same one again
        return folder / f"{next(numbers)}{suffix}"

    # one for the comparison, and for each of two timings a warm-up and the repeats
    fresh = iter([_slayer_blocks(run) for _ in range(1 + 2 * (1 + repeats))])

    def theirs() -> Path:
        path = new(".net")
        _export_hdf5(next(fresh), path)
        return path

    def network() -> Path:
        path = new(".net")
        write_netx(model.encoder, payload, path)
        return path

    stages = _Stages({})

    def bundle() -> None:
        stages.run(lambda tell: export(run.root, new(""), progress=tell))

    first = new("")
    notes = export(run.root, first).notes
    skipped += [note for note in notes if note not in skipped]
    peer = theirs()
    compared = {
        "encoder.net": _differences(network(), peer, run),
        "bundle, verified": _differences(first / "encoder.net", peer, run),
    }
    rows = []
    for what, ours, call in (("encoder.net", "sqdr", network), ("bundle, verified", "sqdr export", bundle)):
        times = time_in_turn({"ours": (call, 1), PEER: (theirs, 1)}, repeats)
        name = f"{preset}, 28x28, T={N_STEPS}, {what}"
        rows.append(BenchRow.of(SUBJECT, name, (ours, times["ours"]), (PEER, times[PEER]), *compared[what]))
    return rows, stages.medians()


def _slayer_blocks(run: "RunFolder") -> Any:
    """The trained weights in SLAYER's own blocks."""
    from sqdr.train.encoder.slayer import SlayerEncoder

    trained = run.load_model().encoder
    stock = SlayerEncoder(trained.spec, run.read_spec().coding.max_payload)
    stock.load_state_dict(trained.state_dict())
    return stock.eval().blocks


def _export_hdf5(blocks: Any, path: Path) -> None:
    """As lava-dl's tutorials export a network."""
    import h5py

    with h5py.File(path, "w") as file:
        layers = file.create_group("layer")
        for index, block in enumerate(blocks):
            block.export_hdf5(layers.create_group(f"{index}"))


def _differences(ours: Path, theirs: Path, run: "RunFolder") -> tuple[int, int]:
    """Return how many numbers and spikes two network files were compared in, and how many of them differ."""
    sides: list[list[NDArray[Any]]] = [[*_numbers(path), _spikes(path, run)] for path in (ours, theirs)]
    n_compared = n_different = 0
    for first, second in itertools.zip_longest(*sides):
        sizes = [0 if values is None else values.size for values in (first, second)]
        n_compared += max(sizes)
        if first is None or second is None or first.shape != second.shape:
            n_different += max(sizes)
        else:
            n_different += int((first != second).sum())
    return n_compared, n_different


def _numbers(path: Path) -> "list[NDArray[np.int64]]":
    """Every layer's kind, sizes, neuron's parameters and weights."""
    import numpy as np

    from sqdr.netx import read_network

    found = []
    for layer in read_network(path):
        neuron = [value for name, value in sorted((layer.neuron or {}).items()) if not isinstance(value, str)]
        sizes = (*layer.shape, *layer.stride, *layer.padding, *layer.dilation, layer.groups)
        found += [np.array(sizes), *map(np.atleast_1d, neuron)]
        if layer.weight is not None:
            found.append(layer.weight)
    return found


def _spikes(path: Path, run: "RunFolder") -> "NDArray[np.uint8]":
    """(N, F, T) of the test images in the integer runtime."""
    from sqdr.coding import encode_images
    from sqdr.deploy.encoders.integer import IntegerEncoder
    from sqdr.train.loop import load_data

    spec = run.read_spec()
    encoder = IntegerEncoder.from_netx(
        path,
        input_shape=spec.encoder.input_shape,
        n_steps=spec.coding.n_steps,
        message_bits=spec.coding.message_bits,
    )
    images = load_data(run.read_config()).test.images
    return encoder.spike_trains(encode_images(images, spec.coding))
