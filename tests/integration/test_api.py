"""The service as a process: part of the embedded stack, its limits, and how it stops."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import uvicorn

from muster import Access, Client
from orchestration.api.application import application
from orchestration.api.server import ImpatientProtocol, server
from orchestration.api.service import Service
from orchestration.api.streams.watcher import Pace
from orchestration.catalog import migrate
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.jobs import JobStore
from orchestration.composition.service import Services
from orchestration.local import processes
from orchestration.local.home import Home
from orchestration.local.status import read_status
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Secret, Settings
from schemas.ids import AudienceName, TenantName
from tests.conftest import StartStack
from tests.contract.test_catalog import new_job
from tests.faults.waiting import until
from tests.servers.ports import free_port

pytestmark = pytest.mark.integration
SAID = "service.log"


def call(port: int, method: str, path: str, token: str | None = None, body: Any = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def running(home: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The service on a free port, with a migrated catalog. Its output is in the home, in the file `SAID`."""
    migrate.upgrade(Secret(f"sqlite:///{home / 'catalog.db'}"))
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "MUSTER_HOME": str(home),
        "MUSTER_API_URL": f"http://127.0.0.1:{port}",
        "MUSTER_METRICS_PORT": "0",
        **{f"MUSTER_{name.upper()}": value for name, value in settings.items()},
    }
    argv = [sys.executable, "-m", "orchestration.entrypoints.service"]
    process = processes.spawn(argv, env=env, output=home / SAID)
    try:
        until(lambda: accepts(port) or process.poll() is not None, "the service listens or ends")
        yield process, port
    finally:
        process.kill()
        process.wait()


def test_embedded_stack_runs_the_service_with_an_owner_token(start_stack: StartStack) -> None:
    settings = start_stack(parts=("catalog", "api"))
    home = Home(path=settings.home)
    status = read_status(home)
    (api,) = [part for part in status.parts if part.name == "api"]
    port = int(settings.api_url.rpartition(":")[2])
    assert (str(api.state), api.ports) == ("ready", (port,))
    file = settings.home / "api" / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text().strip()
    assert call(port, "GET", "/v1/health")[0] == 200
    assert call(port, "GET", "/v1/me")[0] == 401
    code, me = call(port, "GET", "/v1/me", token)
    assert (code, me["name"], me["rights"]["deployment"]) == (
        200,
        "owner",
        ["manage_access", "manage_deployment", "own_account", "read_deployment", "read_payloads"],
    )
    address = (settings.home / "metrics" / "api").read_text().strip()

    def counted() -> bool:
        with urlopen(f"http://{address}/metrics") as scraped:
            return b'muster_api_requests_total{operation="get_me",status="200"} 1.0' in scraped.read()

    until(counted, "the request, which counts once its answer has been sent")
    assert token not in home.log_file("api").read_text()


def test_home_older_than_the_service_keeps_its_jobs(tmp_path: Path) -> None:
    url = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
    migrate.upgrade(url)
    database = Database(url)
    AudienceStore(database).add_tenant(TenantName("acme"), 1)
    JobStore(database).register(new_job())
    database.close()
    migrate.downgrade(url, "0008")
    with running(tmp_path) as (_, port):
        token = (tmp_path / "api" / "token").read_text().strip()
        code, page = call(port, "GET", "/v1/tenants/acme/jobs", token)
    assert (code, [job["job"] for job in page["items"]]) == (200, [new_job().job_id])


def test_stop_finishes_started_requests_and_accepts_no_new_ones(tmp_path: Path) -> None:
    with running(tmp_path) as (process, port):
        token = (tmp_path / "api" / "token").read_text().strip()
        assert call(port, "GET", "/v1/tenants", token)[0] == 200  # what it loads now does not delay it below
        blocked = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        blocked.execute("BEGIN IMMEDIATE")  # a change now waits for us
        body = b'{"tenant": "new"}'
        head = f"POST /v1/tenants HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as begun:
            begun.sendall(head.encode() + body)
            # Reads do not wait for the lock. This one was accepted after the change, and is answered before it.
            assert call(port, "GET", "/v1/tenants", token)[0] == 200
            process.send_signal(signal.SIGTERM)
            until(lambda: not accepts(port), "the service takes no new connections")
            assert process.poll() is None
            blocked.execute("ROLLBACK")
            blocked.close()
            assert begun.recv(20) == b"HTTP/1.1 201 Created"
        assert process.wait(120) == 0


def test_stop_ends_open_streams_immediately(tmp_path: Path) -> None:
    with running(tmp_path) as (process, port):
        token = (tmp_path / "api" / "token").read_text().strip()
        assert call(port, "POST", "/v1/tenants", token, {"tenant": "acme"})[0] == 201
        with Client(Access(url=f"http://127.0.0.1:{port}", token=token)) as client:
            streams = [client.events("acme") for _ in range(3)]
            assert [next(stream)["kind"] for stream in streams] == ["ready"] * 3
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
            said = (tmp_path / SAID).read_text(encoding="utf-8")
            assert "graceful shutdown exceeded" not in said  # as uvicorn says of answers that it had to break off
            assert [next(stream)["kind"] for stream in streams] == ["lost"] * 3


def test_change_by_another_process_reaches_a_stream(tmp_path: Path) -> None:
    with running(tmp_path) as (_, port):
        token = (tmp_path / "api" / "token").read_text().strip()
        assert call(port, "POST", "/v1/tenants", token, {"tenant": "acme"})[0] == 201
        audiences = AudienceStore(Database(Secret(f"sqlite:///{tmp_path / 'catalog.db'}")))
        with Client(Access(url=f"http://127.0.0.1:{port}", token=token)) as client:
            events = client.events("acme", kind=["audience"])
            assert next(events)["kind"] == "ready"
            audiences.ensure(TenantName("acme"), AudienceName("vip"), new_id=fresh_id(), now_ms=1)
            assert next(events)["kind"] == "audience"
    assert Pace().poll_s <= 0.5  # the service asks the catalog at this pace


def test_service_without_a_catalog_ends_with_the_reason(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "MUSTER_HOME": str(tmp_path), "MUSTER_CATALOG_URL": "sqlite:////nowhere/c.db"}
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.entrypoints.service"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CATALOG_UNAVAILABLE" in done.stderr
    assert "Traceback" not in done.stderr


class NoTime(ImpatientProtocol):
    """Gives clients no time for the head of a request."""

    head_timeout_s = 0.0


class NoStall(ImpatientProtocol):
    """Gives clients little time to take an answer."""

    stall_timeout_s = 0.1


@contextmanager
def in_this_process(tmp_path: Path, protocol: type[ImpatientProtocol]) -> Iterator[tuple[uvicorn.Server, int]]:
    """A service with a protocol, and its port."""
    settings = Settings(
        home=tmp_path, catalog_url=Secret(f"sqlite:///{tmp_path / 'c.db'}"), api_url=f"http://127.0.0.1:{free_port()}"
    )
    service = Service(services=Services(settings), hosts=frozenset({"127.0.0.1"}))
    made = server(settings, application(service), protocol)
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: made.started, "the server has started")
    yield made, int(settings.api_url.rpartition(":")[2])
    made.should_exit = True
    thread.join(20)
    service.close()


def test_client_with_a_slow_request_head_is_disconnected(tmp_path: Path) -> None:
    with in_this_process(tmp_path, NoTime) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            assert slow.recv(100) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            assert slow.recv(100) == b""


def test_client_that_does_not_read_its_answer_is_disconnected(tmp_path: Path) -> None:
    with in_this_process(tmp_path, NoStall) as (made, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            # 100 answers of 0.2 MB are more than the buffers on the way take.
            slow.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
            assert slow.recv(12) == b"HTTP/1.1 200"
            until(lambda: not made.server_state.connections, "the service gave the client up")
        assert call(port, "GET", "/v1/openapi.json")[0] == 200


def test_a_head_beyond_16_kib_is_refused(tmp_path: Path) -> None:
    served = in_this_process(tmp_path, ImpatientProtocol)
    with served as (_, port), socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 17_000)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
