"""How many shots are enough: classes from drawn shots against those of the exact expectations."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sqdr.circuit import Entangler
from sqdr.data import Images
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.pipeline import open_bundle
from sqdr.deploy.plan.report import Agreement
from sqdr.head import counts_to_angles, readout

__all__ = ["GRID", "Measured", "measure_agreement"]

GRID = (10, 30, 100, 300, 1000)
N_REPEATS = 10


class Measured(NamedTuple):
    """Rows for rising shots, and the accuracy of the exact expectations (None without labels)."""

    rows: tuple[Agreement, ...]
    exact_accuracy: float | None


def measure_agreement(bundle: Path, images: Images, shots: int, seed: int = 0) -> Measured:
    """Return agreement with the exact class, and accuracy, for a grid of shots and for ``shots``.

    The integer encoder and the exact state vector give each image's probabilities; shots are drawn from
    them, without any device's noise.

    Raises:
        DeviceError: the circuit is too wide to draw shots from.
    """
    with open_bundle(bundle, encoder="integer", device="local:sv", shots=0) as pipeline:
        exact = pipeline.predict(images.images)
        spec, parameters = pipeline.bundle.manifest.model, pipeline.bundle.head_parameters()
    angles = counts_to_angles(exact.counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
    entangler: Entangler = spec.head.entangler
    rows = []
    for n_shots in sorted({*GRID, shots} - {0}):
        same, right = [], []
        for repeat in range(N_REPEATS):
            # a stream for each pair: a row does not depend on which others are asked for
            stream = int(np.random.SeedSequence([seed, n_shots, repeat]).generate_state(1)[0])
            head = StatevectorHead(weights=parameters.weights, entangler=entangler, shots=n_shots, seed=stream)
            classes = readout(head.expectations(angles), parameters, spec.head).argmax(axis=1)
            same.append(float(np.mean(classes == exact.predicted)))
            if images.labels is not None:
                right.append(float(np.mean(classes == images.labels)))
        rows.append(
            Agreement(
                shots=n_shots,
                agreement=float(np.mean(same)),
                agreement_std=float(np.std(same, ddof=1)),
                accuracy=float(np.mean(right)) if right else None,
                accuracy_std=float(np.std(right, ddof=1)) if right else None,
            )
        )
    labels = images.labels
    return Measured(tuple(rows), None if labels is None else float(np.mean(exact.predicted == labels)))
