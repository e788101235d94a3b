"""Subject ``split``: images to classes, encoder in Lava and circuit on a local device, against the stock parts."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqdr.cli.bench.encoder import bundle_network
from sqdr.cli.bench.harness import BenchRow, time_in_turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sqdr.deploy.pipeline import Pipeline

__all__ = ["bench_split"]

SUBJECT = "split"
# An image takes the stock side about half a second.
N_PEER = 8
# Both sides are exact; they differ by rounding in float64.
TOLERANCE = 1e-9


def bench_split(bundle: Path, n_images: int, repeats: int, progress: Callable[[int, int], None]) -> list[BenchRow]:
    """Return one row, in milliseconds per image without the start.

    Args:
        bundle: a bundle folder or ``.sqdr`` file.
        n_images: for ours; the stock side gets 8.
        repeats: of each timing.
        progress: called with (sides opened, of both).

    Raises:
        MissingDependencyError: Lava or the PennyLane plugin is not installed.
    """
    import numpy as np

    from sqdr.deploy.pipeline import open_bundle

    with contextlib.ExitStack() as stack:
        (network,) = bundle_network(bundle, n_images, stack)
        images = network.images
        ours = stack.enter_context(
            open_bundle(bundle, encoder="lava", graph="batched", device="local:sv", shots=0, timeout_s=600.0)
        )
        progress(1, 2)
        stock = stack.enter_context(
            open_bundle(
                bundle,
                encoder="lava",
                graph="stock",
                device="pennylane:braket.local.qubit",
                shots=0,
                timeout_s=600.0,
            )
        )
        progress(2, 2)
        mine, theirs = ours.predict(images[:N_PEER]), stock.predict(images[:N_PEER])
        n_different = int((mine.counts != theirs.counts).sum())
        n_different += int((np.abs(mine.expectations - theirs.expectations) > TOLERANCE).sum())
        n_compared = mine.counts.size + mine.expectations.size
        times = time_in_turn(
            {"ours": (_call(ours, images), len(images)), "stock": (_call(stock, images[:N_PEER]), N_PEER)}, repeats
        )
    return [
        BenchRow.of(
            SUBJECT,
            network.name,
            ("Lava batched + local:sv", times["ours"]),
            ("stock netx in Lava + braket.local.qubit", times["stock"]),
            n_compared,
            n_different,
        )
    ]


def _call(pipeline: "Pipeline", images: "NDArray[np.uint8]") -> Callable[[], object]:
    return lambda: pipeline.predict(images)
