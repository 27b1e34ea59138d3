"""An object is read in order over as many connections as its reader waits for, and as no more than bring anything."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest

from connectors.storage import reading
from connectors.storage.pinned import SourceObject
from connectors.storage.reading import CONNECTIONS, MEASURED_S, SPARE, Pace, ReadAhead
from schemas.errors import RetriableError, UserError

BLOCK = 7
CONTENT = bytes(range(256)) * 2
BLOCKS = -(-len(CONTENT) // BLOCK)
SOURCE = SourceObject(
    bucket="inbox",
    key="acme/vip/users.csv",
    version_id=None,
    etag="e",
    size=len(CONTENT),
    last_modified=datetime(2026, 1, 1, tzinfo=UTC),
)


class Server:
    """One object. `before` is called with the first byte of each request."""

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        self.before = before
        self.ranges: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def get_object(self, **request: Any) -> dict[str, Any]:
        start, last = (int(number) for number in request["Range"].removeprefix("bytes=").split("-"))
        with self._lock:
            self.ranges.append((start, last + 1))
        self.before(start)
        return {
            "ETag": SOURCE.etag,
            "ContentRange": f"bytes {start}-{last}/{len(CONTENT)}",
            "Body": BytesIO(CONTENT[start : last + 1]),
        }


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader uses all connections from the second block."""
    monkeypatch.setattr(Pace, "connections", lambda *_: CONNECTIONS)


@contextmanager
def read_ahead(server: Server) -> Iterator[ReadAhead]:
    client: Any = server
    with ReadAhead(client, SOURCE, block_bytes=BLOCK, resume_s=0) as blocks:
        yield blocks
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("s3-read")]


def test_one_connection_reads_with_one_request() -> None:
    server = Server()
    with read_ahead(server) as blocks:
        assert b"".join(blocks) == CONTENT
    assert server.ranges == [(0, len(CONTENT))]


@pytest.mark.parametrize("connections", [1, CONNECTIONS])
def test_range_is_read_alone(connections: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "connections", lambda *_: connections)
    server = Server()
    client: Any = server
    with ReadAhead(client, SOURCE, start=100, end=240, block_bytes=BLOCK, resume_s=0) as blocks:
        assert b"".join(blocks) == CONTENT[100:240]
    assert (min(start for start, _ in server.ranges), max(end for _, end in server.ranges)) == (100, 240)


@pytest.mark.usefixtures("wide")
def test_blocks_are_in_order_whichever_comes_first() -> None:
    asked, all_asked = threading.Semaphore(CONNECTIONS - 1), threading.Event()

    def before(start: int) -> None:
        if start == 0:
            return
        if not asked.acquire(blocking=False):
            all_asked.set()
        assert all_asked.wait(60)  # none is answered before as many are asked for as there are connections

    server = Server(before)
    with read_ahead(server) as blocks:
        assert b"".join(blocks) == CONTENT
    assert max(end - start for start, end in server.ranges[1:]) == BLOCK


@pytest.mark.usefixtures("wide")
def test_no_more_is_read_ahead_than_one_block_a_connection_and_some_spare() -> None:
    server = Server()
    with read_ahead(server) as blocks:
        for number, _ in enumerate(blocks):
            asked = max(start for start, _ in server.ranges) // BLOCK
            assert asked <= number + 1 + SPARE + CONNECTIONS


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("fault", [RetriableError("S3_UNAVAILABLE", "503"), UserError("SOURCE_CHANGED", "changed")])
def test_a_fault_is_raised_in_place_of_its_block(fault: Exception) -> None:
    broken = 30

    def before(start: int) -> None:
        if start == broken * BLOCK:
            raise fault

    taken: list[bytes] = []
    with read_ahead(Server(before)) as blocks, pytest.raises(type(fault)):
        taken.extend(blocks)
    assert b"".join(taken) == CONTENT[: broken * BLOCK]


@pytest.mark.usefixtures("wide")
def test_a_reader_that_leaves_ends_all_connections() -> None:
    with read_ahead(Server()) as blocks:
        assert next(iter(blocks)) == CONTENT[:BLOCK]


def paced(rates: Callable[[int], float], *, work: float = 0.0, blocks: int = 400) -> list[int]:
    """Connections over time. `rates`: blocks a second that so many connections bring together; `work`: s per block."""
    pace, now, used = Pace(1_000_000), 0.0, [1]
    for _ in range(blocks):
        before = now + work
        now = max(before, now + 1 / rates(used[-1]))
        used.append(pace.connections(before, now))
    return used


def test_slow_connections_are_multiplied() -> None:
    used = paced(lambda connections: 20.0 * connections)
    assert used[-1] == CONNECTIONS
    assert all(before <= after for before, after in pairwise(used))


@pytest.mark.parametrize(
    "read",
    [
        lambda: paced(lambda _: 500.0),
        lambda: paced(lambda connections: 20.0 * connections, work=0.06),
        lambda: paced(lambda _: 20.0, blocks=int(20 * MEASURED_S)),
    ],
    ids=["a fast connection", "a busy reader", "a small object"],
)
def test_one_connection_is_enough_for(read: Callable[[], list[int]]) -> None:
    assert set(read()) == {1}


def test_connections_that_bring_nothing_are_given_up_for_good() -> None:
    used = paced(lambda connections: min(60.0, 20.0 * connections))
    assert max(used) == CONNECTIONS
    assert used[-1] == used[-200] == 4
    shared = paced(lambda _: 60.0)
    assert (max(shared), shared[-1]) == (4, 1)


def test_the_time_of_connecting_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MEASURED_S", 0)
    pace = Pace(1_000_000)
    assert pace.connections(0.0, 5.0) == 1
    assert pace.connections(5.0, 5.001) == 1
