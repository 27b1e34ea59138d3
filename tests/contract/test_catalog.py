"""One suite for every database that may hold the catalog."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestration.catalog import auditing, migrate, regular_audiences, tables
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.engine import Database, create_engine
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import JobError, NewJob, PartitionProgress, Retention
from orchestration.catalog.tables import metadata
from orchestration.platform.settings import Secret
from schemas.columns import Column
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName, new_job_id
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from segmentation.life_cycle import Change
from tests.fakes.catalog import migrated

ACME, VIP = TenantName("acme"), AudienceName("vip")
AUDIENCE_ID = JobId("01m87b5fjxy5p23eqzcwh67tr0")


def job_number(number: int) -> JobId:
    return JobId(f"01m87b5fjxy5p23eqzcwh6{number:04d}")


def new_job(number: int = 1, dedupe_key: str = "k" * 64) -> NewJob:
    return NewJob(
        job_id=job_number(number),
        tenant=ACME,
        audience=VIP,
        audience_id=AUDIENCE_ID,
        mode="replace",
        partitions=8,
        spec=ImportSpec(columns=(Column(name="age", type="long"),)),
        source={"bucket": "inbox", "key": "acme/vip/a.csv", "size": 10},
        small=True,
        order_key="1",
        dedupe_key=dedupe_key,
        execution=f"execution-{number}",
        retry_of=None,
        created_at_ms=1000 + number,
    )


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.containers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Secret:
    if request.param == "postgresql":
        emptied: Secret = request.getfixturevalue("empty_postgres_catalog")
        return emptied
    secret = Secret(f"sqlite:///{tmp_path / 'new' / 'catalog.db'}")
    migrated(secret)
    return secret


@pytest.fixture
def database(url: Secret) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def audiences(database: Database) -> AudienceStore:
    store = AudienceStore(database)
    store.add_tenant(ACME, 1)
    return store


def test_migrations_create_exactly_the_declared_tables(url: Secret) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_migrations_downgrade_to_nothing_and_upgrade_again(url: Secret) -> None:
    migrate.downgrade(url, "base")
    engine = create_engine(url)
    assert [t for t in sa.inspect(engine).get_table_names() if t != "alembic_version"] == []
    engine.dispose()
    migrate.upgrade(url)
    current, head = migrate.revisions(url)
    assert (
        current == head == max(migration.name[:4] for migration in (migrate.MIGRATIONS / "versions").glob("[0-9]*.py"))
    )


def test_catalog_older_than_principals_keeps_jobs_and_audit_trail(jobs: JobStore, url: Secret) -> None:
    jobs.register(new_job())
    before, trail = jobs.get(job_number(1)), AuditTrail(jobs._database)
    auditing.record(trail, "ann", "cancel", "acme/vip", job_id=job_number(1))
    migrate.downgrade(url, "0008")
    migrate.upgrade(url)
    assert jobs.get(job_number(1)) == before
    (entry,) = trail.search(job_id=job_number(1))
    assert (entry.actor, entry.tenant, entry.token, entry.session) == ("ann", None, None, None)


def test_audiences_with_three_versions_in_a_week_are_watched(
    database: Database, jobs: JobStore, audiences: AudienceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    del audiences
    monkeypatch.setattr(regular_audiences, "MOST", 2)
    day, now = 24 * 3600 * 1000, 20_000 * 24 * 3600 * 1000
    given = {"often": (1, 2, 3), "lately": (0, 0, 0, 5), "best": (0, 0, 0, 0), "once": (1,), "before": (9, 8, 1, 2)}
    for number, (name, days) in enumerate(given.items()):
        owner = new_job_id(number, bytes(10))
        with database.write() as connection:
            row = {"audience_id": owner, "tenant": ACME, "name": name, "spec": {}, "retention": {}, "created_at_ms": 1}
            connection.execute(sa.insert(tables.audiences).values(**row))
        for index, ago in enumerate(days):
            at_ms = now - ago * day - 1000 * number + index
            job = new_job_id(at_ms, bytes([number] * 10))
            wanted = replace(new_job(1, f"{name}{index}".ljust(64)), job_id=job, audience_id=owner, execution=None)
            jobs.register(replace(wanted, audience=AudienceName(name)))
            jobs.move(job, "VERIFYING", now_ms=at_ms)
            jobs.move(job, "IMPORTING", now_ms=at_ms, evidence={"rejected": number})
            jobs.move(job, "AWAITING", now_ms=at_ms)
            jobs.move(job, "PUBLISHING", now_ms=at_ms)
            jobs.move(job, "READY", now_ms=at_ms + 5, outcome={"version": 1, "members": 10**10 * number})
    with database.read() as connection:
        found = regular_audiences.regular_audiences(connection, now)
    assert [(one.audience, one.members, one.rejected) for one in found] == [("often", 0, 0), ("best", 2 * 10**10, 2)]
    assert (found[0].tenant, found[0].published_at_ms) == (ACME, now - day + 5)


def test_registered_job_round_trips(jobs: JobStore) -> None:
    assert jobs.register(new_job()) == job_number(1)
    job = jobs.get(job_number(1))
    assert (job.state, job.attempt, job.mode, job.partitions) == ("REGISTERED", 0, "replace", 8)
    assert job.spec == ImportSpec(columns=(Column(name="age", type="long"),))
    assert [(t.sequence, t.state, t.at_ms) for t in jobs.history(job.job_id)] == [(1, "REGISTERED", 1001)]


def test_repeated_registration_makes_one_job(jobs: JobStore) -> None:
    assert [jobs.register(new_job()), jobs.register(new_job())] == [job_number(1)] * 2
    assert len(jobs.search()) == 1


def test_jobs_are_found_by_displayed_kind(jobs: JobStore) -> None:
    for number, spec in enumerate((ImportSpec(), activity_spec("events", {}), activity_spec("profiles", {}))):
        jobs.register(replace(new_job(number, str(number) * 64), spec=spec))
    jobs.register(replace(new_job(3, "3" * 64), source={"segment": "buyers"}))
    for kind in ("audience", "events", "profiles", "snapshot"):
        assert [job.shown_kind for job in jobs.search(kinds=[kind])] == [kind]
    assert [job.shown_kind for job in jobs.search(kinds=["snapshot", "events"])] == ["snapshot", "events"]
    assert [job.shown_kind for job in jobs.search()] == ["snapshot", "profiles", "events", "audience"]


def test_second_job_for_an_object_is_a_duplicate_of_the_live_one(jobs: JobStore) -> None:
    jobs.register(new_job(1))
    assert jobs.register(new_job(2)) == job_number(1)
    assert jobs.get(job_number(2)).job_id == job_number(1)


def test_duplicate_remains_one_after_its_original_failed(jobs: JobStore) -> None:
    jobs.register(new_job(1))
    jobs.register(new_job(2))
    for state in ("VERIFYING", "FAILED"):
        jobs.move(job_number(1), state, now_ms=2)
    assert jobs.register(new_job(2)) == job_number(1)
    assert [job.job_id for job in jobs.search()] == [job_number(1)]  # a second job could not be found


@pytest.mark.parametrize("way", [["VERIFYING", "FAILED"], ["CANCELLED"]])
def test_job_without_a_version_causes_no_duplicates(jobs: JobStore, way: list[str]) -> None:
    jobs.register(new_job(1))
    for state in way:
        jobs.move(job_number(1), state, now_ms=2)  # type: ignore[arg-type]
    assert jobs.register(new_job(2)) == job_number(2)


def test_again_makes_a_new_job_despite_a_ready_original(jobs: JobStore) -> None:
    jobs.register(new_job(1))
    for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"):
        jobs.move(job_number(1), state, now_ms=2)
    assert jobs.register(new_job(2)) == job_number(1)
    assert jobs.register(new_job(3), again=True) == job_number(3)


def test_a_ready_original_that_is_outdated_is_repeated_once(jobs: JobStore) -> None:
    jobs.register(new_job(1))
    assert jobs.ready_original(new_job(1).dedupe_key) is None
    for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"):
        jobs.move(job_number(1), state, now_ms=2)
    assert jobs.ready_original(new_job(1).dedupe_key) == job_number(1)
    assert jobs.register(new_job(2), outdated=job_number(1)) == job_number(2)
    assert jobs.register(new_job(3), outdated=job_number(1)) == job_number(2)
    assert jobs.ready_original(new_job(1).dedupe_key) is None


def test_concurrent_registrations_of_one_object_make_one_job(jobs: JobStore) -> None:
    barrier = threading.Barrier(16)
    got: list[JobId] = []

    def register(number: int) -> None:
        barrier.wait()
        got.append(jobs.register(new_job(number)))

    threads = [threading.Thread(target=register, args=(n,)) for n in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 16
    assert len(set(got)) == 1
    assert len(jobs.search()) == 1


def test_a_guarded_change_is_applied_once_then_already_then_refused(jobs: JobStore) -> None:
    jobs.register(new_job())
    assert jobs.move(job_number(1), "VERIFYING", now_ms=5)[0] is Change.APPLIED
    assert jobs.move(job_number(1), "VERIFYING", now_ms=6)[0] is Change.ALREADY
    assert jobs.move(job_number(1), "PUBLISHING", now_ms=7)[0] is Change.REFUSED
    assert [(t.state, t.at_ms) for t in jobs.history(job_number(1))] == [("REGISTERED", 1001), ("VERIFYING", 5)]


def test_a_refused_change_sets_no_columns(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.move(job_number(1), "PUBLISHING", now_ms=7, execution="mine")
    assert jobs.get(job_number(1)).execution == "execution-1"


def test_a_final_state_stamps_the_end_and_keeps_the_cause(jobs: JobStore) -> None:
    jobs.register(new_job())
    error = JobError(kind="user", code="EMPTY_FILE", message="the file is empty", detail={"bytes": 0})
    verdict, job = jobs.fail(job_number(1), error, now_ms=9)
    assert (verdict, job.state, job.failed_in, job.finished_at_ms) == (Change.APPLIED, "FAILED", "REGISTERED", 9)
    assert job.error == error
    assert jobs.history(job_number(1))[-1].cause == "EMPTY_FILE: the file is empty"


def test_attempt_starts_only_while_importing_after_the_known_one(jobs: JobStore) -> None:
    jobs.register(new_job())
    with pytest.raises(FatalError, match="ATTEMPT_SUPERSEDED"):
        jobs.start_attempt(job_number(1), after=Attempt(0), now_ms=1)
    jobs.move(job_number(1), "VERIFYING", now_ms=1)
    jobs.move(job_number(1), "IMPORTING", now_ms=1)
    assert jobs.start_attempt(job_number(1), after=Attempt(0), now_ms=2) == 1
    with pytest.raises(FatalError, match="ATTEMPT_SUPERSEDED"):
        jobs.start_attempt(job_number(1), after=Attempt(0), now_ms=3)
    assert jobs.start_attempt(job_number(1), after=Attempt(1), now_ms=4) == 2
    jobs.end_attempt(job_number(1), Attempt(2), {"rows": 7}, now_ms=5)
    assert jobs.attempt_reports(job_number(1)) == {1: None, 2: {"rows": 7}}


def test_zombie_of_an_older_attempt_does_not_advance_the_job(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.move(job_number(1), "VERIFYING", now_ms=1)
    jobs.move(job_number(1), "IMPORTING", now_ms=1)
    jobs.start_attempt(job_number(1), after=Attempt(0), now_ms=2)
    jobs.start_attempt(job_number(1), after=Attempt(1), now_ms=2)
    assert jobs.move(job_number(1), "AWAITING", now_ms=3, expecting={"attempt": 1})[0] is Change.REFUSED
    assert jobs.move(job_number(1), "AWAITING", now_ms=3, expecting={"attempt": 2})[0] is Change.APPLIED


def test_late_caller_does_not_move_a_job_back(jobs: JobStore) -> None:
    jobs.register(new_job())
    for state in ("VERIFYING", "IMPORTING", "AWAITING"):
        jobs.move(job_number(1), state, now_ms=1)
    late = jobs.move(job_number(1), "IMPORTING", now_ms=2, only_from={"VERIFYING"}, evidence={"rows": 0})
    assert (late[0], late[1].state, late[1].evidence) == (Change.REFUSED, "AWAITING", None)
    assert jobs.move(job_number(1), "IMPORTING", now_ms=2, only_from={"AWAITING"})[0] is Change.APPLIED
    assert jobs.move(job_number(1), "IMPORTING", now_ms=2, only_from={"AWAITING"})[0] is Change.ALREADY


def test_publishing_job_fails_only_if_nothing_was_published(jobs: JobStore) -> None:
    jobs.register(new_job())
    for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING"):
        jobs.move(job_number(1), state, now_ms=1)
    error = JobError(kind="system", code="S3_UNAVAILABLE", message="no answer", detail={})
    assert jobs.fail(job_number(1), error, now_ms=2)[0] is Change.REFUSED
    assert jobs.get(job_number(1)).state == "PUBLISHING"
    assert jobs.fail(job_number(1), error, now_ms=2, uncommitted=True)[0] is Change.APPLIED


def test_a_job_without_an_execution_is_adopted_once(jobs: JobStore) -> None:
    jobs.register(new_job())
    assert jobs.adopt(job_number(1), previous="execution-1", execution="execution-2")
    assert not jobs.adopt(job_number(1), previous="execution-1", execution="execution-3")
    found = jobs.by_execution("execution-2")
    assert found is not None
    assert found.job_id == job_number(1)
    assert jobs.by_execution("execution-1") is None
    jobs.move(job_number(1), "CANCELLED", now_ms=2)
    assert not jobs.adopt(job_number(1), previous="execution-2", execution="execution-4")


def test_a_refused_request_is_a_failed_job_from_the_start(jobs: JobStore) -> None:
    error = JobError(kind="user", code="BAD_NAME", message="no", detail={})
    jobs.register(new_job(), refused=error)
    job = jobs.get(job_number(1))
    assert (job.state, job.failed_in, job.error, job.finished_at_ms) == ("FAILED", "REGISTERED", error, 1001)
    assert [(t.state, t.cause) for t in jobs.history(job.job_id)] == [("REGISTERED", None), ("FAILED", "BAD_NAME: no")]
    assert jobs.live() == []


def test_repeated_object_is_recognised_by_its_sequencer(jobs: JobStore) -> None:
    source = {"bucket": "inbox", "key": "acme/vip/a.csv", "version_id": "v1", "sequencer": "0AFF"}
    jobs.register(replace(new_job(), source=source))
    assert jobs.sequencer(AUDIENCE_ID, "inbox", "acme/vip/a.csv", "v1") == "0AFF"
    assert jobs.sequencer(AUDIENCE_ID, "inbox", "acme/vip/a.csv", "v2") == ""
    assert jobs.sequencer(AUDIENCE_ID, "inbox", "acme/vip/b.csv", "v1") == ""


def test_one_of_sixteen_concurrent_attempts_starts(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.move(job_number(1), "VERIFYING", now_ms=1)
    jobs.move(job_number(1), "IMPORTING", now_ms=1)
    barrier = threading.Barrier(16)
    began: list[Attempt] = []

    def start() -> None:
        barrier.wait()
        try:
            began.append(jobs.start_attempt(job_number(1), after=Attempt(0), now_ms=2))
        except FatalError:
            return

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert began == [1]


def test_state_changes_are_due_until_marked_as_announced(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.move(job_number(1), "VERIFYING", now_ms=5)
    due = jobs.unannounced()
    assert [(t.sequence, t.state) for t in due] == [(1, "REGISTERED"), (2, "VERIFYING")]
    jobs.mark_announced(due[:1])
    assert [t.state for t in jobs.unannounced()] == ["VERIFYING"]


def test_receipt_can_be_rewritten(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.put_receipt(job_number(1), {"rows": 1})
    jobs.put_receipt(job_number(1), {"rows": 2})
    assert jobs.receipt(job_number(1)) == {"rows": 2}


def test_a_task_error_waits_for_the_workflow_until_the_next_task(jobs: JobStore) -> None:
    jobs.register(new_job())
    jobs.put(job_number(1), task_error={"kind": "user", "code": "X", "message": "m", "detail": {}})
    assert jobs.task_error(job_number(1)) == {"kind": "user", "code": "X", "message": "m", "detail": {}}
    jobs.put(job_number(1), task_error=None)
    assert jobs.task_error(job_number(1)) is None


def test_only_final_jobs_are_swept_and_only_once(jobs: JobStore) -> None:
    jobs.register(new_job(1))
    jobs.register(new_job(2, dedupe_key="other"))
    jobs.move(job_number(1), "CANCELLED", now_ms=100)
    assert jobs.to_sweep(100) == []
    assert [j.job_id for j in jobs.to_sweep(101)] == [job_number(1)]
    jobs.put(job_number(1), swept_at_ms=102)
    assert jobs.to_sweep(1000) == []
    assert jobs.ended({job_number(n) for n in (1, 2, 3)}) == [job_number(1)]
    assert [j.job_id for j in jobs.live()] == [job_number(2)]


def test_an_unknown_job_is_a_user_error(jobs: JobStore) -> None:
    with pytest.raises(UserError, match="job 01m87b5fjxy5p23eqzcwh60009 does not exist"):
        jobs.get(job_number(9))


def test_audience_is_created_once_with_defaults(audiences: AudienceStore) -> None:
    first = audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5)
    again = audiences.ensure(ACME, VIP, new_id=job_number(7), now_ms=6)
    assert again == first
    assert (first.spec, first.retention) == (ImportSpec(), Retention())


def test_an_unknown_tenant_is_refused_by_name(audiences: AudienceStore) -> None:
    with pytest.raises(UserError, match="tenant 'nobody' does not exist"):
        audiences.ensure(TenantName("nobody"), VIP, new_id=AUDIENCE_ID, now_ms=5)


def test_an_audience_is_configured_renamed_and_deleted(audiences: AudienceStore) -> None:
    made = audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5)
    spec = ImportSpec(id_column="id", mode="append", max_reject_share=0.1, max_shrink_percent=None)
    audiences.configure(made.audience_id, spec=spec, retention=Retention(versions=3, days=1))
    audiences.rename(made.audience_id, ACME, AudienceName("gold"))
    kept = audiences.get(ACME, AudienceName("gold"))
    assert (kept.audience_id, kept.spec, kept.retention) == (AUDIENCE_ID, spec, Retention(versions=3, days=1))
    with pytest.raises(UserError, match="UNKNOWN_AUDIENCE"):
        audiences.get(ACME, VIP)
    audiences.delete(made.audience_id)
    assert audiences.all() == []


def test_audience_names_are_unique(audiences: AudienceStore) -> None:
    audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5)
    other = audiences.ensure(ACME, AudienceName("gold"), new_id=job_number(3), now_ms=5)
    with pytest.raises(UserError, match="already has an audience 'vip'"):
        audiences.rename(other.audience_id, ACME, VIP)


def row(partition: int, *, materialised: bool, records: int) -> PartitionProgress:
    return PartitionProgress(
        job_id=job_number(1),
        attempt=Attempt(1),
        partition=partition,
        materialised=materialised,
        record={"records": records},
        at_ms=5,
    )


def test_materialised_partition_does_not_fail_later(database: Database) -> None:
    progress = ProgressStore(database)
    progress.put_partitions([row(0, materialised=True, records=3), row(1, materialised=False, records=0)])
    progress.put_partitions([row(0, materialised=False, records=0), row(1, materialised=True, records=4)])
    assert progress.partitions(job_number(1)) == [
        row(0, materialised=True, records=3),
        row(1, materialised=True, records=4),
    ]


def test_a_stage_keeps_its_latest_report(database: Database) -> None:
    progress = ProgressStore(database)
    progress.put_stage(job_number(1), "verify", {"done": 1}, now_ms=1)
    progress.put_stage(job_number(1), "verify", {"done": 2}, now_ms=2)
    assert {name: s.record for name, s in progress.stages(job_number(1)).items()} == {"verify": {"done": 2}}


def test_unreachable_database_is_a_retriable_error(tmp_path: Path) -> None:
    store = JobStore(Database(Secret(f"sqlite:///{tmp_path / 'missing' / 'catalog.db'}")))
    with pytest.raises(RetriableError, match="CATALOG_UNAVAILABLE"):
        store.live()


def test_concurrent_writers_of_receipt_stage_and_partition_succeed(jobs: JobStore, database: Database) -> None:
    jobs.register(new_job())
    progress = ProgressStore(database)
    row = PartitionProgress(
        job_id=job_number(1), attempt=Attempt(1), partition=0, materialised=True, record={"n": 1}, at_ms=1
    )
    barrier = threading.Barrier(16)
    failed: list[Exception] = []

    def write() -> None:
        barrier.wait()
        try:
            jobs.put_receipt(job_number(1), {"rows": 1})
            progress.put_stage(job_number(1), "verify", {"done": 1}, now_ms=1)
            progress.put_partitions([row])
        except Exception as exc:  # noqa: BLE001  # reported below, by the test
            failed.append(exc)

    threads = [threading.Thread(target=write) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert jobs.receipt(job_number(1)) == {"rows": 1}
    assert progress.partitions(job_number(1)) == [row]


def test_audience_of_the_previous_release_is_recognised(url: Secret, audiences: AudienceStore) -> None:
    made = audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5, spec=ImportSpec(id_column="id"))
    audiences.for_import(ACME, AudienceName("gold"), new_id=job_number(3), now_ms=5)
    migrate.downgrade(url, "0007")
    migrate.upgrade(url)
    assert audiences.all(awaited=True) == [replace(made, state="before")]


def test_awaited_audience_is_visible_only_to_its_imports(audiences: AudienceStore, jobs: JobStore) -> None:
    first = audiences.for_import(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5)
    assert audiences.for_import(ACME, VIP, new_id=job_number(7), now_ms=6) == first
    assert (first.state, audiences.all(), audiences.find(ACME, VIP)) == ("awaited", [], None)
    assert audiences.by_id(AUDIENCE_ID) == first
    with pytest.raises(UserError, match="`muster jobs list --audience vip` shows its imports"):
        audiences.get(ACME, VIP)
    audiences.update_spec(AUDIENCE_ID, lambda found: replace(found.spec, id_column="id"))
    kept = audiences.get(ACME, VIP)
    assert (kept.state, kept.spec.id_column) == ("standing", "id")
    audiences.delete(AUDIENCE_ID)
    audiences.update_spec(AUDIENCE_ID, lambda found: found.spec)
    with pytest.raises(UserError, match="AUDIENCE_DELETED"):
        audiences.check_publishable(AUDIENCE_ID)


def test_name_of_an_awaited_audience_is_available(audiences: AudienceStore, jobs: JobStore) -> None:
    gold = AudienceName("gold")
    audiences.for_import(ACME, VIP, new_id=AUDIENCE_ID, now_ms=5)
    jobs.register(new_job())
    made = audiences.create(ACME, VIP, new_id=job_number(3), now_ms=6, spec=ImportSpec(id_column="id"))
    assert (made.audience_id, made.state, audiences.get(ACME, VIP)) == (AUDIENCE_ID, "standing", made)
    with pytest.raises(UserError, match="AUDIENCE_EXISTS"):
        audiences.create(ACME, VIP, new_id=job_number(3), now_ms=6, spec=ImportSpec())
    audiences.for_import(ACME, gold, new_id=job_number(4), now_ms=5)
    audiences.rename(AUDIENCE_ID, ACME, gold)  # no job waits under that name
    assert [a.name for a in audiences.all(awaited=True)] == [gold]


def test_activity_file_settings_are_kept_per_tenant_and_kind(audiences: AudienceStore) -> None:
    assert audiences.activity_spec(ACME, "events") is None
    spec = activity_spec("events", {"columns": [{"name": "total", "type": "double"}], "timezone": "UTC"})
    seen: list[ImportSpec | None] = []

    def after(kept: ImportSpec | None) -> ImportSpec:
        seen.append(kept)
        return spec

    for _ in range(2):
        audiences.update_activity_spec(ACME, "events", after)
    assert (seen, audiences.activity_spec(ACME, "events")) == ([None, spec], spec)
    assert audiences.activity_spec(ACME, "profiles") is None
    with pytest.raises(UserError, match="UNKNOWN_TENANT"):
        audiences.update_activity_spec(TenantName("nobody"), "events", after)
