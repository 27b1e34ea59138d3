"""What DuckDB does for append and remove, on plain sets; and the rows of a part as stored."""

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.build import BaseVersion, BuiltVersion, ImportedParts, PartsBuilt
from connectors.lake.sides import Overlap
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import Partition
from schemas.layout import part_name, split_s3_uri
from schemas.row_digest import digest_rows
from segmentation.versions import MembershipCounts, Part
from tests.simulation.stores import ObjectStore


def part_rows(store: ObjectStore, part: Part, schema: RowSchema) -> Iterator[pa.RecordBatch]:
    """Stands in for `connectors.lake.parts.read_part`. Raises `FatalError` LAKE_FILE_MISSING."""
    body = store.get(*split_s3_uri(part.uri))
    if body is None:
        raise FatalError("LAKE_FILE_MISSING", part.uri)
    yield from read_parquet(body).cast(arrow_schema(schema)).to_batches()


@lru_cache(2_000)
def read_parquet(body: bytes) -> pa.Table:
    """Read a Parquet file. Cached: the same bytes give the same rows."""
    return pq.ParquetFile(BytesIO(body)).read(use_threads=False)


def users_of(store: ObjectStore, parts: tuple[Part, ...] | list[Part]) -> dict[int, set[str]]:
    """Users by partition."""
    found: dict[int, set[str]] = {}
    for part in parts:
        for batch in part_rows(store, part, RowSchema()):
            assert part.partition is not None
            found.setdefault(part.partition, set()).update(batch.column("user_id").to_pylist())
    return found


def compare(store: ObjectStore, imported: ImportedParts, base: BaseVersion | None, **_: Any) -> MembershipCounts:
    """`connectors.lake.build.compare` for a replace, small and slow."""
    new = set().union(*users_of(store, list(imported.parts)).values())
    old = set() if base is None else set().union(*users_of(store, list(base.parts)).values())
    return MembershipCounts(
        base=len(old),
        added=len(new - old),
        removed=len(old - new),
        kept=len(old & new),
        members=len(new),
        updated=None,
        base_version=None if base is None else base.info.version,
    )


def build_parts(
    store: ObjectStore, imported: ImportedParts, base: BaseVersion, partitions: Sequence[Partition], **more: Any
) -> PartsBuilt:
    """`connectors.lake.build.build_parts`, small and slow."""
    some = replace(imported, parts=[part for part in imported.parts if part.partition in partitions])
    before = replace(base, parts=[part for part in base.parts if part.partition in partitions])
    built = build_version(store, some, before, **more)
    came = sum(part.rows for part in some.parts)
    matched = built.counts.removed if imported.mode == "remove" else came - built.counts.added
    return PartsBuilt(parts=built.parts, overlap=Overlap(matched=matched, updated=0))


def overlap_with(
    store: ObjectStore, imported: ImportedParts, base: BaseVersion, partitions: Set[Partition], **_: Any
) -> Overlap:
    """`connectors.lake.build.overlap_with`, small and slow."""
    before = replace(base, parts=[part for part in base.parts if part.partition in partitions])
    return Overlap(matched=compare(store, imported, before).kept, updated=0)


def build_version(
    store: ObjectStore, imported: ImportedParts, base: BaseVersion | None, *, data_prefix: str, **_: Any
) -> BuiltVersion:
    """`connectors.lake.build.build_version`, small and slow."""
    incoming = users_of(store, list(imported.parts))
    before = {} if base is None else users_of(store, list(base.parts))
    if base is None and imported.mode == "remove":
        raise UserError("NOTHING_TO_REMOVE_FROM", "the audience has no version yet")
    parts: list[Part] = []
    added = removed = kept = 0
    for number in range(imported.partitions):
        old, new = before.get(number, set()), incoming.get(number, set())
        after = old - new if imported.mode == "remove" else old | new
        added, removed, kept = added + len(after - old), removed + len(old - after), kept + len(old & after)
        if after:
            batch = pa.record_batch({"user_id": pa.array(sorted(after), pa.string())}, schema=arrow_schema(RowSchema()))
            sink = BytesIO()
            pq.write_table(pa.Table.from_batches([batch]), sink)
            body = sink.getvalue()
            bucket, prefix = split_s3_uri(data_prefix)
            digest = hashlib.sha256(body).hexdigest()[:32]
            name = part_name(imported.import_id, imported.attempt, Partition(number), digest)
            store.put_new(bucket, prefix + name, body)
            parts.append(
                Part(
                    uri=data_prefix + name,
                    rows=len(after),
                    bytes=len(body),
                    digest=digest_rows(batch, RowSchema()),
                    partition=Partition(number),
                )
            )
    version = None if base is None else base.info.version
    counts = MembershipCounts(
        base=removed + kept, added=added, removed=removed, kept=kept, members=added + kept, base_version=version
    )
    return BuiltVersion(parts=tuple(parts), row_schema=RowSchema(), counts=counts, base_version=version)
