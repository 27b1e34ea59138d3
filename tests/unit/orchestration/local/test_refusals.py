"""What the embedded stack refuses or cannot do, each with its own code."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.kafka import topics
from orchestration.local import ports as local_ports
from orchestration.local import seaweedfs
from orchestration.local import stack as local_stack
from orchestration.local.home import Home, initialise
from orchestration.local.kafka import broker, jars, users
from orchestration.local.parts import Context, Part, all_parts, select
from orchestration.local.ports import Ports, pick_free_ports
from orchestration.local.status import PartState, read_status, take_lock
from orchestration.local.supervisor import PartRunner, StateTable
from orchestration.platform.settings import Settings
from orchestration.workflow.resources import function_specs
from schemas.errors import FatalError, RetriableError, UserError
from tests.conftest import stack_environment
from tests.raising import code_of
from tests.waiting import until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(path=tmp_path / "home")


@pytest.fixture
def settings(home: Home) -> Settings:
    home.make()
    users.ensure_passwords(home.kafka)
    return initialise(home, {}, free_ports=True)


def test_unreadable_file_of_ports_is_named(home: Home, settings: Settings) -> None:
    home.ports_file.write_text('kafka_controller = "first"\n')
    assert code_of(UserError, lambda: Ports.load(home.ports_file, settings)) == "BAD_PORTS"


def test_lack_of_free_ports_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ports, "is_free", lambda _: False)
    assert code_of(UserError, pick_free_ports) == "NO_FREE_PORTS"


def test_unknown_part_of_the_stack_is_named(settings: Settings) -> None:
    assert code_of(UserError, lambda: select(all_parts(settings), ["kafka", "zookeeper"])) == "UNKNOWN_PART"


def test_unreadable_workflow_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "functions.toml").write_text("[One\n")
    assert code_of(FatalError, lambda: function_specs(tmp_path)) == "BAD_WORKFLOW"


def test_unformattable_kafka_folder_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    assert code_of(FatalError, lambda: broker.prepare(tmp_path, Ports())) == "FORMAT_FAILED"


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jars.LockedJar:
    """A jar in a private cache, as jgo would find it."""
    path = tmp_path / "kafka.jar"
    path.write_bytes(b"classes")

    def artifact() -> Any:
        return SimpleNamespace(resolve=lambda: path)

    project = SimpleNamespace(at_version=lambda _: SimpleNamespace(artifact=artifact))
    monkeypatch.setattr("jgo.maven.MavenContext", lambda **_: SimpleNamespace(project=lambda *_: project))
    sha256 = hashlib.sha256(b"classes").hexdigest()
    return jars.LockedJar(group="org.apache.kafka", artifact="kafka", version="1", sha256=sha256)


def test_jar_with_another_hash_is_not_run(jar: jars.LockedJar) -> None:
    assert jars._fetch(jar).name == "kafka.jar"
    assert code_of(FatalError, lambda: jars._fetch(replace(jar, sha256="0" * 64))) == "JAR_CHANGED"


def test_failed_jar_download_is_an_outage(jar: jars.LockedJar, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("jgo.maven.MavenContext", away)
    assert code_of(RetriableError, lambda: jars._fetch(jar)) == "JARS_UNREACHABLE"


def test_missing_s3_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of(UserError, lambda: seaweedfs.command(Ports())) == "S3_SERVER_MISSING"


def test_unreachable_broker_is_an_outage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_S", 0.5)
    assert code_of(RetriableError, lambda: topics.topic_differences(settings)) == "BROKER_UNAVAILABLE"


def test_failed_user_setup_of_the_broker_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("rubbish")
    assert code_of(FatalError, lambda: broker.prepare(tmp_path, pick_free_ports())) == "USERS_NOT_STORED"
    assert "password=" not in (tmp_path / "users.log").read_text()


def test_an_embedded_broker_without_a_logon_is_refused(home: Home) -> None:
    with pytest.raises(UserError, match=r"use sasl_plaintext://127\.0\.0\.1:9092\?mechanism=SCRAM-SHA-512, or unset"):
        local_stack.up(home.path, env={"MUSTER_KAFKA_BOOTSTRAP": "127.0.0.1:9092"})


def test_supervisor_that_ends_immediately_fails_the_start(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    start = lambda: local_stack.up(home.path, free_ports=True, env=stack_environment({}))  # noqa: E731
    assert code_of(FatalError, start) == "SUPERVISOR_ENDED"


def test_waiting_for_the_stack_ends_at_the_deadline(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = home.path.with_name("slow")
    slow.write_text("#!/bin/sh\nexec sleep 6\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    start = lambda: local_stack.up(home.path, free_ports=True, env=stack_environment({}), timeout_s=0.2)  # noqa: E731
    assert code_of(RetriableError, start) == "STACK_NOT_READY"


def test_unidentified_supervisor_is_not_stopped(
    home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = take_lock(home.lock_file)
    assert lock is not None
    ticks = iter(range(1_000))
    monkeypatch.setattr(local_stack, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _: None))
    assert code_of(RetriableError, lambda: local_stack.down(home.path)) == "SUPERVISOR_SILENT"
    os.close(lock)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (Part(name="short", command=lambda _: ["/bin/false"], min_uptime_s=30), "PART_ENDED"),
        (
            Part(name="slow", command=lambda _: ["/bin/sleep", "60"], answers=lambda _: False, ready_timeout_s=0.1),
            "PART_NOT_READY",
        ),
        (Part(name="odd", set_up=lambda _: _raise(ValueError("what?"))), "PART_FAILED"),
    ],
    ids=["ended", "not-ready", "failed"],
)
def test_status_shows_why_a_part_does_not_start(home: Home, settings: Settings, part: Part, code: str) -> None:
    context = Context(home=home, settings=settings, ports=Ports.load(home.ports_file, settings))
    runner = PartRunner(part, context, StateTable(context, [part]))
    lock = take_lock(home.lock_file)
    assert lock is not None
    runner.start()
    try:
        found = until(lambda: of if (of := read_status(home).part(part.name)) and of.error else None)
    finally:
        runner.stop()
        runner.join(30)
        os.close(lock)
    assert (found.state, found.error and found.error["code"]) == (PartState.FAILED, code)


def test_worker_is_polled_four_times_a_second_until_in_its_group(
    home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    worker = replace(all_parts(settings)[-1], min_uptime_s=0, answers=lambda _: len(pauses) == 3)
    context = Context(home=home, settings=settings, ports=Ports.load(home.ports_file, settings))
    runner = PartRunner(worker, context, StateTable(context, [worker]))
    monkeypatch.setattr(runner._stopping, "wait", pauses.append)
    runner._await_answer()
    assert pauses == [0.25] * 3


def test_ended_part_wakes_the_supervisor_and_is_restarted(
    home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(name="sleeper", command=lambda _: ["/bin/sleep", "600"])
    context = Context(home=home, settings=settings, ports=Ports.load(home.ports_file, settings))
    runner = PartRunner(part, context, StateTable(context, [part]))
    lock = take_lock(home.lock_file)
    assert lock is not None
    waits: list[float | None] = []
    wait = runner._wake.wait

    def waited(timeout: float | None = None) -> bool:
        waits.append(timeout)
        return wait(timeout)

    monkeypatch.setattr(runner._wake, "wait", waited)

    def await_restarts(restarts: int) -> int:
        def ready() -> int | None:
            found = read_status(home).part(part.name)
            return found.pid if found and (found.state, found.restarts) == (PartState.READY, restarts) else None

        return until(ready, lambda: read_status(home))

    runner.start()
    try:
        os.kill(await_restarts(0), signal.SIGKILL)
        await_restarts(1)
    finally:
        runner.stop()
        runner.join(30)
        os.close(lock)
    assert set(waits) == {None}
