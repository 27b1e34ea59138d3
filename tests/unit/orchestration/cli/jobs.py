"""A job and an export as defaults, for tests that care about only some fields."""

from dataclasses import replace
from typing import Any

from orchestration.catalog.records import Export, Job
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec

JOB = Job(
    job_id=JobId("01jdcz0000000000000000000a"),
    tenant=TenantName("default"),
    audience=AudienceName("vip"),
    audience_id=JobId("01jdcz0000000000000000000b"),
    state="REGISTERED",
    attempt=Attempt(0),
    mode="replace",
    partitions=2,
    spec=ImportSpec(),
    source={"bucket": "inbox", "key": "default/vip/people.csv", "size": 1000},
    small=True,
    order_key="1",
    dedupe_key="k",
    execution=None,
    task_token=None,
    evidence=None,
    build=None,
    outcome=None,
    error=None,
    failed_in=None,
    retry_of=None,
    created_at_ms=0,
    finished_at_ms=None,
)
EXPORT = Export(
    job_id=JobId("01jdcz0000000000000000000c"),
    tenant=TenantName("acme"),
    audience=AudienceName("vip"),
    audience_id=JobId("01jdcz0000000000000000000b"),
    state="WRITING",
    request={},
    leases=(),
    snapshot=None,
    task_token=None,
    topic_partitions=None,
    execution=None,
    outcome=None,
    error=None,
    failed_in=None,
    retry_of=None,
    created_at_ms=0,
    finished_at_ms=None,
    swept_at_ms=None,
)
EVIDENCE = {
    "rows": 110,
    "accepted": 100,
    "rejected": 10,
    "rejected_by_code": {"bad_value": 10},
    "partitions": [f"0123456789abcdef:{count}:{1:016x}:{2:016x}" for count in (60, 40)],
}


def job(**changes: Any) -> Job:
    """`JOB` with other values."""
    return replace(JOB, **changes)
