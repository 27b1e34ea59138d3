"""What a dry run says that an import would do to the members, from files on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.operations.dry_run import Base, compare
from schemas.arrow import arrow_schema
from schemas.columns import Column, ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Version
from schemas.import_spec import ImportSpec
from segmentation.publishing import merged_schema
from segmentation.versions import Part, VersionInfo
from tests.integration.lake.support import AT

COLUMNS = (Column(name="age", type="long"), Column(name="city"))
BASE = [("ann", 30, "Osaka"), ("bob", 40, "Kobe"), ("cy", 50, None)]
FILE = [("ann", 31, None), ("bob", 40, None), ("dan", 1, "Nara"), ("ann", 30, "Osaka"), ("dan", None, None)]
"""Of each user the last row counts: ann stays as she is, bob loses his city, dan comes without values."""


def written(path: Path, rows: Sequence[tuple[Any, ...]], *, ordinal: bool) -> Path:
    schema = arrow_schema(RowSchema(columns=COLUMNS), ordinal=ordinal)
    values = [(n, *row) if ordinal else row for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist([dict(zip(schema.names, v, strict=True)) for v in values], schema), path)
    return path


@pytest.mark.parametrize(
    ("mode", "added", "removed", "updated", "nulls"),
    [
        ("replace", 1, 1, 1, {"age": 1, "city": 2}),
        ("append", 1, 0, 1, {"age": 1, "city": 3}),
        ("remove", 0, 2, 0, {"age": 0, "city": 1}),
    ],
)
def test_changed_members_and_missing_values_are_counted_as_an_import_would(
    mode: ImportMode, added: int, removed: int, updated: int, nulls: Mapping[str, int], tmp_path: Path
) -> None:
    schema = RowSchema(columns=COLUMNS)
    digest = Digest(schema_id=schema.schema_id, count=3, sum0=1, sum1=1)
    info = VersionInfo(
        version=Version(1),
        snapshot_id=1,
        import_id=JobId("01m87b5fjxy5p23eqzcwh67tr0"),
        attempt=Attempt(1),
        mode="replace",
        order_key="1",
        partitions=1,
        partitioner="murmur2",
        row_schema=schema,
        members=3,
        digest=digest,
        base_version=None,
        source_version=None,
        counts=None,
        published_at=AT,
    )
    part = Part(
        uri=str(written(tmp_path / "base.parquet", BASE, ordinal=False)), rows=3, bytes=1, digest=digest, partition=None
    )
    counts, distinct, found = compare(
        written(tmp_path / "rows.parquet", FILE, ordinal=True),
        len(FILE),
        Base(info=info, parts=(part,)),
        spec=ImportSpec(columns=COLUMNS, mode=mode),
        merged=merged_schema(schema, schema),
        s3=cast(S3Access, None),
        limits=DuckLimits(memory_bytes=2**28, threads=1, temp_directory=tmp_path / "spill", temp_bytes=2**28),
    )
    assert (distinct, counts.added, counts.removed, counts.updated, found) == (3, added, removed, updated, nulls)
    assert counts.fault() is None
