"""Time and energy of one sample, from counted operations and the hardware file's figures."""

from sqdr.deploy.fit.placement import known
from sqdr.deploy.fit.report import EnergyEstimate, Range, TimeEstimate
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.figures import Figure, OptionalFigure
from sqdr.specification import ModelSpec
from sqdr.timing import Timing

__all__ = ["energy_of", "stream_timing", "time_of"]

PJ_PER_NJ = 1e3
NS_PER_US = 1e3
LEAVES_OUT = (
    "spikes between cores and chips, the input's and the output's way on and off the chip, the x86 processors, "
    "static power, and the host"
)


def stream_timing(model: ModelSpec, hardware: Loihi2) -> Timing:
    """Return how samples stream through the chip: the period is T, or the next power of two where it must be one."""
    timing = model.timing
    if not hardware.is_reset_interval_power_of_two:
        return timing
    period = 1 << (timing.n_steps - 1).bit_length()
    return timing.model_copy(update={"period": period})


def time_of(timing: Timing, hardware: Loihi2) -> TimeEstimate:
    """Return steps, and seconds where a figure allows."""
    # a sample's last output step leaves the last layer n_layers steps after its last input step
    latency_steps = timing.n_steps + timing.n_layers
    per_step, barrier = known(hardware.time_per_step_ns), known(hardware.barrier_time_ns)
    return TimeEstimate(
        steps_per_sample=timing.period,
        latency_steps=latency_steps,
        latency_us=None if per_step is None else latency_steps * per_step / NS_PER_US,
        barrier_us=None
        if barrier is None
        else Range(min=latency_steps * barrier.min / NS_PER_US, max=latency_steps * barrier.max / NS_PER_US),
        sources=(
            *_source("a time step", per_step, "ns", hardware.time_per_step_ns),
            *_source(
                "the barrier after a step",
                None if barrier is None else f"{barrier.min:g} to {barrier.max:g}",
                "ns",
                hardware.barrier_time_ns,
            ),
        ),
    )


def energy_of(n_operations: float, n_updates: int, hardware: Loihi2) -> EnergyEstimate:
    """Return the energy of one sample.

    Args:
        n_operations: synaptic operations of a sample, the mean.
        n_updates: neuron updates of a sample.
        hardware: with its figures.
    """
    synaptic = known(hardware.energy_per_synaptic_operation_pj)
    update = known(hardware.energy_per_neuron_update_pj)
    return EnergyEstimate(
        synaptic_nj=None if synaptic is None else n_operations * synaptic / PJ_PER_NJ,
        update_nj=None
        if update is None
        else Range(min=n_updates * update.min / PJ_PER_NJ, max=n_updates * update.max / PJ_PER_NJ),
        sources=(
            *_source("a synaptic operation", synaptic, "pJ", hardware.energy_per_synaptic_operation_pj),
            *_source(
                "a neuron update",
                None if update is None else f"{update.min:g} to {update.max:g}",
                "pJ",
                hardware.energy_per_neuron_update_pj,
            ),
        ),
        leaves_out=LEAVES_OUT if update is not None else f"neuron updates, {LEAVES_OUT}",
    )


def _source(
    what: str,
    value: object,
    unit: str,
    figure: Figure | OptionalFigure | None,  # type: ignore[type-arg]
) -> tuple[str, ...]:
    """Say where a figure is from; nothing where its value is unknown."""
    return () if figure is None or value is None else (f"{what}: {value} {unit}, {figure.source}, {figure.as_of}",)
