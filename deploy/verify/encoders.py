"""Every encoder against the one before it, in pieces, so that memory does not grow with the samples."""

import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend
from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.lava import LavaGraph
from sqdr.deploy.verify.compare import SpikeComparison, compare_values
from sqdr.deploy.verify.locate import locate
from sqdr.deploy.verify.report import Difference, VerifyRow
from sqdr.errors import MissingDependencyError
from sqdr.plugins import load_plugin
from sqdr.specification import CodingSpec

__all__ = ["REFERENCE", "verify_encoders"]

logger = logging.getLogger(__name__)

# The encoder that runs everywhere, which the others are compared with; it is compared with SLAYER itself.
REFERENCE, TRAINED = "integer", "slayer"
TRAINED_MODEL = "trained model"
# Files that a bundle may lack and an encoder needs.
NEEDS_FILE = {"onnx": "encoder.onnx"}
PIECE = 128
OTHER_NETWORK = "encoder.net and golden.npz are not of one trained model: nothing that runs it agrees. Export again."

Progress = Callable[[int, int], None]


def verify_encoders(
    bundle: Bundle,
    images: NDArray[np.uint8],
    names: Sequence[str],
    skipped: list[str],
    *,
    is_asked: bool = False,
    lava_graph: LavaGraph = "stock",
    progress: Progress | None = None,
) -> tuple[list[VerifyRow], NDArray[np.int64]]:
    """Return a row for each comparison, and the reference's spike counts (N, F).

    Args:
        bundle: opened.
        images: (N, C, H, W) uint8.
        names: of the encoders to check.
        skipped: gets a line for each that cannot run here.
        is_asked: whether the user named them: then each must run.
        lava_graph: what runs as the encoder ``lava``; by default Lava's own models alone.
        progress: called with (images done, of all).
    """
    coding = bundle.manifest.model.coding
    with contextlib.ExitStack() as stack:
        backends = _start(bundle, names, skipped, stack, is_asked, {"lava": {"graph": lava_graph}})
        golden = bundle.golden()
        golden_spikes = encode_images(golden.images, coding)
        on_golden, rows = [], []
        for name in (name for name in backends if name in names):
            logger.info("the golden samples through encoder %s", name)
            comparison = SpikeComparison(TRAINED_MODEL, name)
            trains, seconds = _timed(backends[name].spike_trains, golden_spikes)
            comparison.add(golden.spike_trains, trains, seconds)
            on_golden.append(comparison)
            rows += _counts(name, trains, backends[name].encode(golden_spikes))
        counts: list[NDArray[np.int64]] = []
        comparisons = _pairs(backends, names)
        for start in range(0, len(images), PIECE):
            logger.debug("images from %d of %d through %s", start, len(images), ", ".join(backends))
            spikes = encode_images(images[start : start + PIECE], coding)
            found = {name: _timed(backend.spike_trains, spikes) for name, backend in backends.items()}
            for comparison in comparisons:
                comparison.add(found[comparison.source][0], *found[comparison.target])
            counts.append(found[REFERENCE][0].sum(axis=-1, dtype=np.int64))
            if progress is not None:
                progress(min(start + PIECE, len(images)), len(images))
        # looking into a difference may end an encoder: only when all is compared
        first = [_golden_row(comparison, backends, golden_spikes, golden.spike_trains) for comparison in on_golden]
        second = [_row(comparison, backends, images, coding) for comparison in comparisons]
        return [*first, *second, *rows], np.concatenate(counts)


def _counts(name: str, trains: NDArray[np.uint8], counts: NDArray[np.int64]) -> list[VerifyRow]:
    """Return a row only where an encoder does not count its own spikes."""
    sums = trains.sum(axis=-1, dtype=np.int64).astype(np.float64)
    found = counts.astype(np.float64)
    row = compare_values(f"{name}, spikes", f"{name}, counts", sums, found, 0.0, what="counts", tolerance=0.0)
    return [] if row.equal else [row]


def _golden_row(
    comparison: SpikeComparison,
    backends: dict[str, EncoderBackend],
    spikes: NDArray[np.uint8],
    expected: NDArray[np.uint8],
) -> VerifyRow:
    """Return the outcome on the golden samples; the trained model itself is not here to be looked into."""
    if comparison.first is None:
        return comparison.row()
    number, feature, step, _, _ = comparison.first
    others = [backends[name] for name in (TRAINED, REFERENCE) if name in backends and name != comparison.target]
    sample = spikes[number : number + 1]
    for twin in others:
        if np.array_equal(twin.spike_trains(sample)[0], expected[number]):
            return comparison.row(_look_into(twin, backends[comparison.target], sample, number, comparison.first))
    difference = Difference(sample=number, layer="", neuron=(feature,), step=step, cause=OTHER_NETWORK)
    return comparison.row(difference)


def _start(
    bundle: Bundle,
    names: Sequence[str],
    skipped: list[str],
    stack: contextlib.ExitStack,
    is_asked: bool,
    options: Mapping[str, Mapping[str, Any]],
) -> dict[str, EncoderBackend]:
    """Start the encoders, each with its options, and those that they are compared with."""
    wanted = [TRAINED, REFERENCE, *(name for name in names if name not in (TRAINED, REFERENCE))]
    backends: dict[str, EncoderBackend] = {}
    for name in wanted:
        if name == TRAINED and not {TRAINED, REFERENCE} & set(names):
            continue
        if name in NEEDS_FILE and not is_asked and not bundle.has(NEEDS_FILE[name]):
            skipped.append(f"encoder '{name}': the bundle has no {NEEDS_FILE[name]}. Export again with it.")
            continue
        try:
            made = _make(load_plugin("sqdr.encoders", name), bundle, options.get(name, {}))
            backends[name] = stack.enter_context(made)
        except MissingDependencyError as error:
            if is_asked and name in names:
                raise
            skipped.append(str(error))
    return backends


def _make(kind: Any, bundle: Bundle, options: Mapping[str, Any]) -> EncoderBackend:
    """Make an encoder that may differ from the golden samples: that is what is to be shown."""
    takes = inspect.signature(kind.from_bundle).parameters
    asked = {"check_golden": False, **options}
    made: EncoderBackend = kind.from_bundle(bundle, **{name: asked[name] for name in asked if name in takes})
    return made


def _pairs(backends: dict[str, EncoderBackend], names: Sequence[str]) -> list[SpikeComparison]:
    pairs = []
    for name in backends:
        if name not in names or name == TRAINED:
            continue
        source = TRAINED if name == REFERENCE else REFERENCE
        if source in backends:
            pairs.append(SpikeComparison(source, name))
    return pairs


def _timed(call: Callable[[Any], Any], spikes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    start = time.perf_counter()
    return call(spikes), time.perf_counter() - start


def _row(
    comparison: SpikeComparison, backends: dict[str, EncoderBackend], images: NDArray[np.uint8], coding: CodingSpec
) -> VerifyRow:
    """Return the outcome; where spikes differ, look into both encoders on that sample alone."""
    if comparison.first is None:
        return comparison.row()
    number = comparison.first[0]
    sample = encode_images(images[number : number + 1], coding)
    source, target = backends[comparison.source], backends[comparison.target]
    return comparison.row(_look_into(source, target, sample, number, comparison.first))


def _look_into(
    source: Any, target: Any, sample: NDArray[np.uint8], number: int, first: tuple[int, int, int, int, int]
) -> Difference:
    """Return where the two part; an encoder that fails at it must not hide that it differs."""
    try:
        return locate(source, target, sample, number, first)
    except Exception as error:  # the encoder is wrong already and may be somebody else's
        cause = f"not known: looking into it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})."
        return Difference(sample=number, layer="", neuron=(first[1],), step=first[2], cause=cause)
