"""One deployment in memory: the product's handlers, control plane and workers on simulated servers, and its users."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from orchestration.catalog.tables import jobs
from orchestration.composition.context import Context
from orchestration.entrypoints import handlers
from orchestration.entrypoints.tasks import run as run_task
from orchestration.platform.settings import Secret, Settings
from schemas.errors import RetriableError
from schemas.ids import JobId, TenantName, job_id, new_job_id
from schemas.topics import IMPORT_PROGRESS, IMPORTS, IMPORTS_SMALL, WORKER_GROUP
from segmentation.jobs import FINAL
from segmentation.versions import AudienceRef
from tests.simulation.catalog import Catalog, Lake, Versions
from tests.simulation.deployment import Deployment
from tests.simulation.engine import Client, Engine
from tests.simulation.faults import Faults
from tests.simulation.group import Group, GroupView
from tests.simulation.kernel import Process
from tests.simulation.log import Broker
from tests.simulation.oracle import Oracle
from tests.simulation.people import People
from tests.simulation.relay import run_relay
from tests.simulation.stores import S3Client, StepObjects
from tests.simulation.worker import ImportWorker

if TYPE_CHECKING:
    from tests.simulation.patching import Holder

PARTITIONS: Final = 2
ACME: Final = TenantName("acme")


class World(Deployment):
    """Everything of one schedule. Schedules share `catalog`, which is emptied in between."""

    people_are: type[People] = People
    unit_bytes = 10**9

    def __init__(self, seed: int, faults: Faults, temp: Path, holder: "Holder[World]", *, catalog: Catalog) -> None:
        super().__init__(seed, faults, temp, holder, skew_ms=600_000)
        self.catalog = catalog
        self.oracle = Oracle(self)
        self.s3 = S3Client(self.store, self.ports)
        self.broker = Broker(self.ports, PARTITIONS)
        self.group = Group(self.broker, (IMPORTS_SMALL, IMPORTS))
        self.lake = Lake(self.ports)
        self.engine = Engine(
            self.ports,
            invoke=self._invoke,
            run_task=self._run_task,
            new_process=self.new_process,
            read_object=self._read_object,
        )
        self.uploads: dict[tuple[str, str, int], tuple[str, ...]] = {}
        self.asked_to_end: set[str] = set()
        self.store.deleted = self.oracle.deleted
        self.lake.committed = self.oracle.committed
        self.broker.appended = self.oracle.appended
        self.store.buckets["inbox"].versioned = self.kernel.random.random() < 0.7
        catalog.empty()
        settings = Settings(
            home=temp,
            catalog_url=Secret("sqlite://"),
            partitions=PARTITIONS,
            small_file_bytes=24,
            lambda_file_bytes=40,
            fargate_file_bytes=200,
            unit_bytes=self.unit_bytes,
            units_at_once=2,
        )
        self.context = Context(settings)
        self.objects = StepObjects(self.store, self.ports)
        vars(self.context).update(
            database=catalog,
            workflow=Client(self.engine, self.ports),
            objects=self.objects,
            versions=Versions(self.lake, self.kernel.sleep),
        )
        self.context.audiences.add_tenant(ACME, 1)
        catalog.begin_faults(self.ports)
        self.people = self.people_are(self)
        for number in (1, 2):
            self._keep_running(f"worker {number}", "worker", self._worker)
        for number in range(1, 2 + (self.kernel.random.random() < 0.3)):
            self._keep_running(f"relay {number}", "relay", lambda _: run_relay(self.context, self.kernel))
        self.kernel.spawn(self.kernel.outside, "reader", self._read)

    # --- processes ---------------------------------------------------------------------------------------------------

    def _worker(self, process: Process) -> None:
        ImportWorker(self.kernel, process, self.group, self.store, self.temp, self.luck(process)).run()

    def _invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Call a handler. Its event and result cross as JSON."""
        handler = getattr(handlers, function)
        return json.loads(json.dumps(handler(json.loads(json.dumps(event)), None)))

    def _run_task(self, arguments: list[str]) -> int:
        command, job, execution = arguments
        try:
            run_task(self.context, command, job_id(job), execution)
        except RetriableError:
            return 1
        return 0

    def _read_object(self, bucket: str, key: str) -> bytes:
        found = self.store.find(bucket, key)
        assert found is not None
        return found.body

    def group_view(self, name: str) -> GroupView:
        """The group as the control plane sees it. Under any name it has the members of the import workers."""
        return GroupView(self.group, name)

    def _read(self) -> None:
        while True:
            for audience_id, state in self.lake.tables.items():
                current = state.history.current
                self.oracle.looked(audience_id, None if current is None else current.version)
            self.kernel.sleep(5.0)

    def fresh_id(self) -> JobId:
        """A new id, as clients make them."""
        return new_job_id(self.kernel.now_us // 1000, self.kernel.random.randbytes(10))

    # --- what the oracle asks ----------------------------------------------------------------------------------------

    def uploaded(self, key: str, users: tuple[str, ...]) -> str | None:
        """Put an object into the inbox. Returns its version if the bucket has versions."""
        stored = self.store.put("inbox", key, "\n".join(users).encode())
        self.uploads[key, stored.etag, int(stored.modified.timestamp())] = users
        return stored.version if self.store.buckets["inbox"].versioned else None

    def rows_of(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        """The rows of the object that a job has pinned."""
        return self.uploads[source["key"], source["etag"], self.modified_ms(source) // 1000]

    def users_of(self, source: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(self.rows_of(source))

    def modified_ms(self, source: Mapping[str, Any]) -> int:
        return int(datetime.fromisoformat(source["last_modified"]).timestamp()) * 1000

    def overwritten(self, source: Mapping[str, Any]) -> bool:
        """True if the pinned version is gone."""
        newest = self.store.find("inbox", source["key"])
        return not self.store.buckets["inbox"].versioned and (newest is None or newest.etag != source.get("etag"))

    def publishing(self, audience: AudienceRef, besides: JobId) -> list[str]:
        """Other jobs of the audience that are about to commit."""
        with self.catalog.look() as connection:
            query = sa.select(jobs.c.job_id).where(
                jobs.c.audience_id == audience.audience_id, jobs.c.state == "PUBLISHING", jobs.c.job_id != besides
            )
            return [row.job_id for row in connection.execute(query)]

    # --- the schedule ------------------------------------------------------------------------------------------------

    @property
    def published(self) -> int:
        """Versions."""
        return sum(map(len, self.oracle.made.values()))

    def finished(self) -> None:
        """Every job has ended, rightly."""
        self.oracle.finished()

    def close(self) -> None:
        """Stop everything in this world."""
        self.catalog.begin_faults(None)
        super().close()

    def at_rest(self) -> bool:
        """True if nothing is left to do.

        Jobs have ended and are cleaned up, executions have ended, people are done, and every message is consumed.
        """
        if not self.people.done or any(e.status == "RUNNING" for e in self.engine.executions.values()):
            return False
        with self.catalog.look() as connection:
            rows = connection.execute(sa.select(jobs.c.state, jobs.c.swept_at_ms)).all()
        return all(row.state in FINAL and row.swept_at_ms is not None for row in rows) and self._all_consumed()

    def _all_consumed(self) -> bool:
        committed, handled = self.broker.committed, self.broker.handled
        return all(
            len(log) == (handled.get(place) if place[0] == IMPORT_PROGRESS else committed.get((WORKER_GROUP, place)))
            for place, log in self.broker.logs.items()
            if log and place[0] in {IMPORT_PROGRESS, *self.group.topics}
        )
