"""Every head against the state vector, exact ones to rounding and sampled ones to their confidence interval."""

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.bundle import Bundle
from sqdr.deploy.heads.devices import open_head
from sqdr.deploy.heads.statevector import MAX_QUBITS as MAX_SHOT_QUBITS
from sqdr.deploy.verify.compare import compare_sampled, compare_values
from sqdr.deploy.verify.report import VerifyRow
from sqdr.errors import ConfigError, DeviceError, MissingDependencyError
from sqdr.head import counts_to_angles
from sqdr.specification import MAX_STATEVECTOR_QUBITS

__all__ = ["DEFAULT_HEADS", "check_devices", "verify_heads"]

logger = logging.getLogger(__name__)

REFERENCE = "local:sv"
TRAINED_MODEL = "trained model"
DEFAULT_HEADS = (REFERENCE, "pennylane:default.qubit", "local:braket-sv")
# Both sides compute in float64; what differs is the order of some thousand additions.
TOLERANCE = 1e-10
# Other simulators take tens of milliseconds for each circuit; the rows say how many they were given.
MAX_SLOW_SAMPLES = 200
# Of those that run unasked: beyond, one circuit takes seconds, and soon gigabytes.
MAX_SLOW_QUBITS = MAX_STATEVECTOR_QUBITS


def verify_heads(
    bundle: Bundle,
    counts: NDArray[np.int64],
    devices: Sequence[str],
    *,
    is_asked: bool,
    shots: int,
    seed: int,
    skipped: list[str],
) -> list[VerifyRow]:
    """Return a row for each comparison.

    Args:
        bundle: opened.
        counts: (N, F) spike counts.
        devices: names as `sqdr.deploy.heads.devices.open_head` takes them; none that may cost money.
        is_asked: whether the user named them: then each must run, and its shots are compared, too.
        shots: of each circuit, for the comparison of sampled <Z>.
        seed: of the shots, where the device takes one.
        skipped: gets a line for each that cannot run here.
    """
    spec, golden = bundle.manifest.model, bundle.golden()
    scale = bundle.head_parameters().scale_rad
    golden_angles = counts_to_angles(golden.counts, spec.coding.n_steps, scale, spec.head)
    angles = counts_to_angles(counts, spec.coding.n_steps, scale, spec.head)
    with _open(bundle, REFERENCE, None, None) as head:
        expected = head.expectations(angles)
    rows: list[VerifyRow] = []
    for name in devices:
        logger.info("comparing device %s with %s", name, REFERENCE)
        if not is_asked and name != REFERENCE and spec.head.n_qubits > MAX_SLOW_QUBITS:
            skipped.append(f"device '{name}': {spec.head.n_qubits} qubits take it long; ask for it by name")
            continue
        try:
            rows += _exact(bundle, name, golden.expectations, golden_angles, expected, angles, skipped)
            if is_asked or name == REFERENCE:
                rows += _sampled(bundle, name, expected, angles, shots, seed, skipped)
        except (MissingDependencyError, DeviceError) as error:
            if is_asked:
                raise
            skipped.append(f"device '{name}': {error}")
    return rows


def check_devices(bundle: Bundle, devices: Sequence[str]) -> None:
    """Refuse, before anything runs, a device that is unknown, cannot run the circuit or may cost money."""
    for name in devices:
        _open(bundle, name, None, None).close()


def _open(bundle: Bundle, name: str, shots: int | None, seed: int | None) -> HeadBackend:
    spec, parameters = bundle.manifest.model.head, bundle.head_parameters()
    head = open_head(
        name,
        openqasm=bundle.circuit(),
        weights=parameters.weights,
        entangler=spec.entangler,
        n_qubits=spec.n_qubits,
        shots=shots,
        seed=seed,
    )
    if head.is_paid:
        raise ConfigError(f"device '{name}' may cost money and is never run unasked. Use `sqdr run` for it.")
    return head


def _exact(
    bundle: Bundle,
    name: str,
    golden: NDArray[np.float64],
    golden_angles: NDArray[np.float64],
    expected: NDArray[np.float64],
    angles: NDArray[np.float64],
    skipped: list[str],
) -> list[VerifyRow]:
    with _open(bundle, name, None, None) as head:
        chosen = slice(None) if name == REFERENCE else slice(MAX_SLOW_SAMPLES)
        start = time.perf_counter()
        found_golden = head.expectations(golden_angles)
        middle = time.perf_counter()
        if head.accuracy != "exact":
            difference = float(np.abs(found_golden - golden).max(initial=0))
            skipped.append(
                f"device '{name}' is {head.accuracy}: its analytic <Z> are up to {difference:.3f} from the "
                "noiseless ones, which is its noise and no difference of stages"
            )
            return []
        row = compare_values(
            TRAINED_MODEL, name, golden, found_golden, middle - start, what="expectations", tolerance=TOLERANCE
        )
        if name == REFERENCE:
            return [row]
        middle = time.perf_counter()
        found = head.expectations(angles[chosen])
        seconds = time.perf_counter() - middle
    compared = compare_values(
        REFERENCE, name, expected[chosen], found, seconds, what="expectations", tolerance=TOLERANCE
    )
    return [row, compared]


def _sampled(
    bundle: Bundle,
    name: str,
    expected: NDArray[np.float64],
    angles: NDArray[np.float64],
    shots: int,
    seed: int,
    skipped: list[str],
) -> list[VerifyRow]:
    """Compare shots with the same device's own analytic <Z>, noise included."""
    if shots == 0:
        return []
    if bundle.manifest.model.head.n_qubits > MAX_SHOT_QUBITS and name == REFERENCE:
        skipped.append(f"shots of '{name}': it draws none beyond {MAX_SHOT_QUBITS} qubits")
        return []
    chosen = slice(MAX_SLOW_SAMPLES)
    source = REFERENCE
    if name != REFERENCE:
        with _open(bundle, name, None, None) as head:
            if head.accuracy != "exact":
                source, expected = f"{name}, analytic", head.expectations(angles[chosen])
    try:
        opened = _open(bundle, name, shots, seed)
    except DeviceError:  # takes no seed
        opened = _open(bundle, name, shots, None)
    with opened as head:
        start = time.perf_counter()
        found = head.expectations(angles[chosen])
        seconds = time.perf_counter() - start
    return [compare_sampled(source, f"{name}, {shots:,} shots", expected[chosen], found, shots, seconds)]
