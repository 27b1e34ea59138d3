"""Exports in every database that may hold the catalog."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import Export, JobError, Lease, NewExport
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, Version
from schemas.records import as_record
from segmentation.life_cycle import Change
from segmentation.versions import AudienceRef
from tests.contract.test_catalog import database, url

__all__ = ["database", "url"]

AUDIENCE = AudienceRef(
    tenant=TenantName("acme"), audience=AudienceName("vip"), audience_id=JobId("01m87b5fjxy5p23eqzcwh67tr0")
)
ERROR = JobError(kind="user", code="NO_SUCH_VERSION", message="gone", detail={"version": 3})


def new_export(number: int = 1, execution: str = "e") -> NewExport:
    return NewExport(
        job_id=JobId(f"01m87b5fjxy5p23eqzcwh6{number:04d}"),
        tenant="acme",
        audience="vip",
        audience_id=AUDIENCE.audience_id,
        request={"to": "s3://b/x", "version": 3},
        leases=(Lease(audience=AUDIENCE, version=Version(3)),),
        execution=execution,
        retry_of=None,
        created_at_ms=1_000 + number,
    )


@pytest.fixture(name="store")
def _store(database: Database) -> ExportStore:
    return ExportStore(database)


def states(store: ExportStore, export: Export) -> list[str]:
    return [t.state for t in store.history(export.job_id)]


def test_concurrent_registrations_make_one_export(store: ExportStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: store.register(new_export(execution=f"e{n}")), range(8)))
    assert len({export.execution for export in made}) == 1
    assert (made[0].leases, made[0].request) == (new_export().leases, new_export().request)
    assert states(store, made[0]) == ["REGISTERED"]
    assert store.by_execution(str(made[0].execution)) == made[0]
    assert store.by_execution("nobody") is None


def test_a_refused_export_is_failed_from_the_start(store: ExportStore) -> None:
    export = store.register(new_export(), refused=ERROR)
    assert (export.state, export.failed_in, export.error, export.finished_at_ms) == (
        "FAILED",
        "REGISTERED",
        ERROR,
        1_001,
    )
    assert states(store, export) == ["REGISTERED", "FAILED"]


def test_changes_are_guarded_and_idempotent(store: ExportStore) -> None:
    export = store.register(new_export())
    assert store.move(export.job_id, "FINISHING", now_ms=2)[0] is Change.REFUSED
    assert store.move(export.job_id, "WRITING", now_ms=2)[0] is Change.APPLIED
    assert store.move(export.job_id, "WRITING", now_ms=3)[0] is Change.ALREADY
    assert store.move(export.job_id, "FINISHING", now_ms=3, only_from={"REGISTERED"})[0] is Change.REFUSED
    assert store.move(export.job_id, "FINISHING", now_ms=3, expecting={"execution": "x"})[0] is Change.REFUSED
    assert store.move(export.job_id, "FINISHING", now_ms=3)[0] is Change.APPLIED
    assert store.move(export.job_id, "CANCELLED", now_ms=4)[0] is Change.REFUSED
    assert store.fail(export.job_id, ERROR, now_ms=4)[0] is Change.REFUSED
    verdict, export = store.move(export.job_id, "READY", now_ms=5, outcome={"rows": 1})
    assert (verdict, export.outcome, export.finished_at_ms) == (Change.APPLIED, {"rows": 1}, 5)
    assert states(store, export) == ["REGISTERED", "WRITING", "FINISHING", "READY"]


def test_export_of_a_segment_waits_for_its_snapshot(store: ExportStore) -> None:
    plain, snapshot = store.register(new_export()), JobId("01m87b5fjxy5p23eqzcwh6ffff")
    new = replace(new_export(2, "e2"), snapshot=snapshot, leases=(), audience_id=None)
    export = store.register(new)
    assert (plain.state, plain.snapshot, export.state, export.snapshot) == ("REGISTERED", None, "AWAITING", snapshot)
    store.put(export.job_id, task_token="t")
    assert [(one.job_id, one.task_token) for one in store.awaiting()] == [(export.job_id, "t")]
    assert store.move(export.job_id, "WRITING", now_ms=2)[0] is Change.REFUSED
    held = [lease.as_record() for lease in new_export().leases]
    verdict, export = store.move(
        export.job_id, "REGISTERED", now_ms=2, only_from={"AWAITING"}, held=held, task_token=None
    )
    assert (verdict, export.leases, export.task_token) == (Change.APPLIED, new_export().leases, None)
    assert (store.awaiting(), states(store, export)) == ([], ["AWAITING", "REGISTERED"])
    assert store.move(export.job_id, "AWAITING", now_ms=3)[0] is Change.REFUSED


def test_refused_manifest_fails_a_finishing_export(store: ExportStore) -> None:
    export = store.register(new_export())
    for state in ("WRITING", "FINISHING"):
        store.move(export.job_id, state, now_ms=2)
    verdict, export = store.fail(export.job_id, ERROR, now_ms=4, uncommitted=True)
    assert (verdict, export.state, export.failed_in) == (Change.APPLIED, "FAILED", "FINISHING")


def test_groups_are_planned_once_and_report_progress(store: ExportStore) -> None:
    export = store.register(new_export())
    assert store.groups(export.job_id) == []
    for sizes in ([(10, 1), (20, 2)], [(99, 9)]):
        store.plan(export.job_id, sizes)
    assert [(g.number, g.bytes, g.expected_rows, g.attempt) for g in store.groups(export.job_id)] == [
        (0, 10, 1, 0),
        (1, 20, 2, 0),
    ]
    assert [store.begin_group(export.job_id, 1, now_ms=7) for _ in range(2)] == [1, 2]
    store.set_group(export.job_id, 1, rows=2, record={"files": []})
    store.set_group(export.job_id, 0, error=as_record(ERROR))
    first, second = store.groups(export.job_id)
    assert (first.error, first.record, first.beat_at_ms) == (ERROR, None, None)
    assert (second.error, second.record, second.rows, second.beat_at_ms) == (None, {"files": []}, 2, 7)


def test_one_of_several_sweepers_replaces_an_execution(store: ExportStore) -> None:
    export = store.register(new_export())
    assert [store.adopt(export.job_id, previous="e", execution=new) for new in ("f", "g")] == [True, False]
    store.move(export.job_id, "CANCELLED", now_ms=2)
    assert not store.adopt(export.job_id, previous="f", execution="h")


def test_ended_exports_are_swept_twice(store: ExportStore) -> None:
    export = store.register(new_export())
    store.move(export.job_id, "CANCELLED", now_ms=1_000)

    def due(now_ms: int) -> bool:
        return [e.job_id for e in store.to_sweep(now_ms, after_ms=10, again_after_ms=100)] == [export.job_id]

    assert (due(1_005), due(1_011)) == (False, True)
    store.put(export.job_id, swept_at_ms=1_012)
    assert (due(1_050), due(1_101)) == (False, True)
    store.put(export.job_id, swept_at_ms=1_102)
    assert not due(9_999)


def test_exports_are_found_by_audience_and_state(store: ExportStore) -> None:
    first, second = (store.register(new_export(n, f"e{n}")) for n in (1, 2))
    store.move(first.job_id, "CANCELLED", now_ms=5)
    assert [e.job_id for e in store.search()] == [second.job_id, first.job_id]
    assert store.search(states=["CANCELLED"])[0].job_id == first.job_id
    assert store.search(tenant="other") == store.search(audience="other") == []
    assert [e.job_id for e in store.live()] == [second.job_id]
    store.fail(second.job_id, ERROR, now_ms=6)
    assert [e.job_id for e in store.unnotified(finished_before_ms=9, finished_after_ms=1)] == [second.job_id]
    assert store.unnotified(finished_before_ms=5, finished_after_ms=1) == []
    with pytest.raises(UserError, match="UNKNOWN_EXPORT"):
        store.get(new_export(7).job_id)
    with pytest.raises(UserError, match="UNKNOWN_EXPORT"):
        store.move(new_export(7).job_id, "WRITING", now_ms=1)
