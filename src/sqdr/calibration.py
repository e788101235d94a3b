"""What export measured over its calibration samples: how far each layer is from the limits of 24-bit states."""

from typing import Annotated

from pydantic import Field, model_validator

from sqdr.strict import StrictModel

__all__ = ["STATE_LIMIT", "Calibration", "LayerRange", "headroom_bits"]

# Current and voltage are 24-bit signed numbers (lava-nc 0.10.0, lava/proc/lif/models.py).
STATE_LIMIT = (1 << 23) - 1
STATE_BITS = 23


def headroom_bits(max_abs: int) -> int:
    """Return how many times ``max_abs`` can double without leaving 24 bits: floor(log2((2^23 - 1) / max_abs)).

    Args:
        max_abs: largest absolute value of a state, at least 0.

    Returns:
        23 for 0; negative where it has left them.
    """
    if max_abs == 0:
        return STATE_BITS
    if max_abs <= STATE_LIMIT:
        return (STATE_LIMIT // max_abs).bit_length() - 1
    n_limits = -(-max_abs // STATE_LIMIT)  # rounded up
    return -(n_limits - 1).bit_length()


Bits = Annotated[int, Field(le=STATE_BITS)]


class LayerRange(StrictModel):
    """One layer over all calibration samples and time steps.

    Args:
        layer: number and kind, such as "layer 0 (conv)".
        max_abs_current: in 24-bit units.
        max_abs_voltage: in 24-bit units.
        bits_current: see `headroom_bits`.
        bits_voltage: likewise.
        spike_rate: spikes per neuron and step.
        n_silent: neurons that never spiked.
        n_saturated: neurons that spiked at every step.
        n_neurons: of the layer.
    """

    layer: str = Field(max_length=80)
    max_abs_current: int = Field(ge=0)
    max_abs_voltage: int = Field(ge=0)
    bits_current: Bits
    bits_voltage: Bits
    spike_rate: float = Field(ge=0, le=1)
    n_silent: int = Field(ge=0)
    n_saturated: int = Field(ge=0)
    n_neurons: int = Field(ge=1)

    @model_validator(mode="after")
    def _counts_fit(self) -> "LayerRange":
        if self.n_silent + self.n_saturated > self.n_neurons:
            raise ValueError(
                f"`n_silent` {self.n_silent} and `n_saturated` {self.n_saturated} are more than the layer's "
                f"{self.n_neurons} neurons."
            )
        return self


class Calibration(StrictModel):
    """The ranges of all layers.

    Args:
        n_samples: images that were run.
        layers: in the network's order.
    """

    n_samples: int = Field(ge=1)
    layers: tuple[LayerRange, ...] = Field(max_length=1024)
