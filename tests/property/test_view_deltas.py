"""Deltas between views: kept1 = kept0 - removed + added, whatever the versions, lists, conditions and columns."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.sinks.accounting import CHANGED, DECISION, KEPT, Accounting
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.selection import PinnedVersion
from connectors.sinks.shaping import Attributes, Shape, Suppression
from connectors.sinks.views import BaseView, changed_rows
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition, Version
from schemas.manifest import ExportFormat
from schemas.manifest_selection import Account, Change
from schemas.row_digest import digest_rows
from segmentation.versions import Part, VersionInfo

PAIRS = 400
AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PEOPLE = RowSchema(columns=(Column(name="country"), Column(name="score", type="double")))
PROFILES = RowSchema(columns=(Column(name="plan"),))
ID = JobId("01j00000000000000000000000")
Rows = dict[str, tuple[Any, ...]]


class Versions:
    """Versions in files of their own, in one or several partitions."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance, self._count = folder, chance, 0

    def of(self, rows: Rows, schema: RowSchema) -> PinnedVersion:
        """A version with these rows."""
        self._count += 1
        partitions = self._chance.choice((1, 1, 3))
        parts = []
        for partition in range(partitions):
            own = [{"user_id": u, **dict(zip(schema.names[1:], v, strict=True))} for u, v in sorted(rows.items())]
            own = [row for row in own if int(row["user_id"][1:]) % partitions == partition]
            if not own:
                continue
            path = self._folder / f"{self._count}-{partition}.parquet"
            table = pa.Table.from_pylist(own, schema=arrow_schema(schema))
            pq.write_table(table, path)
            digest = digest_rows(table, schema)
            parts.append(
                Part(
                    partition=Partition(partition),
                    uri=str(path),
                    rows=len(own),
                    bytes=path.stat().st_size,
                    digest=digest,
                )
            )
        digest = Digest.total(schema.schema_id, (part.digest for part in parts))
        info = VersionInfo(
            version=Version(self._count),
            snapshot_id=self._count,
            import_id=ID,
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
        return PinnedVersion(info=info, parts=tuple(parts))


def test_changes_between_two_views_lead_from_one_to_the_other(tmp_path: Path) -> None:
    chance = random.Random(48)
    connection = duckdb.connect(config={"threads": 1})
    versions = Versions(tmp_path, chance)

    def users(most: int) -> list[str]:
        return [f"u{n}" for n in chance.sample(range(24), chance.randint(0, most))]

    def people() -> Rows:
        scores = (None, 0.0, -0.0, 1.5, float("nan"))
        return {user: (chance.choice(("JP", "US", None)), chance.choice(scores)) for user in users(20)}

    def moved(rows: Rows) -> Rows:
        gone = set(users(4))
        return {user: row for user, row in rows.items() if user not in gone} | dict(list(people().items())[:4])

    def view(version: PinnedVersion, columns: tuple[str, ...] | None, *, looks_up: bool) -> Shape:
        quiet = [versions.of(dict.fromkeys(users(8), ()), RowSchema()) for _ in range(chance.randint(0, 2))]
        plans: Rows = {user: (chance.choice(("gold", None)),) for user in users(20)}
        looked_up = Attributes(audience="profiles", version=versions.of(plans, PROFILES), columns=("plan",))
        return Shape(
            version=version,
            where=chance.choice((None, 'country = "JP"', "score is set")),
            attributes=(looked_up,) if looks_up else (),
            suppress=tuple(Suppression(audience="quiet", version=one, standing=True) for one in quiet),
            columns=columns,
        )

    def rows_of(shape: Shape) -> set[str]:
        """The view, found in another way: text of each kept row."""
        text, parameters = shape.decided(shape.version.parts)
        names = ", ".join(shape.exported.names)
        found = connection.execute(f"SELECT {names} FROM ({text}) WHERE {DECISION} = {KEPT}", parameters).fetchall()
        return set(map(repr, found))

    changed = 0
    for _ in range(PAIRS):
        looks_up = chance.random() < 0.5
        columns = chance.choice((None, (), ("country",), ("plan", "score") if looks_up else ("score",)))
        rows = people()
        base = view(versions.of(rows, PEOPLE), columns, looks_up=looks_up)
        version = view(versions.of(moved(rows), PEOPLE), columns, looks_up=looks_up)
        order = ExportOrder(
            export_id=ID,
            tenant="acme",
            audience="vip",
            version=version.version,
            base=base.version,
            shape=version,
            base_view=BaseView(shape=base),
            format=ExportFormat(format="parquet"),
            created_at="2026-11-25T00:00:00Z",
            target_bytes=chance.choice((1, 2**20)),
        )
        accounts: list[Account] = []
        digests: dict[Change | None, Digest] = {
            change: Digest(schema_id=version.exported.schema_id) for change in ("added", "removed")
        }
        receiver, expected = rows_of(base), rows_of(version)
        assert order.compared_view is not None or not (version.selects or base.selects)
        for group in order.groups():
            for side, shape, found in changed_rows(version, base, group):
                accounting = Accounting(shape.version.info.row_schema, shape.exported, side)
                read = connection.execute(found.sql, found.parameters).to_arrow_table().to_batches()
                assert all(CHANGED in batch.schema.names for batch in read)
                for batch in accounting.kept(read):
                    assert found.change is not None
                    digests[found.change] += digest_rows(batch, shape.exported)
                    texts = {repr(tuple(row.values())) for row in batch.to_pylist()}
                    changed += len(texts)
                    if found.change == "removed":
                        assert texts <= receiver
                    receiver = receiver - texts if found.change == "removed" else receiver | texts
                accounts.append(accounting.account)
        assert receiver == expected
        selection = version.manifest_selection(accounts, base=base)
        assert selection.fault(version.version.info.digest, base.version.info.digest, digests) is None
        kept0, kept1 = selection.view("base"), selection.view("version")
        assert kept0 is not None
        assert kept1 == kept0 - digests["removed"] + digests["added"]
        assert kept1 is not None
        assert kept1.count == len(expected)
    assert changed > PAIRS
