"""Members written by workers become parts of a version, or nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.lake.cut_parts import cut_parts
from connectors.lake.parts import read_part
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from schemas.columns import RowSchema
from schemas.errors import FatalError
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.layout import audience_prefix, s3_uri
from schemas.partitioning import partition_of
from schemas.segment_messages import CutRequested
from segmentation.partitions.log_position import LogPosition
from segmentation.versions import AudienceRef, Part, SegmentRule
from streams.segments.snapshots import PartitionSnapshot
from tests.integration.lake.support import AT, BUCKET, audience, limits, new_id, request

USERS = tuple(f"user-{n}" for n in range(40))
P = 2
RULE = SegmentRule(segment=AudienceName("buyers"), rule_version=3, rule_hash="ab" * 32, as_of=AT - timedelta(seconds=1))


def cut_by_a_worker(s3: S3Access, partition: int, users: tuple[str, ...] = USERS) -> Part:
    """The file that the owner of a partition writes, with the content of its announcement."""
    asked = CutRequested(cut_id=new_id(), tenant=TenantName("acme"), segment=AudienceName("buyers"), at_us=1)
    mine = sorted(user for user in users if partition_of(user, P) == partition)
    cut = PartitionSnapshot(request=asked, rule_version=1, position=LogPosition(), members=pa.array(mine, pa.string()))
    key = f"segments/cuts/{asked.cut_id}/{partition}.parquet"
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=cut.content())
    return Part(uri=s3_uri(BUCKET, key), rows=len(mine), bytes=0, digest=cut.digest, partition=Partition(partition))


@pytest.fixture
def build(s3: S3Access, tmp_path: Path) -> Callable[..., tuple[Part, ...]]:
    def build_it(*cuts: Part, import_id: JobId, ref: AudienceRef) -> tuple[Part, ...]:
        return cut_parts(
            cuts,
            import_id=import_id,
            attempt=Attempt(1),
            s3=s3,
            limits=limits(tmp_path),
            data_prefix=s3_uri(BUCKET, audience_prefix(ref.tenant, ref.audience_id) + "data/"),
        )

    return build_it


def test_cut_parts_are_published_with_their_rule(
    s3: S3Access, store: IcebergVersionStore, build: Callable[..., tuple[Part, ...]]
) -> None:
    ref, import_id = audience(), new_id()
    cuts = [cut_by_a_worker(s3, 0), cut_by_a_worker(s3, 1)]
    parts = build(*cuts, import_id=import_id, ref=ref)
    assert [part.digest for part in parts] == [cut.digest for cut in cuts]
    assert build(*cuts, import_id=import_id, ref=ref) == parts  # a repeat
    store.publish(request(ref, parts, "1", import_id=import_id, rule=RULE))
    info = store.current(ref)
    assert info is not None
    assert (info.members, info.rule) == (len(USERS), RULE)
    found = [batch for part in store.files(ref, info.version) for batch in read_part(s3, part, RowSchema())]
    assert sorted(pa.Table.from_batches(found).column("user_id").to_pylist()) == sorted(USERS)


def test_file_that_contradicts_its_cut_is_named(s3: S3Access, build: Callable[..., tuple[Part, ...]]) -> None:
    whole, less = cut_by_a_worker(s3, 0), cut_by_a_worker(s3, 0, USERS[20:])
    with pytest.raises(FatalError, match=rf"PART_MISMATCH.*{less.uri} \(partition 0\)"):
        build(replace(less, digest=whole.digest), import_id=new_id(), ref=audience())


def test_members_of_another_partition_are_not_published(
    s3: S3Access, store: IcebergVersionStore, build: Callable[..., tuple[Part, ...]]
) -> None:
    ref, import_id = audience(), new_id()
    [part] = build(replace(cut_by_a_worker(s3, 0), partition=Partition(1)), import_id=import_id, ref=ref)
    with pytest.raises(FatalError, match="belong to other partitions"):
        store.publish(request(ref, (part,), "1", import_id=import_id))


def test_missing_cut_file_is_reported(s3: S3Access, build: Callable[..., tuple[Part, ...]]) -> None:
    gone = replace(cut_by_a_worker(s3, 0), uri=s3_uri(BUCKET, "segments/cuts/none.parquet"))
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        build(gone, import_id=new_id(), ref=audience())
