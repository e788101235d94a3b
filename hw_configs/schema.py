"""What a hardware file may say, one model per kind of hardware.

A figure that comes from outside (a limit, a price, a physical constant) is written with the place it
was read in and the month it was read, so that a stale one can be seen and replaced:
``{value: 0.30, source: "https://...", as_of: 2026-11}``.
"""

import datetime
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sqdr.strict import StrictModel

__all__ = [
    "ARN_PATTERN",
    "SCHEMA_VERSION",
    "BraketLocal",
    "BraketQpu",
    "BraketSimulator",
    "Figure",
    "GateNoise",
    "HardwareConfig",
    "LatticeRow",
    "Loihi2",
    "Money",
    "NoiseModel",
    "ProgramSets",
    "QpuPrices",
    "ShotRange",
    "SimulatorPrices",
]

SCHEMA_VERSION = 1

ARN_PATTERN = re.compile(
    r"arn:aws:braket:(?P<region>[a-z0-9-]*)::device/"
    r"(?P<short>(?:qpu|quantum-simulator)/[A-Za-z0-9-]+/[A-Za-z0-9._-]+)"
)
"""A Braket device ARN; region is empty for the managed simulators and for some older QPUs."""

MAX_MONEY_USD = Decimal(1_000_000)


def _money(value: Any) -> Decimal:
    """Return an amount without a detour through binary: YAML's 0.3 is the Decimal 0.3."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("must be an amount in USD such as 0.30")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("must be an amount in USD such as 0.30") from None
    if not amount.is_finite() or not 0 <= amount <= MAX_MONEY_USD:
        raise ValueError(f"must be an amount in USD from 0 to {MAX_MONEY_USD}")
    return amount


def _month(value: Any) -> Any:
    """Return the text of a date that YAML has already parsed."""
    return value.isoformat() if isinstance(value, datetime.date) else value


def _arn(value: str) -> str:
    if ARN_PATTERN.fullmatch(value) is None:
        raise ValueError("must be a Braket device ARN such as arn:aws:braket:::device/qpu/<maker>/<name>")
    return value


Money = Annotated[Decimal, BeforeValidator(_money)]
Month = Annotated[str, BeforeValidator(_month), Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?$")]
Arn = Annotated[str, AfterValidator(_arn), Field(repr=False)]
# Strict: YAML's `yes` and "5" are not numbers.
Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
# The width of a register. More is a mistake, and 2 to its power might not fit in memory.
Bits = Annotated[int, Field(strict=True, ge=1, le=32)]
PositiveReal = Annotated[float, Field(strict=True, gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Value = TypeVar("Value")


class Figure(StrictModel, Generic[Value]):
    """A number from outside, with the place and the month it was read."""

    value: Value
    source: str = Field(min_length=3)
    as_of: Month

    def __repr_name__(self) -> str:
        return "Figure"


class ShotRange(StrictModel):
    """The fewest and the most shots of one circuit."""

    min: Count
    max: Count

    @model_validator(mode="after")
    def _ordered(self) -> "ShotRange":
        if self.min > self.max:
            raise ValueError(f"`min` must be at most `max` {self.max}, got {self.min}")
        return self


class GateNoise(StrictModel):
    """Probabilities of the three one-qubit channels that follow a gate, in this order.

    The upper limits are Braket's own (``braket.circuits.noises``): beyond them a bit flip undoes
    itself, and a depolarizing channel passes the fully mixed state.
    """

    bit_flip: float = Field(default=0.0, strict=True, ge=0, le=0.5)
    depolarizing: float = Field(default=0.0, strict=True, ge=0, le=0.75)
    amplitude_damping: float = Field(default=0.0, strict=True, ge=0, le=1)


class NoiseModel(StrictModel):
    """The noise after every gate, on each qubit that the gate acts on."""

    one_qubit_gate: GateNoise = GateNoise()
    two_qubit_gate: GateNoise = GateNoise()


class _Hardware(StrictModel):
    schema_version: Literal[1]
    name: Name
    description: str = Field(min_length=3)


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

    @model_validator(mode="after")
    def _noise_needs_density_matrix(self) -> "BraketLocal":
        if self.noise is not None and self.simulator == "braket_sv":
            raise ValueError("`noise` needs `simulator: braket_dm` or `sqdr_dm`: a state vector has none")
        return self


class SimulatorPrices(StrictModel):
    """What a managed simulator charges: simulated time, with a minimum per task."""

    per_minute_usd: Figure[Money]
    minimum_seconds: Figure[Count]


class BraketSimulator(_Hardware):
    """A simulator that Amazon Braket runs, reached by ARN."""

    kind: Literal["braket_simulator"]
    arn: Arn
    n_qubits: Figure[Count]
    shots: Figure[ShotRange]
    prices: SimulatorPrices


class QpuPrices(StrictModel):
    """What a quantum processor charges: each task, and each shot."""

    per_task_usd: Figure[Money]
    per_shot_usd: Figure[Money]


class ProgramSets(StrictModel):
    """Several circuits in one task, for one task fee."""

    max_circuits: Figure[Count]


class LatticeRow(StrictModel):
    """One row of a square lattice: the column it starts in, and how many qubits it has."""

    start: Annotated[int, Field(strict=True, ge=0, le=1000)]
    length: Annotated[int, Field(strict=True, ge=1, le=1000)]


class BraketQpu(_Hardware):
    """A quantum processor on Amazon Braket, reached by ARN.

    Args:
        lattice: the rows of a ``square_lattice``, qubits numbered row after row; each is coupled to its
            neighbours in the row and in the column. Without it, `sqdr plan` takes a nearly square one.
    """

    kind: Literal["braket_qpu"]
    arn: Arn
    n_qubits: Figure[Count]
    topology: Figure[Literal["square_lattice", "all_to_all"]]
    lattice: Figure[tuple[LatticeRow, ...]] | None = None
    native_gates: Figure[tuple[Name, ...]]
    shots: Figure[ShotRange]
    program_sets: ProgramSets | None = None
    prices: QpuPrices

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
    energy_per_synaptic_operation_pj: Figure[PositiveReal]


HardwareConfig: TypeAlias = BraketLocal | BraketSimulator | BraketQpu | Loihi2
