"""Two tenants with equal names of everything, a principal for each role, and canaries in everything of beta."""

import atexit
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from connectors.lake.snapshots import history_properties, summary_properties
from orchestration.access.authentication import Caller, authenticate
from orchestration.access.grants import DAY_MS
from orchestration.access.policy import DEPLOYMENT, DEPLOYMENT_ROLES, TENANT_ROLES
from orchestration.access.tokens import Token
from orchestration.catalog.access_records import ApiToken
from orchestration.catalog.feed_records import Feed
from orchestration.catalog.operations import Operation
from orchestration.catalog.records import JobError, NewExport, NewJob, Retention
from orchestration.catalog.samples import GroupState, TopicSample
from orchestration.catalog.schedules import Schedule
from orchestration.catalog.segments import SegmentStore
from orchestration.catalog.uploads import Upload
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret, Settings
from orchestration.records.access import PrincipalKind
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version, new_job_id
from schemas.import_spec import ImportSpec
from schemas.layout import audience_prefix, rejects_key, s3_uri
from schemas.manifest import ExportFormat, Manifest, ManifestFile
from schemas.topics import IMPORTS, WORKER_GROUP
from segmentation.versions import VersionInfo
from tests.fakes.catalog import Restorable, migrated, without_fsync
from tests.fakes.objects import InMemoryObjects
from tests.fakes.readers import FakeReaders, FakeSql
from tests.fakes.rules import new_rule
from tests.fakes.workflow import InMemoryWorkflow

ACME, BETA = TenantName("acme"), TenantName("beta")
TENANTS: Final = (ACME, BETA)
CANARY: Final = "canary4711"
"""In every text that belongs to beta, and in nothing of acme."""
ONLY_BETA: Final = f"-{CANARY}"
"""Ends the names of things that only beta has."""
VIP, QUIET, BUYERS, NIGHTLY = AudienceName("vip"), AudienceName("quiet"), AudienceName("buyers"), "nightly"
MEMBERS = "members"
PARTITIONS: Final = 8
AT_MS: Final = 1_795_000_000_000


def id_of(tenant: str, number: int) -> JobId:
    """The id of thing `number` of a tenant; ids of both tenants alternate in time."""
    return new_job_id(AT_MS + 2 * number + (tenant == BETA), f"{tenant:_<10}".encode()[:10])


JOB, FAILED_JOB, DUPLICATE, EXPORT = 1, 2, 3, 4
UPLOAD, LARGE_UPLOAD, DOWNLOAD, OPERATION, DIFFERENCE = 5, 6, 7, 8, 20
CRM: Final = "crm"
"""A bucket of the tenants, each of which has a place in it."""


ICEBERG_TABLES: Final = """CREATE TABLE iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))"""
"""As pyiceberg makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`tokens`: of the principal with a role, by "tenant-role" or "deployment-role"; and "stranger" without any."""

    settings: Settings
    services: Services
    objects: InMemoryObjects
    workflow: InMemoryWorkflow
    tokens: dict[str, Token]
    principals: dict[str, JobId]
    restorable: Restorable

    def reset(self) -> None:
        """Take back all changes. What SQLAlchemy has compiled stays, which a new world must repeat."""
        self.objects.contents, self.objects.times = dict(_objects().contents), dict(_objects().times)
        self.workflow.forget()
        self.tokens.clear()
        self.tokens.update(_filled()[1])
        cast(FakeReaders, self.services.readers).asked.clear()
        self.restorable.restore()

    def close(self) -> None:
        """Close the connections to the catalog."""
        self.restorable.close()
        self.services.close()

    def caller(self, name: str) -> Caller:
        """The caller with a token."""
        return authenticate(
            self.services.tokens, self.tokens[name].text.reveal(), request_id=id_of("acme", 99), now_ms=now_ms()
        )

    def add_token(self, principal: str, cap: set[tuple[str, str]], number: int, **changes: Any) -> Token:
        """Another token of a principal."""
        token = Token.make(new_job_id(AT_MS, f"{number:010}".encode()), number.to_bytes(32, "big"))
        values = {
            "token_id": token.token_id,
            "principal_id": self.principals[principal],
            "name": f"token of {principal}",
            "digest": token.digest,
            "created_at_ms": now_ms(),
            "expires_at_ms": now_ms() + DAY_MS,
            "revoked_at_ms": None,
            "cap": tuple(sorted(cap)),
        }
        self.services.tokens.add(ApiToken(**{**values, **changes}))
        return token


def make_world(folder: Path) -> World:
    """A world in a new catalog. It is filled once per process; each call copies that file."""
    content, tokens, principals = _filled()
    file = folder / "catalog.db"
    file.write_bytes(content)
    settings = Settings(
        home=folder,
        catalog_url=Secret(f"sqlite:///{file}"),
        s3_secret_key=Secret("secret"),
        destinations_file=folder / "destinations.toml",
    )
    objects, workflow = InMemoryObjects(), InMemoryWorkflow()
    objects.contents, objects.times = dict(_objects().contents), dict(_objects().times)
    services = Services(settings)
    marks: dict[str, str] = {ACME: "plain", BETA: CANARY}
    vars(services).update(objects=objects, workflow=workflow, readers=FakeReaders(marks), sql=FakeSql(marks))
    return World(
        settings=settings,
        services=services,
        objects=objects,
        workflow=workflow,
        tokens=dict(tokens),
        principals=dict(principals),
        restorable=Restorable(file, _template()),
    )


def metadata_key(tenant: str, suffix: str = "") -> str:
    """Key of the metadata file of an audience in the lake bucket."""
    number = 13 if suffix else 10
    return f"{audience_prefix(TenantName(tenant), id_of(tenant, number))}metadata/00002.metadata.json"


@cache
def _objects() -> InMemoryObjects:
    """Two versions of every audience; for each tenant a file in its place, an upload, and an export to fetch."""
    objects = InMemoryObjects()
    for tenant in TENANTS:
        mark = CANARY if tenant == BETA else "plain"
        objects.put(CRM, f"{tenant}/vip.csv", mark.encode())
        objects.put("staging", upload_of(tenant, UPLOAD).key, mark.encode())
        objects.put("staging", download_key(tenant), manifest_of(tenant).encode())
        objects.put("lake", rejects_key(tenant, id_of(tenant, JOB)), mark.encode())
    for tenant, suffix in ((ACME, ""), (BETA, ""), (BETA, ONLY_BETA)):
        objects.put("lake", metadata_key(tenant, suffix), json.dumps(_metadata(tenant)).encode())
    return objects


def _metadata(tenant: str) -> dict[str, Any]:
    """Metadata of a table, as far as they are read."""
    mark = CANARY if tenant == BETA else "plain"
    first = VersionInfo(
        version=Version(1),
        snapshot_id=2**62 + 1,
        import_id=id_of(tenant, JOB),
        attempt=Attempt(1),
        mode="replace",
        order_key="1",
        partitions=PARTITIONS,
        partitioner="murmur2",
        row_schema=RowSchema(columns=(Column(name=f"c_{mark}", type="long"),)),
        members=3,
        digest=Digest(schema_id="0" * 16, count=3),
        base_version=None,
        source_version=None,
        counts=None,
        published_at=datetime(2026, 11, 28, tzinfo=UTC),
        reason=mark,
    )
    infos = (first, replace(first, version=Version(2), snapshot_id=2**62 + 2))
    return {
        "format-version": 2,
        "snapshots": [
            {"snapshot-id": one.snapshot_id, "summary": {"operation": "overwrite", **summary_properties(one, (), "")}}
            for one in infos
        ],
        "refs": {
            "main": {"snapshot-id": infos[-1].snapshot_id, "type": "branch"},
            **{f"v{one.version}": {"snapshot-id": one.snapshot_id, "type": "tag"} for one in infos},
        },
        "properties": history_properties(infos[-1], None),
    }


@cache
def _template() -> Path:
    """A file with the catalog of a new world."""
    file = Path(tempfile.mkdtemp(prefix="muster-world-"), "catalog.db")
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    file.write_bytes(_filled()[0])
    return file


@cache
def _filled() -> tuple[bytes, dict[str, Token], dict[str, JobId]]:
    folder = Path(tempfile.mkdtemp(prefix="muster-world-"))
    file = folder / "catalog.db"
    try:
        url = Secret(f"sqlite:///{file}")
        migrated(url)
        settings = Settings(home=folder, catalog_url=url)
        world = World(
            settings=settings,
            services=Services(settings),
            objects=InMemoryObjects(),
            workflow=InMemoryWorkflow(),
            tokens={},
            principals={},
            restorable=Restorable(file, file),  # never restored: it becomes the template
        )
        with without_fsync():
            _fill_world(world)
        world.services.database.close()
        with closing(sqlite3.connect(file)) as connection:  # move the whole WAL into the file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes(), world.tokens, world.principals
    finally:
        shutil.rmtree(folder)


def _fill_world(world: World) -> None:
    services = world.services
    with services.database.write() as connection:
        connection.exec_driver_sql(ICEBERG_TABLES)
        for tenant, suffix in ((ACME, ""), (BETA, ""), (BETA, ONLY_BETA)):
            location = s3_uri("lake", metadata_key(tenant, suffix))
            row = ("muster", tenant, VIP + suffix, location)
            connection.exec_driver_sql("INSERT INTO iceberg_tables VALUES (?, ?, ?, ?, NULL, 'TABLE')", row)
    for tenant in TENANTS:
        _fill(services, tenant)
    _sample(services)
    roles: list[tuple[str, str]] = [(tenant, role) for tenant in TENANTS for role in TENANT_ROLES]
    roles += [(DEPLOYMENT, role) for role in DEPLOYMENT_ROLES]
    for number, (scope, role) in enumerate([*roles, ("", "")]):
        name = f"{scope or 'deployment'}-{role}" if role else "stranger"
        principal = JobId(new_job_id(AT_MS + number, b"principal_"))
        kind: PrincipalKind = "service" if role == "operator" else "person"
        shown = f"{name} {CANARY}" if scope == BETA else name
        services.principals.add(principal, kind=kind, name=shown, now_ms=AT_MS)
        world.principals[name] = principal
        cap: set[tuple[str, str]] = {(scope, role)} if role else {(tenant, "admin") for tenant in TENANTS}
        token_name = f"{CANARY} of {name}" if scope == BETA else f"of {name}"
        # Used lately: else each request after a reset notes its use, in a transaction of its own.
        world.tokens[name] = world.add_token(name, cap, number, name=token_name, used_at_ms=now_ms())
    for scope in (*TENANTS, DEPLOYMENT):
        held = {world.principals[f"{scope or 'deployment'}-{role}"]: {role} for one, role in roles if one == scope}
        services.principals.replace_grants(scope, held, now_ms=AT_MS, check=lambda *_: None)


def _sample(services: Services) -> None:
    """One worker of imports, sampled twice."""
    worker = {"worker": "worker-1", "host": "node-7", "pid": 812, "address": "10.0.0.7"}
    worker = {**worker, "group": WORKER_GROUP, "partitions": list(range(PARTITIONS))}
    for number in (0, 1):
        at_ms = AT_MS + 10_000 * number
        sample = TopicSample(
            at_ms=at_ms, group=WORKER_GROUP, topic=IMPORTS, members=1, lag=3, acknowledged=20 * number, sent=3
        )
        state = GroupState(
            group=WORKER_GROUP, at_ms=at_ms, workers=[worker], lag={IMPORTS: [3, *[0] * (PARTITIONS - 1)]}
        )
        services.samples.put([sample], [state], now_ms=at_ms)


def _fill(services: Services, tenant: TenantName) -> None:
    for number, suffix in enumerate(("", ONLY_BETA) if tenant == BETA else ("",)):
        _fill_named(services, tenant, suffix, 10 + 3 * number)
    _fill_jobs(services, tenant)


def _fill_named(services: Services, tenant: TenantName, suffix: str, number: int) -> None:
    mark = CANARY if tenant == BETA else "plain"
    services.audiences.add_tenant(
        tenant, AT_MS, places=(f"s3://{CRM}/{tenant}/", f"s3://{mark}/", f"kafka://{tenant}.buyers")
    )
    spec = ImportSpec(id_column=f"id_{mark}")
    name = AudienceName(VIP + suffix)
    audience = services.audiences.create(tenant, name, new_id=id_of(tenant, number), now_ms=AT_MS, spec=spec)
    services.audiences.configure(audience.audience_id, spec=spec, retention=Retention(versions=3 + len(mark)))
    text = f'ever("{mark}")'
    SegmentStore(services.database).create(
        tenant,
        AudienceName(BUYERS + suffix),
        new_rule(text),
        new_id=id_of(tenant, number + 1),
        author=mark,
        now_ms=AT_MS,
    )
    services.schedules.add(
        Schedule(
            schedule_id=id_of(tenant, number + 2),
            tenant=tenant,
            name=NIGHTLY + suffix,
            kind="import",
            expression="cron(0 6 * * ? *)",
            timezone="UTC",
            request={"tenant": tenant, "audience": name, "bucket": mark, "key": "a.csv"},
            enabled=True,
            created_at_ms=AT_MS,
            next_due_ms=AT_MS + DAY_MS,
        )
    )
    services.feeds.add(
        Feed(
            feed_id=id_of(tenant, number // 3 + 13),
            tenant=tenant,
            name=MEMBERS + suffix,
            segment=AudienceName(BUYERS + suffix),
            target=f"kafka://{tenant}.{mark}",
            shape="changes",
            start="all",
            author=mark,
            created_at_ms=AT_MS,
        )
    )


def upload_of(tenant: TenantName, number: int) -> Upload:
    """An upload that has arrived, or one in parts."""
    mark, id_ = CANARY if tenant == BETA else "plain", id_of(tenant, number)
    large = number == LARGE_UPLOAD
    return Upload(
        upload_id=id_,
        tenant=tenant,
        name=f"{mark}.csv",
        content_type="text/csv",
        size=6 * 2**30 if large else len(mark),
        key=f"uploads/{tenant}/upload/{id_}/{mark}.csv",
        multipart="parts" if large else None,
        created_at_ms=AT_MS,
    )


def download_key(tenant: TenantName) -> str:
    """Key of the manifest of an export to `download`."""
    return f"download/{tenant}/{id_of(tenant, DOWNLOAD)}/manifest.json"


def manifest_of(tenant: TenantName) -> Manifest:
    """The manifest of an export of one file."""
    mark, digest = CANARY if tenant == BETA else "plain", Digest(schema_id=RowSchema().schema_id, count=1)
    return Manifest(
        export=id_of(tenant, DOWNLOAD),
        tenant=tenant,
        audience=VIP,
        version=1,
        snapshot_id=1,
        created_at="2026-11-28T00:00:00Z",
        format=ExportFormat(format="parquet"),
        schema=RowSchema(),
        members=1,
        digest=digest,
        files=(
            ManifestFile(
                key=f"{mark}.parquet", rows=1, bytes=10, sha256="0" * 64, digest=digest, min=f"a{mark}", max=f"a{mark}"
            ),
        ),
    )


def _fill_jobs(services: Services, tenant: TenantName) -> None:
    mark = CANARY if tenant == BETA else "plain"
    audience = services.audiences.get(tenant, VIP)
    services.recipients.replace(tenant, None, {"email": [f"{mark}@{tenant}.example"]})
    for number in (JOB, FAILED_JOB, DUPLICATE):
        services.jobs.register(_job(tenant, number, mark, audience.audience_id))
    evidence = {
        "rows": 5,
        "accepted": 3,
        "rejected": 2,
        "rejected_by_code": {f"BAD_{mark}": 2},
        "partitions": [str(Digest(schema_id="0" * 16, count=3 if part == 0 else 0)) for part in range(PARTITIONS)],
    }
    services.jobs.put(id_of(tenant, JOB), evidence=evidence, outcome={"version": 1, "members": 3, "note": mark})
    receipt = {"job": id_of(tenant, JOB), "tenant": tenant, "rows": 5, "accepted": 3, "rejected": 2, "note": mark}
    services.jobs.put_receipt(id_of(tenant, JOB), receipt)
    error = JobError(kind="user", code="EMPTY_FILE", message=f"{mark} has no rows", detail={})
    services.jobs.fail(id_of(tenant, FAILED_JOB), error, now_ms=AT_MS + 1)
    for number, to in ((EXPORT, f"s3://{mark}/out/"), (DOWNLOAD, s3_uri("staging", download_key(tenant)))):
        services.exports.register(
            NewExport(
                job_id=id_of(tenant, number),
                tenant=tenant,
                audience=VIP,
                audience_id=audience.audience_id,
                request={"to": to.removesuffix("/manifest.json")},
                leases=(),
                execution=None,
                retry_of=None,
                created_at_ms=AT_MS,
            )
        )
    done = {"manifest": s3_uri("staging", download_key(tenant)), "rows": 1}
    for state in ("WRITING", "FINISHING"):
        services.exports.move(id_of(tenant, DOWNLOAD), state, now_ms=AT_MS)
    services.exports.move(id_of(tenant, DOWNLOAD), "READY", now_ms=AT_MS, outcome=done)
    services.audiences.create(tenant, QUIET, new_id=id_of(tenant, 9), now_ms=AT_MS, spec=ImportSpec())
    if tenant == BETA:
        services.audiences.create(
            tenant, AudienceName(QUIET + ONLY_BETA), new_id=id_of(tenant, 16), now_ms=AT_MS, spec=ImportSpec()
        )
    services.operations.add(
        Operation(
            operation_id=id_of(tenant, OPERATION),
            tenant=tenant,
            kind="rollback",
            action="read",
            audience_id=audience.audience_id,
            audience=VIP,
            request={"version": 1, "reason": mark},
            created_at_ms=AT_MS,
        )
    )
    services.operations.finish(id_of(tenant, OPERATION), {"version": 2, "note": mark}, now_ms=AT_MS)
    difference = id_of(tenant, DIFFERENCE)
    services.operations.add(
        Operation(
            operation_id=difference,
            tenant=tenant,
            kind="difference",
            action="read_users",
            state="running",
            created_at_ms=AT_MS,
        )
    )
    ids = [f"{mark}-{number}" for number in range(150)]
    result = {"audience": VIP, "tenant": tenant, "earlier": 1, "later": 2, "added": 2000, "removed": 1}
    sample = {"added": ids, "removed": [f"left-{mark}"], "changed": [f"moved-{mark}"]}
    moved = {"user": f"moved-{mark}", "columns": {"city": {"earlier": None, "later": f"<{mark}>"}}}
    found = {**result, "changed": 1, "kept": 2, "sample": sample, "changes": [moved]}
    services.operations.finish(difference, found, now_ms=AT_MS)
    for number in (UPLOAD, LARGE_UPLOAD):
        services.uploads.add(upload_of(tenant, number), most_bytes=2**40)


def _job(tenant: TenantName, number: int, mark: str, audience_id: JobId) -> NewJob:
    return NewJob(
        job_id=id_of(tenant, number),
        tenant=tenant,
        audience=VIP,
        audience_id=audience_id,
        mode="replace",
        partitions=PARTITIONS,
        spec=ImportSpec(),
        source={"bucket": mark, "key": f"{mark}.csv", "size": 10},
        small=True,
        order_key="1",
        dedupe_key=f"{tenant} {JOB if number == DUPLICATE else number}",
        execution=None,
        retry_of=None,
        created_at_ms=AT_MS + number,
    )
