"""Verification of objects in the real store."""

import io
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.file_set import DigestedSet
from connectors.sources.limits import ParseLimits
from connectors.sources.row_groups import row_groups_of
from connectors.sources.units import cut
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.ranges import verify_side_by_side
from connectors.verification.rejects_file import ParquetRejects, upload_to
from connectors.verification.verifier import verify_file
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.ids import JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.layout import rejects_key, split_s3_uri

pytestmark = pytest.mark.integration

JOB = JobId("01jd0000000000000000000000")


@pytest.fixture
def store(stack: Settings) -> ObjectStore:
    return ObjectStore(s3_access(stack))


@pytest.fixture
def tenant() -> TenantName:
    return TenantName(f"t{uuid.uuid4().hex[:10]}")


def uploaded(store: ObjectStore, settings: Settings, tenant: str, content: bytes) -> SourceObject:
    key = f"{tenant}/vip/users.csv"
    store.put(settings.inbox_bucket, key, content)
    return store.pin(settings.inbox_bucket, key)


def verify(
    source: SourceObject, store: ObjectStore, settings: Settings, tenant: TenantName, spec: ImportSpec, tmp_path: Path
) -> Evidence:
    upload = upload_to(store, settings.lake_bucket, rejects_key(tenant, JOB))
    with ParquetRejects(tmp_path / "rejects.parquet", upload) as rejects:
        return verify_file(
            source,
            spec,
            partitions=4,
            limits=ParseLimits(),
            rejects=rejects,
            on_progress=lambda _: None,
            store=store,
        )


def test_rejects_are_readable_with_duckdb_at_the_reported_address(
    stack: Settings, store: ObjectStore, tenant: TenantName, tmp_path: Path
) -> None:
    source = uploaded(store, stack, tenant, b"user_id,age\nalice,1\n,2\nbob,3,\n")
    with pytest.raises(UserError, match="TOO_MANY_REJECTS: 2 of 3 rows") as error:
        verify(source, store, stack, tenant, ImportSpec(), tmp_path)
    uri = str(error.value.detail["rejects"])
    assert uri == f"s3://{stack.lake_bucket}/rejects/{tenant}/{JOB}.parquet"
    local = tmp_path / "downloaded.parquet"
    local.write_bytes(store.get(*split_s3_uri(uri)))
    rows = duckdb.sql(f"select line, byte_offset, code, raw from '{local}' order by line").fetchall()
    assert rows == [(3, 20, "id_empty", ",2"), (4, 23, "field_count", "bob,3,")]


def test_object_and_local_file_give_equal_evidence(
    stack: Settings, store: ObjectStore, tenant: TenantName, tmp_path: Path
) -> None:
    content = b"user_id\n" + b"".join(b"user-%d\n" % n for n in range(100_000))
    source = uploaded(store, stack, tenant, content)
    path = tmp_path / "users.csv"
    path.write_bytes(content)
    with ParquetRejects(tmp_path / "r.parquet", str) as rejects:
        local = verify_file(
            path, ImportSpec(), partitions=4, limits=ParseLimits(), rejects=rejects, on_progress=lambda _: None
        )
    assert verify(source, store, stack, tenant, ImportSpec(), tmp_path) == local
    with ParquetRejects(tmp_path / "r.parquet", str) as rejects:
        in_ranges = verify_side_by_side(
            source,
            ImportSpec(),
            store=store,
            unit_bytes=len(content) // 5,
            at_once=2,
            on_files=lambda _: None,
            partitions=4,
            limits=ParseLimits(),
            rejects=rejects,
            on_progress=lambda _: None,
        )
    assert in_ranges == local
    assert local.accepted == 100_000


def test_row_groups_of_an_object_have_the_digests_of_the_file(
    stack: Settings, store: ObjectStore, tenant: TenantName
) -> None:
    out = io.BytesIO()
    users = [f"user-{n}" for n in range(50_000)]
    pq.write_table(pa.table({"user_id": users}), out, row_group_size=9_000)
    key = f"{tenant}/vip/users.parquet"
    store.put(stack.inbox_bucket, key, out.getvalue())
    source, spec, limits = store.pin(stack.inbox_bucket, key), ImportSpec(), ParseLimits()
    units = cut([source], 1000, lambda file: row_groups_of(file, store, spec, limits))
    assert len(units) == 6
    found = []
    for unit in (None, *units):
        with DigestedSet((source,), spec, limits, store, None, partitions=1, unit=unit) as digested:
            assert list(digested) == []
            found.append(digested.digests[0])
    assert Digest.total(spec.row_schema.schema_id, found[1:]) == found[0]
    assert found[0].count == 50_000


def test_object_overwritten_after_pinning_is_refused(
    stack: Settings, store: ObjectStore, tenant: TenantName, tmp_path: Path
) -> None:
    pinned = uploaded(store, stack, tenant, b"user_id\nalice\n")
    uploaded(store, stack, tenant, b"user_id\nmallory\n")
    if pinned.version_id is not None:  # a versioned bucket still has the pinned object
        assert verify(pinned, store, stack, tenant, ImportSpec(), tmp_path).source_bytes == 14
        return
    with pytest.raises(UserError, match="SOURCE_CHANGED"):
        verify(pinned, store, stack, tenant, ImportSpec(), tmp_path)


def test_missing_object_is_named(stack: Settings, store: ObjectStore, tenant: TenantName, tmp_path: Path) -> None:
    pinned = uploaded(store, stack, tenant, b"user_id\nalice\n")
    gone = SourceObject(
        bucket=pinned.bucket,
        key=pinned.key + ".gone",
        version_id=None,
        etag=pinned.etag,
        size=pinned.size,
        last_modified=pinned.last_modified,
    )
    with pytest.raises(UserError, match="SOURCE_GONE"):
        verify(gone, store, stack, tenant, ImportSpec(), tmp_path)
