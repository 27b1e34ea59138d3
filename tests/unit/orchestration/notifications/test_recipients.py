"""Which addresses are accepted, and who is notified of what."""

import pytest

from orchestration.notifications.recipients import Recipient, email, operators, webhook
from orchestration.notifications.targets import PrivateTargets
from schemas.errors import UserError


@pytest.mark.parametrize("text", ["a@b", "first.last+tag@mail.example.com", "o'neil@example.com"])
def test_plain_address_is_accepted(text: str) -> None:
    assert email(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b",
        "a@b\r\nBcc: c@d",
        "a@b\n",
        "a@b\x00",
        "a@b, c@d",
        "a@b c@d",
        "a@b;c@d",
        "A <a@b>",
        '"a b"@c',
        "a@b(comment)",
        "a@b@c",
        "ü@example.com",
        "a@" + "b" * 253,
    ],
)
def test_invalid_mail_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="BAD_RECIPIENT"):
        email(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.example/muster?x=1",
        "https://8.8.8.8/",
        "https://10.0.0.7:8443/",
        "http://127.0.0.1:8000/x",
        "http://hooks.internal/",
    ],
)
def test_public_https_and_listed_targets_are_accepted(text: str) -> None:
    assert webhook(text, PrivateTargets.parse("10.0.0.0/8 127.0.0.1:8000 hooks.internal")) == text


@pytest.mark.parametrize(
    "text",
    ["https://10.0.0.7/", "http://127.0.0.1/x", "https://[::1]/", "https://[::ffff:10.0.0.7]/", "http://8.8.8.8/"],
)
def test_private_targets_and_http_are_refused_unless_listed(text: str) -> None:
    with pytest.raises(UserError, match="BAD_RECIPIENT"):
        webhook(text, PrivateTargets.parse("127.0.0.1:8000"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme.example",
        "http://acme.example/",
        "ftp://acme.example/",
        "file:///etc/passwd",
        "https:///x",
        "https://user:password@acme.example/",
        "https://acme.example/#x",
        "https://acme.example/\r\nHost: x",
        "https://acme.example/a b",
        "https://acme.example:0/",
        "https://acme.example:99999/",
        "https://[::1/",
        "https://acme.example/" + "x" * 2000,
    ],
)
def test_unsafe_url_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="BAD_RECIPIENT"):
        webhook(text, PrivateTargets())


def test_operators_are_separated_by_blanks_or_commas() -> None:
    assert operators("a@b, c@d  e@f", "https://x.example/1 https://x.example/2") == [
        *(Recipient(channel="email", address=address) for address in ("a@b", "c@d", "e@f")),
        *(Recipient(channel="webhook", address=f"https://x.example/{n}") for n in (1, 2)),
    ]
    assert operators("", " ") == []


def test_url_query_is_not_shown() -> None:
    assert Recipient(channel="webhook", address="https://x.example/hook?token=hush").shown == "https://x.example/hook"
