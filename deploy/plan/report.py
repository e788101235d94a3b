"""What a plan says, as strict models."""

from decimal import Decimal

from sqdr.strict import StrictModel

__all__ = ["Agreement", "CostEstimate", "Mapping", "Plan", "PriceSource"]


class PriceSource(StrictModel):
    """Where a price was read, and when."""

    what: str
    source: str
    as_of: str


class CostEstimate(StrictModel):
    """An estimate in USD; None where it is not known.

    Args:
        tasks_usd: every circuit a task of its own, which `sqdr run --tasks` submits.
        program_sets_usd: as few program sets as hold the circuits; None where the device takes none.
        is_minimum: the device bills by time, and this is the minimum that it bills for each task.
        prices: of the hardware file.
    """

    tasks_usd: Decimal | None
    program_sets_usd: Decimal | None = None
    is_minimum: bool = False
    prices: tuple[PriceSource, ...] = ()

    @property
    def run_usd(self) -> Decimal | None:
        """What `sqdr run` submits: program sets where the device takes them, else tasks."""
        return self.tasks_usd if self.program_sets_usd is None else self.program_sets_usd


class Mapping(StrictModel):
    """One circuit before and after a compiler fits it to the device.

    Args:
        compiler: name, version, level and seed.
        connectivity: where the coupled pairs of qubits are from.
        two_qubit_gate: the native one that is counted after mapping.
        n_one_qubit_gates_after: without ``rz``, which superconducting devices keep in the phase of later pulses.
        n_swaps: SWAPs added: two-qubit gates after less those before, in threes, for a SWAP is three CZ.
            A SWAP next to a CZ of the same pair costs less than three.
    """

    compiler: str
    connectivity: str
    two_qubit_gate: str
    depth_before: int
    depth_after: int
    n_two_qubit_gates_before: int
    n_two_qubit_gates_after: int
    n_one_qubit_gates_after: int
    n_swaps: float


class Agreement(StrictModel):
    """How often shots give the class of the exact expectations, over images and repeats.

    Args:
        agreement: mean over the repeats.
        agreement_std: standard deviation over the repeats.
        accuracy: mean, against the labels; None without labels.
        accuracy_std: its standard deviation.
    """

    shots: int
    agreement: float
    agreement_std: float
    accuracy: float | None
    accuracy_std: float | None


class Plan(StrictModel):
    """A run on one device. Nothing was submitted and nobody was asked.

    Args:
        n_tasks: when every circuit is a task of its own.
        n_program_sets: when they are packed; None where the device takes no program sets.
        n_shots: of all circuits; 0 is an exact run.
        mapping: None where it was not made; `notes` says why.
        accuracy_source: which images `agreement` is from; None without any.
        agreement: empty without images.
        exact_accuracy: of the exact expectations on the images that `agreement` is from.
    """

    bundle: str
    device: str
    n_qubits: int
    n_images: int
    shots_per_image: int
    n_circuits: int
    n_tasks: int
    n_program_sets: int | None
    n_shots: int
    cost: CostEstimate
    budget_usd: Decimal | None
    queue: str
    execution_window: str
    mapping: Mapping | None
    accuracy_source: str | None = None
    n_accuracy_images: int = 0
    exact_accuracy: float | None = None
    agreement: tuple[Agreement, ...] = ()
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
