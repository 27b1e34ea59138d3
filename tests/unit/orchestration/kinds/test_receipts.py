from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.kinds.receipts import make_receipt, receipt_fault
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition, TenantName, Version
from schemas.messages import PartitionMaterialised
from segmentation.completion import Complete
from segmentation.versions import MembershipCounts, VersionInfo, emptied_columns
from tests.unit.orchestration.cli.jobs import job

JOB = JobId("01m87b5fjxy5p23eqzcwh67tr0")
SCHEMA = RowSchema()


def digest(count: int, value: int) -> Digest:
    return Digest(schema_id=SCHEMA.schema_id, count=count, sum0=value, sum1=value)


PARTITIONS = tuple(
    PartitionMaterialised(
        import_id=JOB,
        attempt=Attempt(2),
        partition=Partition(p),
        partitions=2,
        chunks=1,
        records=records,
        digest=digest(records, 10 * p),
        distinct=distinct,
        distinct_digest=digest(distinct, 5 * p),
        part="s3://lake/p",
        part_bytes=1,
    )
    for p, records, distinct in ((0, 4, 3), (1, 2, 2))
)
JOB_ROW = job(
    job_id=JOB,
    tenant=TenantName("acme"),
    audience_id=JOB,
    state="PUBLISHING",
    attempt=Attempt(2),
    source={"bucket": "inbox", "key": "acme/vip/a.csv", "version_id": "v1", "etag": '"e"', "size": 77},
    evidence={
        "rows": 7,
        "accepted": 6,
        "rejected": 1,
        "rejected_by_code": {"id_empty": 1},
        "partitions": [str(p.digest) for p in PARTITIONS],
        "source_bytes": 77,
        "decoded_bytes": 77,
        "schema_id": SCHEMA.schema_id,
    },
)
VERSION = VersionInfo(
    version=Version(1),
    snapshot_id=99,
    import_id=JOB,
    attempt=Attempt(2),
    mode="replace",
    order_key="1",
    partitions=2,
    partitioner="murmur2",
    row_schema=SCHEMA,
    members=5,
    digest=digest(5, 5),
    base_version=None,
    source_version=None,
    counts=None,
    published_at=datetime(2026, 1, 1, tzinfo=UTC),
)
FOUND = Complete(attempt=Attempt(2), partitions=PARTITIONS)


def test_receipt_accounts_for_the_file_and_its_rows() -> None:
    receipt = make_receipt(JOB_ROW, FOUND, VERSION, None, finished_at_ms=1500)
    assert {k: receipt[k] for k in ("rows", "accepted", "rejected", "duplicates", "distinct", "members")} == {
        "rows": 7,
        "accepted": 6,
        "rejected": 1,
        "duplicates": 1,
        "distinct": 5,
        "members": 5,
    }
    assert receipt["source"] == {
        "bucket": "inbox",
        "key": "acme/vip/a.csv",
        "version_id": "v1",
        "etag": '"e"',
        "bytes": 77,
    }
    assert (receipt["started_at"], receipt["finished_at"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.500Z")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"members": 4}, "distinct = members"),
        ({"digest": digest(5, 6)}, "digest of the partitions = digest of the members"),
    ],
)
def test_version_that_contradicts_the_stream_has_no_receipt(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(FatalError, match=f"RECEIPT_DOES_NOT_ADD_UP.*{fault}"):
        make_receipt(JOB_ROW, FOUND, replace(VERSION, **change), None, finished_at_ms=1)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("rows", 8, "rows = accepted + rejected does not hold: 8 is not 7"),
        ("rejected_by_code", {}, "rejected = its codes does not hold: 1 is not 0"),
        ("distinct", 6, "distinct = distinct of the partitions does not hold: 6 is not 5"),
        ("duplicates", 0, "accepted = distinct + duplicates does not hold: 6 is not 5"),
    ],
)
def test_every_receipt_sum_is_checked(key: str, value: object, fault: str) -> None:
    receipt = make_receipt(JOB_ROW, FOUND, VERSION, None, finished_at_ms=1)
    assert receipt_fault(receipt) is None
    assert receipt_fault({**receipt, key: value}) == fault


def test_the_receipt_of_an_append_adds_up_from_its_base() -> None:
    counts = MembershipCounts(base=10, added=2, removed=0, kept=10, members=12, base_version=Version(1))
    version = replace(VERSION, version=Version(2), mode="append", members=12, digest=digest(12, 1), counts=counts)
    receipt = make_receipt(replace(JOB_ROW, mode="append"), FOUND, version, None, finished_at_ms=1)
    assert receipt["membership"]["added"] == 2
    assert receipt_fault({**receipt, "members": 13}) == "members = added + kept does not hold: 13 is not 12"


def test_receipt_names_columns_that_became_empty() -> None:
    before = replace(VERSION, members=4, nulls={"age": 3, "city": 4, "gone": 0})
    now = replace(VERSION, version=Version(2), nulls={"age": 5, "city": 5, "new": 5})
    found = [
        make_receipt(JOB_ROW, FOUND, version, earlier, finished_at_ms=0)["emptied_columns"]
        for version, earlier in ((now, before), (now, None), (VERSION, before), (now, VERSION))
    ]
    assert found == [["age"], [], None, None]
    assert make_receipt(JOB_ROW, FOUND, now, before, finished_at_ms=0)["nulls_by_column"] == now.nulls
    assert emptied_columns(before, 0, {"age": 0}) == []
