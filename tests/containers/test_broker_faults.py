"""Whole imports on three brokers (replication 3, two in sync): some die, restart, hang or lose their network."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from connectors.kafka.topics import ensure_topics
from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.entrypoints.serving import START_WAIT_S, persist
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError
from schemas.messages import JobState
from schemas.topics import IMPORT_PROGRESS, IMPORTS, IMPORTS_SMALL
from tests.containers.compose import inspect
from tests.integration.whole_imports import (
    IMPORTER,
    RELAY,
    TENANT,
    WORKER,
    assert_published,
    await_state,
    ended,
    held,
    job_of,
    running,
    sending,
    upload,
    write_file,
)
from tests.servers.kafka import Cluster, kafka_cluster

pytestmark = [pytest.mark.containers, pytest.mark.integration]

ANOTHER_STEP = pytest.mark.faults("the same loss at another step of the import", seconds=60)
PARTITIONS = 4
TOPICS = (IMPORTS, IMPORTS_SMALL, IMPORT_PROGRESS)
SILENT_S = 12
"""Longer than a broker's and a worker's session (6 s): leaders move, and the group must do without."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with kafka_cluster(3) as running:
        yield running


@pytest.fixture(scope="module")
def context(cluster: Cluster, start_module_stack: Callable[..., Settings]) -> Context:
    settings = {"kafka_bootstrap": cluster.bootstrap, "partitions": PARTITIONS, "replication_factor": 3}
    persist(lambda: ensure_topics(Settings(**settings)), time.monotonic() + START_WAIT_S)  # type: ignore[arg-type]
    made = Context(
        start_module_stack(
            parts=("s3", "catalog", "engine", "relay", "worker"),
            workers=2,
            worker_session_timeout_s=6,
            lambda_file_bytes=-1,
            **settings,
        )
    )
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


@pytest.fixture(autouse=True)
def in_sync(cluster: Cluster, context: Context) -> None:
    cluster.await_in_sync(*TOPICS)


@contextmanager
def held_import(context: Context, path: Path, audience: str, step: JobState) -> Iterator[Job]:
    """Upload a file and stop its import in a step: the importer in the middle of the rows, or all workers."""
    with ExitStack() as holding:
        if step == "AWAITING":
            holding.enter_context(held(context, WORKER))
        upload(context, path, audience)
        job = sending(context, audience)
        if step == "IMPORTING":
            holding.enter_context(held(context, IMPORTER))
        await_state(context, job, step, timeout_s=300)
        yield job
        assert context.jobs.get(job.job_id).state == step


@contextmanager
def calm(context: Context) -> Iterator[None]:
    """The control plane lives through the block, and does not use it up: a client that cannot connect waits."""
    (control,) = running(context, RELAY)
    began_s, used_s = time.monotonic(), _cpu_s(control)
    yield
    share = (_cpu_s(control) - used_s) / (time.monotonic() - began_s)
    assert control.is_running(), "the control plane has died"
    assert share < 0.5, f"the control plane used {share:.0%} of a processor while a broker was dead"


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", ["IMPORTING", pytest.param("AWAITING", marks=ANOTHER_STEP)])
def test_leader_killed_during_an_import_loses_and_duplicates_nothing(
    cluster: Cluster, context: Context, tmp_path: Path, step: JobState
) -> None:
    audience = f"leader-{step.lower()}"
    users = write_file(tmp_path / "a.csv", 11, rows=150_000)
    leader = cluster.leader(IMPORTS_SMALL)
    with held_import(context, tmp_path / "a.csv", audience, step) as job:
        cluster.node(leader).kill("SIGKILL")
    try:
        with calm(context):
            assert_published(context, ended(context, job), users)  # without the killed leader
            assert cluster.leader(IMPORTS_SMALL) != leader
    finally:
        cluster.node(leader).start()


@pytest.mark.faults("a broker that is silent for longer than every session time-out", seconds=60)
@pytest.mark.timeout(900)
def test_leader_frozen_during_an_import_loses_and_duplicates_nothing(
    cluster: Cluster, context: Context, tmp_path: Path
) -> None:
    users = write_file(tmp_path / "a.csv", 12, rows=150_000)
    leader = cluster.leader(IMPORTS_SMALL)
    with held_import(context, tmp_path / "a.csv", "silent", "IMPORTING") as job:
        cluster.node(leader).pause()
    time.sleep(SILENT_S)
    cluster.node(leader).unpause()

    assert_published(context, ended(context, job), users)


@pytest.mark.faults("a broker that lives on alone until others have taken over", seconds=90)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", ["IMPORTING", "AWAITING"])
def test_leader_isolated_during_an_import_loses_and_duplicates_nothing(
    cluster: Cluster, context: Context, tmp_path: Path, step: JobState
) -> None:
    audience = f"cut-{step.lower()}"
    users = write_file(tmp_path / "a.csv", 13, rows=150_000)
    leader = cluster.leader(IMPORTS_SMALL)
    began = inspect(cluster.node(leader).id)["State"]["StartedAt"]
    with ExitStack() as cut:
        with held_import(context, tmp_path / "a.csv", audience, step) as job:
            cut.enter_context(cluster.cut_off(leader))
        assert_published(context, ended(context, job), users)
        assert cluster.leader(IMPORTS_SMALL) != leader
        alone = inspect(cluster.node(leader).id)["State"]
        assert (alone["Running"], alone["StartedAt"]) == (True, began), (
            "it was to live on, and take itself for the leader"
        )

    cluster.await_in_sync(*TOPICS)  # once back, it follows
    again = write_file(tmp_path / "b.csv", 14, rows=2_000)
    upload(context, tmp_path / "b.csv", f"{audience}-again")
    assert_published(context, ended(context, job_of(context, f"{audience}-again")), again)


@pytest.mark.faults("each of three brokers restarts during an import", seconds=90)
@pytest.mark.timeout(900)
def test_rolling_restart_of_brokers_loses_and_duplicates_nothing(
    cluster: Cluster, context: Context, tmp_path: Path
) -> None:
    users, began = {}, {}
    for node_id in (1, 2, 3):
        audience = f"rolling-{node_id}"
        users[audience] = write_file(tmp_path / f"{audience}.csv", node_id, rows=100_000)
        upload(context, tmp_path / f"{audience}.csv", audience)
        await_state(context, job_of(context, audience), "IMPORTING", timeout_s=300)
        began[audience] = now_ms()
        cluster.node(node_id).restart(timeout=30)
        cluster.await_in_sync(*TOPICS)
    for audience, expected in users.items():
        job = ended(context, job_of(context, audience))
        assert_published(context, job, expected)
        assert job.finished_at_ms is not None
        assert job.finished_at_ms > began[audience], "the restart came too late to be met"


def test_topics_have_the_configured_replicas(cluster: Cluster, context: Context) -> None:
    with pytest.raises(FatalError, match=r"has 3 replicas, the settings say 1") as refused:
        ensure_topics(context.settings.with_(replication_factor=1))
    assert refused.value.code == "TOPIC_REPLICAS_CHANGED"
