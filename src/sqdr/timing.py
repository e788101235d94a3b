"""The one place that knows how samples are laid out in time on a pipelined spiking network."""

from pydantic import Field, model_validator

from sqdr.strict import StrictModel

__all__ = ["Timing"]


class Timing(StrictModel):
    """How samples are streamed through a network whose layers each add one step of delay.

    Sample n enters at steps ``[n * period, n * period + n_steps)`` and leaves the last layer at
    ``[n_layers + n * period, n_layers + n * period + n_steps)``. Every layer resets once per
    period, each one step later than the layer before it.

    Source: measured on lava-nc 0.10.0 with lava-dl 0.6.0 netx (`reset_interval`, `reset_offset`).
    """

    n_steps: int = Field(ge=1, le=4096)
    period: int = Field(ge=1, le=8192)
    n_layers: int = Field(ge=1, le=1024)
    reset_offset: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _period_holds_sample(self) -> "Timing":
        if self.period < self.n_steps:
            raise ValueError(f"`period` must be at least n_steps {self.n_steps}, got {self.period}")
        return self

    @property
    def n_flush_periods(self) -> int:
        """Blank periods after the last sample until its last output step has left the network."""
        return -(-self.n_layers // self.period)

    def total_steps(self, n_samples: int) -> int:
        """Return the steps that carry ``n_samples`` through, always a multiple of ``period``.

        Anything else would shift the reset phase of the samples that follow.
        """
        return (n_samples + self.n_flush_periods) * self.period

    def output_position(self, step: int) -> tuple[int, int] | None:
        """Return (sample, time step in the sample) of the output at ``step``, or None if blank.

        Args:
            step: steps since the first input step, from 0.
        """
        sample, t = divmod(step - self.n_layers, self.period)
        return (sample, t) if sample >= 0 and t < self.n_steps else None

    def input_position(self, step: int) -> tuple[int, int] | None:
        """Return (sample, time step in the sample) of the input at ``step``, or None if blank."""
        sample, t = divmod(step, self.period)
        return (sample, t) if t < self.n_steps else None
