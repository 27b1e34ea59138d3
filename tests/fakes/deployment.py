"""A deployment without servers: real catalog, handlers, control plane and sweeper; fake Kafka, S3 and lake.

`Deployment.run` plays the `Route` state of the state machine: it calls the handler of the state named in the view.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.sources.file_set import open_rows
from connectors.verification.evidence import Evidence
from connectors.verification.rejects_file import upload_to
from connectors.verification.verifier import verify_file, verify_rows
from orchestration.catalog.records import Job
from orchestration.catalog.tables import partition_progress
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.entrypoints import handlers, unit_handlers
from orchestration.kinds.events import ImportRequest
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret, Settings
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.errors import RetriableError
from schemas.ids import JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import ImportEnded, PartitionMaterialised
from segmentation.admission import LaneLimit
from segmentation.jobs import FINAL
from tests.fakes.archive import InMemoryArchive
from tests.fakes.catalog import migrated
from tests.fakes.import_log import GivenRows, InMemoryTopicLog, NoRejects, StepWorkers
from tests.fakes.objects import InMemoryObjects
from tests.fakes.version_store import InMemoryVersionStore
from tests.fakes.workflow import InMemoryWorkflow

ACME = TenantName("acme")
PARTITIONS = 2
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:ImportAudience:"
USERS = ("21", "foobar", "abc")
HANDLER_OF = {
    "VERIFYING": "verify_file",
    "IMPORTING": "import_to_kafka",
    "BUILDING": "build_version",
    "PUBLISHING": "publish_version",
}


def row_batch(schema: RowSchema, *users: str) -> pa.RecordBatch:
    """Users without any attributes."""
    arrow = arrow_schema(schema, ordinal=True)
    unknown = [pa.nulls(len(users), field.type) for field in list(arrow)[2:]]
    return pa.RecordBatch.from_arrays(
        [pa.array(range(len(users)), pa.int64()), pa.array(users, pa.string()), *unknown], schema=arrow
    )


class Deployment:
    """Handlers on one catalog. `calls` counts them; `raising` maps a handler to errors that it raises first."""

    def __init__(self, context: Context, workflow: InMemoryWorkflow, objects: InMemoryObjects) -> None:
        self.context = context
        self.workflow = workflow
        self.objects = objects
        self.calls: Counter[str] = Counter()
        self.scans = 0
        self.logs: dict[str, InMemoryTopicLog] = {}
        self.audience = "vip"
        self.users: tuple[str, ...] = USERS

    # Replacements for the servers that the handlers use.

    def log(self, _bootstrap: str, topic: str, **_: Any) -> InMemoryTopicLog:
        log = self.logs.setdefault(topic, InMemoryTopicLog(PARTITIONS))
        log.topic = topic
        return log

    def verify_file(self, _source: object, spec: ImportSpec, **_: Any) -> Evidence:
        self.scans += 1
        rows = GivenRows(row_batch(spec.row_schema, *self.users))
        return verify_rows(rows, spec, partitions=PARTITIONS, rejects=NoRejects())

    @contextmanager
    def open_rows(self, _source: object, spec: ImportSpec, *_: Any) -> Iterator[GivenRows]:
        yield GivenRows(row_batch(spec.row_schema, *self.users))

    def parse_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Parse files as in production."""

        def verify(*given: Any, **named: Any) -> Evidence:
            self.scans += 1
            return verify_file(*given, **named)

        monkeypatch.setattr("orchestration.kinds.verify.verify_side_by_side", verify)
        monkeypatch.setattr("orchestration.kinds.verify.upload_to", upload_to)
        monkeypatch.setattr("orchestration.kinds.send.open_rows", open_rows)

    # What a test can do.

    def request(self, audience: str | None = None, tenant: str = ACME, **more: Any) -> ImportRequest:
        audience = audience or self.audience
        key = str(more.pop("key", f"{tenant}/{audience}/a.csv"))
        bucket = str(more.pop("bucket", self.context.settings.inbox_bucket))
        if (bucket, key) not in self.objects.contents:
            self.objects.put(bucket, key, b"user_id\n" + "\n".join(self.users).encode())
        return ImportRequest(job_id=fresh_id(), tenant=tenant, audience=audience, bucket=bucket, key=key, **more)

    def register(self, request: ImportRequest | None = None, *, overrides: dict[str, Any] | None = None) -> Job:
        """Call RegisterImport in an execution named like the job, which is then running."""
        request = request or self.request(overrides=overrides or {})
        self.workflow.statuses[EXECUTION + request.job_id] = "RUNNING"
        view = self.call("register_import", input={"import": request.as_record()}, execution=EXECUTION + request.job_id)
        return self.context.jobs.get(JobId(str(view["job_id"])))

    def uploaded(self, key: str, *, bucket: str = "inbox", version: str | None = None) -> Job:
        """The job of an inbox object, created by the event that S3 sends. The object is put first if it is missing."""
        if (bucket, key) not in self.objects.contents:
            self.objects.put(bucket, key, b"user_id\n" + "\n".join(self.users).encode())
        detail = {
            "bucket": {"name": bucket},
            "object": {"key": key, "version-id": version or self.objects.pin(bucket, key).version_id},
        }
        execution = EXECUTION + fresh_id()
        self.workflow.statuses[execution] = "RUNNING"
        view = self.call("register_import", input={"detail": detail}, execution=execution)
        return self.context.jobs.get(JobId(str(view["job_id"])))

    def sent(self) -> dict[str, list[int]]:
        """Number of messages in each partition of each topic."""
        return {topic: [len(messages) for messages in log.messages] for topic, log in self.logs.items()}

    def call(self, handler: str, **event: Any) -> dict[str, Any]:
        """Invoke a Lambda function once."""
        self.calls[handler] += 1
        function: Any = getattr(handlers if hasattr(handlers, handler) else unit_handlers, handler)
        return dict(function(event, None))

    def step(self, job: Job, handler: str, **more: Any) -> dict[str, Any]:
        """Call a handler in the execution of the job."""
        execution = self.context.jobs.get(job.job_id).execution
        return self.call(handler, job_id=job.job_id, execution=execution, **more)

    def run(self, job: Job, until: str | None = None) -> Job:
        """Continue a job until it has ended, or is in the state `until`."""
        for _ in range(20):
            job = self.context.jobs.get(job.job_id)
            if job.state == until or job.state in FINAL:
                return job
            if job.state == "REGISTERED":
                self.context.jobs.admit(self.context.lanes, now_ms=now_ms())
            elif job.state == "VERIFYING" and (view := self.step(job, "plan_units"))["spread"]:
                self.each_unit(job, view, "verify_unit")
                self.step(job, "gather_evidence", round=view["units"]["round"])
            elif job.state == "IMPORTING" and (view := self.step(job, "begin_attempt"))["spread"]:
                self.each_unit(job, view, "send_unit", attempt=view["attempt"])
                self.step(job, "end_attempt", attempt=view["attempt"])
            elif job.state == "AWAITING":
                self.materialise(job)
                shown: Any = "PUBLISHING" if job.mode == "replace" else "BUILDING"
                if self.context.import_records.view(job, state=shown)["spread"]:
                    self.step(job, "plan_parts")
                else:
                    self.step(job, HANDLER_OF[shown])
            elif job.state == "BUILDING" and (view := self.step(job, "plan_parts"))["spread"]:
                self.each_unit(job, view, "build_part", plan=view["plan"])
                self.step(job, "gather_parts", plan=view["plan"])
            elif job.state == "PUBLISHING" and (view := self.step(job, "plan_parts"))["spread"]:
                self.each_unit(job, view, "check_part", plan=view["plan"])
                self.step(job, "publish_version")
            else:
                self.step(job, HANDLER_OF[job.state])
        raise AssertionError(f"job {job.job_id} is still {job.state}")

    def each_unit(self, job: Job, view: dict[str, Any], handler: str, **more: Any) -> None:
        """Call a handler for each unit, as the state machine does."""
        for item in json.loads(self.objects.get(view["units"]["bucket"], view["units"]["key"])):
            assert self.step(job, handler, number=item["number"], **more) == {}

    def at(self, state: str) -> Job:
        """A new job in a given state; an append for BUILDING, a state that a replace never has."""
        with self.full() if state == "REGISTERED" else nullcontext():
            job = self.register(overrides={"mode": "append"} if state == "BUILDING" else {})
        if state in {"BUILDING", "PUBLISHING"}:
            job = self.run(job, until="AWAITING")
            self.materialise(job)
            self.context.jobs.move(job.job_id, state, now_ms=now_ms())  # type: ignore[arg-type]
        else:
            self.run(job, until=state)
        job = self.context.jobs.get(job.job_id)
        assert job.state == state
        return job

    @contextmanager
    def full(self) -> Iterator[None]:
        """Admit no job inside the block."""
        lanes = self.context.lanes
        vars(self.context)["lanes"] = dict.fromkeys(lanes, LaneLimit(jobs=0, per_tenant=0))
        yield
        vars(self.context)["lanes"] = lanes

    def retry(self, job: Job, **options: Any) -> Job:
        """Run `muster jobs retry`, and the first state of the new job's execution."""
        retried = self.context.submission.resubmit(self.context.jobs.get(job.job_id), **options)
        (event,) = (json.loads(text) for text in self.workflow.started if retried in text)
        self.call("register_import", input=event, execution=EXECUTION + retried)
        return self.context.jobs.get(retried)

    def begin_await(self, job: Job, token: str = "token-1") -> None:
        self.step(job, "begin_await", task_token=token)

    def markers(self, job: Job) -> list[ImportEnded]:
        """End markers of a job's newest attempt."""
        found = [m for log in self.logs.values() for p in range(PARTITIONS) for m in log.decoded(p)]
        return [
            m for m in found if isinstance(m, ImportEnded) and (m.import_id, m.attempt) == (job.job_id, job.attempt)
        ]

    def materialise(self, job: Job, *partitions: int) -> None:
        """Let the workers materialise these partitions of the newest attempt, or all."""
        announcements = [
            PartitionMaterialised(
                import_id=job.job_id,
                attempt=m.attempt,
                partition=m.partition,
                partitions=m.partitions,
                chunks=m.chunks,
                records=m.records,
                digest=m.digest,
                distinct=m.records,
                distinct_digest=m.digest,
                part=f"{m.data_prefix}{job.job_id}-{m.partition}.parquet" if m.records else None,
                part_bytes=10 * m.records,
            )
            for m in self.markers(job)
            if not partitions or m.partition in partitions
        ]
        control_plane.import_progress(self.context).put([*announcements])

    def forget_partition(self, job: Job, partition: int) -> None:
        """Remove a partition's announcement, as if it had never come."""
        with self.context.database.write() as connection:
            mine = (partition_progress.c.job_id == job.job_id) & (partition_progress.c.partition == partition)
            connection.execute(partition_progress.delete().where(mine))

    def states(self, job: Job) -> list[str]:
        """States that a job went through."""
        way: list[str] = []
        for transition in self.context.jobs.history(job.job_id):
            if not way or way[-1] != transition.state:
                way.append(transition.state)
        return way

    def versions(self, job: Job) -> list[int]:
        """Version numbers of the job's audience."""
        from orchestration.catalog.references import audience_ref  # noqa: PLC0415

        return [int(v.version) for v in self.context.versions.versions(audience_ref(job))]

    def later(self, **time: float) -> int:
        """A moment (ms) this long after the first call, however long the test itself takes."""
        return self._first_call_ms + int(timedelta(**time).total_seconds() * 1000)

    @cached_property
    def _first_call_ms(self) -> int:
        return now_ms()


def make_deployment(url: Secret, home: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Deployment:
    """A deployment on the catalog at `url`, with tenant `acme`."""
    migrated(url)
    made = Settings(home=home, catalog_url=url, partitions=PARTITIONS, **settings)
    context, workflow, objects = Context(made), InMemoryWorkflow(), InMemoryObjects()
    vars(context).update(workflow=workflow, objects=objects, versions=InMemoryVersionStore())
    deployment = Deployment(context, workflow, objects)
    archive = InMemoryArchive(deployment.logs)
    vars(context).update(archive=archive, activity_receipts=archive)
    for module in (handlers, unit_handlers):
        monkeypatch.setattr(module, "process_context", lambda: context)
    monkeypatch.setattr("orchestration.kinds.verify.verify_side_by_side", deployment.verify_file)
    monkeypatch.setattr("orchestration.kinds.verify.upload_to", lambda *_: lambda _path: None)
    monkeypatch.setattr("orchestration.kinds.send.open_rows", deployment.open_rows)
    monkeypatch.setattr(
        "orchestration.kinds.send.KafkaBacklog",
        lambda _bootstrap, topic, _partitions, **_: StepWorkers(deployment.log("", topic)),
    )
    monkeypatch.setattr("orchestration.kinds.send.archived_log", lambda _, __, topic: archive.log(topic))
    for name in ("orchestration.kinds.send", "orchestration.control.archive_watch"):
        monkeypatch.setattr(
            f"{name}.log_ends", lambda _, topic, __: tuple(map(len, deployment.log("", topic).messages))
        )
    for name in ("orchestration.kinds.send", "orchestration.control.gc.jobs"):
        monkeypatch.setattr(f"{name}.KafkaTopicLog", deployment.log)
    context.audiences.add_tenant(ACME, 1)
    return deployment


def away(*_: Any, **__: Any) -> Any:
    """A server that does not answer."""
    raise RetriableError("S3_UNAVAILABLE", "no answer")
