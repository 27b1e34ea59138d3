"""Distributed Maps: children, map runs, and items in the object store."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.engine.map_cases import PASS, READ, READ_OR_CAUGHT, SELECTED, SOME_STAY, STAYS, UNITS, distributed
from tests.engine.support import Engine
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def objects(engine: Engine) -> Iterator[dict[str, bytes]]:
    """Objects by `/bucket/key`, in a store where the engine expects the stack's; it takes the stack's key alone."""
    stored: dict[str, bytes] = {}

    class Store(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mine = f"Credential={engine.settings.s3_access_key}/" in self.headers["Authorization"]
            body = stored.get(urlsplit(self.path).path) if mine else None
            missing = b"<Error><Code>NoSuchKey</Code><Message>not here</Message></Error>"
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or missing)))
            self.end_headers()
            self.wfile.write(body or missing)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", urlsplit(engine.settings.s3_endpoint).port or 0), Store)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield stored
    server.shutdown()
    server.server_close()


def test_items_are_read_from_the_object_store(engine: Engine, objects: dict[str, bytes]) -> None:
    units = [{"unit": n, "key": "k" * 1000} for n in range(200)]
    objects["/staging/units.json"] = json.dumps(units).encode()

    ended = engine.run_definition(READ, {"bucket": "staging", "key": "units.json"})

    assert (ended["status"], ended["output"]) == ("SUCCEEDED", units)


@pytest.mark.parametrize("content", [None, b"[1,", b'{"a": 1}', b"\xff"], ids=["absent", "cut", "object", "bytes"])
def test_unreadable_items_are_item_reader_failed(
    engine: Engine, objects: dict[str, bytes], content: bytes | None
) -> None:
    if content is not None:
        objects["/staging/units.json"] = content

    ended = engine.run_definition(READ_OR_CAUGHT, {"bucket": "staging", "key": "units.json"})

    assert ended["output"]["e"]["Error"] == "States.ItemReaderFailed"


def test_each_child_is_an_execution_of_its_own(engine: Engine) -> None:
    execution = engine.start_definition(SELECTED, {"items": ["a", "b"], "o": 1})
    children = engine.finish(execution)["output"]

    machine, name = execution.split(":")[-2:]
    assert [child["input"] for child in children] == [
        {"from": name, "v": "a", "i": 0, "o": 1},
        {"from": name, "v": "b", "i": 1, "o": 1},
    ]
    assert {child["machine"] for child in children} == {f"{machine}/unit"}
    assert len({child["id"] for child in children} | {execution}) == 3
    prefix = execution.removesuffix(f":{name}")
    assert [child["id"] for child in children] == [f"{prefix}/unit:{child['name']}" for child in children]


def test_child_that_fails_stops_the_others(engine: Engine) -> None:
    execution = engine.run_definition(distributed(SOME_STAY, MaxConcurrency=3), [1, 2, 7, 3])["executionArn"]

    ended = until(lambda: found if (found := _counts(engine, execution))["running"] == 0 else None)
    assert ended == {"total": 4, "pending": 0, "running": 0, "succeeded": 0, "failed": 1, "aborted": 3}
    assert _map_run(engine, execution)["status"] == "FAILED"


def test_map_run_of_a_stopped_execution_is_aborted(engine: Engine) -> None:
    execution = engine.start_definition(distributed(STAYS, MaxConcurrency=3), list(range(UNITS)))
    running = until(lambda: found if (found := _counts(engine, execution))["running"] == 3 else None)
    assert running == {"total": UNITS, "pending": UNITS - 3, "running": 3, "succeeded": 0, "failed": 0, "aborted": 0}

    engine.sfn.stop_execution(executionArn=execution)

    run = until(lambda: found if (found := _map_run(engine, execution))["status"] != "RUNNING" else None)
    assert run["status"] == "ABORTED"
    aborted = until(lambda: found if (found := _counts(engine, execution))["running"] == 0 else None)
    assert aborted == {"total": UNITS, "pending": 0, "running": 0, "succeeded": 0, "failed": 0, "aborted": UNITS}
    assert engine.history(execution)[-1]["type"] == "ExecutionAborted"


def test_history_holds_the_map_run_and_nothing_of_its_children(engine: Engine) -> None:
    execution = engine.run_definition(distributed(PASS), [1, 2])["executionArn"]

    events = engine.history(execution)

    assert [event["type"] for event in events] == [
        "ExecutionStarted",
        "MapStateEntered",
        "MapStateStarted",
        "MapRunStarted",
        "MapRunSucceeded",
        "MapStateSucceeded",
        "MapStateExited",
        "ExecutionSucceeded",
    ]
    assert events[3]["mapRunStartedEventDetails"]["mapRunArn"] == _map_run(engine, execution)["mapRunArn"]


def _map_run(engine: Engine, execution: str) -> dict[str, Any]:
    runs = until(lambda: engine.sfn.list_map_runs(executionArn=execution)["mapRuns"])
    found: dict[str, Any] = engine.sfn.describe_map_run(mapRunArn=runs[0]["mapRunArn"])
    return found


def _counts(engine: Engine, execution: str) -> dict[str, int]:
    run = _map_run(engine, execution)
    assert run["itemCounts"] == run["executionCounts"]
    return {name: run["itemCounts"][name] for name in ("total", "pending", "running", "succeeded", "failed", "aborted")}
