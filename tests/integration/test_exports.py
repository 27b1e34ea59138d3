"""Exports on the whole stack, a task for each group: writers, engine and relay die, and the receiver cannot tell."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.listing import list_objects
from orchestration.catalog.records import Export
from orchestration.clock import fresh_id
from orchestration.context import Context
from orchestration.operations.audiences import expire
from orchestration.operations.export_jobs import cancel, submit
from orchestration.operations.exports import verify_export
from orchestration.settings import Settings
from orchestration.steps.exports.request import ExportRequest
from orchestration.steps.references import ref_of
from schemas.ids import AudienceName
from schemas.layout import split_s3_uri
from schemas.manifest import ExportFormat
from segmentation.export_jobs import ENDED
from segmentation.versions import AudienceRef
from tests.fakes.receivers import Receiver, script
from tests.integration.whole_imports import (
    ENGINE,
    RELAY,
    TENANT,
    ended,
    held,
    job_of,
    kill_one,
    running,
    upload,
    write_file,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

WRITER = "orchestration.container task export"
ROWS = 120_000


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A stack with an audience `vip`, whose groups are too large for functions."""
    context = Context(start_module_stack(parts=None, partitions=4, workers=1, lambda_file_bytes=1))
    context.audiences.add_tenant(TENANT, now_ms=1)
    path = tmp_path_factory.mktemp("file") / "a.csv"
    write_file(path, 1, rows=ROWS)
    upload(context, path, "vip")
    assert ended(context, job_of(context, "vip")).state == "READY"
    return context


def ref(context: Context, name: str) -> AudienceRef:
    return ref_of(context.audiences.get(TENANT, AudienceName(name)))


def start(context: Context, **changes: object) -> ExportRequest:
    """An export of `vip` in four groups."""
    export_id = fresh_id()
    given: dict[str, object] = {
        "export_id": export_id,
        "tenant": TENANT,
        "audience": "vip",
        "to": f"s3://{context.settings.lake_bucket}/exports/{export_id}",
        "format": ExportFormat(format="csv", null_token="", compression="gzip"),
        "target_bytes": 1,
    }
    request = ExportRequest(**{**given, **changes})  # type: ignore[arg-type]
    submit(context, request)
    return request


def find(context: Context, request: ExportRequest) -> Export | None:
    return context.exports.find(request.export_id)


def until(condition: Callable[[], object], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "this never came to pass"
        time.sleep(0.02)


def finished(context: Context, request: ExportRequest) -> Export:
    def has_ended() -> bool:
        found = find(context, request)
        return found is not None and found.state in ENDED

    until(has_ended, 200)
    return context.exports.get(request.export_id)


def files(context: Context, request: ExportRequest) -> set[str]:
    bucket, prefix = split_s3_uri(request.to)
    return {entry.key.removeprefix(f"{prefix}/") for entry in list_objects(context.s3.client(), bucket, prefix)}


def assert_received(context: Context, request: ExportRequest) -> None:
    """Everything adds up, and after the sweep there is nothing else."""
    export = finished(context, request)
    assert (export.state, export.error) == ("READY", None)
    until(lambda: context.exports.get(request.export_id).swept_at_ms is not None)
    manifest, difference = verify_export(context, f"{request.to}/manifest.json")
    assert difference is None
    version = context.versions.current(ref(context, "vip"))
    assert version is not None
    assert (manifest.rows, manifest.digest) == (version.members, version.digest)
    assert files(context, request) == {"manifest.json", *(file.key for file in manifest.files)}


def test_each_group_is_written_by_a_task_of_its_own_and_the_end_is_told(context: Context) -> None:
    request = start(context)
    assert_received(context, request)
    export = context.exports.get(request.export_id)
    assert [group.attempt for group in context.exports.groups(export.export_id)] == [1, 1, 1, 1]
    until(lambda: context.workflow.describe_execution(executionArn=str(export.execution))["status"] != "RUNNING")
    assert context.workflow.describe_execution(executionArn=str(export.execution))["status"] == "SUCCEEDED"
    [row] = context.outbox.of(export.export_id)
    assert (row.outcome, row.body["manifest"]) == ("ready", f"{request.to}/manifest.json")


def test_writers_that_are_killed_are_repeated_one_by_one(context: Context) -> None:
    dice, killed = random.Random(5), 0
    request = start(context)

    def over() -> bool:
        return (found := find(context, request)) is not None and found.state in ENDED

    while killed < 3:
        until(lambda: running(context, WRITER) or over())
        if over():
            break
        killed += kill_one(context, dice, WRITER)
        time.sleep(dice.uniform(0.1, 1.5))
    assert_received(context, request)
    assert killed
    attempts = [group.attempt for group in context.exports.groups(request.export_id)]
    assert max(attempts) <= 4


@pytest.mark.parametrize("part", [ENGINE, RELAY])
def test_a_part_of_the_stack_that_is_killed_is_no_end_of_an_export(context: Context, part: str) -> None:
    request = start(context)
    until(lambda: running(context, WRITER))
    assert kill_one(context, random.Random(1), part)
    assert_received(context, request)


def test_a_cancelled_export_ends_its_writers_and_leaves_nothing(context: Context) -> None:
    request = start(context)
    until(lambda: running(context, WRITER))
    assert cancel(context, request.export_id).warnings == ()
    until(lambda: not running(context, WRITER))
    until(lambda: context.exports.get(request.export_id).swept_at_ms is not None)
    assert files(context, request) == set()
    execution = context.exports.get(request.export_id).execution
    assert context.workflow.describe_execution(executionArn=str(execution))["status"] == "ABORTED"


def test_an_expiry_while_an_export_runs_leaves_its_version_alone(context: Context, tmp_path: Path) -> None:
    audience = context.audiences.ensure(TENANT, AudienceName("aging"), new_id=fresh_id(), now_ms=1)
    for number in (1, 2):
        write_file(tmp_path / f"{number}.csv", number, rows=30_000)
        upload(context, tmp_path / f"{number}.csv", "aging")
        until(lambda number=number: len(context.versions.versions(ref(context, "aging"))) == number)  # type: ignore[misc]
    request = start(context, audience="aging", version=1)
    until(lambda: running(context, WRITER))
    with held(context, WRITER):
        assert expire(context, audience, versions=1, days=0).versions == ()
    export = finished(context, request)
    assert (export.state, export.error) == ("READY", None)
    assert verify_export(context, f"{request.to}/manifest.json")[1] is None
    assert expire(context, audience, versions=1, days=0).versions == (1,)


@pytest.mark.parametrize("cancelled", [False, True])
def test_receivers_of_a_topic_get_every_member_once_though_writers_are_killed(
    context: Context, *, cancelled: bool
) -> None:
    topic = f"members-{cancelled}".lower()
    bootstrap = context.settings.kafka_bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    request = start(context, to=f"kafka://{topic}", format=ExportFormat(format="parquet"))
    until(lambda: running(context, WRITER))
    if cancelled:
        cancel(context, request.export_id)
        until(lambda: context.exports.get(request.export_id).swept_at_ms is not None)
    else:
        time.sleep(1)
        kill_one(context, random.Random(3), WRITER)
    export = finished(context, request)
    assert export.state == ("CANCELLED" if cancelled else "READY")
    consume = script("consume_export")
    receiver = Receiver().take(consume.values(bootstrap, topic))
    version = context.versions.current(ref(context, "vip"))
    assert version is not None
    users = [row[0] for _, row in receiver.finished.get(request.export_id, [])]
    assert (len(users), len(set(users))) == ((0, 0) if cancelled else (version.members, version.members))
