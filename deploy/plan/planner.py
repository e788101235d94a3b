"""Plan a run: limits first, then counts, cost and budget, mapping, and shots against accuracy."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.circuit import Entangler
from sqdr.deploy.braket.service import BraketService
from sqdr.deploy.heads.base import check_limits
from sqdr.deploy.heads.density_matrix import NAME as DENSITY_MATRIX
from sqdr.deploy.heads.devices import ARN, known_hardware
from sqdr.deploy.heads.statevector import NAME as STATEVECTOR
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.inputs import read_input
from sqdr.deploy.plan.agreement import measure_agreement, n_drawn
from sqdr.deploy.plan.cost import check_budget, estimate, n_program_sets, parse_budget
from sqdr.deploy.plan.lattice import ring_warning
from sqdr.deploy.plan.mapping import map_circuit
from sqdr.deploy.plan.report import CostEstimate, Mapping, Plan
from sqdr.errors import ConfigError, DeviceError, MissingDependencyError
from sqdr.head import HeadParameters
from sqdr.hw_configs import BraketLocal, BraketQpu, BraketSimulator
from sqdr.hw_configs.prices import ProgramSets
from sqdr.hw_configs.schema import ARN_PATTERN
from sqdr.specification import ModelSpec

__all__ = ["check_run_budget", "n_extra_circuits", "plan_run"]

Hardware = BraketLocal | BraketQpu | BraketSimulator
MAX_IMAGES = 10**9
FREE = (STATEVECTOR, DENSITY_MATRIX, "pennylane:default.", "pennylane:lightning.")
ASK = "ask the service"
STORED = "validation images in the bundle"


def plan_run(
    bundle: str | Path,
    device: str,
    *,
    shots: int,
    n_images: int,
    budget_usd: Any = None,
    source: str | None = None,
    data_root: Path | None = None,
    n_extra_circuits_per_task: int = 0,
    n_calibration_shots: int = 0,
    is_live: bool = False,
) -> Plan:
    """Return what classifying ``n_images`` images on a device takes. Submits nothing, needs no credentials.

    Args:
        bundle: folder or ``.sqdr`` file.
        device: ``local:...``, ``pennylane:<name>``, an ARN, or the name or path of a hardware file.
        shots: per image; 0 for exact expectations, where the device has them.
        n_images: how many images, one circuit each.
        budget_usd: an amount that the estimate must not exceed.
        source: images to measure accuracy against shots on, see `sqdr.deploy.inputs.read_input`; None takes the
            validation samples that the bundle holds.
        data_root: where data sets are.
        n_extra_circuits_per_task: circuits beside the images', see `sqdr.deploy.plan.cost.estimate`.
        n_calibration_shots: see there, too.
        is_live: ask the service for queue, windows and status, which needs credentials; still submits nothing.

    Raises:
        CredentialsError, BackendError: the service was asked and did not answer.
        DeviceError: the device is unknown, or cannot run this circuit or these shots.
        ConfigError: a number is out of range, or the budget is no money.
        BudgetError: the estimate is over the budget.
        BundleError: the bundle cannot be read.
    """
    budget = parse_budget(budget_usd)
    _check_count("shots", shots, 0)
    _check_count("n_images", n_images, 1)
    _check_count("n_extra_circuits_per_task", n_extra_circuits_per_task, 0)
    with Bundle.open(bundle) as opened:
        spec, parameters = opened.manifest.model, opened.head_parameters()
        stored = opened.validation() if source is None else None
    head = spec.head
    hardware = known_hardware(device)
    if device == STATEVECTOR:
        StatevectorHead(weights=parameters.weights, entangler=head.entangler, shots=shots or None)
    _check_hardware(device, hardware, head.n_qubits, shots)
    cost = _cost(device, hardware, n_images, shots, n_extra_circuits_per_task, n_calibration_shots)
    check_budget(hardware, cost, budget, n_images, shots, n_extra_circuits_per_task, n_calibration_shots)
    queue, window = _ask(device, hardware) if is_live else (_from_service(hardware),) * 2
    mapping, notes = _mapping(hardware, head.n_qubits, head.n_blocks, head.entangler)
    n_calibrations = 2 if n_calibration_shots else 0
    n_sets = n_program_sets(hardware, n_images, shots, n_extra_circuits_per_task)
    n_of_images = n_images + n_extra_circuits_per_task * (1 if n_sets is None else n_sets)
    plan = Plan(
        bundle=str(bundle),
        device=device,
        n_qubits=head.n_qubits,
        n_images=n_images,
        shots_per_image=shots,
        n_circuits=n_of_images + n_calibrations,
        n_tasks=n_images + n_extra_circuits_per_task + n_calibrations,
        n_program_sets=None if n_sets is None else n_sets + (n_calibrations > 0),
        n_shots=n_of_images * shots + n_calibrations * n_calibration_shots,
        cost=cost,
        budget_usd=budget,
        queue=queue,
        execution_window=window,
        mapping=mapping,
        warnings=_warnings(hardware, head.n_qubits, head.entangler if head.n_blocks > 1 else "none"),
        notes=(*notes, *_cost_notes(cost, hardware, shots)),
    )
    if source is not None:
        from sqdr.deploy.pipeline import open_bundle  # which prices routing by this package

        n_most = min(n_images, n_drawn(head.n_qubits))
        images = read_input(source, spec.encoder.input_shape, data_root)[:n_most]
        with open_bundle(bundle, encoder="integer", device=STATEVECTOR, shots=0) as pipeline:
            counts, labels = pipeline.predict(images.images).counts, images.labels
        return _with_accuracy(plan, source, counts, labels, spec, parameters)
    if stored is None:
        note = "no accuracy against shots: the bundle has no validation samples. Export it again, or pass --input"
        return plan.model_copy(update={"notes": (*plan.notes, note)})
    n = min(len(stored), n_drawn(head.n_qubits))
    chosen = np.arange(n) * len(stored) // n  # evenly: the samples may be sorted by class
    return _with_accuracy(plan, STORED, stored.counts[chosen], stored.labels[chosen], spec, parameters)


def n_extra_circuits(device: str, shots: int, *, has_canary: bool) -> int:
    """Return how many circuits a run adds to the images' of every task: a canary on Amazon Braket."""
    is_paid = isinstance(known_hardware(device), BraketQpu | BraketSimulator) or device.startswith(ARN)
    return 1 if has_canary and is_paid and shots else 0


def check_run_budget(
    device: str,
    *,
    shots: int,
    n_images: int,
    budget_usd: Any,
    n_extra_circuits_per_task: int = 0,
    n_calibration_shots: int = 0,
    has_program_sets: bool = True,
) -> None:
    """Refuse a run whose estimate is over the budget.

    Args:
        device: as of `plan_run`.
        shots: of each circuit; 0 for exact.
        n_images: one circuit each.
        budget_usd: an amount of money.
        n_extra_circuits_per_task: see `sqdr.deploy.plan.cost.estimate`.
        n_calibration_shots: see there, too.
        has_program_sets: pack circuits where the device takes it.

    Raises:
        BudgetError: it is; the message says what would fit.
        ConfigError: the budget is no money, or the device's prices are not known.
    """
    hardware = known_hardware(device)
    cost = _cost(device, hardware, n_images, shots, n_extra_circuits_per_task, n_calibration_shots)
    if not has_program_sets:
        cost = cost.model_copy(update={"program_sets_usd": None})
    check_budget(
        hardware, cost, parse_budget(budget_usd), n_images, shots, n_extra_circuits_per_task, n_calibration_shots
    )


def _with_accuracy(
    plan: Plan,
    source: str,
    counts: NDArray[np.int64],
    labels: NDArray[np.int64] | None,
    spec: ModelSpec,
    parameters: HeadParameters,
) -> Plan:
    try:
        measured = measure_agreement(counts, labels, spec, parameters, shots=plan.shots_per_image)
    except DeviceError as error:
        return plan.model_copy(update={"notes": (*plan.notes, f"no accuracy against shots: {error}")})
    return plan.model_copy(
        update={
            "accuracy_source": source,
            "n_accuracy_images": len(counts),
            "exact_accuracy": measured.exact_accuracy,
            "agreement": measured.rows,
            "notes": (*plan.notes, "accuracy against shots is without the device's noise"),
        }
    )


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_IMAGES:
        raise ConfigError(f"`{name}` must be a whole number from {least} to {MAX_IMAGES}, got {value!r}.")


def _check_hardware(device: str, hardware: Hardware | None, n_qubits: int, shots: int) -> None:
    if device.startswith(ARN) and ARN_PATTERN.fullmatch(device) is None:
        raise DeviceError("`device` must be an ARN such as arn:aws:braket:<region>::device/qpu/<maker>/<name>.")
    if not shots and (isinstance(hardware, BraketQpu) or "device/qpu/" in device):
        raise DeviceError("a quantum processor needs `shots` of at least 1, got 0. Pass for example 1000.")
    if not shots and isinstance(hardware, BraketSimulator) and not hardware.is_exact:
        raise DeviceError(f"{hardware.name} needs `shots` of at least 1, got 0. Pass for example 1000.")
    if hardware is not None:
        range_ = hardware.shot_range
        max_qubits = hardware.n_qubits.value
        check_limits(hardware.name, n_qubits=n_qubits, max_qubits=max_qubits, shots=shots or None, range_=range_)


def _cost(
    device: str, hardware: Hardware | None, n_images: int, shots: int, n_extra: int, n_calibration_shots: int
) -> CostEstimate:
    if hardware is not None:
        return estimate(hardware, n_images, shots, n_extra, n_calibration_shots)
    # another PennyLane plugin, or an ARN without a file, may cost anything
    return CostEstimate(tasks_usd=Decimal(0) if device.startswith(FREE) else None)


def _mapping(
    hardware: Hardware | None, n_qubits: int, n_blocks: int, entangler: Entangler
) -> tuple[Mapping | None, list[str]]:
    """The mapping, or None and why."""
    if not isinstance(hardware, BraketQpu):
        known = hardware is not None
        return None, ["not mapped: a simulator runs the circuit as it is" if known else "not mapped: no hardware file"]
    try:
        made = map_circuit(hardware, n_qubits, n_blocks, entangler)
    except MissingDependencyError as error:
        return None, [f"not mapped: {error}"]
    return (None, [made]) if isinstance(made, str) else (made, [])


def _ask(device: str, hardware: Hardware | None) -> tuple[str, str]:
    """Return the queue and the execution windows, in words, as the service has them now."""
    arn = hardware.arn if isinstance(hardware, BraketQpu | BraketSimulator) else device
    if not arn.startswith(ARN):
        return (_from_service(hardware),) * 2
    service = BraketService(arn)
    facts = service.connect()
    now = facts.status if facts.status != "ONLINE" else "open now" if facts.is_open else "closed now"
    return service.queue(), f"{facts.windows} UTC, {now}"


def _from_service(hardware: Hardware | None) -> str:
    return "none, runs here" if isinstance(hardware, BraketLocal) else ASK


def _warnings(hardware: Hardware | None, n_qubits: int, entangler: Entangler) -> tuple[str, ...]:
    ring = ring_warning(hardware, n_qubits, entangler) if isinstance(hardware, BraketQpu) else None
    notice = None if hardware is None else hardware.notice
    return tuple(warning for warning in (notice, ring) if warning)


def _cost_notes(cost: CostEstimate, hardware: Hardware | None, shots: int) -> list[str]:
    notes = []
    if cost.is_minimum:
        notes.append("the simulator bills by time, at least its minimum for each task: a long circuit costs more")
    if cost.tasks_usd is None:
        notes.append("the cost is unknown: no hardware file has this device's prices")
    if isinstance(hardware, BraketQpu) and hardware.program_sets is not None:
        notes.append(_program_set_note(hardware.program_sets, shots))
    if isinstance(hardware, BraketQpu | BraketSimulator):
        notes.append(
            f"the prices are as old as their dates: a file {hardware.name}.yaml of your own in the working folder wins"
        )
    return notes


def _program_set_note(program_sets: ProgramSets, shots: int) -> str:
    n_circuits = program_sets.capacity(shots)
    if n_circuits == 0:
        return f"no program sets: one circuit of {shots:,} shots is over the total shots of a set"
    return f"a program set holds {n_circuits:,} circuits of {shots:,} shots"
