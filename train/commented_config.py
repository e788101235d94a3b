"""A configuration to start from, as YAML with a comment above every key.

The comments are the docstrings and the limits of the models that read the file, so that they cannot say anything else.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sqdr.errors import ConfigError
from sqdr.plugins import check_plugin, plugin_names
from sqdr.strict import parse
from sqdr.train.config import TrainConfig, packaged_config, packaged_configs
from sqdr.train.encoder.presets import PresetName

__all__ = ["commented_yaml", "field_comments", "starting_config", "starting_presets"]

WIDTH = 100
INDENT = "  "
# The presets of 8x8 images; digits takes them by the second half of the name too.
DIGITS = "digits"
# The limits of `annotated_types`, by the name that holds their number.
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def starting_presets() -> list[str]:
    """Return the names that `starting_config` takes as ``preset``."""
    return list(get_args(PresetName))


def starting_config(data: str, preset: str, root: Path | None = None) -> TrainConfig:
    """Return the configuration to start from: the packaged one of a data set and a preset where there is one.

    Elsewhere, the values are those of the same preset for MNIST, or for digits where the preset is one of digits.

    Args:
        data: a registered data set.
        preset: of the encoder: tiny, small, base for images of 28x28 and 32x32; digits_tiny, digits_small,
            digits_base for images of 8x8.
        root: the data set's folder; None leaves it to SQDR_DATA_DIR.

    Raises:
        ConfigError: no such data set or preset.
    """
    check_plugin("sqdr.datasets", data)
    if preset not in starting_presets():
        raise ConfigError(f"`preset` must be one of {', '.join(starting_presets())}, got '{preset}'.")
    size = preset.removeprefix(f"{DIGITS}_")
    if f"{data}_{size}" in packaged_configs() and (data == DIGITS or size == preset):
        config = packaged_config(f"{data}_{size}")
    else:
        config = packaged_config(preset if size != preset else f"mnist_{preset}")
    changed = {"name": data, "root": None if root is None else str(root)}
    return parse(TrainConfig, config.model_dump() | {"data": changed}, "config")


def commented_yaml(config: TrainConfig, title: str) -> str:
    """Return the configuration as YAML that `sqdr.train.config.load_config` reads back equal.

    Args:
        config: what to write, every key of it.
        title: the comment at the top.
    """
    names = f"Data sets here: {', '.join(plugin_names('sqdr.datasets'))}."
    return "\n".join([*_comment(f"{title} {names}", ""), *_lines(config, ""), ""])


def field_comments(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a model and of its bases say about each field that a file holds."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        _, _, arguments = (base.__doc__ or "").partition("Args:\n")
        entries = re.findall(r"^ {8}(\w+): (.+(?:\n {12,}.+)*)", arguments, flags=re.MULTILINE)
        found |= {name: " ".join(text.replace("``", "").split()) for name, text in entries}
    return {name: found.get(name, "") for name, field in model.model_fields.items() if not field.exclude}


def _lines(model: BaseModel, indent: str) -> Iterator[str]:
    for name, comment in field_comments(type(model)).items():
        field, value = type(model).model_fields[name], getattr(model, name)
        notes = "; ".join(part for part in (_limits(field), _default(field)) if part)
        if not indent:
            yield ""
        yield from _comment(f"{comment.rstrip('.')} ({notes})" if notes else comment, indent)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + INDENT)
        else:
            plain = model.model_dump(mode="json", include={name})
            yield from textwrap.indent(yaml.safe_dump(plain, sort_keys=False), indent).splitlines()


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )


def _limits(field: FieldInfo) -> str:
    """Return what values a field takes, as its type and limits say."""
    choices = _choices(field.annotation)
    if choices:
        return f"one of {', '.join(choices)}" if len(choices) > 1 else ""
    parts = []
    for limit in field.metadata:
        for key, sign in SIGNS.items():
            if (number := getattr(limit, key, None)) is not None:
                parts.append(f"{sign} {number:.6g}" if isinstance(number, float) else f"{sign} {number}")
    return ", ".join(parts)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _default(field: FieldInfo) -> str:
    if field.is_required() or isinstance(field.default, BaseModel):
        return ""
    return f"default {yaml.safe_dump(field.default).split()[0]}"
