"""A small JSON schema validator for tests: the keywords that ``hw_configs/schema.json`` uses, and no others."""

import re
from typing import Any

__all__ = ["KEYWORDS", "is_valid"]

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
KEYWORDS = {
    *("$ref", "anyOf", "oneOf", "const", "enum", "type", "properties", "required", "additionalProperties", "items"),
    *("pattern", "minLength", "minimum", "maximum", "exclusiveMinimum"),
    *("$defs", "$schema", "title", "description", "default", "discriminator"),  # say nothing about the value
}


def is_valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value keeps a schema whose references point into ``root``."""
    unknown = set(schema) - KEYWORDS
    assert not unknown, f"the validator lacks {unknown}"
    if "$ref" in schema:
        return is_valid(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            n_valid = sum(is_valid(value, each, root) for each in schema[keyword])
            return n_valid >= 1 if keyword == "anyOf" else n_valid == 1
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    return _has_type(value, schema) and _in_range(value, schema) and _parts_are_valid(value, schema, root)


def _has_type(value: Any, schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    if kind is None:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    return isinstance(value, TYPES[kind])


def _in_range(value: Any, schema: dict[str, Any]) -> bool:
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None and len(value) >= schema.get("minLength", 0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        return bool(inside and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]))
    return True


def _parts_are_valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if isinstance(value, list):
        return all(is_valid(each, schema.get("items", {}), root) for each in value)
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    if set(schema.get("required", ())) - set(value) or (
        schema.get("additionalProperties") is False and set(value) - set(known)
    ):
        return False
    return all(is_valid(each, known.get(key, {}), root) for key, each in value.items())
