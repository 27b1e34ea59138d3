"""Workers and the control plane run only while there is work; work that arrives while they are off loses nothing."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from orchestration.composition.context import Context
from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.local.status import PartState, PartStatus
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret, Settings
from tests.conftest import SOURCES, stop_and_check
from tests.e2e.conftest import Answer, run, run_script
from tests.integration.whole_imports import assert_published, ended, job_of, upload, write_file
from tests.servers.postgres import postgres_server
from tests.waiting import until

pytestmark = pytest.mark.integration

ON_DEMAND = ("relay", "worker-1", "segment-worker-1")
ENTRYPOINTS = ("control_plane", "worker", "segment_worker")
SERVICE = "orchestration.entrypoints.service"
IDLE_MINUTES = 0.1
"""Longer than the pause between two decisions, so that parts stay for a moment after the last work."""


class OnDemand:
    """A stack whose workers come and go."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.load({"MUSTER_HOME": str(home)})
        self.context = Context(self.settings)

    def part(self, name: str) -> PartStatus:
        found = local_stack.status(self.settings).part(name)
        assert found is not None
        return found

    def states(self) -> dict[str, PartState]:
        return {name: self.part(name).state for name in ON_DEMAND}

    def processes(self) -> list[str]:
        """Entry points of the parts that may leave, of processes of this home."""
        modules = {f"orchestration.entrypoints.{name}": name for name in ENTRYPOINTS}
        found = [process.cmdline() for process in processes.marked(self.settings.home)]
        return [modules[word] for words in found for word in words if word in modules]

    def asleep(self) -> None:
        """Wait until nothing runs that may leave."""
        until(lambda: set(self.states().values()) == {PartState.OFF}, self.states)
        assert self.processes() == []

    def muster(self, *arguments: object) -> Answer:
        answer = run(self.settings.home, *map(str, arguments))
        assert answer.code == 0, answer.err
        return answer


@contextmanager
def on_demand(home: Path, catalog: Secret | None = None) -> Iterator[OnDemand]:
    home.mkdir()
    given = {"idle_minutes": IDLE_MINUTES, "partitions": 4, "catalog_url": catalog and f'"{catalog.reveal()}"'}
    (home / "settings.toml").write_text("".join(f"{name} = {value}\n" for name, value in given.items() if value))
    try:
        up = run_script(home, "up", "--free-ports", "--on-demand")
        assert up.code == 0, up.err
        stack = OnDemand(home)
        yield stack
        stack.context.close()
        assert run_script(home, "down").code == 0
    finally:
        stop_and_check(home)


@pytest.mark.timeout(400)
@pytest.mark.slow("waits until workers have left, come and left")
def test_a_file_wakes_the_workers_which_leave_after_it(tmp_path: Path) -> None:
    with on_demand(tmp_path / "home") as stack:
        stack.asleep()
        assert "no worker runs; starts with the next job" in stack.muster("status").out
        assert "workers none runs; starts with the next job" in stack.muster("doctor").out

        users = write_file(tmp_path / "a.csv", seed=1, rows=10_000)
        upload(stack.context, tmp_path / "a.csv", "vip")

        assert_published(stack.context, ended(stack.context, job_of(stack.context, "vip")), users)
        assert stack.part("segment-worker-1").state is PartState.OFF
        stack.asleep()
        assert stack.muster("status", "--json").json["ready"]


@pytest.fixture(scope="module")
def server_url() -> Iterator[Secret]:
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as running:
        yield running.url


@pytest.fixture(scope="module")
def stack(server_url: Secret, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnDemand]:
    with on_demand(tmp_path_factory.mktemp("on-demand") / "home", server_url) as started:
        yield started


def clients(url: Secret) -> set[str]:
    """Programs with a connection to the server, as it lists them, apart from this one."""
    engine = sa.create_engine(url.reveal(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        ports = set(connection.scalars(sa.text("SELECT client_port FROM pg_stat_activity WHERE client_port > 0")))
    connected = {one.pid for one in psutil.net_connections("tcp4") if one.laddr and one.laddr.port in ports}
    programs = [psutil.Process(pid).cmdline() for pid in connected - {None, os.getpid()}]
    return {" ".join(words[1:3]) for words in programs}


@pytest.mark.containers
@pytest.mark.timeout(400)
def test_nobody_but_the_service_is_connected_to_the_catalog_while_there_is_no_work(
    stack: OnDemand, server_url: Secret
) -> None:
    stack.asleep()
    stack.context.close()
    until(lambda: clients(server_url) <= {f"-m {SERVICE}"}, lambda: clients(server_url))


@pytest.mark.containers
@pytest.mark.timeout(400)
def test_a_worker_killed_while_it_starts_is_started_again(stack: OnDemand, tmp_path: Path) -> None:
    stack.asleep()
    users = write_file(tmp_path / "b.csv", seed=2, rows=10_000)

    upload(stack.context, tmp_path / "b.csv", "killed")
    pid = until(lambda: stack.part("worker-1").pid, stack.states, poll_s=0.01)
    assert stack.part("worker-1").state is PartState.STARTING
    os.kill(pid, signal.SIGKILL)

    assert_published(stack.context, ended(stack.context, job_of(stack.context, "killed")), users)
    assert stack.part("worker-1").restarts == 1


@pytest.mark.containers
@pytest.mark.timeout(400)
def test_an_export_wakes_the_control_plane_alone(stack: OnDemand, tmp_path: Path) -> None:
    users = write_file(tmp_path / "c.csv", seed=3, rows=1_000)
    upload(stack.context, tmp_path / "c.csv", "handed-over")
    ended(stack.context, job_of(stack.context, "handed-over"))
    stack.asleep()

    stack.muster("export", "handed-over", "--to", tmp_path / "out", "--format", "jsonl")

    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"] == len(users)
    until(lambda: stack.part("relay").state is PartState.READY, stack.states)
    assert stack.part("worker-1").state is stack.part("segment-worker-1").state is PartState.OFF


@pytest.mark.containers
@pytest.mark.timeout(600)
def test_segments_keep_a_segment_worker_until_they_are_paused(stack: OnDemand, tmp_path: Path) -> None:
    stack.asleep()
    profiles = tmp_path / "profiles.csv"
    profiles.write_text("user_id,occurred_at,age\n" + "".join(f"u{n},2026-01-01T00:00:00Z,{n}\n" for n in range(90)))
    stack.muster("import", profiles, "--kind", "profiles", "--column", "age:double", "--wait")
    assert stack.part("worker-1").state is PartState.OFF
    stack.asleep()

    stack.muster("segments", "create", "young", "--rule", "age < 25")

    def shown() -> Any:
        found = stack.muster("segments", "show", "young", "--json").json
        return found["complete"] and found["members"] == 25

    until(shown, stack.states, timeout_s=300)
    assert stack.part("segment-worker-1").state is PartState.READY
    with stack.context.scaler.without_segment_workers(now_ms):
        until(lambda: stack.part("segment-worker-1").state is PartState.OFF, stack.states)
        assert stack.part("relay").state is PartState.READY
    until(lambda: stack.part("segment-worker-1").state is PartState.READY, stack.states)
    stack.muster("segments", "pause", "young")
    stack.asleep()


@pytest.mark.containers
@pytest.mark.timeout(400)
def test_a_schedule_that_falls_due_while_all_is_off_is_run_within_a_minute(stack: OnDemand) -> None:
    stack.asleep()
    stack.context.s3.client().create_bucket(Bucket=SOURCES)
    stack.context.objects.put(SOURCES, "crm/often.csv", b"user_id\nu1\nu2\n")
    each_minute = ("schedules", "create", "import", "often", "cron(* * * * ? *)", f"s3://{SOURCES}/crm/often.csv")
    stack.muster(*each_minute, "-a", "recurring", "--mode", "append")
    assert set(stack.states().values()) == {PartState.OFF}, "it is due later"

    last = until(lambda: stack.muster("schedules", "show", "often", "--json").json["last"], stack.states)
    stack.muster("schedules", "delete", "often")

    job = ended(stack.context, job_of(stack.context, "recurring"))
    assert job.state == "READY"
    due_ms = int(datetime.fromisoformat(last["due"]).timestamp() * 1000)
    assert 0 <= job.created_at_ms - due_ms < 60_000
