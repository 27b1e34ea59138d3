"""A receipt as sums that are drawn to scale: all bars of one receipt have the same unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestration.access.pages import Record
from orchestration.console.language import Texts

WIDTH: Final = 1000
THINNEST: Final = 4
"""Anything above zero stays visible."""
Look = Literal["kept", "changed", "added", "removed", "rejected", "duplicate"]


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
    """A column of the version; `change`: against the version before. `nulls`: members without a value, if known.

    `emptied`: the version before had values, and this one has none.
    """

    name: str
    type: str
    change: str
    nulls: int | None = None
    emptied: bool = False


def sums_of(receipt: Record, t: Texts) -> tuple[Sum, ...]:
    """Rows = accepted + rejected; accepted = distinct + duplicates; before = kept + removed; now = kept + added.

    Of the kept members, those with changed values are a part of their own.
    """
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
        changed = counts.get("updated") or 0  # not counted in receipts of earlier releases
        stayed: list[tuple[Look, str, int]] = [("kept", "kept", counts["kept"] - changed)]
        stayed += [("changed", "changed", changed)] if changed else []
        sums.append(("before", counts["base"], [*stayed, ("removed", "removed", counts["removed"])]))
        sums.append(("members", counts["members"], [*stayed, ("added", "added", counts["added"])]))
    return drawn(
        [
            (t(f"receipt.{name}"), total, [(look, t(f"receipt.{part}"), count) for look, part, count in parts])
            for name, total, parts in sums
        ]
    )


def sums_of_difference(found: Record, t: Texts) -> tuple[Sum, ...]:
    """Both versions: members who stayed, without and with a change, and those who left or joined."""
    stayed: list[tuple[Look, str, int]] = [
        ("kept", t("difference.kept"), found["kept"]),
        ("changed", t("difference.changed"), found["changed"]),
    ]
    removed: tuple[Look, str, int] = ("removed", t("receipt.removed"), found["removed"])
    added: tuple[Look, str, int] = ("added", t("receipt.added"), found["added"])
    return drawn(
        [
            (t("difference.members", number=found[side]), sum(count for *_, count in parts), parts)
            for side, parts in (("earlier", [*stayed, removed]), ("later", [*stayed, added]))
        ]
    )


def drawn(sums: Sequence[tuple[str, int, Sequence[tuple[Look, str, int]]]]) -> tuple[Sum, ...]:
    """Sums (name, total, parts) to one scale; parts are (look, name, count)."""
    largest = max(1, *(total for _, total, _ in sums))
    return tuple(Sum(name=name, total=total, parts=_parts(parts, largest)) for name, total, parts in sums)


def _parts(given: Sequence[tuple[Look, str, int]], largest: int) -> tuple[Part, ...]:
    found, x = [], 0
    for look, name, count in given:
        width = max(THINNEST, WIDTH * count // largest) if count else 0
        found.append(Part(look=look, name=name, count=count, x=x, width=width))
        x += width
    return tuple(found)


def columns_of(receipt: Record, t: Texts) -> tuple[Column, ...]:
    """The columns of a version, and those that it no longer has."""
    changes = receipt.get("column_changes") or {"added": [], "dropped": [], "retyped": []}
    added = {one["name"] for one in changes["added"]}
    nulls, emptied = receipt.get("nulls_by_column") or {}, receipt.get("emptied_columns") or ()
    before = {one["name"]: one["from"] for one in changes["retyped"]}

    def change(name: str) -> str:
        if name in before:
            return t("receipt.retyped", before=before[name])
        return t("receipt.new_column") if name in added else ""

    kept = [
        Column(
            name=name,
            type=one["type"],
            change=change(name),
            nulls=nulls.get(name),
            emptied=name in emptied,
        )
        for one in receipt.get("columns", ())
        if (name := one["name"])
    ]
    gone = [Column(name=one["name"], type=one["type"], change=t("receipt.dropped")) for one in changes["dropped"]]
    return (*kept, *gone)
