"""The proxy does to a connection what its rule says, and nothing else."""

import gc
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.kinds import VERSION_COMMIT
from tests.faults.proxy import Harm, Link, Proxy, Rule
from tests.faults.wire import Exchanges, kafka_head

REPLY = b"yes" * 10


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.done: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Connections are reset here all the time."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Server)
        self.server.done.append(self.path)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(REPLY) + REPLY)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    link = Link(name="s3", protocol="http", target=server.server_port)
    with Proxy(link):
        yield link


def connect(link: Link) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", link.port), timeout=60)
    client.settimeout(60)
    return client


def put(client: socket.socket, path: str, *, body: bytes = b"x" * 100_000) -> bytes:
    """Everything that is answered. If RST ends the answer, a mark follows what came before it."""
    head = f"PUT {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = b""
    try:
        client.sendall(head + body)
        while not answer.endswith(REPLY):
            got = client.recv(65536)
            if not got:
                return answer + b"<end>"
            answer += got
    except ConnectionError:
        return answer + b"<reset>"
    return answer


def test_without_a_rule_everything_passes_on_one_connection(server: Server, link: Link) -> None:
    with connect(link) as client:
        assert put(client, "/a").endswith(REPLY)
        assert put(client, "/b").endswith(REPLY)
    assert server.done == ["/a", "/b"]
    assert (link.requests, link.lift()) == (2, 0)


def test_reset_request_never_reaches_the_server(server: Server, link: Link) -> None:
    link.set(Rule(harm="reset"))
    with connect(link) as client:
        assert put(client, "/a") == b"<reset>"
    with connect(link) as client:
        assert put(client, "/b").endswith(REPLY)
    assert server.done == ["/b"]
    assert link.lift() == 1


def test_proxy_ending_with_its_clients_leaves_nothing_open(server: Server) -> None:
    for _ in range(20):
        link = Link(name="s3", protocol="http", target=server.server_port)
        with Proxy(link):
            for client in [connect(link) for _ in range(5)]:
                client.close()
    gc.collect()  # garbage collection warns about what is still open, and a warning is an error here


def test_lost_reply_follows_a_completed_request(server: Server, link: Link) -> None:
    link.set(Rule(harm="lose", matches=b"^PUT /b"))
    with connect(link) as client:
        assert put(client, "/a").endswith(REPLY)
        assert put(client, "/b") == b"<reset>"
    assert server.done == ["/a", "/b"]
    assert link.lift() == 1


def test_truncated_reply_ends_midway(server: Server, link: Link) -> None:
    link.set(Rule(harm="truncate"))
    with connect(link) as client:
        answer = put(client, "/a")
    assert answer.endswith(b"<reset>")
    assert REPLY not in answer
    assert server.done == ["/a"]


def test_rule_matches_every_kth_request_up_to_a_count(server: Server, link: Link) -> None:
    link.set(Rule(harm="reset", every=2, times=2, matches=b"^PUT /x"))
    harmed = []
    for number in range(8):
        with connect(link) as client:
            assert put(client, "/other").endswith(REPLY)
            harmed.append(put(client, f"/x{number}") == b"<reset>")
    assert harmed == [False, True, False, True, False, False, False, False]
    assert link.lift() == 2


def test_stalled_link_delivers_everything_later(server: Server, link: Link) -> None:
    with connect(link) as client:
        link.set(Rule(harm="stall"))
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(put(client, "/a")))
        asking.start()
        while not link.requests:
            time.sleep(0.01)
        assert (server.done, answers) == ([], [])
        assert link.lift() == 1
        asking.join(60)
    assert answers[0].endswith(REPLY)


def test_a_slow_link_delays_every_piece(link: Link) -> None:
    link.set(Rule(harm="latency", latency_s=0.1))
    began = time.monotonic()
    with connect(link) as client:
        assert put(client, "/a", body=b"").endswith(REPLY)
    assert time.monotonic() - began >= 0.2
    assert link.lift() == 1


def test_absent_server_resets_connections(link: Link, server: Server) -> None:
    server.shutdown()
    server.server_close()
    try:
        with connect(link) as client:
            answer = put(client, "/a")
    except ConnectionError:  # it may be reset this early
        answer = b"<reset>"
    assert answer == b"<reset>"


def frame(api: int, correlation: int) -> bytes:
    return struct.pack(">ihhi", 11, api, 9, correlation) + b"abc"


def test_kafka_replies_are_matched_by_correlation_id_among_pipelined_requests() -> None:
    exchanges = Exchanges("kafka")
    stream = frame(1, 7) + frame(0, 8)
    pieces = [*exchanges.sent(stream[:20]), *exchanges.sent(stream[20:])]
    assert [piece.data for piece in pieces] == [frame(1, 7), frame(0, 8)]
    replies = struct.pack(">ii", 4, 8) + struct.pack(">ii", 4, 7)
    assert [piece.answers for piece in exchanges.replied(replies)] == [2, 1]


def test_http_continue_is_not_an_answer() -> None:
    exchanges = Exchanges("http")
    [head] = exchanges.sent(b"PUT /a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
    [go] = exchanges.replied(b"HTTP/1.1 100 Continue\r\n\r\n")
    [body] = exchanges.sent(b"PUT it there")
    [answer] = exchanges.replied(b"HTTP/1.1 200 OK\r\n\r\n")
    assert head.head is not None
    assert (go.answers, body.head, answer.answers) == (None, None, 1)


def test_end_of_a_transaction_is_decoded_with_its_outcome() -> None:
    exchanges, link = Exchanges("postgres"), Link(name="catalog", protocol="postgres", target=0)
    link.set(Rule(harm="lose", matches=VERSION_COMMIT))
    harms = []
    for said in (b"BEGIN\0", b"UPDATE 7.metadata.json\0", b"Q\0COMMIT\0", b"BEGIN\0", b"SELECT\0", b"Q\0COMMIT\0"):
        [piece] = exchanges.sent(said)
        harms.append(link.judge(piece.head or b""))
        assert [reply.answers for reply in exchanges.replied(b"done")] == [len(harms)]
    assert harms == [None, None, "lose", None, None, None]


@pytest.mark.parametrize(("api", "harm"), [(0, "lose"), (8, None)])
def test_rule_can_select_one_kafka_api(api: int, harm: Harm | None) -> None:
    link = Link(name="kafka", protocol="kafka", target=0)
    link.set(Rule(harm="lose", matches=kafka_head(0)))
    assert link.judge(frame(api, 1)) == harm
