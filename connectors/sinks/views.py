"""Changes between two views: the rows that a receiver of one must add and remove to have the other.

A view is what an export has kept of a version. Unlike the difference between two versions, that between two views also
has users who were suppressed or released since, and those whose looked up columns, or matches of a condition, changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.lake.audience_sql import differs
from connectors.sinks.accounting import CHANGED, DECISION, KEPT
from connectors.sinks.selection import Group, Selection
from connectors.sinks.shaping import Shape
from schemas.columns import USER_ID
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.manifest_selection import Change, View
from schemas.sql_text import identifier
from segmentation.versions import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseView:
    """The view that a delta starts from: `shape` selects it from the base's version.

    `export`: the one that has delivered it, under that number of the consent policy, with `kept` as the digest of its
    rows; None where it is not recorded.
    """

    shape: Shape
    export: JobId | None = None
    policy: int | None = None
    kept: Digest | None = None


def require_same_columns(version: Shape, base: Shape) -> None:
    """Raises `UserError` SCHEMA_MISMATCH for views with different columns, which cannot be compared."""
    if version.exported != base.exported:
        raise UserError(
            "SCHEMA_MISMATCH",
            f"the export has the columns {', '.join(version.exported.names)}, but its base "
            f"{', '.join(base.exported.names)}, so they cannot be compared; export the whole version"[:1000],
            version=version.version.info.version,
            base=base.version.info.version,
        )


def changed_rows(version: Shape, base: Shape, group: Group) -> Iterator[tuple[View, Shape, Selection]]:
    """Queries for all rows of both views, each with its decision and whether the other view lacks it.

    A row is read by its own view, so that all rows of both versions are accounted for.
    """
    sides: tuple[tuple[View, Change, Shape, tuple[Part, ...]], ...] = (
        ("version", "added", version, group.parts),
        ("base", "removed", base, group.base or ()),
    )
    for (view, change, shape, parts), (_, _, other, others) in zip(sides, sides[::-1], strict=True):
        own, parameters = shape.decided(parts)
        lacking, more = other.decided(others)
        names = ", ".join(f"t.{identifier(name)}" for name in (*shape.readable.names, DECISION))
        compared = ", ".join(map(identifier, version.exported.names))
        changed = " OR ".join(
            [f"o.{USER_ID} IS NULL", *(differs(column, "t", "o") for column in version.exported.columns)]
        )
        rows = (
            f"SELECT {names}, t.{DECISION} = {KEPT} AND ({changed}) AS {CHANGED} FROM ({own}) t "  # noqa: S608  # quoted
            f"LEFT JOIN (SELECT {compared} FROM ({lacking}) WHERE {DECISION} = {KEPT}) o ON o.{USER_ID} = t.{USER_ID}"
        )
        # Only `rows` is a subquery here: a sort key is a column of the result, not one of either table.
        yield (
            view,
            shape,
            Selection(
                rows=f"SELECT * FROM ({rows})",  # noqa: S608  # quoted
                change=change,
                parameters=(*parameters, *more),
                key=version.key,
            ),
        )
