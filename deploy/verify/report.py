"""What a verification found, as rows that scripts can read."""

from sqdr.strict import StrictModel

__all__ = ["Difference", "VerifyReport", "VerifyRow"]


class Difference(StrictModel):
    """Where two encoders part first: the first sample, in it the first layer, in it the first step.

    Args:
        sample: number among the samples compared.
        layer: for example ``layer 0 (conv)``; empty if one of the two cannot be looked into.
        neuron: (c, h, w) or (feature,).
        step: time step, from 0.
        source_current: u of the source after the step, in 24-bit units; None if not known.
        target_current: the target's.
        source_voltage: v of the source after the step, 0 where it spiked.
        target_voltage: the target's.
        cause: the likely one.
    """

    sample: int
    layer: str
    neuron: tuple[int, ...]
    step: int
    source_current: int | None = None
    target_current: int | None = None
    source_voltage: int | None = None
    target_voltage: int | None = None
    cause: str


class VerifyRow(StrictModel):
    """One comparison: ``n_different`` of ``n_compared`` values of ``target`` are not ``source``'s.

    Args:
        source: the stage that is trusted.
        target: the stage that is checked.
        what: ``spikes``, ``expectations`` or ``logits``.
        n_samples: images.
        n_compared: values.
        n_different: values that differ; for spikes any difference, else beyond ``criterion``.
        max_abs_difference: over all values.
        criterion: what equal means here.
        seconds: that the target took.
        equal: whether none differs.
        where: the first difference in words.
        difference: the first difference of two encoders, looked into.
    """

    source: str
    target: str
    what: str = "spikes"
    n_samples: int
    n_compared: int
    n_different: int
    max_abs_difference: float
    criterion: str = ""
    seconds: float
    equal: bool
    where: str = ""
    difference: Difference | None = None


class VerifyReport(StrictModel):
    """All comparisons, and the stages that could not be compared here."""

    rows: tuple[VerifyRow, ...]
    skipped: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every comparison that was made came out equal."""
        return all(row.equal for row in self.rows)
