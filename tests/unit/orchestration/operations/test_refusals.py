"""Steps and operations that refuse, on a real catalog: which code, and that nothing was changed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import Stubber

from orchestration.catalog.records import JobError, NewJob
from orchestration.catalog.references import audience_ref
from orchestration.cli.import_target import written_by
from orchestration.composition.context import Context
from orchestration.entrypoints import demo
from orchestration.kinds.events import ImportRequest
from orchestration.kinds.failures import MAX_RETRIES, retry_import
from orchestration.kinds.records import MAX_ATTEMPTS
from orchestration.kinds.register import refused_job
from orchestration.operations import audiences
from orchestration.operations.availability import require_services
from orchestration.operations.submit import start
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.manifest import FormulaPolicy
from schemas.messages import JobState
from schemas.topics import MAX_JOB_AGE_S
from segmentation.versions import AlreadyPublished, BaseMoved, Published
from tests.fakes.catalog import migrated
from tests.fakes.sweeping import sweep
from tests.fakes.version_store import InMemoryVersionStore
from tests.raising import code_of
from tests.unit.orchestration.cli import jobs as made
from tests.unit.schemas.test_manifest import WHOLE

ACME, VIP = TenantName("acme"), AudienceName("vip")
EVIDENCE = {**made.EVIDENCE, "source_bytes": 10, "decoded_bytes": 10, "schema_id": "0123456789abcdef"}
AUDIENCE_ID, JOB, TWIN = (JobId(f"01m87b5fjxy5p23eqzcwh67tr{n}") for n in range(3))


def stage(context: Context, name: str) -> dict[str, object]:
    """Run a stage of the job, as a task does."""
    job = context.jobs.get(JOB)
    view: dict[str, object] = getattr(context.kind_of(job), name)(job)
    return view


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A private catalog and in-memory versions; Kafka, S3 and the engine are at ports without a listener."""
    away = "127.0.0.1:9"
    settings = Settings.load({"MUSTER_HOME": str(tmp_path)}).with_(
        kafka_bootstrap=away, s3_endpoint=f"http://{away}", engine_url=f"http://{away}"
    )
    migrated(settings.catalog_url)
    context = Context(settings)
    context.__dict__["versions"] = InMemoryVersionStore()
    context.audiences.add_tenant(ACME, 1)
    context.audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=1)
    return context


def register(context: Context, job_id: JobId = JOB, **changes: Any) -> JobId:
    new = NewJob(
        job_id=job_id,
        tenant=ACME,
        audience=VIP,
        audience_id=AUDIENCE_ID,
        mode="replace",
        partitions=2,
        spec=ImportSpec(),
        source={
            "bucket": "inbox",
            "key": "acme/vip/a.csv",
            "version_id": None,
            "etag": "e",
            "size": 10,
            "last_modified": "2026-01-01T00:00:00+00:00",
        },
        small=True,
        order_key="1",
        dedupe_key="k",
        execution="execution",
        retry_of=None,
        created_at_ms=1,
    )
    return context.jobs.register(replace(new, **changes))


def come_to(context: Context, *states: JobState) -> None:
    for state in states:
        context.jobs.move(JOB, state, now_ms=2)
    context.jobs.put(JOB, evidence=EVIDENCE)


def test_attempts_of_a_job_are_limited_to_eight(context: Context) -> None:
    register(context)
    come_to(context, "VERIFYING", "IMPORTING")
    for attempt in range(MAX_ATTEMPTS):
        context.jobs.start_attempt(JOB, after=Attempt(attempt), now_ms=3)
    assert code_of(FatalError, lambda: stage(context, "send")) == "TOO_MANY_ATTEMPTS"
    assert context.jobs.get(JOB).attempt == MAX_ATTEMPTS


def test_unverified_job_sends_and_publishes_nothing(context: Context) -> None:
    register(context)
    come_to(context, "VERIFYING", "IMPORTING")
    context.jobs.put(JOB, evidence=None)
    assert code_of(FatalError, lambda: stage(context, "send")) == "NOT_VERIFIED"
    come_to(context, "AWAITING")
    context.jobs.put(JOB, evidence=None)
    assert code_of(FatalError, lambda: stage(context, "publish")) == "NOT_VERIFIED"
    assert context.jobs.get(JOB).attempt == 0


@pytest.mark.parametrize("step", ["publish", "build"])
def test_building_waits_for_every_partition(context: Context, step: str) -> None:
    register(context)
    come_to(context, "VERIFYING", "IMPORTING", "AWAITING")
    assert code_of(FatalError, lambda: stage(context, step)) == "NOT_COMPLETE"


def test_unreconciled_stream_is_retried_a_bounded_number_of_times(context: Context) -> None:
    register(context)
    come_to(context, "VERIFYING", "IMPORTING")
    failure = {"Error": "MaterialisationFailed", "Cause": "partition 1 lacks chunk 3"}
    for attempt in range(MAX_RETRIES + 1):
        context.jobs.start_attempt(JOB, after=Attempt(attempt), now_ms=3)
        come_to(context, "AWAITING")
        if attempt < MAX_RETRIES:
            assert retry_import(context.import_records, JOB, failure)["state"] == "IMPORTING"
    with pytest.raises(FatalError, match="after 3 attempts: partition 1 lacks chunk 3") as caught:
        retry_import(context.import_records, JOB, failure)
    assert caught.value.code == "NOT_RECONCILED"
    assert context.jobs.get(JOB).state == "AWAITING"


def test_a_refused_job_has_no_audience_in_the_lake(context: Context) -> None:
    register(context, audience_id=None)
    assert code_of(FatalError, lambda: audience_ref(context.jobs.get(JOB))) == "NO_AUDIENCE"


def test_job_older_than_its_messages_ends_as_a_system_error(context: Context) -> None:
    register(context)
    sweep(context, MAX_JOB_AGE_S * 1000 + 5_000)
    job = context.jobs.get(JOB)
    assert (job.state, job.failed_in, job.error and job.error.code) == ("FAILED", "REGISTERED", "JOB_TOO_OLD")


def test_publishing_job_never_expires(context: Context) -> None:
    register(context)
    context.jobs.adopt(JOB, previous="execution", execution="")
    come_to(context, "VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING")
    sweep(context, MAX_JOB_AGE_S * 1000 + 5_000)
    assert context.jobs.get(JOB).state == "PUBLISHING"


def test_repair_does_not_complete_a_running_job(context: Context) -> None:
    register(context)

    def repair() -> None:
        context.jobs.repair(JOB, receipt={}, outcome={}, finished_at_ms=2, now_ms=2, cause="repaired")

    assert code_of(FatalError, repair) == "NOT_ENDED"
    assert context.jobs.receipt(JOB) is None
    assert context.jobs.get(JOB).state == "REGISTERED"


def test_cancelling_a_duplicate_does_not_cancel_its_original(context: Context) -> None:
    register(context)
    assert register(context, TWIN) == JOB
    assert code_of(UserError, lambda: context.import_jobs.cancel(TWIN)) == "IS_DUPLICATE"
    assert context.jobs.get(JOB).state == "REGISTERED"


def test_only_failed_jobs_are_retried(context: Context) -> None:
    register(context)
    assert code_of(UserError, lambda: context.submission.resubmit(context.jobs.get(JOB))) == "NOT_RETRIABLE"


def test_unknown_job_is_reported_as_unknown(context: Context) -> None:
    assert code_of(UserError, lambda: context.jobs.get(JOB)) == "UNKNOWN_JOB"
    assert code_of(UserError, lambda: context.jobs.move(JOB, "CANCELLED", now_ms=1)) == "UNKNOWN_JOB"


def test_audience_is_created_and_named_once(context: Context) -> None:
    context.audiences.ensure(ACME, AudienceName("gold"), new_id=TWIN, now_ms=1)
    found = audiences.find(context.audiences, "acme", "vip")
    assert code_of(UserError, lambda: audiences.create(context.audiences, "acme", "vip", {}, {})) == "AUDIENCE_EXISTS"
    assert (
        code_of(
            UserError,
            lambda: audiences.rename(
                found, "gold", audiences=context.audiences, segments=context.segments, versions=context.versions
            ),
        )
        == "AUDIENCE_EXISTS"
    )
    taken = AudienceName("gold")  # by another process, between our read and our update
    rename = context.audiences.rename
    assert code_of(UserError, lambda: rename(AUDIENCE_ID, ACME, taken)) == "AUDIENCE_EXISTS"
    assert [a.name for a in context.audiences.all(ACME)] == ["gold", "vip"]


def test_an_audience_with_a_running_job_is_not_deleted(context: Context) -> None:
    register(context)
    found = audiences.find(context.audiences, "acme", "vip")
    assert (
        code_of(
            UserError,
            lambda: audiences.delete(
                found,
                audiences=context.audiences,
                jobs=context.jobs,
                segments=context.segments,
                versions=context.versions,
                consent=context.consent,
            ),
        )
        == "AUDIENCE_BUSY"
    )
    assert audiences.find(context.audiences, "acme", "vip") == found


def test_compaction_needs_a_version(context: Context) -> None:
    found = audiences.find(context.audiences, "acme", "vip")
    compact = lambda: audiences.compact(context.versions, found, 2**20, operation=fresh_id())  # noqa: E731
    assert code_of(UserError, compact) == "NOTHING_PUBLISHED"


def test_rollback_overtaken_by_a_publish_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context.versions, "rollback", lambda *_, **__: BaseMoved(current_version=None))
    found = audiences.find(context.audiences, "acme", "vip")
    assert code_of(RetriableError, lambda: audiences.rollback(context.versions, found, 1)) == "VERSION_MOVED"


def request(**changes: Any) -> ImportRequest:
    values = {"job_id": JOB, "tenant": "acme", "audience": "vip", "bucket": "inbox", "key": "acme/vip/a.csv"}
    return ImportRequest(**(values | changes))


def test_unreachable_engine_is_an_outage_and_a_refusal_is_fatal(context: Context) -> None:
    assert code_of(RetriableError, lambda: start(context.engine, request())) == "ENGINE_UNAVAILABLE"
    with Stubber(context.workflow) as engine:
        engine.add_client_error("start_execution", "StateMachineDoesNotExist")
        assert code_of(FatalError, lambda: start(context.engine, request())) == "ENGINE_REFUSED"
        for code, status in (("ThrottlingException", 400), ("ExecutionLimitExceeded", 400), ("InternalFailure", 500)):
            engine.add_client_error("start_execution", code, http_status_code=status)
            assert code_of(RetriableError, lambda: start(context.engine, request())) == "ENGINE_UNAVAILABLE"
        engine.add_client_error("start_execution", "ExecutionAlreadyExists")
        assert start(context.engine, request()) == JOB


def test_stopped_stack_is_reported_first(context: Context) -> None:
    assert code_of(RetriableError, lambda: require_services(context.settings, "Kafka")) == "STACK_NOT_RUNNING"


def test_demo_reports_a_slow_machine(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TIMEOUT_S", 0.0)
    assert code_of(RetriableError, lambda: demo._follow(context, "key", JOB)) == "DEMO_TOO_SLOW"


def test_retry_of_a_refused_request_repeats_it(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[ImportRequest] = []

    def start_(_: Context, wanted: ImportRequest) -> JobId:
        started.append(wanted)
        return wanted.job_id

    monkeypatch.setattr("orchestration.operations.submit.start", start_)
    refused = request(overrides={"mode": "append", "id_column": "email"}, version_id="v7", sequencer="0A")
    error = JobError(kind="user", code="BAD_SPEC", message="why", detail={})
    context.jobs.register(refused_job(refused, "execution", context.settings.partitions), refused=error)
    context.submission.resubmit(context.jobs.get(JOB), force=True)
    [again] = started
    assert again.retry_of == JOB
    assert replace(again, job_id=JOB, retry_of=None) == refused


@pytest.mark.parametrize(
    ("code", "allow_shrink", "refused"),
    [("AUDIENCE_WOULD_SHRINK", True, False), ("AUDIENCE_WOULD_SHRINK", False, True), ("TOO_MANY_REJECTS", True, True)],
)
def test_an_intended_shrink_is_allowed_for_one_run(
    context: Context, monkeypatch: pytest.MonkeyPatch, code: str, *, allow_shrink: bool, refused: bool
) -> None:
    started: list[ImportRequest] = []
    monkeypatch.setattr("orchestration.operations.submit.start", lambda _, wanted: started.append(wanted))
    register(context, spec=ImportSpec(max_reject_share=0.1))
    error = JobError(kind="user", code=code, message="why", detail={})
    context.jobs.fail(JOB, error, now_ms=2)
    resubmit = partial(context.submission.resubmit, context.jobs.get(JOB), allow_shrink=allow_shrink)
    if refused:
        assert code_of(UserError, resubmit) == "FILE_AT_FAULT"
        return
    resubmit()
    [again] = started
    assert (again.overrides["max_shrink_percent"], again.overrides["max_reject_share"]) == (None, 0.1)
    assert context.audiences.get(ACME, VIP).spec.max_shrink_percent == 50.0, "the limit of the audience stays"


class MovedVersions(InMemoryVersionStore):
    """Publishes another version while a publisher is at work; `meanwhile` runs before the answer is there."""

    meanwhile: Callable[[], object]

    def publish(self, *_: Any, **__: Any) -> Published | AlreadyPublished | BaseMoved:
        self.meanwhile()
        return BaseMoved(current_version=None)


@pytest.mark.parametrize(
    ("late", "state"), [(False, "BUILDING"), (True, "PUBLISHING")], ids=["at once", "after another build"]
)
def test_verdict_on_an_older_build_keeps_the_newer_build(
    context: Context, monkeypatch: pytest.MonkeyPatch, *, late: bool, state: JobState
) -> None:
    register(context, mode="append")
    come_to(context, "VERIFYING", "IMPORTING", "AWAITING", "BUILDING")
    mine, newer = ({"base_version": version} for version in (1, 2))
    context.jobs.move(JOB, "PUBLISHING", now_ms=3, build=mine)
    versions = MovedVersions()

    def build_again() -> None:
        """Another execution has met the moved base, built on the new one, and is about to publish."""
        if late:
            come_to(context, "BUILDING")
            context.jobs.move(JOB, "PUBLISHING", now_ms=4, build=newer)

    versions.meanwhile = build_again
    context.__dict__["versions"] = versions
    monkeypatch.setattr("orchestration.kinds.publish.require_complete", lambda *_, **__: None)
    given = SimpleNamespace(parts=(), members=0)
    monkeypatch.setattr("orchestration.kinds.publish.publish_request", lambda *_: given)
    assert stage(context, "publish")["state"] == state
    assert context.jobs.get(JOB).build == (newer if late else mine)


@pytest.mark.parametrize(
    ("file", "formulas", "code"),
    [("other.csv", "as-is", "NOT_IN_MANIFEST"), ("a-00000.csv", "escape", "ESCAPED_EXPORT")],
)
def test_foreign_manifest_or_wrong_types_are_refused(
    tmp_path: Path, file: str, formulas: FormulaPolicy, code: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(replace(WHOLE, format=replace(WHOLE.format, formulas=formulas)).encode())
    assert code_of(UserError, lambda: written_by(path, f"s3://exports/vip/{file}")) == code


def test_manifest_determines_how_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(WHOLE.encode())
    found = written_by(tmp_path / "manifest.json", "exports/a-00000.csv")
    columns = [{"name": "age", "type": "long", "source": None}]
    assert found == {"id_column": "user_id", "columns": columns, "format": "csv", "null_values": ["\\N"]}
