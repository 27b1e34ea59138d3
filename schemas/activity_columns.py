"""Columns of event and profile files and chunks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from schemas.columns import Column, ColumnType, ImportKind
from schemas.errors import UserError

EVENT: Final = "event"
OCCURRED_AT: Final = "occurred_at"
EVENT_ID: Final = "event_id"
DELETED: Final = "deleted"

NAME_MAX_CHARACTERS: Final = 255
"""For names of events, properties and attributes, and for event ids."""
EVENT_COLUMNS: Final = (Column(name=EVENT, type="string"), Column(name=OCCURRED_AT, type="timestamp"))
"""Columns of every event after its user id; then its id, if the source has ids, then its properties."""
EVENT_ID_COLUMN: Final = Column(name=EVENT_ID, type="string")
DELETED_COLUMN: Final = Column(name=DELETED, type="boolean")
"""Optional column of profile sources after the user id: true if the row removes all attributes, and sets none."""
PROPERTY_TYPES: Final[tuple[ColumnType, ...]] = ("double", "string", "boolean")
"""Types of event properties: those that a rule can compare."""
ATTRIBUTE_TYPES: Final[tuple[ColumnType, ...]] = (*PROPERTY_TYPES, "date", "timestamp")
"""Types of profile attributes."""


def is_fixed(kind: ImportKind, name: str) -> bool:
    """True if a column in files of this kind has a fixed meaning, and is not a property or attribute."""
    return name in ({EVENT, OCCURRED_AT, EVENT_ID} if kind == "events" else {DELETED})


def columns_of(kind: ImportKind, given: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of an import spec of this kind: the given ones, with the fixed ones in their places."""
    if kind == "audience":
        return tuple(given)
    if kind == "profiles":
        deleted = [replace(column, type=DELETED_COLUMN.type) for column in given if column.name == DELETED]
        return (*deleted, *(column for column in given if column.name != DELETED))
    # A column given by name alone has no type yet: `occurred_at=ts`.
    by_name = {c.name: replace(c, type="timestamp") if c.name == OCCURRED_AT else c for c in given}
    fixed = [by_name.get(column.name, column) for column in EVENT_COLUMNS]
    fixed += [by_name[EVENT_ID]] if EVENT_ID in by_name else []
    return (*fixed, *(column for column in given if column.name not in {c.name for c in fixed}))


def columns_fault(kind: ImportKind, columns: Sequence[Column]) -> str | None:
    """Why these cannot be the columns of rows of this kind (after the user id). None if they can."""
    shapes = [(column.name, column.type) for column in columns]
    fixed = 0
    if kind == "events":
        fixed = len(EVENT_COLUMNS)
        if shapes[:fixed] != [(column.name, column.type) for column in EVENT_COLUMNS]:
            return "the columns after user_id must begin with event:string and occurred_at:timestamp"
        names = [name for name, _ in shapes]
        if EVENT_ID in names:
            if shapes[fixed : fixed + 1] != [(EVENT_ID, EVENT_ID_COLUMN.type)]:
                return "event_id must be a string, in the column right after occurred_at"
            fixed += 1
    if kind == "profiles" and DELETED in [name for name, _ in shapes]:
        if shapes[0] != (DELETED, DELETED_COLUMN.type):
            return "deleted must be a boolean, and the first column behind user_id"
        fixed = 1
    types = PROPERTY_TYPES if kind == "events" else ATTRIBUTE_TYPES
    for name, type_ in shapes[fixed:]:
        if kind != "audience" and type_ not in types:
            return f"the column {name} is {type_}; rules on {kind} compare {', '.join(types)}"
    return None


def check_columns(kind: ImportKind, columns: Sequence[Column]) -> None:
    """Raises `UserError` BAD_SPEC."""
    if fault := columns_fault(kind, columns):
        raise UserError("BAD_SPEC", fault, kind=kind)
