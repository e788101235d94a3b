"""``sqdr fit``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sqdr.cli.completion import hardware_names, image_names
from sqdr.cli.console import (
    DataRootOption,
    JsonOption,
    emit_json,
    errors,
    output,
    progress_bar,
    table_of,
    wants_progress,
)
from sqdr.errors import AnswerError
from sqdr.storage import write_atomically

if TYPE_CHECKING:
    from sqdr.deploy.fit.report import FitReport, NeuromorphicFit, QuantumFit, Violation

__all__ = ["fit"]

UNKNOWN = "unknown"


def fit(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    hw: Annotated[
        list[str],
        typer.Option(
            "--hw",
            help="A hardware file, a chip's or a quantum device's; as often as you like.",
            autocompletion=hardware_names,
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="Images to measure on, such as digits:test; by default what the bundle holds.",
            autocompletion=image_names,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first images of --input. Default: 256.")] = None,
    agreement: Annotated[
        float, typer.Option(help="Share of images that are to keep their noiseless class, for the shots.")
    ] = 0.99,
    out: Annotated[Path | None, typer.Option(help="Write the report as JSON to this file, too.")] = None,
    data_root: DataRootOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say whether a bundle fits chips and quantum devices: every violation at once. Exit code 1 if it does not.

    Example: sqdr fit digits.sqdr --hw loihi2_oheo_gulch --hw braket_iqm_garnet
    """
    from sqdr.deploy.fit import fit_bundle

    with progress_bar("measuring activity", wants_progress(json_output)) as progress:
        report = fit_bundle(
            bundle, hw, source=source, limit=limit, agreement=agreement, data_root=data_root, progress=progress
        )
    data = {"fits": report.fits} | report.model_dump(mode="json")
    if out is not None:
        write_atomically(out, (json.dumps(data, indent=2) + "\n").encode())
    if json_output:
        emit_json(data)
    else:
        _show(report)
    if report.fits:
        return
    n_violations = len(report.violations)
    message = f"it does not fit: {n_violations} violation{'s' if n_violations > 1 else ''}, see above"
    if not json_output:
        raise AnswerError(message)
    # standard output has its one JSON object already
    errors().print(f"error: {message}", style="bold red")
    raise typer.Exit(AnswerError.exit_code)


def _show(report: "FitReport") -> None:
    from sqdr.deploy.fit.rows import chip_rows, device_rows

    for chip in report.neuromorphic:
        output().print(_layers(chip))
        output().print(table_of(f"{chip.hardware}: in all", chip_rows(chip)))
        _lines("source", (*chip.energy.sources, *chip.time.sources))
        _lines("left out of the energy", (chip.energy.leaves_out,))
        _lines("unknown", chip.unknown)
    for device in report.quantum:
        rows = [*device_rows(device), *_cost_rows(device)]
        output().print(table_of(f"{device.hardware}: {device.description}", rows))
        prices = tuple(f"{price.what}, {price.source}, {price.as_of}" for price in device.prices)
        _lines("source", (*device.success_sources, *prices))
        _lines("connectivity", () if device.mapping is None else (device.mapping.connectivity,))
        _lines("warning", device.warnings)
        _lines("unknown", device.unknown)
    if report.violations:
        output().print(_violations(report.violations))


def _lines(name: str, lines: tuple[str, ...]) -> None:
    for line in lines:
        output().print(f"{name}: {line}", markup=False)


def _layers(chip: "NeuromorphicFit") -> Table:
    title = f"{chip.hardware}: {chip.description} Spikes and operations: mean a sample"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    columns = ("neurons", "cores", "synapses", "stored", "bytes", "axons in", "axons out", "weight bits", "state bits")
    for name in (*columns, "spikes in", "syn. ops"):
        table.add_column(name, justify="right")
    for layer in chip.layers:
        table.add_row(
            escape(layer.name),
            *(
                f"{number:,}"
                for number in (
                    layer.n_neurons,
                    layer.n_cores,
                    layer.n_synapses,
                    layer.n_stored,
                    layer.synaptic_bytes,
                    layer.max_fan_in_axons,
                    layer.max_fan_out_axons,
                    layer.weight_bits,
                    layer.state_bits,
                )
            ),
            f"{layer.input_spikes.mean:,.0f}",
            f"{layer.synaptic_operations.mean:,.0f}",
        )
    return table


def _cost_rows(device: "QuantumFit") -> list[tuple[str, str]]:
    from sqdr.money import dollars

    if device.shots_priced is None:
        return []
    amounts = ("one image", device.cost_usd), ("1,000 images", device.cost_per_thousand_usd)
    return [
        (f"{what} of {device.shots_priced:,} shots (estimate)", UNKNOWN if amount is None else dollars(amount))
        for what, amount in amounts
    ]


def _violations(found: "tuple[Violation, ...]") -> Table:
    table = Table(title=f"{len(found)} violations", title_justify="left", title_style="bold red")
    for name in ("hardware", "rule", "what is wrong", "fix"):
        table.add_column(name, overflow="fold")
    for each in found:
        table.add_row(*(escape(cell) for cell in (each.hardware, each.rule, each.problem, each.fix)))
    return table
