"""``sqdr hw``: list hardware files, show one with its sources, print their JSON schema."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sqdr.cli.completion import hardware_names
from sqdr.cli.console import JsonOption, emit_json, output
from sqdr.cli.verbosity import Commands

if TYPE_CHECKING:
    from sqdr.hw_configs import HardwareConfig

__all__ = ["app"]

app = Commands(no_args_is_help=True, help="Hardware files: what each device holds, with the source of every figure.")
FIGURE = {"value", "source", "as_of"}


@app.command("list")
def list_files(json_output: JsonOption = False) -> None:
    """List every hardware file that a name reaches. One of your own in the working folder wins by name.

    Example: sqdr hw list
    """
    from sqdr.hw_configs.catalogue import catalogue

    rows = [
        {
            "name": entry.name,
            "origin": entry.origin,
            "kind": None if entry.hardware is None else entry.hardware.kind,
            "description": None if entry.hardware is None else entry.hardware.description,
            "size": None if entry.hardware is None else _size(entry.hardware),
            "problem": entry.problem,
        }
        for entry in catalogue()
    ]
    if json_output:
        emit_json({"hardware": rows})
        return
    table = Table(title="hardware files", title_justify="left")
    for name in ("name", "kind", "size", "from", "description"):
        table.add_column(name, overflow="fold")
    for row in rows:
        what = row["description"] or f"cannot be used: {row['problem']}"
        cells = (row["name"], row["kind"] or "unknown", row["size"] or "unknown", row["origin"], what)
        table.add_row(*(escape(str(cell)) for cell in cells))
    output().print(table)


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="A name of `sqdr hw list`, or a path ending in .yaml.", autocompletion=hardware_names)
    ],
    json_output: JsonOption = False,
) -> None:
    """Show every figure of one hardware file, with the place and the month it was read.

    Example: sqdr hw show loihi2_oheo_gulch
    """
    from sqdr.hw_configs import load_hardware
    from sqdr.hw_configs.catalogue import origin_of

    hardware = load_hardware(name)
    data = hardware.model_dump(mode="json")
    if json_output:
        emit_json({"origin": origin_of(name), "hardware": data})
        return
    table = Table(title=escape(f"{name}, from {origin_of(name)}"), title_justify="left")
    for column in ("key", "value", "source", "as of"):
        table.add_column(column, overflow="fold")
    for key, value, source, as_of in _rows(data):
        table.add_row(*(escape(cell) for cell in (key, value, source, as_of)))
    output().print(table)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of hardware files.

    Keep it in a file and begin your own with `# yaml-language-server: $schema=<that file>`: an editor then checks
    keys, types and ranges while you write.

    Example: sqdr hw schema > sqdr-hardware.json
    """
    from sqdr.hw_configs.json_schema import packaged_schema

    sys.stdout.write(packaged_schema())


def _size(hardware: "HardwareConfig") -> str:
    from sqdr.hw_configs import Loihi2

    if isinstance(hardware, Loihi2):
        return f"{hardware.n_chips * hardware.n_cores_per_chip.value:,} cores"
    return f"{hardware.n_qubits.value:,} qubits"


def _rows(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, value, source, month) of everything in a dumped hardware file; nested keys are joined by dots."""
    for key, value in data.items():
        if isinstance(value, dict) and set(value) == FIGURE:
            yield f"{prefix}{key}", _shown(value["value"]), value["source"], value["as_of"]
        elif isinstance(value, dict):
            yield from _rows(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", _shown(value), "", ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(_shown(each) for each in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
