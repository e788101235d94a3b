"""Put an error budget together: spikes, shots, noise, and shots with noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.error_budget.noise import device_noise
from sqdr.deploy.error_budget.report import BudgetRow, ErrorBudget, Interval, ShotsNeeded
from sqdr.deploy.error_budget.samples import read_samples
from sqdr.deploy.error_budget.shot_noise import MAX_EXACT_QUBITS, ShotNoise, run_interval
from sqdr.deploy.heads.density_matrix import DensityMatrixHead
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.errors import ConfigError, DeviceError
from sqdr.head import HeadParameters, counts_to_angles, readout, readout_matrix
from sqdr.hw_configs import BraketLocal, NoiseModel, load_hardware
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.specification import HeadSpec

__all__ = ["error_budget", "wilson"]

Z95 = 1.959964
N_RUNS = 20
MAX_SHOTS = 1_000_000
# Probabilities of all images: 64 MiB.
MAX_TABLE = 1 << 23
MORE_SPIKES = "spikes were compared on the golden images; `sqdr verify --against slayer` compares those of a test set"
SPIKES, SHOTS, NOISE, BOTH = "spikes", "shots", "noise", "shots and noise"

Head = StatevectorHead | DensityMatrixHead
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Images:
    """What every row is about.

    Args:
        angles: (N, n_qubits, 3).
        classes: (N,) of the exact, noiseless expectations.
    """

    angles: Floats
    classes: NDArray[np.int64]
    parameters: HeadParameters
    spec: HeadSpec

    def n_changed(self, head: Head) -> int:
        logits = readout(head.expectations(self.angles), self.parameters, self.spec)
        return int((logits.argmax(axis=1) != self.classes).sum())


def error_budget(
    bundle: str | Path,
    *,
    shots: int,
    device: str | None = None,
    source: str | None = None,
    limit: int | None = None,
    share_kept: float = 0.99,
    data_root: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> ErrorBudget:
    """Return how many images change class by spikes, shots and noise, each alone and together.

    Up to 12 qubits the chances of shots are worked out from the joint distribution of a shot
    (`sqdr.deploy.error_budget.shot_noise`); wider circuits are drawn.

    Args:
        bundle: folder or ``.sqdr`` file.
        shots: of each image.
        device: a hardware file with noise, or a QPU's with fidelities; None for shots alone.
        source: images, see `sqdr.deploy.inputs.read_input`; None takes the validation samples in the bundle.
        limit: only the first images.
        share_kept: of the classes, for which the shots are sought.
        data_root: where data sets are.
        seed: of drawn runs.
        progress: told the stage, of how many, and what it does.

    Raises:
        ConfigError: a number is out of range, or the device has no noise.
        DeviceError: there is no such device.
        DataError: no images.
        BundleError: the bundle cannot be read.
    """
    if isinstance(shots, bool) or not isinstance(shots, int) or not 1 <= shots <= MAX_SHOTS:
        raise ConfigError(f"`shots` must be 1 to {MAX_SHOTS}, got {shots!r}.")
    if not 0 < share_kept < 1:
        raise ConfigError(f"the share to keep must be between 0 and 1, got {share_kept!r}. Pass for example 0.99.")
    noise = None if device is None else device_noise(load_hardware(device))
    tell, n_stages = progress or (lambda done, total, what: None), 2 if noise is None else 4
    tell(0, n_stages, "encoding")
    with Bundle.open(bundle) as opened, IntegerEncoder.from_bundle(opened, check_golden=False) as encoder:
        model, parameters = opened.manifest.model, opened.head_parameters()
        samples = read_samples(opened, encoder, source, limit, data_root)
        spikes = _spikes(opened, encoder)
    head_spec = model.head
    angles = counts_to_angles(samples.counts, model.coding.n_steps, parameters.scale_rad, head_spec)
    exact = StatevectorHead(weights=parameters.weights, entangler=head_spec.entangler)
    logits = readout(exact.expectations(angles), parameters, head_spec)
    images = _Images(angles=angles, classes=logits.argmax(axis=1), parameters=parameters, spec=head_spec)
    _check_table(images)
    rows, needed, notes = [spikes[0]], list[ShotsNeeded](), [MORE_SPIKES]

    def add(name: str, model: NoiseModel | None) -> None:
        try:
            row, found = _shots(name, images, model, shots, share_kept, seed)
        except DeviceError as error:
            notes.append(f"{name}: not worked out. {error}")
            return
        rows.append(row)
        needed.extend(found)

    tell(1, n_stages, SHOTS)
    add(SHOTS, None)
    if noise is not None:
        tell(2, n_stages, NOISE)
        try:
            n_changed = images.n_changed(_head(images, noise.model, None, None))
            rows.append(_certain(NOISE, len(angles), n_changed, "exact expectations of the noisy circuit"))
        except DeviceError as error:
            notes.append(f"{NOISE}: not worked out. {error}")
        tell(3, n_stages, BOTH)
        add(BOTH, noise.model)
        notes.append("the noise is that of the circuit as written: SWAPs that a compiler adds are not in it")
    tell(n_stages, n_stages, "done")
    return ErrorBudget(
        bundle=str(bundle),
        device=device,
        samples=samples.source,
        n_images=len(angles),
        n_qubits=head_spec.n_qubits,
        shots=shots,
        noiseless_accuracy=None if samples.labels is None else float((images.classes == samples.labels).mean()),
        n_spikes_compared=spikes[1],
        n_spikes_different=spikes[2],
        rows=tuple(rows),
        shots_needed=tuple(needed),
        noise=() if noise is None else noise.sources,
        notes=tuple(notes),
    )


def wilson(n_changed: float, n_images: int) -> Interval:
    """Return Wilson's 95% interval of a share (Journal of the American Statistical Association 22, 1927)."""
    share, z2 = n_changed / n_images, Z95**2 / n_images
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))


def _spikes(bundle: Bundle, encoder: IntegerEncoder) -> tuple[BudgetRow, int, int]:
    """The row of spikes, how many were compared and how many differ, on the golden images."""
    golden, model, parameters = bundle.golden(), bundle.manifest.model, bundle.head_parameters()
    trains = encoder.spike_trains(encode_images(golden.images, model.coding))
    head = StatevectorHead(weights=parameters.weights, entangler=model.head.entangler)

    def classes(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        angles = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, model.head)
        return np.asarray(readout(head.expectations(angles), parameters, model.head).argmax(axis=1))

    changed = int((classes(trains.sum(axis=-1, dtype=np.int64)) != classes(golden.counts)).sum())
    n_different = int((trains != golden.spike_trains).sum())
    how = f"{n_different:,} of {trains.size:,} spikes differ from the trained model's on the golden images"
    return _certain(SPIKES, len(trains), changed, how), trains.size, n_different


def _certain(source: str, n_images: int, n_changed: int, how: str) -> BudgetRow:
    both = Interval(low=n_changed, high=n_changed)
    share = wilson(n_changed, n_images)
    return BudgetRow(source=source, n_images=n_images, changed=both, runs=both, share=share, how=how)


def _shots(
    source: str, images: _Images, noise: NoiseModel | None, shots: int, share_kept: float, seed: int
) -> tuple[BudgetRow, list[ShotsNeeded]]:
    if images.spec.n_qubits > MAX_EXACT_QUBITS:
        return _drawn(source, images, noise, shots, seed), []
    weight, bias = readout_matrix(images.parameters, images.spec)
    head = _head(images, noise, None, None)
    chances = ShotNoise(head.outcome_probabilities(images.angles), images.classes, weight, bias)
    bounds = chances.chances(shots)
    low, high = float(bounds.lower.sum()), float(bounds.upper.sum())
    fewest, most = run_interval(bounds)
    n_images = len(images.classes)
    row = BudgetRow(
        source=source,
        n_images=n_images,
        changed=Interval(low=low, high=high),
        runs=Interval(low=fewest, high=most),
        share=Interval(low=wilson(low, n_images).low, high=wilson(high, n_images).high),
        how=f"exact bounds from the joint distribution of a shot, {shots:,} shots",
    )
    limit = 1 - images.n_changed(head) / n_images
    found = chances.shots_needed(share_kept) if limit >= share_kept else None
    count, share = (None, limit) if found is None else found
    return row, [ShotsNeeded(source=source, share_kept=share_kept, shots=count, share_found=share)]


def _drawn(source: str, images: _Images, noise: NoiseModel | None, shots: int, seed: int) -> BudgetRow:
    streams = np.random.SeedSequence([seed, shots]).generate_state(N_RUNS)
    numbers = [images.n_changed(_head(images, noise, shots, int(stream))) for stream in streams]
    mean, n_images = float(np.mean(numbers)), len(images.classes)
    error = Z95 * float(np.std(numbers, ddof=1)) / math.sqrt(N_RUNS)
    low, high = max(0.0, mean - error), mean + error
    return BudgetRow(
        source=source,
        n_images=n_images,
        changed=Interval(low=low, high=high),
        runs=Interval(low=min(numbers), high=max(numbers)),
        share=Interval(low=wilson(low, n_images).low, high=wilson(min(high, n_images), n_images).high),
        how=f"drawn: {N_RUNS} runs of {shots:,} shots, mean with its 95% interval, and the range of the runs",
    )


def _head(images: _Images, noise: NoiseModel | None, shots: int | None, seed: int | None) -> Head:
    options: dict[str, Any] = {
        "weights": images.parameters.weights,
        "entangler": images.spec.entangler,
        "shots": shots,
        "seed": seed,
    }
    if noise is None:
        return StatevectorHead(**options)
    simulator = packaged_hardware("local_dm")
    assert isinstance(simulator, BraketLocal)
    return DensityMatrixHead(hardware=simulator.model_copy(update={"noise": noise}), **options)


def _check_table(images: _Images) -> None:
    n_qubits = images.spec.n_qubits
    most = MAX_TABLE >> n_qubits
    if n_qubits <= MAX_EXACT_QUBITS and len(images.classes) > most:
        raise ConfigError(
            f"an exact budget of {n_qubits} qubits takes at most {most:,} images, got {len(images.classes):,}. "
            f"Pass --limit {most}."
        )
