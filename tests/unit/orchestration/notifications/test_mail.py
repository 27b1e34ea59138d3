"""Mail against a real SMTP server."""

import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from orchestration.notifications import mail
from orchestration.notifications.mail import MailServer
from orchestration.platform.settings import Secret, Settings
from schemas.errors import FatalError, RetriableError
from tests.servers.certificates import make_certificate
from tests.servers.mail import mail_server
from tests.servers.silent import dribbling_server

PASSWORD = "correct horse"
BODY = {
    "job": "01jdcz0000000000000000000a",
    "outcome": "user-error",
    "tenant": "acme",
    "audience": "vip",
    "state": "FAILED",
    "counts": {"rows": 1_234_567},
    "cause": {"kind": "user", "code": "EMPTY_FILE", "message": "the file is empty"},
    "source": "s3://inbox/acme/vip/a.csv",
}


def server(port: int, security: str = "none", user: str = "", password: str = PASSWORD) -> MailServer:
    return MailServer(
        host="127.0.0.1",
        port=port,
        security=security,
        user=user,
        password=Secret(password if user else ""),
        sender="Muster <muster@example.com>",
    )


def letter(at: MailServer, to: str = "you@example.com") -> EmailMessage:
    subject, lines = mail.wording(BODY)
    return mail.message(at, to, "id1", subject, lines, 1_700_000_000_000)


def test_mail_describes_the_event_and_the_remedy(tmp_path: Path) -> None:
    with mail_server(tmp_path) as mailbox:
        at = server(mailbox.port)
        mail.send(at, letter(at))
        [arrived] = mailbox.mails("you@example.com")
    assert arrived["Subject"] == "[Muster] acme/vip: the file was refused (EMPTY_FILE)"
    assert (arrived["From"], arrived["Message-ID"]) == ("Muster <muster@example.com>", "<id1@example.com>")
    assert arrived["Auto-Submitted"] == "auto-generated"
    text = arrived.get_content()
    for part in ("EMPTY_FILE: the file is empty", "1,234,567", "muster jobs show 01jdcz0000000000000000000a"):
        assert part in text


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_password_is_sent_only_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with mail_server(tmp_path, security=security, certificate=certificate, password=PASSWORD) as mailbox:
        at = server(mailbox.port, security, "muster")
        mail.send(at, letter(at))
        assert len(mailbox.mails()) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_untrusted_server_gets_no_mail(tmp_path: Path, security: str) -> None:
    with mail_server(tmp_path, security=security, certificate=make_certificate(tmp_path)) as mailbox:
        at = server(mailbox.port, security)
        with pytest.raises(RetriableError, match="CERTIFICATE_VERIFY_FAILED"):
            mail.send(at, letter(at))
        assert mailbox.mails() == []


def test_unencrypted_server_gets_no_mail_when_starttls_is_required(tmp_path: Path) -> None:
    with mail_server(tmp_path) as mailbox:
        at = server(mailbox.port, "starttls", "muster")
        with pytest.raises(RetriableError, match="STARTTLS"):
            mail.send(at, letter(at))
        assert mailbox.mails() == []


def test_wrong_password_error_hides_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with mail_server(tmp_path, security="starttls", certificate=certificate, password=PASSWORD) as mailbox:
        at = server(mailbox.port, "starttls", "muster", password="battery staple")
        with pytest.raises(RetriableError, match="535") as caught:
            mail.send(at, letter(at))
        assert mailbox.mails() == []
    assert "battery" not in f"{caught.value} {caught.value.detail} {at}"


def test_refused_recipient_is_reported_in_the_servers_words(tmp_path: Path) -> None:
    with mail_server(tmp_path) as mailbox:
        at = server(mailbox.port)
        with pytest.raises(RetriableError, match=r"MAIL_FAILED.*550 no such mailbox"):
            mail.send(at, letter(at, "refused@example.com"))


def test_outside_text_cannot_add_headers_or_lines(tmp_path: Path) -> None:
    evil = {**BODY, "audience": "x\r\nBcc: evil@example.com\r\n\r\nhello", "source": "s3://inbox/a\nb\ud800"}
    with mail_server(tmp_path) as mailbox:
        at = server(mailbox.port)
        subject, lines = mail.wording(evil)
        mail.send(at, mail.message(at, "you@example.com", "id1", subject, lines, 0))
        [arrived] = mailbox.mails()
        assert mailbox.mails("evil@example.com") == []
    assert arrived["Bcc"] is None
    assert arrived["Subject"].startswith("[Muster] acme/x  Bcc: evil@example.com")
    assert "source    s3://inbox/a b" in arrived.get_content()


def test_slow_mail_server_times_out() -> None:
    with dribbling_server() as port:
        at = server(port)
        began = time.monotonic()
        with pytest.raises(RetriableError, match="MAIL_FAILED"):
            mail.send(at, letter(at), total_s=0.5)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "NO_MAIL_SERVER"),
        ({"smtp_host": "h"}, "NO_MAIL_SERVER"),
        ({"smtp_host": "h", "smtp_from": "a@b", "smtp_security": "ssl"}, "BAD_MAIL_SETTINGS"),
        ({"smtp_host": "h", "smtp_from": "a@b", "smtp_security": "none", "smtp_user": "u"}, "BAD_MAIL_SETTINGS"),
    ],
)
def test_unusable_mail_settings_are_named(settings: dict[str, str], code: str) -> None:
    with pytest.raises(FatalError, match=code):
        MailServer.from_settings(Settings(**settings))  # type: ignore[arg-type]
