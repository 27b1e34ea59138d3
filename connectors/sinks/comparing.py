"""Compare two versions of an audience: counts of members added, removed and changed, with samples."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from connectors.lake.audience_sql import differs, rows_sql
from connectors.lake.build import BaseVersion
from connectors.lake.build import compare as compare_parts
from connectors.lake.faults import lake_faults
from connectors.sinks.selection import PinnedVersion, common_schema
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.columns import USER_ID, Column
from schemas.sql_text import identifier, literal
from segmentation.versions import MembershipCounts

Kind = Literal["added", "removed", "changed"]
KINDS: Final[tuple[Kind, ...]] = ("added", "removed", "changed")


MOST_TEXT: Final = 200
"""Characters of a value; longer ones are cut and end with an ellipsis."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Which members to name: `size` of each kind, in byte order of their ids, after the id `after`.

    `values`: with the values that changed.
    """

    size: int
    after: str | None = None
    kinds: Sequence[Kind] = KINDS
    values: bool = False


NOBODY: Final = Sample(size=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A member that changed: the earlier and the later value of each column that differs, as JSON data."""

    user: str
    columns: Mapping[str, tuple[Value, Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Changes from the earlier version to the later one; members whose attributes changed count as kept and updated.

    `sample`: ids of each kind, in byte order; `changes`: of the changed ones among them, if values were asked for.
    """

    counts: MembershipCounts
    sample: Mapping[Kind, tuple[str, ...]]
    changes: tuple[Change, ...] = ()


def compare(
    earlier: PinnedVersion, later: PinnedVersion, *, s3: S3Access, limits: DuckLimits, sample: Sample = NOBODY
) -> Comparison:
    """Compare two versions value by value.

    Raises `UserError` SCHEMA_MISMATCH, `RetriableError` LAKE_UNAVAILABLE.
    """
    common_schema(later, earlier)
    base, new = (BaseVersion(info=version.info, parts=version.parts) for version in (earlier, later))
    counts = compare_parts(new.as_replace(), base, s3=s3, limits=limits)
    if not sample.size:
        return Comparison(counts=counts, sample={})
    return _sampled(counts, earlier, later, s3, limits, sample)


def _sampled(
    counts: MembershipCounts,
    earlier: PinnedVersion,
    later: PinnedVersion,
    s3: S3Access,
    limits: DuckLimits,
    sample: Sample,
) -> Comparison:
    schema = later.info.row_schema
    changed = " OR ".join(differs(column, "n", "o") for column in schema.columns) or "false"
    conditions: dict[Kind, str] = {
        "added": f"o.{USER_ID} IS NULL",
        "removed": f"n.{USER_ID} IS NULL",
        "changed": f"n.{USER_ID} = o.{USER_ID} AND ({changed})",
    }
    after = "" if sample.after is None else f" AND coalesce(n.{USER_ID}, o.{USER_ID}) > {literal(sample.after)}"
    found: dict[Kind, tuple[str, ...]] = {}
    changes: tuple[Change, ...] = ()
    with (
        tempfile.TemporaryDirectory(dir=limits.temp_directory) as spill,  # `compare_parts` has created the folder
        lake_faults("comparing versions"),
        connect(replace(limits, temp_directory=Path(spill)), s3) as connection,
    ):
        for kind in sample.kinds:
            valued = schema.columns if sample.values and kind == "changed" else ()
            rows = connection.execute(
                f"SELECT coalesce(n.{USER_ID}, o.{USER_ID}) AS id{''.join(map(_values_sql, valued))} "  # noqa: S608  # names and files are quoted
                f"FROM ({rows_sql(later.uris, schema)}) n FULL JOIN ({rows_sql(earlier.uris, schema)}) o "
                f"ON n.{USER_ID} = o.{USER_ID} WHERE ({conditions[kind]}){after} ORDER BY id LIMIT {sample.size:d}"
            ).fetchall()
            found[kind] = tuple(row[0] for row in rows)
            if valued:
                changes = tuple(_change(row, valued) for row in rows)
    return Comparison(counts=counts, sample=found, changes=changes)


def _values_sql(column: Column) -> str:
    """Three columns of a query: whether it differs, and both values. A time is in microseconds since 1970."""
    sides = [f"{table}.{identifier(column.name)}" for table in ("o", "n")]
    if column.type == "timestamp":
        sides = [f"epoch_us({side})" for side in sides]
    return f", {differs(column, 'n', 'o')}, {', '.join(sides)}"


def _change(row: Sequence[Any], columns: Sequence[Column]) -> Change:
    values = zip(columns, row[1::3], row[2::3], row[3::3], strict=True)
    return Change(
        user=row[0],
        columns={
            column.name: (_plain(column, earlier), _plain(column, later))
            for column, differing, earlier, later in values
            if differing
        },
    )


def _plain(column: Column, value: Any) -> Value:
    if value is None:
        return None
    if column.type == "timestamp":
        return (EPOCH + timedelta(microseconds=value)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else f"{value[:MOST_TEXT]}…"
    plain: Value = value
    return str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain
