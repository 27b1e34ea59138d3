"""The service is killed while it starts a job: the same key starts the same job, exactly once."""

import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_api import running

pytestmark = pytest.mark.integration
SNAPSHOTS = "/v1/tenants/default/segments/buyers/snapshots"


class Engine(BaseHTTPRequestHandler):
    """Step Functions as far as jobs are started. It holds the first start, before or after it counts."""

    names: list[str]
    held: threading.Event
    count_first: bool

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = not self.held.is_set()
        if (not first or self.count_first) and given["name"] not in self.names:
            self.names.append(given["name"])
        if first:
            self.held.set()
            return  # the connection ends without an answer; by then the service is dead
        body = json.dumps({"executionArn": "arn", "startDate": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def engine(*, count_first: bool) -> Iterator[tuple[type[Engine], str]]:
    """A stand-in whose first caller is killed: the process of the real one is not what this is about."""
    handler = type("Held", (Engine,), {"names": [], "held": threading.Event(), "count_first": count_first})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(port: int, home: Path, path: str, body: Any, key: str) -> tuple[int, Any]:
    token = (home / "api" / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(
    "count_first",
    [
        pytest.param(False, id="before the start", marks=pytest.mark.faults("the easier of two deaths", seconds=15)),
        pytest.param(True, id="after the start"),
    ],
)
def test_service_death_while_starting_a_job_starts_it_once(tmp_path: Path, *, count_first: bool) -> None:
    with engine(count_first=count_first) as (found, url):
        settings = {"engine_url": url, "s3_secret_key": "x" * 32}
        with running(tmp_path, **settings) as (process, port):
            assert post(port, tmp_path, "/v1/tenants", {"tenant": "default"}, "t")[0] == 201
            rule = {"segment": "buyers", "rule": 'ever("x")'}
            assert post(port, tmp_path, "/v1/tenants/default/segments", rule, "s")[0] == 201

            def ask() -> None:
                with pytest.raises((ConnectionError, http.client.HTTPException)):
                    post(port, tmp_path, SNAPSHOTS, {}, "k")

            asking = threading.Thread(target=ask)
            asking.start()
            assert found.held.wait(120)
            process.kill()
            asking.join(30)
        with (
            running(tmp_path, **settings) as (_, port),
            closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as catalog,
        ):
            catalog.execute("UPDATE idempotency SET held_until_ms = ?", [2**62])  # however long the start has taken
            assert post(port, tmp_path, SNAPSHOTS, {}, "k")[1]["code"] == "REQUEST_IN_PROGRESS"
            [(kept, answer)] = catalog.execute("SELECT job_id, answer FROM idempotency").fetchall()
            catalog.execute("UPDATE idempotency SET held_until_ms = 0")  # half a minute later
            assert answer is None
            status, started = post(port, tmp_path, SNAPSHOTS, {}, "k")
            assert (status, started["job"]) == (202, kept)
            assert post(port, tmp_path, SNAPSHOTS, {}, "k") == (status, started)
        assert found.names == [kept]
