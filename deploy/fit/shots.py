"""The shots that keep a share of the noiseless classes: one search for all devices of a report."""

from dataclasses import dataclass

import numpy as np

from sqdr.deploy.error_budget.samples import Samples
from sqdr.deploy.error_budget.shot_noise import MAX_EXACT_QUBITS, ShotNoise
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.plan.agreement import measure_agreement, n_drawn
from sqdr.errors import DeviceError
from sqdr.head import HeadParameters, counts_to_angles, readout, readout_matrix
from sqdr.specification import ModelSpec

__all__ = ["ShotsTarget", "find_shots"]

# Probabilities of all images: 32 MiB.
MAX_TABLE = 1 << 22


@dataclass(frozen=True, kw_only=True)
class ShotsTarget:
    """Shots for a share of the classes, without any device's noise.

    Args:
        share_kept: asked for.
        shots: None where none were found.
        source: which images, and how.
        reason: why there are none.
    """

    share_kept: float
    shots: int | None
    source: str
    reason: str = ""


def find_shots(samples: Samples, model: ModelSpec, parameters: HeadParameters, share_kept: float) -> ShotsTarget:
    """Return the shots that keep a share of the classes.

    Up to 12 qubits exactly (`sqdr.deploy.error_budget.shot_noise`), up to 20 the first of a grid of drawn ones.

    Args:
        samples: of real images.
        model: its specification.
        parameters: of its head.
        share_kept: from 0 to 1.
    """
    head, n_qubits = model.head, model.head.n_qubits
    is_exact = n_qubits <= MAX_EXACT_QUBITS
    most = max(1, MAX_TABLE >> n_qubits) if is_exact else n_drawn(n_qubits)
    n = min(len(samples.counts), most)
    counts = samples.counts[np.arange(n) * len(samples.counts) // n]
    source = f"{n:,} of {len(samples.counts):,} {samples.source}"
    nothing = f"shots: not one number up to the largest keeps {share_kept:.4g} of the classes"
    if is_exact:
        angles = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, head)
        exact = StatevectorHead(weights=parameters.weights, entangler=head.entangler)
        classes = readout(exact.expectations(angles), parameters, head).argmax(axis=1)
        chances = ShotNoise(exact.outcome_probabilities(angles), classes, *readout_matrix(parameters, head))
        found = chances.shots_needed(share_kept)
        shots, how = (None if found is None else found[0]), f"{source}, exact bounds"
        return ShotsTarget(share_kept=share_kept, shots=shots, source=how, reason="" if found else nothing)
    try:
        rows = measure_agreement(counts, None, model, parameters, shots=0).rows
    except DeviceError as error:
        return ShotsTarget(share_kept=share_kept, shots=None, source=source, reason=f"shots: unknown. {error}")
    first = next((row.shots for row in rows if row.agreement >= share_kept), None)
    how = f"{source}, drawn, the first of {', '.join(str(row.shots) for row in rows)}"
    return ShotsTarget(share_kept=share_kept, shots=first, source=how, reason="" if first else nothing)
