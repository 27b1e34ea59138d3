"""Reads that belong to one tenant: the tenant is in the statement that looks up the id, and lists go on after a key."""

from functools import partial

import pytest

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import NewExport
from orchestration.catalog.schedules import Schedule, ScheduleStore
from orchestration.catalog.segments import SegmentStore
from orchestration.operations.job_search import AllJobs
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    VIP,
    audiences,
    database,
    job_number,
    jobs,
    new_job,
    url,
)
from tests.contract.test_segments import BUYERS, LOYAL, create, outbox, store  # noqa: F401  # fixtures

BETA = TenantName("beta")


def new_export(number: int) -> NewExport:
    return NewExport(
        job_id=job_number(number),
        tenant=ACME,
        audience=VIP,
        audience_id=None,
        request={"to": "s3://x/"},
        leases=(),
        execution=None,
        retry_of=None,
        created_at_ms=number,
    )


def test_job_receipt_and_duplicates_are_found_only_for_their_tenant(jobs: JobStore) -> None:  # noqa: F811
    jobs.register(new_job(1))
    jobs.register(new_job(2))  # a duplicate of the first
    jobs.put_receipt(job_number(1), {"rows": 1})
    for asked in (job_number(1), job_number(2)):
        found = jobs.find(asked, tenant=ACME)
        assert found is not None
        assert found.job_id == job_number(1)
        assert jobs.find(asked, tenant=BETA) is None
    assert jobs.receipt(job_number(1), tenant=ACME) == jobs.receipt(job_number(1)) == {"rows": 1}
    assert jobs.receipt(job_number(1), tenant=BETA) is None


def test_export_is_found_only_for_its_tenant(database: Database) -> None:  # noqa: F811
    exports = ExportStore(database)
    exports.register(new_export(1))
    assert exports.find(job_number(1), tenant=ACME) == exports.get(job_number(1))
    assert exports.find(job_number(1), tenant=BETA) is None


def test_list_of_jobs_continues_before_a_job(database: Database, jobs: JobStore) -> None:  # noqa: F811
    exports = ExportStore(database)
    for number in (1, 3, 5):
        jobs.register(new_job(number, dedupe_key=f"{number}" * 64))
    for number in (2, 4):
        exports.register(new_export(number))
    everything = AllJobs(jobs=jobs, exports=exports)
    first = everything.search(tenant=ACME, limit=2)
    assert [job.job_id for job in first] == [job_number(5), job_number(4)]
    rest = everything.search(tenant=ACME, before=job_number(4), limit=9)
    assert [job.job_id for job in rest] == [job_number(3), job_number(2), job_number(1)]


def test_pages_of_names_continue_after_a_name_within_their_tenant(
    database: Database,  # noqa: F811
    audiences: AudienceStore,  # noqa: F811
    store: SegmentStore,  # noqa: F811
) -> None:
    audiences.add_tenant(BETA, 0)
    schedules = ScheduleStore(database)
    for number, tenant, name in ((1, ACME, "a"), (2, ACME, "b"), (3, BETA, "a"), (4, BETA, "c")):
        audiences.ensure(tenant, AudienceName(name), new_id=job_number(number), now_ms=1)
        schedules.add(
            Schedule(
                schedule_id=job_number(number),
                tenant=tenant,
                name=name,
                kind="import",
                expression="rate(1 hour)",
                timezone="UTC",
                request={},
                enabled=True,
                created_at_ms=1,
                next_due_ms=2,
            )
        )
    create(store, BUYERS, number=5)
    create(store, LOYAL, number=6)
    assert [one.name for one in audiences.page(ACME, limit=1)] == ["a"]
    assert [one.name for one in audiences.page(ACME, after="a", limit=9)] == ["b"]
    assert [one.name for one in schedules.page(ACME, limit=1)] == ["a"]
    assert [one.name for one in schedules.page(ACME, after="a", limit=9)] == ["b"]
    assert [one.segment for one in store.page(ACME, limit=1, partitions=8, now_ms=0)] == [BUYERS]
    assert [one.segment for one in store.page(ACME, after=BUYERS, limit=9, partitions=8, now_ms=0)] == [LOYAL]
    assert audiences.tenant_page(limit=1) == [ACME]
    assert audiences.tenant_page(after=ACME, limit=9) == [BETA]


def test_segment_and_rules_are_found_only_for_their_tenant_while_they_exist(store: SegmentStore) -> None:  # noqa: F811
    create(store)
    one = partial(store.one, partitions=8, now_ms=0)
    assert one(ACME, BUYERS).rule == store.rules_of(ACME, BUYERS)[0].rule
    for read in (one, store.rules_of):
        with pytest.raises(UserError) as foreign:
            read(BETA, BUYERS)
        assert foreign.value.code == "UNKNOWN_SEGMENT"
    store.delete(ACME, BUYERS, now_ms=9)
    for read in (one, store.rules_of):
        with pytest.raises(UserError) as deleted:
            read(ACME, BUYERS)
        assert deleted.value.code == "UNKNOWN_SEGMENT"
