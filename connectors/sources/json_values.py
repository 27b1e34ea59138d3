"""Convert JSON values to typed columns: the type must fit, and a key must not repeat."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn

import numpy as np
import pyarrow as pa

from connectors.sources.rejects import RejectCode
from connectors.sources.typed_columns import Converted, convert_text
from schemas.arrow import ARROW_TYPES
from schemas.columns import Column, ColumnType
from schemas.json_keys import duplicate_key

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
Shape = ColumnType | Literal["null"] | None
"""First type of a member; None for one that cannot be kept, "null" while only nulls have been seen."""


class Refused(Exception):  # noqa: N818  # carries a reject, is no error
    """Reason to reject a line; caught where the line is checked."""

    def __init__(self, code: RejectCode, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.column = column


def converted(values: list[Any], column: Column, timezone: str | None) -> Converted:
    """Convert the values of one column; values of another JSON type, or that do not convert, are bad."""
    fits = _FITS[column.type]
    kept = [v if v is None or fits(v) else None for v in values]
    wrong = np.array([k is None and v is not None for k, v in zip(kept, values, strict=True)])
    if column.type in ("date", "timestamp"):
        texts = convert_text(pa.array(kept, pa.string()), column, (), timezone)
        bad = wrong if texts.bad is None else wrong | texts.bad
        return Converted(texts.values, bad if bad.any() else None, texts.unclear)
    if column.type == "double":
        kept = [None if v is None else float(v) for v in kept]
    return Converted(pa.array(kept, ARROW_TYPES[column.type]), wrong if wrong.any() else None)


def _is_double(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= 2**53 or (abs(value) < 2**1023 and int(float(value)) == value)
    return type(value) is float and math.isfinite(value)


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda v: isinstance(v, str),
    "long": lambda v: type(v) is int and LONG_MIN <= v <= LONG_MAX,
    "double": _is_double,
    "boolean": lambda v: isinstance(v, bool),
    "date": lambda v: isinstance(v, str),
    "timestamp": lambda v: isinstance(v, str),
}


def shape_of(value: object) -> Shape:
    """Type that a single value of a member suggests."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "long"
        case float():
            return "double"
        case str():
            return "string"
        case _:
            return None


def wider(one: Shape, other: Shape) -> Shape:
    """The shape that holds both; None if there is none."""
    if other in (one, "null"):
        return one
    if one == "null":
        return other
    return "double" if {one, other} == {"long", "double"} else None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Members of a JSON object. Raises `Refused` DUPLICATE_KEY."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refused(RejectCode.DUPLICATE_KEY, f"the key {duplicate_key(pairs)[:80]!r} occurs more than once")
    return members


def no_constant(word: str) -> NoReturn:
    """Refuse NaN, Infinity and -Infinity, which Python accepts and JSON does not have."""
    raise Refused(RejectCode.BAD_JSON, f"{word} is not JSON")


def shown(value: object) -> str:
    """A value as text for a reject's reason."""
    return value if isinstance(value, str) else json.dumps(value)[:200]
