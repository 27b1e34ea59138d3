"""`muster fsck` on a real lake, an S3 server and a catalog: every finding, its repair, and retention with pins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from connectors.lake import archive_users
from connectors.lake.archive_commit import read_footer
from connectors.storage.access import S3Access
from orchestration.catalog.records import Audience, Job, JobError, NewJob, Retention
from orchestration.catalog.references import ref_of
from orchestration.catalog.tables import jobs as job_table
from orchestration.catalog.tables import partition_progress
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.kinds.materialised import as_row
from orchestration.kinds.units.groups import plan_name
from orchestration.operations import audiences as operations
from orchestration.operations.findings import Finding
from orchestration.operations.fsck import GRACE_MS
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret, Settings
from schemas.errors import UserError
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.layout import audience_prefix, parts_plan_key, split_s3_uri, staging_prefix, unit_plan_key
from schemas.messages import PartitionMaterialised
from schemas.records import as_record
from schemas.topics import EVENTS
from tests.fakes.catalog import catalog_in
from tests.integration.lake.archiving import Bucket, event
from tests.integration.lake.support import BUCKET, Parts, object_server, users

pytestmark = pytest.mark.integration
TENANT = TenantName("acme")
SCHEMA_ID = ImportSpec().row_schema.schema_id


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Access]:
    with object_server(tmp_path_factory.mktemp("weed")) as access:
        access.client().create_bucket(Bucket="staging")
        yield access


@dataclass(frozen=True, slots=True)
class Deployment:
    """A catalog and a lake for one test, with one audience; imports are published to them without Kafka."""

    context: Context
    audience: Audience
    parts: Parts

    def verified(self, *members: str) -> JobId:
        """An import that the stream has materialised; its job is AWAITING."""
        context, job_id = self.context, fresh_id()
        parts = self.parts.write(ref_of(self.audience), job_id, users(*members))
        for part in parts:
            if not part.rows:  # workers write no file for a partition without users
                context.objects.delete(*split_s3_uri(part.uri))
        context.jobs.register(self._new(job_id))
        for state in ("VERIFYING", "IMPORTING"):
            context.jobs.move(job_id, state, now_ms=now_ms())
        context.jobs.put(
            job_id,
            evidence={
                "rows": len(members),
                "accepted": len(members),
                "rejected": 0,
                "rejected_by_code": {},
                "partitions": [str(part.digest) for part in parts],
                "source_bytes": 1,
                "decoded_bytes": 1,
                "schema_id": SCHEMA_ID,
            },
        )
        context.jobs.start_attempt(job_id, after=Attempt(0), now_ms=now_ms())
        context.progress.put_partitions(
            [
                as_row(
                    PartitionMaterialised(
                        import_id=job_id,
                        attempt=Attempt(1),
                        partition=Partition(number),
                        partitions=len(parts),
                        chunks=1,
                        records=part.rows,
                        digest=part.digest,
                        distinct=part.rows,
                        distinct_digest=part.digest,
                        part=part.uri if part.rows else None,
                        part_bytes=part.bytes,
                    ),
                    now_ms(),
                )
                for number, part in enumerate(parts)
            ]
        )
        context.jobs.move(job_id, "AWAITING", now_ms=now_ms())
        return job_id

    def published(self, *members: str) -> Job:
        """A job that is READY with its version."""
        job_id = self.verified(*members)
        job = self.context.jobs.get(job_id)
        self.context.kind_of(job).publish(job)
        job = self.context.jobs.get(job_id)
        assert job.state == "READY"
        return job

    def found(self, *, repair: bool = False, deep: bool = False) -> dict[str, Finding]:
        """fsck's findings, by code."""
        return {
            finding.code: finding
            for finding in administration.fsck(self.context).run(repair=repair, deep=deep).findings
        }

    def rewrite(self, job_id: JobId, **values: object) -> None:
        """Change a job's record without anyone noticing."""
        with self.context.database.write() as connection:
            connection.execute(job_table.update().where(job_table.c.job_id == job_id).values(**values))

    def keys_of(self, version: int) -> Sequence[str]:
        """Keys of a version's files in the lake bucket."""
        parts = self.context.versions.files(ref_of(self.audience), Version(version))
        return [split_s3_uri(part.uri)[1] for part in parts]

    def _new(self, job_id: JobId) -> NewJob:
        return NewJob(
            job_id=job_id,
            tenant=TENANT,
            audience=self.audience.name,
            audience_id=self.audience.audience_id,
            mode="replace",
            partitions=2,
            spec=ImportSpec(max_shrink_percent=None),
            source={"bucket": "inbox", "key": "acme/vip/a.csv", "version_id": "v", "etag": "e", "size": 1},
            small=True,
            order_key=job_id,
            dedupe_key=job_id,
            execution=None,
            retry_of=None,
            created_at_ms=now_ms(),
        )


@pytest.fixture
def deployment(s3: S3Access, tmp_path: Path) -> Iterator[Deployment]:
    url = catalog_in(tmp_path)
    settings = Settings(
        home=tmp_path,
        catalog_url=url,
        s3_endpoint=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=Secret(s3.secret_key),
        lake_bucket=BUCKET,
        staging_bucket="staging",
    )
    context = Context(settings)
    context.audiences.add_tenant(TENANT, now_ms())
    audience = context.audiences.ensure(TENANT, AudienceName("vip"), new_id=fresh_id(), now_ms=now_ms())
    yield Deployment(context, audience, Parts(s3))
    context.objects.delete_prefix("staging", "imports/")
    context.objects.delete_prefix(BUCKET, "activity/")
    context.database.close()


def test_intact_deployment_has_no_finding(deployment: Deployment) -> None:
    deployment.published("ann", "bob")
    deployment.published("ann", "bob", "cid")
    report = administration.fsck(deployment.context).run()
    assert (report.audiences, report.versions, report.jobs, report.findings) == (1, 2, 2, ())


def test_foreign_objects_are_a_note(deployment: Deployment) -> None:
    foreign = {BUCKET: "audiences/acme/x.parquet", "staging": "segments/checkpoints/00000/zone=a/part-0.parquet"}
    for bucket, key in foreign.items():
        deployment.context.objects.put(bucket, key, b"x")
    found = [
        finding
        for finding in administration.fsck(deployment.context).run(repair=True).findings
        if finding.code == "FOREIGN_OBJECTS"
    ]
    for bucket, key in foreign.items():
        assert [deployment.context.objects.get(bucket, key)] == [b"x"]
        deployment.context.objects.delete(bucket, key)
    assert [(finding.severity, finding.subject) for finding in found] == [
        ("note", "bucket staging"),
        ("note", f"bucket {BUCKET}"),
    ]
    assert all(key in " ".join(finding.message for finding in found) for key in foreign.values())


def test_missing_file_of_a_version_is_named(deployment: Deployment) -> None:
    deployment.published("ann", "bob", "cid")
    [key, *_] = deployment.keys_of(1)
    deployment.context.objects.delete(BUCKET, key)
    found = deployment.found(repair=True)
    assert set(found) == {"FILE_MISSING"}
    assert found["FILE_MISSING"].subject == "acme/vip v1"
    assert key in found["FILE_MISSING"].message
    assert found["FILE_MISSING"].repaired is False


def test_a_file_of_a_version_with_another_size_is_named(deployment: Deployment) -> None:
    deployment.published("ann", "bob", "cid")
    [key, *_] = deployment.keys_of(1)
    deployment.context.objects.put(BUCKET, key, b"another file")
    found = deployment.found(repair=True)
    assert set(found) == {"FILE_CHANGED"}
    assert "has 12 bytes, not " in found["FILE_CHANGED"].message


def test_orphaned_files_are_a_note_except_of_a_live_import(deployment: Deployment) -> None:
    deployment.published("ann")
    deployment.verified("ann", "bob")
    assert deployment.found() == {}
    stray = f"{audience_prefix(TENANT, deployment.audience.audience_id)}data/stray.parquet"
    deployment.context.objects.put(BUCKET, stray, b"12345")
    [finding] = deployment.found(repair=True).values()
    assert (finding.code, finding.severity) == ("UNREFERENCED_FILES", "note")
    assert "1 files (5 bytes)" in finding.message
    assert administration.fsck(deployment.context).run().wrong == 0
    assert deployment.context.objects.get(BUCKET, stray) == b"12345"


def test_ready_job_without_its_version_is_named(deployment: Deployment) -> None:
    deployment.published("ann")
    lost = deployment.verified("ann", "bob")
    deployment.rewrite(lost, state="READY", outcome={"version": 2}, finished_at_ms=now_ms())
    found = deployment.found(repair=True)
    assert found["VERSION_MISSING"].subject == f"job {lost}"
    assert found["VERSION_MISSING"].repaired is False


def test_expired_versions_are_not_missing(deployment: Deployment) -> None:
    for members in (("ann",), ("ann", "bob"), ("bob",)):
        deployment.published(*members)
    gone = operations.expire(
        deployment.context.audiences,
        deployment.context.jobs,
        deployment.context.versions,
        deployment.audience,
        versions=1,
        days=0,
    )
    assert gone.versions == (1, 2)
    assert {code: f for code, f in deployment.found().items() if f.severity == "wrong"} == {}


def test_a_pinned_version_survives_retention_until_it_is_unpinned(deployment: Deployment) -> None:
    context, audience, ref = deployment.context, deployment.audience, ref_of(deployment.audience)
    for members in (("ann",), ("ann", "bob"), ("bob",), ("cid",)):
        deployment.published(*members)
    operations.pin(audience, 1, audiences=context.audiences, versions=context.versions)
    operations.pin(audience, 1, audiences=context.audiences, versions=context.versions)
    assert operations.expire(
        context.audiences, context.jobs, context.versions, audience, versions=1, days=0
    ).versions == (2, 3)
    assert [v.version for v in context.versions.versions(ref)] == [1, 4]
    assert administration.fsck(context).run().wrong == 0
    assert context.audiences.unpin(audience.audience_id, Version(1)) is True
    assert context.audiences.unpin(audience.audience_id, Version(1)) is False
    assert operations.expire(
        context.audiences, context.jobs, context.versions, audience, versions=1, days=0
    ).versions == (1,)


def test_missing_version_cannot_be_pinned(deployment: Deployment) -> None:
    deployment.published("ann")
    with pytest.raises(UserError, match="NO_SUCH_VERSION"):
        operations.pin(
            deployment.audience, 2, audiences=deployment.context.audiences, versions=deployment.context.versions
        )
    assert deployment.context.audiences.pins(deployment.audience.audience_id) == frozenset()


def test_missing_pinned_version_is_named(deployment: Deployment) -> None:
    deployment.published("ann")
    deployment.context.audiences.pin(deployment.audience.audience_id, Version(7), now_ms())
    assert deployment.found()["PINNED_VERSION_MISSING"].subject == "acme/vip v7"


def test_an_audience_with_pins_can_be_deleted(deployment: Deployment) -> None:
    deployment.published("ann")
    operations.pin(deployment.audience, 1, audiences=deployment.context.audiences, versions=deployment.context.versions)
    operations.delete(
        deployment.audience,
        audiences=deployment.context.audiences,
        jobs=deployment.context.jobs,
        segments=deployment.context.segments,
        versions=deployment.context.versions,
        consent=deployment.context.consent,
    )
    assert deployment.context.audiences.all() == []


def test_missing_receipt_is_rewritten_from_the_snapshot(deployment: Deployment) -> None:
    job = deployment.published("ann", "bob")
    before = deployment.context.jobs.receipt(job.job_id)
    with deployment.context.database.write() as connection:
        connection.execute(sa.text("DELETE FROM receipts"))
    assert administration.fsck(deployment.context).run().wrong == 1
    assert deployment.found(repair=True)["RECEIPT_MISSING"].repaired is True
    assert deployment.context.jobs.receipt(job.job_id) == before
    assert deployment.found() == {}


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "SUPERSEDED"])
def test_published_version_makes_its_job_ready_in_any_state(deployment: Deployment, state: str) -> None:
    context = deployment.context
    job = deployment.published("ann", "bob")
    before = context.jobs.receipt(job.job_id)
    error = JobError(kind="system", code="LOST", message="the answer was lost", detail={})
    deployment.rewrite(
        job.job_id, state=state, outcome=None, error=as_record(error), failed_in="PUBLISHING", swept_at_ms=1
    )
    with context.database.write() as connection:
        connection.execute(sa.text("DELETE FROM receipts"))

    finding = deployment.found()["SNAPSHOT_OF_FAILED_JOB"]
    assert (finding.severity, finding.repaired, context.jobs.get(job.job_id).state) == ("wrong", False, state)

    assert deployment.found(repair=True)["SNAPSHOT_OF_FAILED_JOB"].repaired is True
    mended = context.jobs.get(job.job_id)
    assert (mended.state, mended.error, mended.failed_in) == ("READY", None, None)
    assert mended.outcome == job.outcome
    receipt = context.jobs.receipt(job.job_id)
    assert receipt is not None
    assert before is not None
    assert {**receipt, "finished_at": before["finished_at"]} == before
    assert context.jobs.history(job.job_id)[-1].cause == "fsck: version 1 is published"
    assert [j.job_id for j in context.jobs.to_sweep(now_ms() + 1)] == [job.job_id]
    assert deployment.found() == {}


def test_job_without_announcements_cannot_be_repaired_and_is_unchanged(deployment: Deployment) -> None:
    context = deployment.context
    job = deployment.published("ann", "bob")
    deployment.rewrite(job.job_id, state="FAILED")
    with context.database.write() as connection:
        connection.execute(partition_progress.delete())
    finding = deployment.found(repair=True)["SNAPSHOT_OF_FAILED_JOB"]
    assert finding.repaired is False
    assert "cannot be repaired" in finding.message
    assert context.jobs.get(job.job_id).state == "FAILED"


def test_version_of_a_publishing_job_is_left_to_the_workflow(deployment: Deployment) -> None:
    job = deployment.published("ann")
    deployment.rewrite(job.job_id, state="PUBLISHING", outcome=None, finished_at_ms=None)
    [finding] = deployment.found(repair=True).values()
    assert (finding.code, finding.severity, finding.repaired) == ("PUBLISH_UNFINISHED", "note", False)
    assert deployment.context.jobs.get(job.job_id).state == "PUBLISHING"


def test_only_staged_data_of_ended_jobs_is_removed(deployment: Deployment) -> None:
    context = deployment.context
    ended, live = deployment.published("ann").job_id, deployment.verified("ann", "bob")
    deployment.rewrite(ended, finished_at_ms=now_ms() - GRACE_MS - 1)
    owners = (ended, live, fresh_id())
    keys = {
        owner: [
            staging_prefix(owner, Attempt(1), Partition(0)) + "x",
            parts_plan_key(owner, plan_name("build", Attempt(1), Version(1))),
            unit_plan_key(owner),
        ]
        for owner in owners
    }
    for key in (*chain.from_iterable(keys.values()), "imports/unknown/x"):
        context.objects.put("staging", key, b"12345")
    found = [f for f in administration.fsck(context).run(repair=True).findings if f.code == "STAGED_LEFTOVER"]
    assert {f.subject: f.message.partition(" are ")[0] for f in found} == {
        f"job {owner}": "15 bytes" for owner in owners if owner != live
    }
    assert [entry.key for entry in context.objects.list("staging", "imports/")] == [*keys[live], "imports/unknown/x"]


def test_expiry_defaults_to_the_retention_of_the_audience(deployment: Deployment) -> None:
    for members in (("ann",), ("ann", "bob"), ("bob",)):
        deployment.published(*members)
    context, audience = deployment.context, deployment.audience
    context.audiences.configure(audience.audience_id, spec=audience.spec, retention=Retention(versions=2, days=0))
    configured = context.audiences.get(TENANT, audience.name)
    assert operations.expire(
        context.audiences, context.jobs, context.versions, configured, versions=None, days=None
    ).versions == (1,)


def archived(deployment: Deployment, s3: S3Access) -> tuple[Bucket, list[str]]:
    """Two ranges of events in the archive, and the keys of their files."""
    bucket = Bucket(s3=s3, name=BUCKET)
    ranges = [bucket.write(0, 10, [event(1)]), bucket.write(10, 20, [event(11)])]
    deployment.context.archive.append(EVENTS, ranges)
    return bucket, [split_s3_uri(uri)[1] for written in ranges for uri in written.files]


def test_intact_archive_has_no_finding(deployment: Deployment, s3: S3Access) -> None:
    bucket, _ = archived(deployment, s3)
    bucket.write(20, 30, [event(21)])  # not appended yet
    assert deployment.found() == {}


def test_records_of_an_unknown_tenant_are_a_note(deployment: Deployment, s3: S3Access) -> None:
    bucket, _ = archived(deployment, s3)
    deployment.context.archive.append(EVENTS, [bucket.write(20, 30, [{**event(21), "tenant": TenantName("ghost")}])])
    found = deployment.found()
    assert {code: one.severity for code, one in found.items()} == {"TENANT_MISSING": "note"}
    assert "records of tenant ghost are stored, but the tenant does not exist" in found["TENANT_MISSING"].message


def test_missing_and_changed_archive_files_are_named(deployment: Deployment, s3: S3Access) -> None:
    _, keys = archived(deployment, s3)
    deployment.context.objects.delete(BUCKET, keys[0])
    deployment.context.objects.put(BUCKET, keys[1], b"another file")
    found = deployment.found(repair=True)
    assert set(found) == {"FILE_MISSING", "FILE_CHANGED"}
    assert found["FILE_MISSING"].subject == f"archive of {EVENTS}"
    assert keys[0] in found["FILE_MISSING"].message
    assert f"{keys[1]} has 12 bytes, not " in found["FILE_CHANGED"].message


def test_duplicate_archive_records_are_named(deployment: Deployment, s3: S3Access) -> None:
    bucket, _ = archived(deployment, s3)
    table = deployment.context.archive._tables.find(EVENTS)
    assert table is not None
    footer = read_footer(table, bucket.write(15, 25, [event(15)]).files[0])
    assert not isinstance(footer, str)
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(footer)
    found = deployment.found()
    assert set(found) == {"OFFSETS_OVERLAP"}
    assert " ends: records are stored twice" in found["OFFSETS_OVERLAP"].message


def listed(deployment: Deployment, s3: S3Access, temp: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two archive files with lists of their users; returns the keys of the lists."""
    monkeypatch.setattr(archive_users, "LARGE_BYTES", 0)
    bucket = Bucket(s3=s3, name=BUCKET)
    some, others = [event(n, f"u{n % 3}") for n in range(9)], [event(n, f"v{n % 3}") for n in range(10, 19)]
    archive = deployment.context.archive
    archive.append(EVENTS, [bucket.write(0, 10, some), bucket.write(10, 20, others)])
    assert archive.write_users(EVENTS, temp_directory=temp) == 2
    return [split_s3_uri(str(file.users))[1] for file in archive.files(EVENTS, with_users=True)]


def users_file(*users: str, column: str = "user_id") -> bytes:
    """A list of users without its owner, as written by earlier versions."""
    sink = pa.BufferOutputStream()
    field = pa.field(column, pa.string(), nullable=False)
    pq.write_table(pa.table([pa.array(users, pa.string())], schema=pa.schema([field])), sink)
    return bytes(sink.getvalue())


def damaged(parquet: bytes) -> bytes:
    """The same file with an empty footer."""
    footer = int.from_bytes(parquet[-8:-4], "little")
    return parquet[: -8 - footer] + b"\xff" * footer + parquet[-8:]


def test_correct_user_lists_have_no_finding(
    deployment: Deployment, s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = listed(deployment, s3, tmp_path, monkeypatch)
    deployment.context.objects.put(BUCKET, keys[0], users_file("u2", "u0", "u1"))
    assert deployment.found() == deployment.found(deep=True) == {}


@pytest.mark.parametrize(
    ("content", "why", "deep"),
    [
        (b"no Parquet", "it cannot be read: ArrowInvalid", False),
        (damaged(users_file("u0", "u1", "u2")), "it cannot be read: ", False),
        (users_file("u0", "u1", "u2", column="user"), "its columns are ['user']", False),
        (users_file(), "it has 0 users, the file 9 rows", False),
        (users_file(*"0123456789"), "it has 10 users, the file 9 rows", False),
        (users_file("u0", "u1"), "it has 2 users, 0 of them not in the file, and lacks 1 of 3", True),
        (users_file("u0", "u1", "u2", "eve"), "it has 4 users, 1 of them not in the file, and lacks 0 of 3", True),
        (users_file("u0", "u1", "u1", "u2"), "it has 4 users, 0 of them not in the file, and lacks 0 of 3", True),
    ],
)
def test_wrong_user_list_is_named_removed_and_rewritten(
    deployment: Deployment,
    s3: S3Access,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    why: str,
    deep: bool,  # noqa: FBT001  # a parameter
) -> None:
    keys = listed(deployment, s3, tmp_path, monkeypatch)
    deployment.context.objects.put(BUCKET, keys[0], content)
    assert (set(deployment.found()) == set()) is deep
    named = deployment.found(deep=True)["USERS_WRONG"]
    assert named.message.startswith(f"s3://{BUCKET}/{keys[0]} is not the user list of its file: ")
    assert why in named.message
    assert deployment.found(repair=True, deep=deep)["USERS_WRONG"].repaired
    archive = deployment.context.archive
    assert [file.users is None for file in archive.files(EVENTS, with_users=True)] == [True, False]
    assert archive.write_users(EVENTS, temp_directory=tmp_path) == 1
    assert deployment.found(deep=True) == {}


def test_user_list_of_another_file_is_named_without_reading(
    deployment: Deployment, s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = listed(deployment, s3, tmp_path, monkeypatch)
    deployment.context.objects.put(BUCKET, one, deployment.context.objects.get(BUCKET, other))
    assert f"it belongs to {other.replace('/users/', '/data/')}" in deployment.found()["USERS_WRONG"].message
