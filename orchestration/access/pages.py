"""What views return besides single records: pages of lists, and records with an ETag."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from schemas.errors import UserError

ItemT = TypeVar("ItemT")
RecordT = TypeVar("RecordT")
Record = Mapping[str, Any]
WITH_ETAG: Final = "with its ETag"
Tagged = Annotated[RecordT, WITH_ETAG]
"""A record whose answer carries an ETag: a digest of the fields that the `revision` of its type names."""
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
"""Numbers that every store keeps in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[RecordT]):
    """Some items of a list. `next`: the key after which the list continues; None at its end."""

    items: Sequence[RecordT]
    next: str | None


@dataclass(frozen=True, slots=True)
class Revised(Generic[RecordT]):
    """A record that shows more than its revision covers, which is given beside it."""

    record: RecordT
    revision: str


def page_of(
    found: Sequence[ItemT], limit: int, key: Callable[[ItemT], str], record: Callable[[ItemT], RecordT]
) -> Page[RecordT]:
    """A page of at most `limit` items; `found` has one more if the list continues."""
    shown = found[:limit]
    return Page(items=[record(one) for one in shown], next=key(shown[-1]) if len(found) > limit else None)


def first(found: Sequence[RecordT], limit: int, key: Callable[[RecordT], str]) -> Page[RecordT]:
    """As `page_of`, of records that are found as they are shown."""
    return page_of(found, limit, key, lambda one: one)


def number_in(key: str) -> int:
    """The key of a list that continues after a number. Raises `UserError` BAD_CURSOR for any other text."""
    if not _NUMBER.fullmatch(key):
        raise bad_cursor()
    return int(key)


def bad_cursor() -> UserError:
    """A cursor that this list has not given out."""
    return UserError(
        "BAD_CURSOR", "the cursor belongs to another list or to other filters; begin without a cursor", member="cursor"
    )
