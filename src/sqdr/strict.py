"""Strict configuration models: frozen, unknown keys rejected by name, errors in one line."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sqdr.errors import ConfigError

__all__ = ["StrictModel", "load_yaml", "parse"]

# A configuration is a page or two; anything larger is a mistake or an attack.
MAX_YAML_BYTES = 1 << 20


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
                raise ValueError(f"unknown key '{key}'; {hint}")
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
    for item in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        got = item.get("input")
        shown = "" if isinstance(got, dict | list) or item["type"] == "value_error" else f", got {got!r}"
        parts.append(f"{where + ': ' if where else ''}{message}{shown}")
    return "; ".join(parts)


class _SafeLoader(yaml.SafeLoader):
    """YAML without aliases (no alias bombs or loops) and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.YAMLError(f"a key must be a plain word, got {key!r}")
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' is given twice")
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
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ConfigError(f"{kind} {path} is larger than {MAX_YAML_BYTES} bytes. Is it the right file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{kind} {path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{kind} {path} is not UTF-8 text. Is it the right file?") from error
    try:
        return yaml.load(text, Loader=_SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{kind} {path} is not valid YAML: {line}") from error
