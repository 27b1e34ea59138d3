"""Compare two versions of an audience: counts of members added, removed and changed, with samples."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from connectors.lake.audience_sql import differs, rows_sql
from connectors.lake.build import BaseVersion
from connectors.lake.build import compare as compare_parts
from connectors.lake.faults import lake_faults
from connectors.sinks.selection import PinnedVersion, common_schema
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.columns import USER_ID
from segmentation.versions import MembershipCounts

Kind = Literal["added", "removed", "changed"]
KINDS: Final[tuple[Kind, ...]] = ("added", "removed", "changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Changes from the earlier version to the later one; members whose attributes changed count as kept and updated.

    `sample`: the first ids of each kind, in byte order.
    """

    counts: MembershipCounts
    sample: Mapping[Kind, tuple[str, ...]]


def compare(
    earlier: PinnedVersion, later: PinnedVersion, *, s3: S3Access, limits: DuckLimits, sample: int = 0
) -> Comparison:
    """Compare two versions value by value.

    Raises `UserError` SCHEMA_MISMATCH, `RetriableError` LAKE_UNAVAILABLE.
    """
    common_schema(later, earlier)
    base, new = (BaseVersion(info=version.info, parts=version.parts) for version in (earlier, later))
    counts = compare_parts(new.as_replace(), base, s3=s3, limits=limits)
    return Comparison(counts=counts, sample=_sample(earlier, later, s3, limits, sample) if sample else {})


def _sample(
    earlier: PinnedVersion, later: PinnedVersion, s3: S3Access, limits: DuckLimits, size: int
) -> dict[Kind, tuple[str, ...]]:
    schema = later.info.row_schema
    changed = " OR ".join(differs(column, "n", "o") for column in schema.columns) or "false"
    conditions: dict[Kind, str] = {
        "added": f"o.{USER_ID} IS NULL",
        "removed": f"n.{USER_ID} IS NULL",
        "changed": f"n.{USER_ID} = o.{USER_ID} AND ({changed})",
    }
    found: dict[Kind, tuple[str, ...]] = {}
    with (
        tempfile.TemporaryDirectory(dir=limits.temp_directory) as spill,  # `compare_parts` has created the folder
        lake_faults("comparing versions"),
        connect(replace(limits, temp_directory=Path(spill)), s3) as connection,
    ):
        for kind in KINDS:
            ids = connection.execute(
                f"SELECT coalesce(n.{USER_ID}, o.{USER_ID}) AS id "  # noqa: S608  # names and files are quoted
                f"FROM ({rows_sql(later.uris, schema)}) n FULL JOIN ({rows_sql(earlier.uris, schema)}) o "
                f"ON n.{USER_ID} = o.{USER_ID} WHERE {conditions[kind]} ORDER BY id LIMIT {size:d}"
            ).fetchall()
            found[kind] = tuple(id_ for (id_,) in ids)
    return found
