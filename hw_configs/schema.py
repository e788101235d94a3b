"""What a hardware file may say, one model per kind of hardware. Its figures: `sqdr.hw_configs.figures`."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from sqdr.hw_configs.figures import (
    MAX_COUNT,
    Count,
    Figure,
    Money,
    OptionalFigure,
    PositiveReal,
    RealRange,
    Share,
    ShotRange,
)
from sqdr.hw_configs.prices import ProgramSets, QpuPrices, SimulatorPrices
from sqdr.strict import StrictModel

__all__ = [
    "ARN_PATTERN",
    "SCHEMA_VERSION",
    "BraketLocal",
    "BraketQpu",
    "BraketSimulator",
    "Fidelities",
    "Figure",
    "GateNoise",
    "HardwareConfig",
    "LatticeRow",
    "Loihi2",
    "Money",
    "NoiseModel",
    "OptionalFigure",
    "ProgramSets",
    "QpuPrices",
    "ReadoutNoise",
    "ShotRange",
    "SimulatorPrices",
]

SCHEMA_VERSION = 1

ARN_PATTERN = re.compile(
    r"arn:aws:braket:(?P<region>[a-z0-9-]*)::device/"
    r"(?P<short>(?:qpu|quantum-simulator)/[A-Za-z0-9-]+/[A-Za-z0-9._-]+)"
)
"""A Braket device ARN; region is empty for the managed simulators and for some older QPUs."""


def _arn(value: str) -> str:
    if ARN_PATTERN.fullmatch(value) is None:
        raise ValueError("must be a Braket device ARN such as arn:aws:braket:::device/qpu/<maker>/<name>")
    return value


# JSON schema has no names of groups.
ARN_SCHEMA = {"pattern": f"^{re.sub(r'[?]P<[a-z]+>', '', ARN_PATTERN.pattern)}$"}
Arn = Annotated[str, AfterValidator(_arn), Field(repr=False, json_schema_extra=ARN_SCHEMA)]
# The width of a register. More is a mistake, and 2 to its power might not fit in memory.
Bits = Annotated[int, Field(strict=True, ge=1, le=32)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class GateNoise(StrictModel):
    """Probabilities of the five one-qubit channels that follow a gate, in this order.

    The upper limits are Braket's own (``braket.circuits.noises``): beyond them a flip undoes
    itself, and a depolarizing channel passes the fully mixed state.
    """

    bit_flip: float = Field(default=0.0, strict=True, ge=0, le=0.5)
    phase_flip: float = Field(default=0.0, strict=True, ge=0, le=0.5)
    depolarizing: float = Field(default=0.0, strict=True, ge=0, le=0.75)
    amplitude_damping: float = Field(default=0.0, strict=True, ge=0, le=1)
    phase_damping: float = Field(default=0.0, strict=True, ge=0, le=1)


class ReadoutNoise(StrictModel):
    """Probabilities that a qubit in 0 is read as 1, and one in 1 as 0, each qubit by itself.

    At most 0.5: beyond it the two outcomes have changed their names.
    """

    p1_given_0: float = Field(default=0.0, strict=True, ge=0, le=0.5)
    p0_given_1: float = Field(default=0.0, strict=True, ge=0, le=0.5)


class NoiseModel(StrictModel):
    """The noise after every gate, on each qubit that the gate acts on, and that of the measurement."""

    one_qubit_gate: GateNoise = GateNoise()
    two_qubit_gate: GateNoise = GateNoise()
    readout: ReadoutNoise = ReadoutNoise()


class _Hardware(StrictModel):
    # notice: what to know before a run, such as a device that is retired; `sqdr plan` shows it
    schema_version: Literal[1]
    name: Name
    description: str = Field(min_length=3)
    notice: str | None = Field(default=None, min_length=3)


class BraketLocal(_Hardware):
    """A simulator that runs on this machine, free of charge.

    Args:
        simulator: ``braket_sv`` and ``braket_dm`` are the Braket SDK's state vector and density matrix;
            ``sqdr_dm`` is the same noise in NumPy (`sqdr.deploy.heads.density_matrix`).
        n_qubits: the widest circuit to take.
        shots: of one circuit.
        noise: None for none.
    """

    kind: Literal["braket_local"]
    simulator: Literal["braket_sv", "braket_dm", "sqdr_dm"]
    n_qubits: Figure[Count]
    shots: Figure[ShotRange]
    noise: NoiseModel | None = None

    @property
    def shot_range(self) -> range:
        """The shots that one circuit may have."""
        return self.shots.value.as_range()

    @model_validator(mode="after")
    def _noise_needs_density_matrix(self) -> "BraketLocal":
        if self.noise is not None and self.simulator == "braket_sv":
            raise ValueError("`noise` needs `simulator: braket_dm` or `sqdr_dm`: a state vector has none")
        return self


class _Paid(_Hardware):
    """Hardware on Amazon Braket, reached by ARN."""

    arn: Arn
    n_qubits: Figure[Count]
    shots: OptionalFigure[ShotRange]

    @property
    def shot_range(self) -> range:
        """The shots that one circuit may have; any number where the file does not know."""
        return range(1, MAX_COUNT + 1) if self.shots.value is None else self.shots.value.as_range()


class BraketSimulator(_Paid):
    """A simulator that Amazon Braket runs.

    Args:
        is_exact: it gives exact expectations when asked for no shots.
    """

    kind: Literal["braket_simulator"]
    is_exact: bool = Field(default=True, strict=True)
    prices: SimulatorPrices


class Fidelities(StrictModel):
    """Typical fidelities, from 0 to 1: one number for the device, a median or mean as the source says.

    Args:
        one_qubit: of a native one-qubit gate.
        two_qubit: of a native two-qubit gate.
        readout: of the measurement of one qubit, with its preparation where the maker gives both as one.
    """

    one_qubit: OptionalFigure[Share]
    two_qubit: OptionalFigure[Share]
    readout: OptionalFigure[Share]


class LatticeRow(StrictModel):
    """One row of a square lattice: the column it starts in, and how many qubits it has."""

    start: Annotated[int, Field(strict=True, ge=0, le=1000)]
    length: Annotated[int, Field(strict=True, ge=1, le=1000)]


class BraketQpu(_Paid):
    """A quantum processor on Amazon Braket.

    Args:
        lattice: the rows of a ``square_lattice``, qubits numbered row after row; each is coupled to its
            neighbours in the row and in the column. Without it, `sqdr plan` takes a nearly square one.
        program_sets: None for a device that takes none.
        fidelities: None where nobody looked for them.
    """

    kind: Literal["braket_qpu"]
    topology: OptionalFigure[Literal["square_lattice", "all_to_all"]]
    lattice: Figure[tuple[LatticeRow, ...]] | None = None
    native_gates: OptionalFigure[tuple[Name, ...]]
    program_sets: ProgramSets | None = None
    prices: QpuPrices
    fidelities: Fidelities | None = None

    @model_validator(mode="after")
    def _lattice_holds_every_qubit(self) -> "BraketQpu":
        if self.lattice is None:
            return self
        if self.topology.value != "square_lattice":
            raise ValueError("`lattice` needs `topology: square_lattice`")
        n_places = sum(row.length for row in self.lattice.value)
        if n_places != self.n_qubits.value:
            raise ValueError(f"`lattice` must have the {self.n_qubits.value} qubits of `n_qubits`, got {n_places}")
        return self


class Loihi2(_Hardware):
    """A Loihi 2 chip, or its bit-accurate simulation in Lava; `sqdr.export.rules` holds networks to it.

    Args:
        state_bits: of current and voltage, signed.
        decay_bits: of both decays, unsigned.
        threshold_bits: of the mantissa, unsigned, as stored 6 bits below the voltage's units.
        bias_mantissa_bits: signed, the sign included.
        bias_exponent_bits: unsigned.
        weight_bits: the sign included; signed weights count twice (a step of 2).
        delay_bits: of a synapse's delay in steps, unsigned.
        core_memory_bytes: of a core, shared by synapses, neuron states and routing tables.
        synaptic_memory_bytes_per_core: of a core, for synapses alone.
        n_fan_in_axons_per_core: sources of spikes that a core can tell apart.
        n_fan_out_axons_per_core: pairs of a neuron on the core and a core that it sends its spikes to.
        convolution_storage: ``shared``: a core stores a kernel once; ``unrolled``: every synapse by itself.
        energy_per_neuron_update_pj: of one neuron in one time step, idle to active.
        barrier_time_ns: by which all cores wait for each other at the end of a time step; no step is shorter.
        time_per_step_ns: of a whole time step.

    The figures from `core_memory_bytes` on may be left out, which means unknown.
    """

    kind: Literal["loihi2"]
    is_simulated: bool = Field(strict=True)
    is_reset_interval_power_of_two: bool = Field(strict=True)
    n_chips: Count
    n_cores_per_chip: Figure[Count]
    n_neurons_per_core: Figure[Count]
    n_synapses_per_chip: Figure[Count]
    state_bits: Figure[Bits]
    decay_bits: Figure[Bits]
    threshold_bits: Figure[Bits]
    bias_mantissa_bits: Figure[Bits]
    bias_exponent_bits: Figure[Bits]
    weight_bits: Figure[Bits]
    delay_bits: Figure[Bits]
    energy_per_synaptic_operation_pj: OptionalFigure[PositiveReal]
    core_memory_bytes: OptionalFigure[Count] | None = None
    synaptic_memory_bytes_per_core: OptionalFigure[Count] | None = None
    n_fan_in_axons_per_core: OptionalFigure[Count] | None = None
    n_fan_out_axons_per_core: OptionalFigure[Count] | None = None
    convolution_storage: OptionalFigure[Literal["shared", "unrolled"]] | None = None
    energy_per_neuron_update_pj: OptionalFigure[RealRange] | None = None
    barrier_time_ns: OptionalFigure[RealRange] | None = None
    time_per_step_ns: OptionalFigure[PositiveReal] | None = None


HardwareConfig: TypeAlias = BraketLocal | BraketSimulator | BraketQpu | Loihi2
