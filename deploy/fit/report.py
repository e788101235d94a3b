"""What `sqdr fit` says, as strict models. None is a number that nobody published, or that was not measured."""

from decimal import Decimal

from sqdr.deploy.plan.report import Mapping, PriceSource
from sqdr.strict import StrictModel

__all__ = [
    "CoreFit",
    "EnergyEstimate",
    "FitReport",
    "LayerFit",
    "Measured",
    "NeuromorphicFit",
    "QuantumFit",
    "Range",
    "TimeEstimate",
    "Violation",
]


class Violation(StrictModel):
    """One broken rule.

    Args:
        rule: its name.
        hardware: the file whose limit it is.
        where: the layer or the gate at fault.
        number: what the bundle needs.
        limit: what the hardware has.
        problem: both in words.
        fix: what to change.
    """

    rule: str
    hardware: str
    where: str
    number: float
    limit: float
    problem: str
    fix: str


class Range(StrictModel):
    """From the least to the most."""

    min: float
    max: float


class Measured(StrictModel):
    """A quantity of each sample: its mean and standard deviation over the samples."""

    mean: float
    std: float


class LayerFit(StrictModel):
    """One layer on the chip.

    Args:
        n_synapses: each by itself, a convolution unrolled; zeros included.
        n_weights: a convolution's kernel once.
        n_stored: what the layer's cores store together.
        synaptic_bytes: of what they store.
        max_fan_in_axons: of one of its cores.
        max_fan_out_axons: of one of its cores.
        max_delay: steps.
        weight_bits: that its weights need.
        state_bits: that current and voltage took on the samples, the sign included.
    """

    name: str
    n_neurons: int
    n_synapses: int
    n_weights: int
    n_stored: int
    synaptic_bytes: int
    n_cores: int
    max_fan_in_axons: int
    max_fan_out_axons: int
    max_delay: int
    weight_bits: int
    state_bits: int
    input_spikes: Measured
    synaptic_operations: Measured
    output_spikes: Measured


class CoreFit(StrictModel):
    """One core; `sqdr.deploy.fit.placement.Core` with the layer's name."""

    layer: str
    chip: int
    first_neuron: int
    n_neurons: int
    n_stored: int
    synaptic_bytes: int
    memory_bytes: int
    fan_in_axons: int
    fan_out_axons: int


class TimeEstimate(StrictModel):
    """Time steps, and seconds where a figure of the chip allows.

    Args:
        steps_per_sample: in a stream of samples, one after another.
        latency_steps: from a sample's first input step to its last output step.
        latency_us: None where no time per step is public.
        barrier_us: what the latency's steps take at least, by the time in which cores wait for each other.
        sources: of the figures.
    """

    steps_per_sample: int
    latency_steps: int
    latency_us: float | None
    barrier_us: Range | None
    sources: tuple[str, ...]


class EnergyEstimate(StrictModel):
    """Nanojoules a sample, from operations counted on real samples; None where no figure is public.

    Args:
        synaptic_nj: of the synaptic operations.
        update_nj: of the neuron updates, from all idle to all active.
        sources: of the figures.
        leaves_out: what the chip takes beside.
    """

    synaptic_nj: float | None
    update_nj: Range | None
    sources: tuple[str, ...]
    leaves_out: str


class NeuromorphicFit(StrictModel):
    """The encoder on one chip or system.

    Args:
        samples: where the samples of the activity are from, and how many.
        convolution_storage: how kernels were taken to be stored.
        neuron_use: neurons placed, of those that the used cores can hold.
        core_use: cores used, of those that the system has.
        memory_use: the fullest core, of a core's memory; None where that is unknown.
        neuron_updates: of one sample: every neuron at every step.
        unknown: what no file gives, and what depends on it.
    """

    hardware: str
    description: str
    samples: str
    n_samples: int
    convolution_storage: str
    layers: tuple[LayerFit, ...]
    cores: tuple[CoreFit, ...]
    n_neurons: int
    n_synapses: int
    n_stored: int
    n_cores: int
    n_cores_available: int
    n_chips: int
    n_chips_available: int
    neuron_use: float
    core_use: float
    memory_use: float | None
    time: TimeEstimate
    synaptic_operations: Measured
    neuron_updates: int
    energy: EnergyEstimate
    violations: tuple[Violation, ...]
    unknown: tuple[str, ...]


class QuantumFit(StrictModel):
    """The circuit on one quantum device or simulator.

    Args:
        depth: of the circuit before mapping, one-qubit gates fused, without the last block's CZ gates.
        n_two_qubit_gates: before mapping, likewise.
        mapping: before and after; None where it was not made.
        success_probability: that no gate and no readout errs, by the published fidelities; None where one is unknown.
        success_sources: of the fidelities.
        agreement_target: share of images that are to keep the class of the exact expectations.
        shots_for_target: without the device's noise; None where it was not found.
        shots_source: which images it is from.
        shots_priced: that the cost is for; None where nothing is priced.
        cost_usd: of one image at those shots: alone, as one task; None where prices are unknown.
        cost_per_thousand_usd: of 1,000 images, packed into program sets where the device takes them.
    """

    hardware: str
    description: str
    n_qubits: int
    n_qubits_available: int
    depth: int
    n_two_qubit_gates: int
    mapping: Mapping | None
    success_probability: float | None
    success_sources: tuple[str, ...]
    agreement_target: float
    shots_for_target: int | None
    shots_source: str
    shots_priced: int | None
    cost_usd: Decimal | None
    cost_per_thousand_usd: Decimal | None
    prices: tuple[PriceSource, ...]
    violations: tuple[Violation, ...]
    warnings: tuple[str, ...]
    unknown: tuple[str, ...]


class FitReport(StrictModel):
    """One bundle on every hardware that was asked for."""

    bundle: str
    neuromorphic: tuple[NeuromorphicFit, ...]
    quantum: tuple[QuantumFit, ...]

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Of all hardware, in the order asked for within each kind."""
        on_chips = (each for chip in self.neuromorphic for each in chip.violations)
        on_devices = (each for device in self.quantum for each in device.violations)
        return (*on_chips, *on_devices)

    @property
    def fits(self) -> bool:
        """Whether no rule is broken."""
        return not self.violations
