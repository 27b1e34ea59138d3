"""What a feed does with every answer of a receiver, over a real connection."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestration.feeds import http_target
from orchestration.feeds.http_target import MAX_REFUSALS, HttpTarget
from orchestration.feeds.target import RefusedError
from orchestration.notifications.targets import ANYWHERE, PrivateTargets
from orchestration.platform.settings import Secret
from schemas.errors import MusterError
from segmentation.feeds.following import FeedEvent
from segmentation.feeds.positions import Position
from tests.servers.certificates import make_certificate
from tests.servers.silent import dribbling_server
from tests.servers.webhooks import receiver

KEYS = [Secret(base64.b64encode(text).decode()) for text in (b"new", b"old")]
EVENTS = [FeedEvent(0, f"u{n}", "entered", b'{"id":"%d"}' % n, Position(n, 0, n)) for n in range(3)]


class Delivering:
    """A target, and what it does between its attempts."""

    def __init__(self, url: str, private: PrivateTargets = ANYWHERE) -> None:
        self.pauses: list[float] = []
        self.failures: list[MusterError] = []
        self.target = HttpTarget(
            url,
            lambda: KEYS,
            private,
            step=lambda: None,
            failed=self.failures.append,
            pause=self.pauses.append,
        )

    def deliver(self, times: int = 1) -> list[str]:
        """Codes of the failures before the receiver took the events."""
        with closing(self.target):
            for _ in range(times):
                self.target.deliver(EVENTS)
        return [f"{one.code} {one.detail.get('status')}" for one in self.failures]


def test_batch_is_a_signed_array_of_events() -> None:
    with receiver() as found:
        delivering = Delivering(found.url)
        assert delivering.deliver(2) == []
    first, second = found.requests
    assert (first.path, first.headers["Content-Type"]) == ("/hook", "application/cloudevents-batch+json")
    assert json.loads(first.body) == [{"id": "0"}, {"id": "1"}, {"id": "2"}]
    id_, at = first.headers["webhook-id"], first.headers["webhook-timestamp"]
    signed = f"{id_}.{at}.".encode() + first.body
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in (b"new", b"old")]
    assert first.headers["webhook-signature"] == " ".join(f"v1,{one}" for one in signatures)
    assert (second.headers["webhook-id"], second.body) == (id_, first.body)


def test_batch_is_repeated_with_equal_bytes_until_it_is_taken() -> None:
    with receiver() as found:
        found.answers[:] = [500, 503, 429, 400, 200]
        delivering = Delivering(found.url)
        assert delivering.deliver() == [
            "RECEIVER_FAILED 500",
            "RECEIVER_FAILED 503",
            "RECEIVER_FAILED 429",
            "RECEIVER_REFUSES 400",
        ]
    assert len({(one.body, one.headers["webhook-id"]) for one in found.requests}) == 1
    assert len(found.requests) == 5
    bounds = [(0.2 * 2**n, 0.2 * 2 ** (n + 1)) for n in range(4)]
    assert all(low <= pause <= high for (low, high), pause in zip(bounds, delivering.pauses, strict=True))


def test_pauses_are_never_longer_than_five_minutes() -> None:
    with receiver() as found:
        found.answers[:] = [500] * 14
        delivering = Delivering(found.url)
        delivering.deliver()
    assert 150 <= delivering.pauses[-1] <= 300


def test_receiver_that_is_gone_halts_the_feed_at_once() -> None:
    with receiver() as found:
        found.answers[:] = [410]
        with pytest.raises(RefusedError, match="RECEIVER_GONE") as caught:
            Delivering(found.url).deliver()
    assert not caught.value.skippable


@pytest.mark.parametrize("status", [301, 400, 404])
def test_receiver_that_refuses_often_halts_the_feed_which_may_skip_the_batch(status: int) -> None:
    with receiver() as elsewhere, receiver(redirect_to=elsewhere.url) as found:
        found.answers[:] = [status] * MAX_REFUSALS
        with pytest.raises(RefusedError, match=f"RECEIVER_REFUSES.*{status}") as caught:
            Delivering(found.url).deliver()
    assert caught.value.skippable
    assert (len(found.requests), elsewhere.requests) == (MAX_REFUSALS, [])


def test_refusals_count_in_a_row_alone() -> None:
    with receiver() as found:
        found.answers[:] = [*[400] * (MAX_REFUSALS - 1), 500, *[400] * (MAX_REFUSALS - 1)]
        assert len(Delivering(found.url).deliver()) == 2 * MAX_REFUSALS - 1


def test_receiver_inside_is_not_called_unless_it_is_listed() -> None:
    with receiver() as found:
        assert "webhook_private_targets" in failure_of(found.url, PrivateTargets())
    assert found.requests == []


def test_certificate_that_nobody_trusts_is_no_receiver(tmp_path: Path) -> None:
    with receiver(certificate=make_certificate(tmp_path)) as found:
        assert failure_of(found.url).startswith("127.0.0.1: SSLCertVerificationError")
    assert found.requests == []


def test_answer_that_never_ends_is_cut_off_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_target, "TOTAL_S", 0.3)
    with dribbling_server() as port:  # no operation on the socket ever times out
        assert failure_of(f"http://127.0.0.1:{port}/")


def failure_of(url: str, private: PrivateTargets = ANYWHERE) -> str:
    """Why the first attempt failed; there is no other one."""
    delivering = Delivering(url, private)

    def stop(_: float) -> None:
        raise InterruptedError

    delivering.target = HttpTarget(
        url, lambda: KEYS, private, step=lambda: None, failed=delivering.failures.append, pause=stop
    )
    with pytest.raises(InterruptedError):
        delivering.deliver()
    [failure] = delivering.failures
    assert failure.code == "RECEIVER_FAILED"
    return failure.message


Answer = Callable[[BaseHTTPRequestHandler, int], None]
Answering = Callable[[Answer], tuple[str, list[tuple[int, bytes]]]]


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Answering:
    """Starts a server whose n-th answer is written by a function; it keeps connections. Ports of clients and bodies."""

    def start(answer: Answer) -> tuple[str, list[tuple[int, bytes]]]:
        seen: list[tuple[int, bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                seen.append((self.client_address[1], self.rfile.read(int(self.headers["Content-Length"]))))
                answer(self, len(seen))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base class' name
                del format, args

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        request.addfinalizer(server.server_close)
        request.addfinalizer(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}", seen

    return start


def _ok(handler: BaseHTTPRequestHandler, *, length: int = 0, **headers: str) -> None:
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def test_connection_is_kept_between_batches(answering: Answering) -> None:
    url, seen = answering(lambda handler, _: _ok(handler))
    Delivering(url).deliver(3)
    assert len({port for port, _ in seen}) == 1


def test_receiver_that_closes_idle_connections_gets_another_one_without_a_failure(
    answering: Answering,
) -> None:
    def close(handler: BaseHTTPRequestHandler, _: int) -> None:
        _ok(handler)
        handler.close_connection = True  # without saying so

    url, seen = answering(close)
    assert Delivering(url).deliver(3) == []
    assert len(seen) == 3


def test_retry_after_is_honoured(answering: Answering) -> None:
    def busy(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 2:
            return _ok(handler)
        handler.send_response(503)
        handler.send_header("Retry-After", "17")
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    url, _ = answering(busy)
    delivering = Delivering(url)
    delivering.deliver()
    assert delivering.pauses == [17.0]
