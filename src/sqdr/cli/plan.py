"""``sqdr plan``."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sqdr.cli.completion import device_names, image_names
from sqdr.cli.console import DataRootOption, JsonOption, emit_json, output, table_of

if TYPE_CHECKING:
    from sqdr.deploy.plan import Plan

__all__ = ["BudgetOption", "plan"]

BudgetOption = Annotated[
    str | None, typer.Option(help="USD. Refuse, before anything is submitted, what is estimated to cost more.")
]


def plan(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    device: Annotated[
        str, typer.Option(help="As of `sqdr run`: a hardware file, an ARN, local:sv, ...", autocompletion=device_names)
    ],
    shots: Annotated[int, typer.Option(help="Per image; 0 for exact, on a simulator.")],
    images: Annotated[int, typer.Option(help="How many images, a circuit each.")],
    budget: BudgetOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="Images to measure accuracy against shots on, such as digits:test; by default the bundle's own.",
            autocompletion=image_names,
        ),
    ] = None,
    canary: Annotated[
        bool, typer.Option(help="Count the canary circuit in every program set, or before the other tasks.")
    ] = True,
    mitigate_readout: Annotated[
        bool, typer.Option("--mitigate-readout", help="Count two calibration circuits.")
    ] = False,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Ask the service for queue and windows; needs credentials, submits nothing."),
    ] = False,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say what a run takes and costs on a device. Submits nothing and needs no credentials.

    Example: sqdr plan digits.sqdr --device braket_iqm_garnet --shots 100 --images 1000 --budget 200
    """
    from sqdr.deploy.heads.compose import calibration_shots
    from sqdr.deploy.plan import plan_run
    from sqdr.deploy.plan.planner import n_extra_circuits

    made = plan_run(
        bundle,
        device,
        shots=shots,
        n_images=images,
        budget_usd=budget,
        source=source,
        data_root=data_root,
        n_extra_circuits_per_task=n_extra_circuits(device, shots, has_canary=canary),
        n_calibration_shots=calibration_shots(shots) if mitigate_readout else 0,
        is_live=ask,
    )
    if json_output:
        emit_json(made.model_dump(mode="json"))
        return
    output().print(table_of(f"{bundle} on {device}: a plan, nothing was submitted", _rows(made)))
    for row in made.cost.prices:
        output().print(f"price: {row.what}, {row.source}, {row.as_of}", markup=False)
    if made.mapping is not None:
        output().print(f"connectivity: {made.mapping.connectivity}", markup=False)
    for line in made.warnings:
        output().print(f"warning: {line}", markup=False)
    for line in made.notes:
        output().print(f"note: {line}", markup=False)


def _rows(made: "Plan") -> list[tuple[str, str]]:
    least = "at least " if made.cost.is_minimum else ""
    sets = "not taken" if made.n_program_sets is None else f"{made.n_program_sets:,}"
    rows = [
        ("circuits", f"{made.n_circuits:,} of {made.n_qubits} qubits"),
        ("tasks without program sets", f"{made.n_tasks:,}"),
        ("program sets", sets),
        ("shots", f"{made.n_shots:,}" if made.shots_per_image else "exact"),
        ("cost without program sets (estimate)", least + _usd(made.cost.tasks_usd)),
    ]
    if made.cost.program_sets_usd is not None:
        rows.append(("cost (estimate)", _usd(made.cost.program_sets_usd)))
    if made.budget_usd is not None:
        rows.append(("budget", _usd(made.budget_usd)))
    rows += [("queue", made.queue), ("execution window", made.execution_window)]
    if made.mapping is not None:
        found = made.mapping
        rows += [
            ("depth, before and after mapping", f"{found.depth_before} -> {found.depth_after}"),
            (
                "two-qubit gates",
                f"{found.n_two_qubit_gates_before} -> {found.n_two_qubit_gates_after} {found.two_qubit_gate}",
            ),
            ("SWAPs added (3 CZ each)", f"{found.n_swaps:g}"),
            ("compiler", found.compiler),
        ]
    if made.exact_accuracy is not None:
        rows.append((f"exact accuracy, {made.n_accuracy_images} {made.accuracy_source}", f"{made.exact_accuracy:.4f}"))
    for row in made.agreement:
        accuracy = "" if row.accuracy is None else f", accuracy {row.accuracy:.3f} +- {row.accuracy_std:.3f}"
        rows.append(
            (f"{row.shots:,} shots: same class as exact", f"{row.agreement:.3f} +- {row.agreement_std:.3f}{accuracy}")
        )
    return rows


def _usd(amount: Decimal | None) -> str:
    from sqdr.money import dollars

    return "unknown" if amount is None else dollars(amount)
