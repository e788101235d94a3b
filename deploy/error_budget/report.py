"""What `sqdr error-budget` says, as strict models."""

from sqdr.strict import StrictModel

__all__ = ["BudgetRow", "ErrorBudget", "Interval", "ShotsNeeded"]


class Interval(StrictModel):
    """From the least to the most."""

    low: float
    high: float


class BudgetRow(StrictModel):
    """One source of changes, or several together.

    Args:
        source: ``spikes``, ``shots``, ``noise`` or ``shots and noise``.
        n_images: compared.
        changed: images with another class than the noiseless one, on average over runs: exact bounds, or the same
            number twice where it is certain, or drawn.
        runs: 95% of runs on these images change so many. The same number twice where nothing is random.
        share: 95% interval (Wilson's) of the share that changes among further images of the same kind.
        how: the number was found.
    """

    source: str
    n_images: int
    changed: Interval
    runs: Interval
    share: Interval
    how: str


class ShotsNeeded(StrictModel):
    """The fewest shots that keep a share of the noiseless classes.

    Args:
        source: ``shots`` or ``shots and noise``.
        share_kept: asked for.
        shots: to 3%; None where a million are too few.
        share_found: kept at those shots; at infinitely many shots where there are none.
    """

    source: str
    share_kept: float
    shots: int | None
    share_found: float


class ErrorBudget(StrictModel):
    """How many images change class, and by what.

    Args:
        device: the hardware file of the noise; None for none.
        samples: which images.
        n_spikes_compared: on the golden images, trained model against integer runtime.
        noise: where its figures are from.
        noiseless_accuracy: None without labels.
    """

    bundle: str
    device: str | None
    samples: str
    n_images: int
    n_qubits: int
    shots: int
    noiseless_accuracy: float | None
    n_spikes_compared: int
    n_spikes_different: int
    rows: tuple[BudgetRow, ...]
    shots_needed: tuple[ShotsNeeded, ...]
    noise: tuple[str, ...]
    notes: tuple[str, ...]
