"""Webhooks against a real HTTP server, and the receiver's check of them."""

import ipaddress
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestration.notifications import outbound, recipients, webhook
from orchestration.notifications.signing import headers, signing_key
from orchestration.notifications.targets import Endpoint, PrivateTargets, refused
from orchestration.platform.settings import Secret
from schemas.errors import RetriableError, UserError
from schemas.ids import TenantName
from tests.fakes.webhook_check import CHECK
from tests.servers.certificates import make_certificate
from tests.servers.silent import dribbling_server
from tests.servers.webhooks import receiver

ROOT = Path(__file__).parents[4]
KEY = signing_key(Secret("s"), TenantName("acme"))
NOW = 1_700_000_000
BODY = json.dumps({"id": "id1", "outcome": "ready"}).encode()
SIGNED = headers(KEY, "id1", BODY, NOW)
HERE = PrivateTargets.parse("127.0.0.1")
NOTHING = PrivateTargets()


def check(
    body: bytes = BODY, given: Mapping[str, str] = SIGNED, now_s: float = NOW, seen: set[str] | None = None
) -> dict[str, Any] | None:
    found: dict[str, Any] | None = CHECK.verify(
        [KEY.reveal()], given, body, now_s=now_s, seen=set() if seen is None else seen
    )
    return found


def test_receiver_verifies_the_posted_body() -> None:
    with receiver() as server:
        webhook.post(server.url, BODY, headers(KEY, "id1", BODY, int(time.time())), private=HERE)
        [request] = server.requests
    assert (request.path, request.headers["Content-Type"]) == ("/hook", "application/json")
    assert request.headers["Idempotency-Key"] == "id1"
    assert check(request.body, request.headers, now_s=time.time()) == {"id": "id1", "outcome": "ready"}


@pytest.mark.parametrize("age_s", [301, -301, 86_400])
def test_a_replay_with_a_stale_timestamp_is_refused(age_s: int) -> None:
    with pytest.raises(CHECK.RefusedError, match="stale"):
        check(now_s=NOW + age_s)


def test_replay_with_a_forged_timestamp_is_refused() -> None:
    with pytest.raises(CHECK.RefusedError, match="signature"):
        check(given={**SIGNED, "Muster-Timestamp": str(NOW + 600)}, now_s=NOW + 600)


def test_replay_within_five_minutes_is_recognised_by_its_signed_id() -> None:
    seen: set[str] = set()
    assert check(seen=seen) is not None
    assert check(given={**SIGNED, "Idempotency-Key": "another"}, now_s=NOW + 200, seen=seen) is None


@pytest.mark.parametrize(
    "given",
    [
        {},
        {**SIGNED, "Muster-Signature": ""},
        {**SIGNED, "Muster-Signature": "v1="},
        {**SIGNED, "Muster-Signature": "v0=" + SIGNED["Muster-Signature"][3:]},
        {**SIGNED, "Muster-Signature": "v1=é"},
        {**SIGNED, "Muster-Timestamp": "soon"},
        dict(headers(signing_key(Secret("s"), TenantName("other")), "id1", BODY, NOW)),
        dict(headers(signing_key(Secret("s"), None), "id1", BODY, NOW)),
    ],
)
def test_foreign_signature_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(CHECK.RefusedError, match="signature"):
        check(given=given)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(CHECK.RefusedError, match="signature"):
        check(BODY.replace(b"ready", b"READY"))


def test_both_keys_are_accepted_during_rotation() -> None:
    assert CHECK.verify(["new", KEY.reveal()], SIGNED, BODY, now_s=NOW, seen=set()) is not None
    both = {**SIGNED, "Muster-Signature": "v1=00, " + SIGNED["Muster-Signature"]}
    assert check(given={name.lower(): value for name, value in both.items()}) is not None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with receiver() as elsewhere, receiver(redirect_to=elsewhere.url) as server:
        server.answers = [status]
        with pytest.raises(RetriableError, match=f"answered {status}; redirects are not followed"):
            webhook.post(server.url, BODY, SIGNED, private=HERE)
        assert (len(server.requests), elsewhere.requests) == (1, [])


def test_non_2xx_answers_are_failures() -> None:
    with receiver() as server:
        server.answers = [500, 404, 204]
        for status in (500, 404):
            with pytest.raises(RetriableError, match=f"answered {status}"):
                webhook.post(server.url, BODY, SIGNED, private=HERE)
        webhook.post(server.url, BODY, SIGNED, private=HERE)


def test_receiver_requires_a_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    with receiver(certificate=certificate) as server:
        with pytest.raises(RetriableError, match="CERTIFICATE_VERIFY_FAILED"):
            webhook.post(server.url, BODY, SIGNED, private=HERE)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        webhook.post(server.url, BODY, SIGNED, private=HERE)
        assert len(server.requests) == 1


def test_slow_receiver_times_out() -> None:
    with dribbling_server() as port:
        began = time.monotonic()
        with pytest.raises(RetriableError, match="WEBHOOK_FAILED"):
            webhook.post(f"http://127.0.0.1:{port}/", BODY, SIGNED, private=HERE, total_s=0.5)
    assert time.monotonic() - began < 60


def test_silent_addresses_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with many such addresses must not hold a delivery longer than its row is leased."""
    passed_s = 0.0

    def addresses(*_: object, **__: object) -> Iterator[Endpoint]:
        nonlocal passed_s
        yield address
        passed_s = 60.0  # while the first address did not answer
        yield from [address] * 4

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = (socket.AF_INET, ("127.0.0.1", port))
        monkeypatch.setattr(outbound, "resolve", addresses)
        monkeypatch.setattr(outbound, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed_s))
        with pytest.raises(RetriableError, match="WEBHOOK_FAILED"):
            webhook.post(f"https://127.0.0.1:{port}/", BODY, SIGNED, private=HERE, operation_s=0.2, total_s=60)
        silent.setblocking(False)
        with silent.accept()[0], pytest.raises(BlockingIOError):
            silent.accept()


def test_refused_connection_is_a_failure_without_the_url_path() -> None:
    with receiver() as server:
        url = server.url
    with pytest.raises(RetriableError, match="WEBHOOK_FAILED") as caught:
        webhook.post(url + "?token=hush", BODY, SIGNED, private=HERE)
    assert "hush" not in str(caught.value)


def test_loopback_is_called_only_if_listed() -> None:
    with receiver() as server:
        port = urlsplit(server.url).port
        localhost = server.url.replace("127.0.0.1", "localhost")
        for listed in ("", "10.0.0.0/8", f"127.0.0.1:{port + 1 if port else 0}", "example.com"):
            for url in (server.url, localhost):
                with pytest.raises(RetriableError, match="has no public address"):
                    webhook.post(url, BODY, SIGNED, private=PrivateTargets.parse(listed))
        assert server.requests == []
        for listed in ("127.0.0.1", f"127.0.0.1:{port}", "127.0.0.0/8", "x, 127.0.0.0/8"):
            webhook.post(localhost, BODY, SIGNED, private=PrivateTargets.parse(listed))
        webhook.post(localhost, BODY, SIGNED, private=PrivateTargets.parse(f"LOCALHOST:{port}"))
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.7",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "::8.8.8.8",
        "fec0::1",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "5f00::1",
        "2001:0:7f00:1::",
        "2002:a9fe:a9fe::",
        "3fff::1",
        "ff02::1",
    ],
)
def test_resolved_address_is_checked_and_called(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolves(*_: object, **__: object) -> list[tuple[Any, ...]]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 0, "", (address, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolves)
    with pytest.raises(RetriableError, match=r"acme\.example has no public address") as caught:
        webhook.post("https://acme.example/hook", BODY, SIGNED, private=NOTHING)
    assert address.partition("%")[0] not in str(caught.value).removeprefix("WEBHOOK_FAILED")


def test_unresolvable_name_is_answered_like_an_internal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(RetriableError, match=r"OSError: acme\.example has no public address") as caught:
        webhook.post("https://acme.example/hook", BODY, SIGNED, private=NOTHING)
    assert "not known" not in str(caught.value)


@pytest.mark.parametrize("host", ["[127.0.0.1]", "[localhost]", "[acme.example]", "[v1.x]", "[::1]", "[::127.0.0.1]"])
def test_a_host_in_brackets_is_a_public_ipv6_address(host: str) -> None:
    with pytest.raises(UserError, match="BAD_RECIPIENT"):
        recipients.webhook(f"https://{host}/hook", NOTHING)
    assert recipients.webhook("https://[2606:4700::1111]/hook", NOTHING)


def test_public_addresses_are_called_over_https_alone() -> None:
    public = ipaddress.ip_address("8.8.8.8")
    assert refused("acme.example", 443, public, https=True, private=NOTHING) is None
    assert refused("acme.example", 80, public, https=False, private=NOTHING) == "it is not https"
    listed = PrivateTargets.parse("acme.example:80")
    assert refused("acme.example", 80, public, https=False, private=listed) is None


@pytest.mark.parametrize("text", ["a b:c", "host:0", "host:99999", "[::1"])
def test_a_setting_that_lists_no_targets_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="webhook_private_targets"):
        PrivateTargets.parse(text)
