"""The part of a version that an export takes, as users and workflows specify it: names, version numbers and text.

`connectors.sinks.shaping` holds the same with the resolved files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from schemas.columns import COLUMN_NAME_PATTERN
from schemas.errors import UserError
from schemas.ids import AudienceName, Version, audience_name

MAX_LISTS: Final = 16
"""Limit on lookup audiences, and on suppression lists: each one is a join of all members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceVersion:
    """A version of an audience in the same tenant. None: the current one, which is pinned when the export starts."""

    audience: AudienceName
    version: Version | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `AUDIENCE[@VERSION]`. Raises `UserError` BAD_SHAPE, BAD_NAME."""
        name, at, number = text.partition("@")
        return cls(audience=audience_name(name), version=_version(number, text) if at else None)

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {"audience": self.audience, "version": self.version}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`, for records of any origin. Raises `UserError` BAD_SHAPE, BAD_NAME."""
        given = _mapping(record, {"audience", "version"}, "an audience")
        number = given.get("version")
        if number is not None and (type(number) is not int or number < 1):
            raise _bad(f"version {str(number)[:40]!r} is not a number from 1")
        name = audience_name(_text(given.get("audience"), "audience"))
        return cls(audience=name, version=None if number is None else Version(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Columns looked up by user id in another audience; null for users who are not members of it."""

    source: AudienceVersion
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `AUDIENCE:column,column[@VERSION]`. Raises `UserError` BAD_SHAPE, BAD_NAME."""
        left, at, number = text.partition("@")
        name, colon, columns = left.partition(":")
        if not colon:
            raise _bad(f"{text[:120]!r} names no columns: write AUDIENCE:column,column[@VERSION]")
        return cls(source=AudienceVersion.parse(name + at + number), columns=column_names(columns))

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {**self.source.as_record(), "columns": list(self.columns)}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises as `AudienceVersion.from_record` does."""
        given = _mapping(record, {"audience", "version", "columns"}, "attributes")
        source = {name: value for name, value in given.items() if name != "columns"}
        return cls(source=AudienceVersion.from_record(source), columns=_texts(given.get("columns"), "columns"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentLists:
    """The number of a consent policy, and the versions of its lists whose members an export leaves out."""

    policy: int
    lists: tuple[AudienceVersion, ...] = ()

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {"policy": self.policy, "lists": [one.as_record() for one in self.lists]}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises as `AudienceVersion.from_record` does."""
        given = _mapping(record, {"policy", "lists"}, "a consent policy")
        policy = given.get("policy")
        if type(policy) is not int or policy < 1:
            raise _bad(f"policy {str(policy)[:40]!r} is not a number from 1")
        lists = tuple(AudienceVersion.from_record(one) for one in _list(given.get("lists"), "lists"))
        return cls(policy=policy, lists=lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportShape:
    """The shape of an export. `where`: a filter (docs/filters.md); `suppress`: audiences whose members are left out.

    `columns`: the exported columns besides the user id (None: all, including looked up ones); `partition_by`: the
    columns that determine the files' folders.
    """

    where: str | None = None
    attributes: tuple[Lookup, ...] = ()
    suppress: tuple[AudienceVersion, ...] = ()
    columns: tuple[str, ...] | None = None
    partition_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("attributes", self.attributes), ("suppress", self.suppress)):
            if len(names) > MAX_LISTS:
                raise _bad(f"{what}: at most {MAX_LISTS} audiences, not {len(names)}")

    @property
    def other_audiences(self) -> tuple[AudienceVersion, ...]:
        """All audiences read besides the exported one, in order."""
        return (*(lookup.source for lookup in self.attributes), *self.suppress)

    def pin_versions(self, pin: Callable[[AudienceVersion], AudienceVersion]) -> "ExportShape":
        """The shape with its audience versions replaced by `pin`."""
        return replace(
            self,
            attributes=tuple(replace(lookup, source=pin(lookup.source)) for lookup in self.attributes),
            suppress=tuple(pin(one) for one in self.suppress),
        )

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "where": self.where,
            "attributes": [lookup.as_record() for lookup in self.attributes],
            "suppress": [one.as_record() for one in self.suppress],
            "columns": None if self.columns is None else list(self.columns),
            "partition_by": list(self.partition_by),
        }

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`; missing keys take their defaults. Raises as `AudienceVersion.from_record` does."""
        given = _mapping(record, set(cls.__dataclass_fields__), "the selection to export")
        where, columns = given.get("where"), given.get("columns")
        return cls(
            where=None if where is None else _text(where, "where"),
            attributes=tuple(Lookup.from_record(one) for one in _list(given.get("attributes", []), "attributes")),
            suppress=tuple(AudienceVersion.from_record(one) for one in _list(given.get("suppress", []), "suppress")),
            columns=None if columns is None else _texts(columns, "columns"),
            partition_by=_texts(given.get("partition_by", []), "partition_by"),
        )


def column_names(text: str) -> tuple[str, ...]:
    """Parse `name,name`. Raises `UserError` BAD_SHAPE for an invalid column name, or one given twice."""
    names = tuple(text.split(","))
    for name in names:
        if not COLUMN_NAME_PATTERN.fullmatch(name):
            raise _bad(f"{name[:80]!r} is not a column name: write name,name")
    if len({name.lower() for name in names}) != len(names):
        raise _bad(f"a column is named twice in {text[:200]!r}")
    return names


def _version(number: str, text: str) -> Version:
    if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
        raise _bad(f"{text[:120]!r}: a version is a number from 1, as in AUDIENCE@3")
    return Version(int(number))


def _mapping(value: object, known: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _bad(f"{what} is {type(value).__name__}, not an object")
    if unknown := sorted(str(name)[:80] for name in value.keys() - known):
        raise _bad(f"{what} has unknown keys: {', '.join(unknown)}")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(f"{what} is {type(value).__name__}, not a list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"{what} is {type(value).__name__}, not a string")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise _bad(f"{what} is not valid Unicode without NUL")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    return tuple(_text(one, what) for one in _list(value, what))


def _bad(why: str) -> UserError:
    return UserError("BAD_SHAPE", f"this cannot be exported: {why}", why=why)
