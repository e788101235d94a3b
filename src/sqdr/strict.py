"""Strict configuration models: frozen, unknown keys rejected by name, errors in one line."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sqdr.errors import ConfigError

__all__ = ["StrictModel", "load_yaml", "parse"]

# A configuration is a page or two; anything larger is a mistake or an attack. PyYAML reads about 30 kB a second
# at worst.
MAX_YAML_BYTES = 1 << 16
# The longest value and the most violations that one message shows.
MAX_SHOWN_CHARACTERS = 80
MAX_SHOWN_VIOLATIONS = 10


class StrictModel(BaseModel):
    """Base of every configuration and file-format model: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        valid = list(cls.model_fields)
        for key in data:
            if key not in valid:
                near = difflib.get_close_matches(str(key), valid, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(valid)}."
                raise ValueError(f"unknown key {str(key)!r}; {hint}")
        return data


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], data: Any, source: str) -> Model:
    """Return ``data`` validated as ``model``.

    Args:
        model: the model class to build.
        data: what was read, usually a mapping.
        source: the name of the file or argument that ``data`` came from, for the message.

    Raises:
        ConfigError: one line that names every offending key and the rule it breaks.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """Return a pydantic error as one line: ``key: rule; key: rule``."""
    parts = []
    items = error.errors(include_url=False, include_context=False)
    for item in items[:MAX_SHOWN_VIOLATIONS]:
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        got = item.get("input")
        shown = "" if isinstance(got, dict | list) or item["type"] == "value_error" else f", got {_shortened(got)}"
        parts.append(f"{where + ': ' if where else ''}{message}{shown}")
    if len(items) > MAX_SHOWN_VIOLATIONS:
        parts.append(f"and {len(items) - MAX_SHOWN_VIOLATIONS} more")
    # keys come from the file: no line breaks, and nothing that cannot be printed
    return " ".join("; ".join(parts).encode("utf-8", "backslashreplace").decode("utf-8").split())


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


class _SafeLoader(yaml.SafeLoader):
    """YAML without aliases (no alias bombs or loops) and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.YAMLError(f"expected a mapping, found a {node.id}")
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.YAMLError(f"a key must be a plain word, got {key!r}")
            if key in seen:
                raise yaml.YAMLError(f"key '{key}' is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, kind: str = "configuration") -> Any:
    """Return the content of a YAML file, read safely.

    Args:
        path: the file.
        kind: what the file is, for the message.

    Raises:
        ConfigError: the file is missing, too large, not UTF-8 or not valid YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
        if len(data) > MAX_YAML_BYTES:
            raise ConfigError(f"{kind} {path} is larger than {MAX_YAML_BYTES} bytes. Is it the right file?")
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{kind} {path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{kind} {path} is not UTF-8 text. Is it the right file?") from error
    try:
        return yaml.load(text, Loader=_SafeLoader)
    # PyYAML raises its own error for bad syntax, but KeyError, IndexError or AttributeError for a bad `!!bool x`
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{kind} {path} is not valid YAML: {line}") from error
