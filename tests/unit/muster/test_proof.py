"""A token goes out over http only to a service that has proved that it knows the token."""

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from muster.access import Access
from muster.client import Client
from muster.errors import ApiError
from muster.proof import PATH, proof_of
from orchestration.api.site import Site
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World

SECRET = "Q" * 43
TOKEN = f"mst_{'0' * 26}_{SECRET}_abcdef"
ME = b'{"name": "owner"}'
Answer = Callable[[str, str], bytes]
"""The bytes that answer a request, by its target and the address of the listener."""


def http(body: bytes, *, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def proof(target: str, address: str, *, token: str = TOKEN, more: str = "") -> bytes:
    nonce = parse_qs(urlsplit(target).query)["nonce"][0]
    found = proof_of(hashlib.sha256(token.encode()).digest(), nonce, address)
    return http(json.dumps({"address": address, "proof": found}).encode(), more=more)


class Listener:
    """Listens on a port and answers each connection with some answers, one after the other. `received`: the heads."""

    def __init__(self, *connections: Sequence[Answer]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.received: list[list[bytes]] = [[] for _ in connections]
        self._thread = threading.Thread(target=self._serve, args=connections)
        self._thread.start()

    def _serve(self, *connections: Sequence[Answer]) -> None:
        self._socket.settimeout(20)
        for received, answers in zip(self.received, connections, strict=True):
            connection, _ = self._socket.accept()
            with connection:
                for answer in answers:
                    head = b""
                    while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                        head += more
                    if not head:
                        break
                    received.append(head)
                    connection.sendall(answer(head.split()[1].decode(), self.address))

    def close(self) -> None:
        self._thread.join(20)
        self._socket.close()


@contextmanager
def listening(*connections: Sequence[Answer]) -> Iterator[tuple[Listener, Client]]:
    listener = Listener(*connections)
    with Client(Access(url=f"http://{listener.address}", token=TOKEN)) as client:
        yield listener, client
    listener.close()


IMPOSTORS: dict[str, Answer] = {
    "a page": lambda *_: http(b"<title>free wallpapers</title>"),
    "an earlier release": lambda *_: http(
        b'{"code": "NO_TOKEN"}', status="401 Unauthorized", more="muster-version: 0.2.0\r\n"
    ),
    "a redirect": lambda *_: http(b"", status="307 Temporary Redirect", more="Location: http://127.0.0.1:1/\r\n"),
    "an empty proof": lambda _, address: http(json.dumps({"address": address, "proof": ""}).encode()),
    "a proof of another form": lambda *_: http(b'[["address", 1]]'),
    "the service of another home": lambda target, address: proof(target, address, token=TOKEN.replace("Q", "R")),
    "a long answer": lambda *_: http(b"x" * 100_000),
}


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_unproven_listener_never_receives_the_token(impostor: str) -> None:
    with listening([IMPOSTORS[impostor]]) as (listener, client), pytest.raises(ApiError) as refused:
        client.me()
    assert (refused.value.code, refused.value.kind) == ("UNPROVEN_SERVICE", "user")
    assert f"what listens on {listener.address} could not prove that it knows your token" in refused.value.message
    ((head,),) = listener.received
    assert head.startswith(f"GET {PATH}?token={'0' * 26}&nonce=".encode())
    assert SECRET.encode() not in head
    assert b"authorization" not in head.lower()


def test_a_refused_listener_is_asked_for_a_proof_again() -> None:
    page = IMPOSTORS["a page"]
    with listening([proof, lambda *_: http(ME)], [page, page], [page, page]) as (listener, client):
        client.me()
        for _ in range(2):
            with pytest.raises(ApiError, match="UNPROVEN_SERVICE"):
                client.me()
    assert [len(heads) for heads in listener.received] == [2, 1, 1]


def test_relayed_proof_is_refused() -> None:
    relayed: Answer = lambda target, _: proof(target, "127.0.0.1:18480")  # noqa: E731  # as the others
    with listening([relayed]) as (listener, client), pytest.raises(ApiError) as refused:
        client.me()
    assert refused.value.code == "UNPROVEN_SERVICE"
    assert f"listens on 127.0.0.1:18480, not on {listener.address}" in refused.value.message
    ((head,),) = listener.received
    assert SECRET.encode() not in head


def test_token_is_sent_only_on_a_proven_connection() -> None:
    answers: list[Answer] = [proof, lambda *_: http(ME)]
    with listening(answers, answers) as (listener, client):
        assert client.me()["name"] == client.me()["name"] == "owner"
    for first, second in listener.received:
        assert SECRET.encode() not in first
        assert f"Authorization: Bearer {TOKEN}".encode() in second
    nonces = {parse_qs(urlsplit(heads[0].split()[1].decode()).query)["nonce"][0] for heads in listener.received}
    assert len(nonces) == 2


def test_closed_connection_after_a_proof_sends_nothing() -> None:
    closing: Answer = lambda target, address: proof(target, address, more="Connection: close\r\n")  # noqa: E731
    with listening([closing]) as (listener, client), pytest.raises(ApiError, match="API_UNREACHABLE"):
        client.me()
    ((head,),) = listener.received
    assert SECRET.encode() not in head


def test_stream_requests_a_proof() -> None:
    with listening([IMPOSTORS["a page"]]) as (listener, client), pytest.raises(ApiError, match="UNPROVEN_SERVICE"):
        next(client.events("acme"))
    ((head,),) = listener.received
    assert SECRET.encode() not in head


def test_incomplete_token_is_not_sent() -> None:
    listener = Listener([proof])
    with (
        Client(Access(url=f"http://{listener.address}", token="mst_x")) as client,
        pytest.raises(ApiError, match="BAD_TOKEN"),
    ):
        client.me()
    listener.close()
    assert listener.received == [[]]


def asked(client: AsgiClient, token_id: str, nonce: str) -> dict[str, str]:
    answer = client.get(PATH, query={"token": token_id, "nonce": nonce})
    assert answer.status == 200
    found: dict[str, str] = answer.json
    return found


def test_the_service_proves_that_it_knows_a_token(client: AsgiClient, world: World) -> None:
    token, nonce = world.tokens["acme-viewer"], "ab" * 32
    digest = hashlib.sha256(token.text.reveal().encode()).digest()
    address = "127.0.0.1:18480"
    assert asked(client, token.token_id, nonce) == {"address": address, "proof": proof_of(digest, nonce, address)}
    world.services.tokens.revoke(token.token_id, now_ms=1)
    assert asked(client, token.token_id, nonce)["proof"] == proof_of(digest, nonce, address), "so that it can say why"


def test_proof_for_an_unknown_token_is_indistinguishable(client: AsgiClient, world: World) -> None:
    unknown, nonce = "0" * 26, "ab" * 32
    first = asked(client, unknown, nonce)
    assert first == asked(client, unknown, nonce)
    others = [asked(client, unknown, "cd" * 32), asked(client, "1" * 26, nonce)]
    known = asked(client, world.tokens["acme-viewer"].token_id, nonce)
    assert len({one["proof"] for one in (first, *others, known)}) == 4
    assert {len(one["proof"]) for one in (first, *others, known)} == {64}


@pytest.mark.parametrize(
    ("token_id", "nonce"), [("x", "ab" * 32), ("0" * 26, ""), ("0" * 26, "x" * 64), ("0" * 26, "ab")]
)
def test_a_challenge_has_an_id_and_a_nonce(client: AsgiClient, token_id: str, nonce: str) -> None:
    assert client.get(PATH, query={"token": token_id, "nonce": nonce}).status == 422


@pytest.mark.parametrize(
    ("server", "address"),
    [
        (("127.0.0.1", 18480), "127.0.0.1:18480"),
        (("::1", 18480), "::1:18480"),
        (("172.18.0.5", 28480), "127.0.0.1:28480"),
    ],
)
def test_containerised_service_proves_its_published_address(server: tuple[str, int], address: str) -> None:
    assert Site(published="127.0.0.1:28480").listener({"type": "http", "server": server}) == address
