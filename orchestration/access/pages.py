"""Pages of lists, as views return them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a list, as plain JSON data. `next`: the key after which the list continues; None at its end."""

    items: Sequence[Record]
    next: str | None


def page_of(found: Sequence[ItemT], limit: int, key: Callable[[ItemT], str], record: Callable[[ItemT], Record]) -> Page:
    """A page of at most `limit` items; `found` has one more if the list continues."""
    shown = found[:limit]
    return Page(items=[record(one) for one in shown], next=key(shown[-1]) if len(found) > limit else None)
