"""A lost end marker on a real broker, with a real worker: the job does not wait for it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.worker_group import WorkerGroup
from connectors.publishing.reports import PartitionSent, PublishReport
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job, NewJob
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control.lost_markers import LOST_AFTER_MS
from orchestration.kinds.materialised import as_row, completion_of
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.ids import Attempt, JobId, new_job_id
from schemas.import_spec import ImportSpec
from schemas.messages import ImportEnded
from schemas.records import as_record
from schemas.topics import IMPORTS
from segmentation.completion import Broken, Waiting
from tests.fakes.catalog import catalog_in
from tests.fakes.importer import SCHEMA, FakeImport, make_import, send, users
from tests.integration.workers import Workers, announced, committed_everything
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kept_readers")]
LOST = 1


@pytest.fixture(scope="module")
def workers(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    running = Workers(stack, tmp_path_factory.mktemp("workers"), "tests.integration.quick_worker")
    running.start("a", MUSTER_WORKER_SESSION_TIMEOUT_S="30")
    yield running
    running.close()


def awaiting(context: Context, imported: FakeImport, end_offsets: dict[int, int]) -> Job:
    """A job that has sent this import and awaits it."""
    ends = imported.markers()
    job_id = JobId(imported.import_id)
    context.jobs.register(
        NewJob(
            job_id=job_id,
            tenant="acme",
            audience="vip",
            audience_id=job_id,
            mode="replace",
            partitions=imported.partitions,
            spec=ImportSpec(columns=SCHEMA.columns),
            source={},
            small=False,
            order_key="1",
            dedupe_key=job_id,
            execution="x",
            retry_of=None,
            created_at_ms=now_ms(),
        )
    )
    rows = sum(m.records for m in ends)
    evidence = Evidence(
        rows=rows,
        accepted=rows,
        rejected=0,
        partitions=tuple(m.digest for m in ends),
        source_bytes=1,
        decoded_bytes=1,
        schema_id=SCHEMA.schema_id,
    )
    report = PublishReport(
        import_id=job_id,
        attempt=Attempt(1),
        topic=IMPORTS,
        rows=rows,
        bytes=1,
        partitions=tuple(
            PartitionSent(
                partition=m.partition,
                chunks=m.chunks,
                records=m.records,
                digest=m.digest,
                end_offset=end_offsets[m.partition],
            )
            for m in ends
        ),
    )
    context.jobs.move(job_id, "VERIFYING", now_ms=now_ms())
    context.jobs.move(job_id, "IMPORTING", now_ms=now_ms(), evidence=as_record(evidence))
    context.jobs.start_attempt(job_id, after=Attempt(0), now_ms=now_ms())
    context.jobs.end_attempt(job_id, Attempt(1), as_record(report), now_ms=now_ms())
    return context.jobs.move(job_id, "AWAITING", now_ms=now_ms())[1]


@pytest.mark.parametrize("passed", [False, True], ids=["the-log-ends-before-it", "the-workers-are-past-it"])
def test_lost_end_marker_is_detected_by_offsets_of_a_real_group(
    stack: Settings, workers: Workers, tmp_path: Path, *, passed: bool
) -> None:
    url = catalog_in(tmp_path)
    context = Context(stack.with_(catalog_url=url, home=tmp_path))
    group = WorkerGroup(stack.kafka_bootstrap, stack.partitions)
    imported = make_import(new_job_id(now_ms(), random.randbytes(10)), users(2_000), partitions=stack.partitions)
    send(
        stack.kafka_bootstrap,
        imported.without(lambda m: isinstance(m, ImportEnded) and m.partition == LOST).messages,
    )
    ends = group.ends()
    # Offsets as the importer saw them: the lost marker had the offset that is now the end of the log.
    offsets = {p: ends[IMPORTS, p] - (0 if p == LOST else 1) for p in range(stack.partitions)}
    job = awaiting(context, imported, offsets)
    if passed:  # messages of another import take its place
        other = make_import(new_job_id(now_ms(), random.randbytes(10)), users(100), partitions=stack.partitions)
        send(stack.kafka_bootstrap, other.messages)
    others = stack.partitions - 1
    until(lambda: len(announced(stack, job.job_id)) == others)
    until(lambda: not passed or group.committed()[IMPORTS, LOST] > offsets[LOST])
    context.progress.put_partitions([as_row(m, now_ms()) for m in announced(stack, job.job_id)])

    markers, began = control_plane.lost_markers(context, group), now_ms()
    markers.tick([job], began)
    assert completion_of(context.progress, job) == Waiting(done=others)
    markers.tick([job], began + LOST_AFTER_MS)
    found = completion_of(context.progress, job)
    assert isinstance(found, Broken)
    assert f"{IMPORTS}/{LOST}" in found.fault
    assert ("it ends at" in found.fault) is not passed
    if passed:
        until(lambda: committed_everything(stack))
