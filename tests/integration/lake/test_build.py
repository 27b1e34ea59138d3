"""Merging an import with its base: members, attributes, counts, and which files are written."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.lake.build import BaseVersion, BuiltVersion, ImportedParts, build_version, compare
from connectors.storage.access import S3Access
from connectors.storage.listing import list_objects
from schemas.columns import Column, ImportMode, RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, Version
from schemas.layout import audience_prefix, s3_uri
from schemas.row_digest import digest_rows
from segmentation.part_check import check_part
from segmentation.versions import AudienceRef, MembershipCounts, VersionInfo
from tests.integration.lake.support import AT, BUCKET, Parts, audience, limits, new_id, users

AGE = RowSchema(columns=(Column(name="age", type="long"),))
PLAIN = RowSchema()
Rows = list[dict[str, Any]]


@dataclasses.dataclass
class Lake:
    """Builds on S3, and reads the result."""

    s3: S3Access
    parts: Parts
    ref: AudienceRef
    directory: Path

    def base(self, rows: Rows, schema: RowSchema = PLAIN, partitions: int = 2) -> BaseVersion:
        parts = [p for p in self.parts.write(self.ref, new_id(), rows, schema, partitions) if p.rows]
        digest = sum((p.digest for p in parts[1:]), start=parts[0].digest)
        info = VersionInfo(
            version=Version(4),
            snapshot_id=4,
            import_id=new_id(),
            attempt=Attempt(1),
            mode="replace",
            order_key="1",
            partitions=partitions,
            partitioner="murmur2",
            row_schema=schema,
            members=len(rows),
            digest=digest,
            base_version=None,
            source_version=None,
            counts=None,
            published_at=AT,
        )
        return BaseVersion(info=info, parts=parts)

    def imported(self, mode: ImportMode, rows: Rows, schema: RowSchema = PLAIN, partitions: int = 2) -> ImportedParts:
        import_id = new_id()
        return ImportedParts(
            import_id=import_id,
            attempt=Attempt(1),
            mode=mode,
            partitions=partitions,
            row_schema=schema,
            parts=self.parts.write(self.ref, import_id, rows, schema, partitions),
        )

    @property
    def data_prefix(self) -> str:
        return s3_uri(BUCKET, audience_prefix(self.ref.tenant, self.ref.audience_id)) + "data/"

    def build(self, imported: ImportedParts, base: BaseVersion | None) -> BuiltVersion:
        return build_version(imported, base, s3=self.s3, limits=limits(self.directory), data_prefix=self.data_prefix)

    def rows(self, built: BuiltVersion, partitions: int = 2) -> list[dict[str, Any]]:
        """Rows that a reader sees; checks every part on the way."""
        rows = []
        for part in built.parts:
            table = pq.read_table(part.uri.removeprefix("s3://"), filesystem=self.s3.filesystem())
            check_part(part, table.to_batches(), built.row_schema, partitions)
            assert digest_rows(table, built.row_schema) == part.digest
            rows += table.to_pylist()
        return sorted(rows, key=lambda row: row["user_id"])


@pytest.fixture
def lake(s3: S3Access, tmp_path: Path) -> Lake:
    return Lake(s3, Parts(s3), audience(), tmp_path)


def _counts(base: int, added: int, removed: int, kept: int, updated: int = 0) -> MembershipCounts:
    return MembershipCounts(
        base=base,
        added=added,
        removed=removed,
        kept=kept,
        members=added + kept,
        updated=updated,
        base_version=Version(4),
    )


def test_an_append_adds_the_new_members(lake: Lake) -> None:
    built = lake.build(lake.imported("append", users("bob", "cy", "dan")), lake.base(users("ann", "bob")))
    assert [row["user_id"] for row in lake.rows(built)] == ["ann", "bob", "cy", "dan"]
    assert built.counts == _counts(base=2, added=2, removed=0, kept=2)
    assert built.base_version == 4


def test_remove_drops_members_and_ignores_unknown_users(lake: Lake) -> None:
    base = lake.base(users("ann", "bob", "cy"))
    built = lake.build(lake.imported("remove", users("bob", "zoe")), base)
    assert [row["user_id"] for row in lake.rows(built)] == ["ann", "cy"]
    assert built.counts == _counts(base=3, added=0, removed=1, kept=2)


def test_removing_all_members_leaves_an_empty_version(lake: Lake) -> None:
    built = lake.build(lake.imported("remove", users("ann", "bob")), lake.base(users("ann", "bob")))
    assert built.parts == ()
    assert built.counts == _counts(base=2, added=0, removed=2, kept=0)


def test_appended_rows_replace_the_base_including_nulls(lake: Lake) -> None:
    base = lake.base([{"user_id": "ann", "age": 30}, {"user_id": "bob", "age": 40}, {"user_id": "cy", "age": 50}], AGE)
    appended: Rows = [{"user_id": "ann", "age": 31}, {"user_id": "bob"}, {"user_id": "dan", "age": 1}]
    built = lake.build(lake.imported("append", appended, AGE), base)
    assert lake.rows(built) == [
        {"user_id": "ann", "age": 31},
        {"user_id": "bob", "age": None},
        {"user_id": "cy", "age": 50},
        {"user_id": "dan", "age": 1},
    ]
    assert built.counts == _counts(base=3, added=1, removed=0, kept=3, updated=2)


def test_columns_absent_from_an_append_keep_their_values(lake: Lake) -> None:
    base = lake.base([{"user_id": "ann", "age": 30}], AGE)
    city = RowSchema(columns=(Column(name="city"),))
    built = lake.build(lake.imported("append", [{"user_id": "ann", "city": "Oslo"}, {"user_id": "bob"}], city), base)
    assert built.row_schema.names == ("user_id", "age", "city")
    assert lake.rows(built) == [
        {"user_id": "ann", "age": 30, "city": "Oslo"},
        {"user_id": "bob", "age": None, "city": None},
    ]
    assert built.counts == _counts(base=1, added=1, removed=0, kept=1, updated=1)


def test_every_column_type_survives_a_merge(lake: Lake) -> None:
    schema = RowSchema(
        columns=(
            Column(name="s"),
            Column(name="n", type="long"),
            Column(name="d", type="double"),
            Column(name="b", type="boolean"),
            Column(name="day", type="date"),
            Column(name="at", type="timestamp"),
        )
    )
    at = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
    old = {
        "user_id": "ann",
        "s": "a'\"\u0000ü",
        "n": -(2**63),
        "d": float("inf"),
        "b": True,
        "day": at.date(),
        "at": at,
    }
    new = {"user_id": "bob", "s": "", "n": 2**63 - 1, "d": -0.0, "b": False, "day": None, "at": None}
    built = lake.build(lake.imported("append", [new], schema), lake.base([old], schema))
    assert lake.rows(built) == [old, new]


def test_a_partition_without_change_keeps_its_base_part(lake: Lake) -> None:
    base = lake.base(users(*(f"user-{n}" for n in range(40))), partitions=8)
    before = {
        entry.key
        for entry in list_objects(lake.s3.client(), BUCKET, audience_prefix(lake.ref.tenant, lake.ref.audience_id))
    }
    imported = lake.imported("append", users("user-3", "somebody new"), partitions=8)
    built = lake.build(imported, base)
    after = {
        entry.key
        for entry in list_objects(lake.s3.client(), BUCKET, audience_prefix(lake.ref.tenant, lake.ref.audience_id))
    }
    assert len(set(built.parts) & set(base.parts)) == 7
    written = after - before - {part.uri.removeprefix(f"s3://{BUCKET}/") for part in imported.parts}
    assert len(written) == 1
    assert len(lake.rows(built, partitions=8)) == 41


def test_a_repeated_build_makes_the_same_parts(lake: Lake) -> None:
    base, imported = lake.base(users("ann", "bob")), lake.imported("append", users("cy", "dan"))
    assert lake.build(imported, base) == lake.build(imported, base)


@pytest.mark.parametrize("mode", ["append", "remove"])
def test_base_with_another_partition_count_is_repartitioned(lake: Lake, mode: ImportMode) -> None:
    names = [f"user-{n}" for n in range(60)]
    base = lake.base(users(*names), partitions=3)
    built = lake.build(lake.imported(mode, users("user-1", "zoe"), partitions=8), base)
    expected = sorted([*names, "zoe"]) if mode == "append" else [n for n in sorted(names) if n != "user-1"]
    assert [row["user_id"] for row in lake.rows(built, partitions=8)] == expected
    assert len(built.parts) == 8


def test_compacted_base_is_repartitioned(lake: Lake) -> None:
    base = lake.base(users(*(f"user-{n}" for n in range(60))), partitions=1)
    compacted = BaseVersion(
        info=dataclasses.replace(base.info, partitions=0, partitioner=""),
        parts=[dataclasses.replace(part, partition=None) for part in base.parts],
    )
    built = lake.build(lake.imported("append", users("zoe")), compacted)
    assert len(lake.rows(built)) == 61
    assert built.counts == _counts(base=60, added=1, removed=0, kept=60)


def test_the_first_append_is_the_import_itself(lake: Lake) -> None:
    imported = lake.imported("append", users("ann", "bob"))
    built = lake.build(imported, None)
    assert built.parts == imported.parts
    assert built.counts == MembershipCounts(base=0, added=2, removed=0, kept=0, members=2)
    assert built.base_version is None


def test_removal_from_an_empty_audience_is_refused(lake: Lake) -> None:
    with pytest.raises(UserError) as caught:
        lake.build(lake.imported("remove", users("ann")), None)
    assert caught.value.code == "NOTHING_TO_REMOVE_FROM"


def test_an_append_cannot_change_the_type_of_a_column(lake: Lake) -> None:
    base = lake.base([{"user_id": "ann", "age": 30}], AGE)
    text = RowSchema(columns=(Column(name="age"),))
    with pytest.raises(UserError) as caught:
        lake.build(lake.imported("append", [{"user_id": "ann", "age": "thirty"}], text), base)
    assert caught.value.code == "SCHEMA_MISMATCH"


@pytest.mark.parametrize(("base_partitions", "group_rows"), [(2, 0), (2, 500_000), (3, 500_000)])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("replace", _counts(base=3, added=2, removed=1, kept=2, updated=1)),
        ("append", _counts(base=3, added=2, removed=0, kept=3, updated=1)),
        ("remove", _counts(base=3, added=0, removed=2, kept=1)),
    ],
)
def test_comparison_reports_exactly_the_changes(
    lake: Lake,
    mode: ImportMode,
    expected: MembershipCounts,
    base_partitions: int,
    group_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Partition by partition, several together, and with a base in other partitions."""
    monkeypatch.setattr("connectors.lake.build.GROUP_ROWS", group_rows)
    base = lake.base(
        [{"user_id": "ann", "age": 30}, {"user_id": "bob", "age": 40}, {"user_id": "cy", "age": 50}],
        AGE,
        base_partitions,
    )
    rows: Rows = [{"user_id": u, "age": a} for u, a in (("bob", 40), ("cy", 51), ("dan", 1), ("eve", 2))]
    assert compare(lake.imported(mode, rows, AGE), base, s3=lake.s3, limits=limits(lake.directory)) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [(None, "LAKE_FILE_MISSING"), (b"", "LAKE_UNREADABLE"), (b"PAR1 this is no Parquet PAR1", "LAKE_UNREADABLE")],
)
def test_missing_or_broken_part_is_fatal(lake: Lake, body: bytes | None, code: str) -> None:
    base, imported = lake.base(users("ann", "bob", "cy", "dan")), lake.imported("append", users("ann", "zoe"))
    part = next(p for p in imported.parts if p.rows)
    key = part.uri.removeprefix(f"s3://{BUCKET}/")
    if body is None:
        lake.s3.client().delete_object(Bucket=BUCKET, Key=key)
    else:
        lake.s3.client().put_object(Bucket=BUCKET, Key=key, Body=body)
    with pytest.raises(FatalError) as caught:
        lake.build(imported, base)
    assert caught.value.code == code


def test_build_leaves_no_local_files(lake: Lake) -> None:
    lake.build(lake.imported("append", users("zoe"), partitions=8), lake.base(users("ann"), partitions=3))
    left: Sequence[Path] = [path for path in lake.directory.rglob("*") if path.is_file()]
    assert left == []
