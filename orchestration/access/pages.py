"""Pages of lists, as views return them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from schemas.errors import UserError

ItemT = TypeVar("ItemT")
Record = Mapping[str, Any]
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
"""Numbers that every store keeps in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a list, as plain JSON data. `next`: the key after which the list continues; None at its end."""

    items: Sequence[Record]
    next: str | None


def page_of(found: Sequence[ItemT], limit: int, key: Callable[[ItemT], str], record: Callable[[ItemT], Record]) -> Page:
    """A page of at most `limit` items; `found` has one more if the list continues."""
    shown = found[:limit]
    return Page(items=[record(one) for one in shown], next=key(shown[-1]) if len(found) > limit else None)


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
