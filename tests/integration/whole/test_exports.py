"""Exports on the whole stack: writers die, and the receiver sees no difference.

Exports whose writers are killed at random moments are in `tests/integration/test_exports.py`.
"""

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka.logon import librdkafka_config
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.kinds.export.request import ExportRequest
from orchestration.operations.audiences import expire
from schemas.ids import AudienceName, Version
from schemas.manifest import ExportFormat
from tests.fakes.receivers import Receiver, script
from tests.faults.waiting import until
from tests.holding.holding import hold
from tests.integration.whole.conftest import Grown
from tests.integration.whole.exporting import assert_received, attempts, files, finished, ref, start, sweep
from tests.integration.whole_imports import TENANT, entered

pytestmark = pytest.mark.integration


@pytest.mark.faults("an audience for tasks; dead writers are those of lake/test_export_steps.py", seconds=30)
def test_each_group_has_its_own_task_and_a_dead_one_is_repeated(context: Context, grown: Grown) -> None:
    largest = max(part.bytes for part in context.versions.files(ref(context, grown.name), Version(3)))
    with hold(context.settings.home, "writer") as writer:
        request = start(context, grown.name, target_bytes=2 * largest)  # two groups of two parts
        assert " task export " in " ".join(writer().cmdline())
        writer().kill()
    assert_received(context, request)
    export = context.exports.get(request.export_id)
    assert sorted(attempts(context, request)) == [1, 2]
    until(lambda: status(context, export.execution) != "RUNNING", "the end of the execution")
    assert status(context, export.execution) == "SUCCEEDED"
    assert entered(context, export.execution).count("WriteExportGroupTask") == 2
    [row] = context.outbox.by_subject(export.job_id)
    assert (row.outcome, row.body["manifest"]) == ("ready", f"{request.to}/manifest.json")


def test_cancelled_export_ends_its_writers_and_leaves_no_files(context: Context, few: str) -> None:
    with hold(context.settings.home, "writer") as writer:
        request = start(context, few)
        writer()
        until(lambda: written(context, request) == 3, "the other groups: no file arrives after the sweep")
        assert len(files(context, request)) == 4
        assert context.export_jobs.cancel(request.export_id).warnings == ()
        assert status(context, context.exports.get(request.export_id).execution) == "ABORTED"
    sweep(context, request)
    assert files(context, request) == set()


@pytest.mark.faults("held versions are those of lake/test_export_steps.py", seconds=20)
def test_expiry_during_an_export_keeps_its_version(context: Context, grown: Grown) -> None:
    audience = context.audiences.get(TENANT, AudienceName(grown.name))
    with hold(context.settings.home, "writer") as writer:
        request = start(context, audience.name, version=1)
        writer()
        assert expire(context.audiences, context.jobs, context.versions, audience, versions=1, days=0).versions == (2,)
    export = finished(context, request)
    assert (export.state, export.error) == ("READY", None)
    assert administration.received_exports(context).verify(f"{request.to}/manifest.json")[1] is None
    assert expire(context.audiences, context.jobs, context.versions, audience, versions=1, days=0).versions == (1,)


@pytest.mark.parametrize(
    "cancelled",
    [False, pytest.param(True, marks=pytest.mark.faults("test_export_steps.py cancels it in memory", seconds=10))],
)
def test_topic_receivers_get_every_member_once_despite_a_dead_writer(
    context: Context, few: str, *, cancelled: bool
) -> None:
    topic = f"members-{cancelled}".lower()
    bootstrap = context.settings.kafka_bootstrap
    admin = AdminClient({**librdkafka_config(bootstrap)})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    with hold(context.settings.home, "sender") as sender:
        request = start(context, few, to=f"kafka://{topic}", format=ExportFormat(format="parquet"))
        process = sender()
        if cancelled:
            context.export_jobs.cancel(request.export_id)
        else:
            process.kill()
    export = finished(context, request)
    assert export.state == ("CANCELLED" if cancelled else "READY")
    if cancelled:
        sweep(context, request)
    receiver = Receiver().take(script("consume_export").values(bootstrap, topic))
    version = context.versions.current(ref(context, few))
    assert version is not None
    users = [row[0] for _, row in receiver.finished.get(request.export_id, [])]
    assert (len(users), len(set(users))) == ((0, 0) if cancelled else (version.members, version.members))


def status(context: Context, execution: str | None) -> str:
    return context.workflow.describe_execution(executionArn=str(execution))["status"]


def written(context: Context, request: ExportRequest) -> int:
    """Number of groups recorded in the catalog."""
    return sum(group.record is not None for group in context.exports.groups(request.export_id))
