"""How many shots are enough: classes from drawn shots against those of the exact expectations."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.plan.report import Agreement
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.specification import ModelSpec

__all__ = ["GRID", "Measured", "measure_agreement", "n_drawn"]

GRID = (10, 30, 100, 300, 1000)
N_REPEATS = 5
# Every image is drawn some thirty times, at a cost that grows with its 2^n outcomes: up to 12 qubits it takes seconds.
MIN_IMAGES, MAX_IMAGES, MAX_OUTCOMES = 200, 1000, 1 << 19


class Measured(NamedTuple):
    """Rows for rising shots, and the accuracy of the exact expectations (None without labels)."""

    rows: tuple[Agreement, ...]
    exact_accuracy: float | None


def n_drawn(n_qubits: int) -> int:
    """Return how many images to draw shots for."""
    return max(MIN_IMAGES, min(MAX_IMAGES, MAX_OUTCOMES >> n_qubits))


def measure_agreement(
    counts: NDArray[np.int64],
    labels: NDArray[np.int64] | None,
    spec: ModelSpec,
    parameters: HeadParameters,
    *,
    shots: int,
    seed: int = 0,
) -> Measured:
    """Return agreement with the exact class, and accuracy, for a grid of shots and for ``shots``.

    Shots are drawn from the exact state vector's probabilities, without any device's noise.

    Args:
        counts: (N, F) spike counts of the encoder.
        labels: (N,), or None if they are not known.
        spec: of the model.
        parameters: of its head.
        shots: a row beside those of the grid; 0 for none.
        seed: of the shots.

    Raises:
        DeviceError: the circuit is too wide to draw shots from.
    """
    exact = _classes(counts, spec, parameters, shots=None, seed=None)
    rows = []
    for n_shots in sorted({*GRID, shots} - {0}):
        same, right = [], []
        for repeat in range(N_REPEATS):
            # a stream for each pair: a row does not depend on which others are asked for
            stream = int(np.random.SeedSequence([seed, n_shots, repeat]).generate_state(1)[0])
            classes = _classes(counts, spec, parameters, shots=n_shots, seed=stream)
            same.append(float(np.mean(classes == exact)))
            if labels is not None:
                right.append(float(np.mean(classes == labels)))
        rows.append(
            Agreement(
                shots=n_shots,
                agreement=float(np.mean(same)),
                agreement_std=float(np.std(same, ddof=1)),
                accuracy=float(np.mean(right)) if right else None,
                accuracy_std=float(np.std(right, ddof=1)) if right else None,
            )
        )
    return Measured(tuple(rows), None if labels is None else float(np.mean(exact == labels)))


def _classes(
    counts: NDArray[np.int64], spec: ModelSpec, parameters: HeadParameters, *, shots: int | None, seed: int | None
) -> NDArray[np.intp]:
    angles = counts_to_angles(counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
    entangler: Entangler = spec.head.entangler
    head = StatevectorHead(weights=parameters.weights, entangler=entangler, shots=shots, seed=seed)
    classes: NDArray[np.intp] = readout(head.expectations(angles), parameters, spec.head).argmax(axis=1)
    return classes
