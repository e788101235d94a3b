"""The JSON schema of a hardware file, for editors, held equal to the models by a test.

An editor with a YAML language server checks a file that begins with
``# yaml-language-server: $schema=<path of schema.json>`` while it is written.
"""

import json
from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from sqdr.hw_configs.schema import HardwareConfig

__all__ = ["json_schema", "packaged_schema", "schema_text"]

NAME = "schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of all kinds of hardware files, made from their models.

    It says what an editor can check: keys, types and ranges. Rules between two keys, such as that a lattice holds
    every qubit, only `sqdr.hw_configs.load_hardware` checks.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[HardwareConfig, Field(discriminator="kind")])
    made = adapter.json_schema(mode="validation")
    definitions = made.pop("$defs")
    # the models of generic figures have names as long as their types: numbered instead
    generic = [name for name in sorted(definitions) if name.startswith(("Figure", "OptionalFigure"))]
    names = {name: f"{name.partition('_')[0]}{index}" for index, name in enumerate(generic)}
    made["$defs"] = {names.get(name, name): body for name, body in sorted(definitions.items())}
    found: dict[str, Any] = _plain(made, names)
    return {"$schema": DIALECT, "title": "sqdr hardware file", **found}


def schema_text() -> str:
    """Return the text of ``hw_configs/schema.json``."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


def packaged_schema() -> str:
    """Return ``hw_configs/schema.json`` as it comes with sqdr."""
    return (files("sqdr.hw_configs") / NAME).read_text(encoding="utf-8")


def _plain(part: Any, names: dict[str, str]) -> Any:
    """Shorten references, leave out titles, which repeat the keys, and what only some versions of pydantic write."""
    if isinstance(part, list):
        return [_plain(each, names) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _plain(value, names) for key, value in part.items() if key != "title" or not isinstance(value, str)}
    reference = made.get("$ref")
    if isinstance(reference, str) and reference.startswith(DEFINITIONS):
        name = reference.removeprefix(DEFINITIONS)
        made["$ref"] = DEFINITIONS + names.get(name, name)
    if len(made.get("allOf", ())) == 1:
        made |= made.pop("allOf")[0]
    if "const" in made:
        made.pop("enum", None)
    if "mapping" in made:  # of the discriminator, which plain JSON schema does not know
        made = {key: value for key, value in made.items() if key != "mapping"}
    return made
