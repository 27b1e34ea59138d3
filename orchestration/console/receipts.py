"""A receipt as sums that are drawn to scale: all bars of one receipt have the same unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestration.access.pages import Record
from orchestration.console.language import Texts

WIDTH: Final = 1000
THINNEST: Final = 4
"""What is not zero can be seen."""
Look = Literal["kept", "added", "removed", "rejected", "duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a bar, from `x`, of WIDTH."""

    look: Look
    name: str
    count: int
    x: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """`total` = the sum of the parts."""

    name: str
    total: int
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the version; `change`: against the version before."""

    name: str
    type: str
    change: str


def sums_of(receipt: Record, t: Texts) -> tuple[Sum, ...]:
    """Rows = accepted + rejected; accepted = distinct + duplicates; before = kept + removed; now = kept + added."""
    sums: list[tuple[str, int, list[tuple[Look, str, int]]]] = [
        (
            "rows",
            receipt["rows"],
            [("kept", "accepted", receipt["accepted"]), ("rejected", "rejected", receipt["rejected"])],
        )
    ]
    if "duplicates" in receipt:
        new = "stored" if "stored" in receipt else "distinct"
        parts: list[tuple[Look, str, int]] = [
            ("kept", new, receipt[new]),
            ("duplicate", "duplicates", receipt["duplicates"]),
        ]
        sums.append(("accepted", receipt["accepted"], parts))
    if (counts := receipt.get("membership")) is not None:
        sums.append(
            ("before", counts["base"], [("kept", "kept", counts["kept"]), ("removed", "removed", counts["removed"])])
        )
        sums.append(
            ("members", counts["members"], [("kept", "kept", counts["kept"]), ("added", "added", counts["added"])])
        )
    largest = max(1, *(total for _, total, _ in sums))
    return tuple(
        Sum(name=t(f"receipt.{name}"), total=total, parts=_parts(parts, largest, t)) for name, total, parts in sums
    )


def _parts(given: Sequence[tuple[Look, str, int]], largest: int, t: Texts) -> tuple[Part, ...]:
    found, x = [], 0
    for look, name, count in given:
        width = max(THINNEST, WIDTH * count // largest) if count else 0
        found.append(Part(look=look, name=t(f"receipt.{name}"), count=count, x=x, width=width))
        x += width
    return tuple(found)


def columns_of(receipt: Record, t: Texts) -> tuple[Column, ...]:
    """The columns of a version, and those that it no longer has."""
    changes = receipt.get("column_changes") or {"added": [], "dropped": [], "retyped": []}
    added = {one["name"] for one in changes["added"]}
    before = {one["name"]: one["from"] for one in changes["retyped"]}

    def change(name: str) -> str:
        if name in before:
            return t("receipt.retyped", before=before[name])
        return t("receipt.new_column") if name in added else ""

    kept = [
        Column(name=one["name"], type=one["type"], change=change(one["name"])) for one in receipt.get("columns", ())
    ]
    gone = [Column(name=one["name"], type=one["type"], change=t("receipt.dropped")) for one in changes["dropped"]]
    return (*kept, *gone)
