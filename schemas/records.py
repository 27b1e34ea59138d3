"""Records: frozen dataclasses as plain JSON data, for columns, files and messages that only Muster writes.

A record is an object with a key per field. `Digest`s and times are texts (times in ISO 8601), and an enum is its value.
Input from outside (specs, requests, manifests) is parsed by its own class instead, which tells its author what to fix.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, ClassVar, Final, Protocol, TypeGuard, TypeVar, cast, runtime_checkable

import msgspec

from schemas.digest import Digest
from schemas.errors import FatalError

ValueT = TypeVar("ValueT")
_QUOTED: Final = re.compile(r" (['\"]).*\1", re.DOTALL)
"""A value in msgspec's message, which does not belong in logs; names of fields are in backticks."""


class WithFields(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@runtime_checkable
class WithRecord(Protocol):
    """A value whose record is more or less than its fields."""

    def as_record(self) -> Any:
        """Plain JSON data."""


def as_record(value: WithFields | WithRecord) -> dict[str, Any]:
    """A value as plain JSON data: what its own method `as_record` says, else its fields."""
    if _has_own(type(value)):
        record: dict[str, Any] = cast(WithRecord, value).as_record()
        return record
    return fields_record(cast(WithFields, value))


def fields_record(value: WithFields) -> dict[str, Any]:
    """The fields of a value as plain JSON data, for methods `as_record` that change or add some."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def from_record(cls: type[ValueT], record: object) -> ValueT:
    """Inverse of `as_record`. Missing keys take their defaults, unknown ones are ignored, numbers are not texts.

    Raises `FatalError` CORRUPT_RECORD with the path to the fault, not the value, and what `__post_init__` raises.
    """
    try:
        return msgspec.convert(record, cls, dec_hook=_scalar)
    except msgspec.ValidationError as exc:
        why = _QUOTED.sub("", str(exc))
        raise FatalError(
            "CORRUPT_RECORD", f"a record of {cls.__name__} does not fit: {why}", record=cls.__name__
        ) from exc


def _plain(value: object) -> Any:
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case Digest() | PurePath():
            return str(value)
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return as_record(value) if _has_record(value) else value


def _has_record(value: object) -> TypeGuard[WithFields | WithRecord]:
    own = _has_own(type(value))  # type: ignore[arg-type]  # classes are hashable
    return own or (is_dataclass(value) and not isinstance(value, type))


@cache
def _has_own(cls: type) -> bool:
    """Whether values of a class write their own record. Kept for each class: a check of a protocol takes 0.1 ms."""
    return issubclass(cls, WithRecord)


def _scalar(of: type, text: object) -> Any:
    """A `Digest` or path from its text. msgspec adds the path to a ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"Expected `str`, got `{type(text).__name__}`")
    if of is Digest:
        try:
            return Digest.parse(text)
        except ValueError as exc:
            raise ValueError("Expected a digest") from exc
    return of(text)
