"""Prove the stages equal: the same samples through every backend that is installed here."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend, HeadBackend
from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.heads.devices import open_head
from sqdr.deploy.inputs import read_input
from sqdr.errors import MissingDependencyError, NotEqualError
from sqdr.head import counts_to_angles
from sqdr.plugins import load_plugin, plugin_names
from sqdr.strict import StrictModel

__all__ = ["VerifyReport", "VerifyRow", "compare_expectations", "compare_spikes", "verify_bundle"]

# Both sides compute in float64; what differs is the order of some thousand additions.
EXPECTATION_TOLERANCE = 1e-10
# Of two <Z>, each in [-1, 1]; also what is stated for one that is no number.
MAX_DIFFERENCE = 2.0
# A state vector of more is gigabytes, and minutes for each sample.
MAX_QUBITS = 20
HEADS = ("pennylane:default.qubit", "local:braket-sv")
# Encoders from most to least trusted: each is compared with the first that runs.
ENCODER_ORDER = ("slayer", "lava")


class VerifyRow(StrictModel):
    """One comparison: ``n_different`` of ``n_compared`` values of ``target`` are not ``source``'s."""

    source: str
    target: str
    n_samples: int
    n_compared: int
    n_different: int
    max_abs_difference: float
    seconds: float
    equal: bool
    where: str = ""


class VerifyReport(StrictModel):
    """All comparisons, and the stages that could not be compared here."""

    rows: tuple[VerifyRow, ...]
    skipped: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every comparison that was made came out equal."""
        return all(row.equal for row in self.rows)


def verify_bundle(
    path: str | Path, *, n_samples: int = 32, source: str | None = None, data_root: Path | None = None
) -> VerifyReport:
    """Compare every stage on the same samples.

    Golden spikes (the trained model's own) against each installed encoder; each encoder against the
    first on ``n_samples`` images; the exact heads against PennyLane's ``default.qubit``.

    Args:
        path: a bundle.
        n_samples: how many images.
        source: which images; by default the test part of the data set that the model was trained on.
        data_root: where data sets are.

    Raises:
        BundleError: the bundle cannot be read.
        DataError: the images cannot be read.
    """
    with Bundle.open(path) as bundle:
        manifest = bundle.manifest
        images = read_input(source or f"{manifest.training.data}:test", manifest.model.encoder.input_shape, data_root)[
            :n_samples
        ]
        spikes = encode_images(images.images, manifest.model.coding)
        skipped: list[str] = []
        rows, trains = _verify_encoders(bundle, spikes, skipped)
        counts = trains.sum(axis=-1, dtype=np.int64)
        rows += _verify_heads(bundle, counts, skipped)
        return VerifyReport(rows=tuple(rows), skipped=tuple(skipped))


def compare_spikes(
    source: str, target: str, expected: NDArray[np.uint8], found: NDArray[np.uint8], seconds: float
) -> VerifyRow:
    """Compare two arrays of spikes (N, F, T): equal means not one differs."""
    _check_shapes(source, target, expected.shape, found.shape)
    differs = expected != found
    where = ""
    if differs.any():
        sample, neuron, t = (int(i) for i in np.argwhere(differs)[0])
        where = (
            f"first at sample {sample}, feature {neuron}, time step {t}: {source} "
            f"{int(expected[sample, neuron, t])}, {target} {int(found[sample, neuron, t])}"
        )
    difference = np.abs(expected.astype(int) - found.astype(int)).max(initial=0)
    return _row(source, target, differs, float(difference), seconds, where)


def compare_expectations(
    source: str, target: str, expected: NDArray[np.float64], found: NDArray[np.float64], seconds: float
) -> VerifyRow:
    """Compare <Z> (N, n_qubits) of two exact simulations to 1e-10."""
    _check_shapes(source, target, expected.shape, found.shape)
    difference = np.abs(expected - found)
    differs = ~(difference <= EXPECTATION_TOLERANCE)  # NaN is no agreement
    where = ""
    if differs.any():
        sample, qubit = (int(i) for i in np.argwhere(differs)[0])
        where = (
            f"first at sample {sample}, qubit {qubit}: {source} {expected[sample, qubit]:.12f}, {target} "
            f"{found[sample, qubit]:.12f}"
        )
    largest = np.nan_to_num(difference, nan=MAX_DIFFERENCE).max(initial=0)
    return _row(source, target, differs, float(largest), seconds, where)


def _row(
    source: str, target: str, differs: NDArray[np.bool_], difference: float, seconds: float, where: str
) -> VerifyRow:
    return VerifyRow(
        source=source,
        target=target,
        n_samples=len(differs),
        n_compared=differs.size,
        n_different=int(differs.sum()),
        max_abs_difference=difference,
        seconds=seconds,
        equal=not differs.any(),
        where=where,
    )


def _check_shapes(source: str, target: str, expected: tuple[int, ...], found: tuple[int, ...]) -> None:
    if expected != found:  # arrays of other shapes might broadcast, or not compare at all
        raise NotEqualError(f"{source} gives an array {expected} and {target} one {found}. Check the backend.")


def _verify_encoders(
    bundle: Bundle, spikes: NDArray[np.uint8], skipped: list[str]
) -> tuple[list[VerifyRow], NDArray[np.uint8]]:
    golden = bundle.golden()
    golden_spikes = encode_images(golden.images, bundle.manifest.model.coding)
    rows: list[VerifyRow] = []
    reference: tuple[str, NDArray[np.uint8]] | None = None
    known = plugin_names("sqdr.encoders")
    for name in (*ENCODER_ORDER, *(name for name in known if name not in ENCODER_ORDER)):
        try:
            backend: EncoderBackend = load_plugin("sqdr.encoders", name).from_bundle(bundle)
            with backend:
                start = time.perf_counter()
                found = backend.spike_trains(golden_spikes)
                rows.append(
                    compare_spikes("trained model", name, golden.spike_trains, found, time.perf_counter() - start)
                )
                start = time.perf_counter()
                trains = backend.spike_trains(spikes)
                if reference is not None:
                    seconds = time.perf_counter() - start
                    rows.append(compare_spikes(reference[0], name, reference[1], trains, seconds))
                else:
                    reference = (name, trains)
        except MissingDependencyError as error:
            skipped.append(str(error))
    if reference is None:
        raise MissingDependencyError(f"no encoder can run here: {' '.join(skipped)}")
    return rows, reference[1]


def _verify_heads(bundle: Bundle, counts: NDArray[np.int64], skipped: list[str]) -> list[VerifyRow]:
    spec, parameters, golden = bundle.manifest.model, bundle.head_parameters(), bundle.golden()
    scale = parameters.scale_rad
    golden_angles = counts_to_angles(golden.counts, spec.coding.n_steps, scale, spec.head)
    angles = counts_to_angles(counts, spec.coding.n_steps, scale, spec.head)
    rows: list[VerifyRow] = []
    reference: tuple[str, NDArray[np.float64]] | None = None
    if spec.head.n_qubits > MAX_QUBITS:
        skipped.append(f"{spec.head.n_qubits} qubits are more than the {MAX_QUBITS} that are simulated here")
        return rows
    for name in HEADS:
        try:
            head: HeadBackend = open_head(
                name,
                openqasm=bundle.circuit(),
                weights=parameters.weights,
                entangler=spec.head.entangler,
                n_qubits=spec.head.n_qubits,
                shots=None,
            )
        except MissingDependencyError as error:
            skipped.append(str(error))
            continue
        with head:
            start = time.perf_counter()
            found = head.expectations(golden_angles)
            seconds = time.perf_counter() - start
            rows.append(compare_expectations("trained model", name, golden.expectations, found, seconds))
            start = time.perf_counter()
            found = head.expectations(angles)
            if reference is not None:
                rows.append(compare_expectations(reference[0], name, reference[1], found, time.perf_counter() - start))
            else:
                reference = (name, found)
    return rows
