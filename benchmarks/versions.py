"""Two versions of an audience in the lake, as imports would have left them: sorted parts, one per partition."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from benchmarks.generate import users, uuids
from connectors.lake.parts import store_part, write_rows
from connectors.sinks.selection import PinnedVersion
from orchestration.catalog.references import ref_of
from orchestration.composition.context import Context
from orchestration.platform.clock import fresh_id
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.layout import data_prefix
from schemas.partitioning import partition_users
from segmentation.versions import AudienceRef, Part, Published, PublishRequest

TENANT: Final = TenantName("bench")
ROW_SCHEMA: Final = RowSchema(
    columns=(
        Column(name="age", type="long"),
        Column(name="country"),
        Column(name="token"),
        Column(name="score", type="double"),
    )
)
"""About 100 bytes per row as text: 20 M members are 2 GB."""
SEED: Final = 11
DIFFERENT: Final = 100
"""One row in this many is missing in the other version, and one has another age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Two versions of one audience: `base`, and a later one."""

    audience: str
    base: PinnedVersion
    later: PinnedVersion


def make_versions(context: Context, rows: int, scratch: Path) -> Versions:
    """Publish two versions of about `rows` members; they differ in three hundredths of them."""
    context.audiences.add_tenant(TENANT, 1)
    audience = context.audiences.ensure(TENANT, AudienceName("members"), new_id=fresh_id(), now_ms=1)
    ref = ref_of(audience)
    random = np.random.default_rng(SEED)
    table = pa.Table.from_batches([_widened(random, batch) for batch in users(random, rows)])
    one = np.arange(rows)
    later = table.set_column(1, "age", pa.array(table["age"].to_numpy() + (one % DIFFERENT == 2)))
    return Versions(
        audience=audience.name,
        base=_publish(context, ref, table.filter(pa.array(one % DIFFERENT != 0)), scratch, "1"),
        later=_publish(context, ref, later.filter(pa.array(one % DIFFERENT != 1)), scratch, "2"),
    )


def _widened(random: np.random.Generator, batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [*batch.columns, uuids(random, batch.num_rows), pa.array(random.random(batch.num_rows))]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(ROW_SCHEMA))


def make_parts(
    context: Context, ref: AudienceRef, table: pa.Table, schema: RowSchema, import_id: JobId, scratch: Path
) -> tuple[Part, ...]:
    """Store the rows in the lake as an import would have: sorted, one part per partition."""
    partitions = context.settings.partitions
    place = partition_users(table["user_id"].combine_chunks(), partitions)
    parts = []
    for partition in range(partitions):
        members = table.take(pa.array(place.order[place.starts[partition] : place.starts[partition + 1]]))
        path = scratch / "part.parquet"
        digest = write_rows(members.sort_by("user_id").to_batches(), schema, path)
        part = store_part(
            context.s3,
            path,
            digest,
            data_prefix=data_prefix(context.settings.lake_bucket, ref.tenant, ref.audience_id),
            import_id=import_id,
            attempt=Attempt(1),
            partition=Partition(partition),
        )
        parts.append(part)
    return tuple(parts)


def replacing(
    ref: AudienceRef, parts: Sequence[Part], schema: RowSchema, import_id: JobId, order: str, partitions: int
) -> PublishRequest:
    """The request that publishes parts as the next version."""
    return PublishRequest(
        audience=ref,
        import_id=import_id,
        attempt=Attempt(1),
        mode="replace",
        order_key=order,
        parts=tuple(parts),
        partitions=partitions,
        row_schema=schema,
        base_version=None,
        counts=None,
        max_shrink_percent=None,
        published_at=datetime.now(UTC),
    )


def _publish(context: Context, ref: AudienceRef, table: pa.Table, scratch: Path, order: str) -> PinnedVersion:
    import_id, partitions = fresh_id(), context.settings.partitions
    parts = make_parts(context, ref, table, ROW_SCHEMA, import_id, scratch)
    outcome = context.versions.publish(replacing(ref, parts, ROW_SCHEMA, import_id, order, partitions))
    if not isinstance(outcome, Published):
        raise TypeError(f"the version was not published: {outcome}")
    info = context.versions.version(ref, outcome.version)
    return PinnedVersion(info=info, parts=tuple(context.versions.files(ref, outcome.version)))
