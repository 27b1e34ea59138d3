"""The filter above a list of named things: a part of a name and an order, as they stand in the address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from orchestration.access.listed import ORDERS, By
from orchestration.console.language import Texts

MAX_PART: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a filter."""

    value: str
    text: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the reader wants to see. Unknown orders are ignored."""

    part: str
    order: By

    @classmethod
    def of(cls, request: Request) -> "Wanted":
        """As the address says it."""
        given = request.query_params
        order = next((one for one in ORDERS if one == given.get("order")), ORDERS[0])
        return cls(part=given.get("q", "").strip()[:MAX_PART], order=order)

    @property
    def query(self) -> dict[str, str]:
        """As it stands in addresses."""
        return {"q": self.part, "order": "" if self.order == ORDERS[0] else self.order}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """`count` of `total` things fit. `path`: of the list without filters."""

    part: str
    orders: Sequence[Choice]
    count: int
    total: int
    path: str


def filter_of(wanted: Wanted, path: str, count: Callable[[str], int], t: Texts) -> ListFilter:
    """The filter as the page shows it. `count`: how many names have a part."""
    total = count("")
    return ListFilter(
        part=wanted.part,
        orders=[Choice(value=one, text=t(f"list.by.{one}"), chosen=one == wanted.order) for one in ORDERS],
        count=count(wanted.part) if wanted.part else total,
        total=total,
        path=path,
    )
