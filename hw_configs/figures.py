"""Numbers from outside: a limit, a price, a physical constant, each with the place and the month it was read.

So a stale one can be seen and replaced: ``{value: 0.30, source: "https://...", as_of: 2026-11}``. Where no figure is
public, ``{value: unknown, source: "<where it was looked for>", as_of: 2026-11}`` says so.
"""

import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
    model_validator,
)

from sqdr.strict import StrictModel

__all__ = [
    "MAX_COUNT",
    "UNKNOWN",
    "Count",
    "Figure",
    "Money",
    "OptionalFigure",
    "PositiveReal",
    "RealRange",
    "Share",
    "ShotRange",
]

UNKNOWN = "unknown"
MAX_COUNT = 10**12
MAX_MONEY_USD = Decimal(1_000_000)


def _money(value: Any) -> Decimal:
    """Return an amount without a detour through binary: YAML's 0.3 is the Decimal 0.3."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("must be an amount in USD such as 0.30")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("must be an amount in USD such as 0.30") from None
    if not amount.is_finite() or not 0 <= amount <= MAX_MONEY_USD:
        raise ValueError(f"must be an amount in USD from 0 to {MAX_MONEY_USD}")
    return amount


def _month(value: Any) -> Any:
    """Return the text of a date that YAML has already parsed."""
    return value.isoformat() if isinstance(value, datetime.date) else value


def _read_unknown(value: Any) -> Any:
    if value is None:
        raise ValueError(f"must be a figure, or `{UNKNOWN}` where none is public")
    return None if isinstance(value, str) and value == UNKNOWN else value


class _UnknownInSchema:
    """The JSON schema of a value that may be unknown: the value's own, or the word."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        known = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
        return {"anyOf": [*known, {"const": UNKNOWN, "type": "string"}]}


def _write_unknown(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return UNKNOWN if value is None else handler(value)


Value = TypeVar("Value")
Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": int(MAX_MONEY_USD)},
                {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
            ]
        }
    ),
]
Month = Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?$"), BeforeValidator(_month)]
# Strict: YAML's `yes` and "5" are not numbers.
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
PositiveReal = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, gt=0, le=1)]


class Figure(StrictModel, Generic[Value]):
    """A number from outside, with the place and the month it was read."""

    value: Value
    source: str = Field(min_length=3)
    as_of: Month

    def __repr_name__(self) -> str:
        return "Figure"


class OptionalFigure(StrictModel, Generic[Value]):
    """A number from outside that may not be public: None, written ``unknown``."""

    value: Annotated[Value | None, BeforeValidator(_read_unknown), WrapSerializer(_write_unknown), _UnknownInSchema]
    source: str = Field(min_length=3)
    as_of: Month

    def __repr_name__(self) -> str:
        return "OptionalFigure"


class ShotRange(StrictModel):
    """The fewest and the most shots of one circuit."""

    min: Count
    max: Count

    @model_validator(mode="after")
    def _ordered(self) -> "ShotRange":
        if self.min > self.max:
            raise ValueError(f"`min` must be at most `max` {self.max}, got {self.min}")
        return self

    def as_range(self) -> range:
        """Return the numbers of shots that are allowed."""
        return range(self.min, self.max + 1)


class RealRange(StrictModel):
    """The least and the most of a physical quantity."""

    min: PositiveReal
    max: PositiveReal

    @model_validator(mode="after")
    def _ordered(self) -> "RealRange":
        if self.min > self.max:
            raise ValueError(f"`min` must be at most `max` {self.max}, got {self.min}")
        return self
