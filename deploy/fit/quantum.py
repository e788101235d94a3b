"""The circuit on a quantum device: width, depth, mapping, success by published fidelities, shots and cost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqdr.circuit import entangler_pairs
from sqdr.deploy.fit.report import QuantumFit, Violation
from sqdr.deploy.fit.shots import ShotsTarget
from sqdr.deploy.plan.cost import estimate
from sqdr.deploy.plan.lattice import ring_warning
from sqdr.deploy.plan.mapping import map_circuit
from sqdr.deploy.plan.report import Mapping
from sqdr.errors import MissingDependencyError
from sqdr.hw_configs import BraketLocal, BraketQpu, BraketSimulator
from sqdr.specification import HeadSpec

__all__ = ["CIRCUIT_RULES", "circuit_depth", "fit_circuit", "success_probability"]

Hardware = BraketLocal | BraketQpu | BraketSimulator
# One-qubit gates of a qubit in a block: upload and trained.
N_ROTATIONS = 2
THOUSAND = 1000


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What the rules look at."""

    hardware: Hardware
    head: HeadSpec
    target: ShotsTarget


Found = Iterator[tuple[str, float, float, str, str]]
"""(where, number, limit, unit, fix)"""


def qubits_fit(job: _Job) -> Found:
    """The register is as wide as the circuit."""
    limit = job.hardware.n_qubits.value
    if job.head.n_qubits > limit:
        first = f"the gates of qubits {limit:,} to {job.head.n_qubits - 1:,}"
        fix = f"Train with head.n_qubits of at most {limit:,}, or take a larger device."
        yield first, job.head.n_qubits, limit, "qubits", fix


def shots_fit(job: _Job) -> Found:
    """One circuit may have the shots that the target takes."""
    limit = job.hardware.shot_range.stop - 1
    if job.target.shots is not None and job.target.shots > limit:
        fix = "Ask for a lower --agreement, or train for larger margins."
        yield "the measurement", job.target.shots, limit, "shots of one circuit", fix


CIRCUIT_RULES: tuple[Callable[[_Job], Found], ...] = (qubits_fit, shots_fit)
"""In the order in which their violations are listed."""


def fit_circuit(head: HeadSpec, hardware: Hardware, target: ShotsTarget) -> QuantumFit:
    """Return what the circuit takes on a device, and every rule that it breaks.

    Args:
        head: of the model.
        hardware: the device.
        target: the shots that keep the wanted share of classes.
    """
    job = _Job(hardware=hardware, head=head, target=target)
    mapping, unknown = _mapping(hardware, head)
    probability, sources, reason = success_probability(hardware, head, mapping)
    shots = None if target.shots is None else max(target.shots, hardware.shot_range.start)
    one = None if shots is None else estimate(hardware, 1, shots)
    thousand = None if shots is None else estimate(hardware, THOUSAND, shots)
    if one is not None and one.tasks_usd is None:
        unknown.append("cost: the file does not know the prices")
    return QuantumFit(
        hardware=hardware.name,
        description=hardware.description,
        n_qubits=head.n_qubits,
        n_qubits_available=hardware.n_qubits.value,
        depth=circuit_depth(head),
        n_two_qubit_gates=(head.n_blocks - 1) * len(entangler_pairs(head.n_qubits, head.entangler)),
        mapping=mapping,
        success_probability=probability,
        success_sources=sources,
        agreement_target=target.share_kept,
        shots_for_target=target.shots,
        shots_source=target.source,
        shots_priced=shots,
        cost_usd=None if one is None else one.tasks_usd,
        cost_per_thousand_usd=None if thousand is None else thousand.run_usd,
        prices=() if one is None else one.prices,
        violations=_violations(job),
        warnings=_warnings(hardware, head),
        unknown=(*unknown, *([reason] if reason else []), *([target.reason] if target.reason else [])),
    )


def circuit_depth(head: HeadSpec) -> int:
    """Return the depth of the circuit as a processor gets it: upload, trained rotation, and CZ gates in their order.

    Those of the last block are left out, since no result depends on them.
    """
    levels = [0] * head.n_qubits
    for block in range(head.n_blocks):
        levels = [level + N_ROTATIONS for level in levels]
        pairs = entangler_pairs(head.n_qubits, head.entangler) if block < head.n_blocks - 1 else ()
        for first, second in pairs:
            levels[first] = levels[second] = max(levels[first], levels[second]) + 1
    return max(levels)


def success_probability(
    hardware: Hardware, head: HeadSpec, mapping: Mapping | None
) -> tuple[float | None, tuple[str, ...], str]:
    """Return the chance that no gate and no readout errs, the sources of the fidelities, and why there is none.

    It is the product of one fidelity for each gate of the mapped circuit and each qubit's readout, as if errors were
    independent and each spoiled the result. <Z> suffers less: `sqdr error-budget` counts the classes that change.
    """
    if not isinstance(hardware, BraketQpu):
        return None, (), "success probability: a simulator has no published fidelities"
    figures = {} if hardware.fidelities is None else dict(hardware.fidelities)
    values = {name: figure.value for name, figure in figures.items()}
    if not values or any(value is None for value in values.values()):
        lacking = ", ".join(name for name, value in values.items() if value is None) or "all"
        return None, (), f"success probability: fidelities unknown ({lacking})"
    if mapping is None:
        return None, (), "success probability: unknown without the mapped gates"
    sources = tuple(f"{name} fidelity {fig.value:g}: {fig.source}, {fig.as_of}" for name, fig in figures.items())
    chance = (
        values["one_qubit"] ** mapping.n_one_qubit_gates_after
        * values["two_qubit"] ** mapping.n_two_qubit_gates_after
        * values["readout"] ** head.n_qubits
    )
    return chance, sources, ""


def _mapping(hardware: Hardware, head: HeadSpec) -> tuple[Mapping | None, list[str]]:
    if not isinstance(hardware, BraketQpu) or head.n_qubits > hardware.n_qubits.value:
        return None, []
    try:
        made = map_circuit(hardware, head.n_qubits, head.n_blocks, head.entangler)
    except MissingDependencyError as error:
        return None, [f"mapping: {error}"]
    return (None, [f"mapping: {made}"]) if isinstance(made, str) else (made, [])


def _violations(job: _Job) -> tuple[Violation, ...]:
    name = job.hardware.name
    return tuple(
        Violation(
            rule=rule.__name__,
            hardware=name,
            where=where,
            number=number,
            limit=limit,
            problem=f"{where}: needs {number:,} {unit}, {name} has {limit:,}.",
            fix=fix,
        )
        for rule in CIRCUIT_RULES
        for where, number, limit, unit, fix in rule(job)
    )


def _warnings(hardware: Hardware, head: HeadSpec) -> tuple[str, ...]:
    ring = ring_warning(hardware, head.n_qubits, head.entangler) if isinstance(hardware, BraketQpu) else None
    return tuple(warning for warning in (hardware.notice, ring) if warning)
