"""Mail through one SMTP server. Passwords are sent over TLS only."""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from orchestration.notifications.deadline import OPERATION_S, TOTAL_S, deadline
from orchestration.platform.settings import Secret, Settings
from schemas.errors import FatalError, RetriableError

SECURITY: Final = ("starttls", "tls", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The SMTP server. `security`: starttls (required, not opportunistic), tls from the first byte, or none."""

    host: str
    port: int
    security: str
    user: str
    password: Secret
    sender: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "MailServer":
        """The server in the settings. Raises `FatalError` NO_MAIL_SERVER, BAD_MAIL_SETTINGS."""
        if not settings.smtp_host or not settings.smtp_from:
            raise FatalError("NO_MAIL_SERVER", "the settings smtp_host and smtp_from are not set")
        if settings.smtp_security not in SECURITY:
            raise FatalError("BAD_MAIL_SETTINGS", f"smtp_security must be one of {', '.join(SECURITY)}")
        if settings.smtp_user and settings.smtp_security == "none":
            raise FatalError("BAD_MAIL_SETTINGS", "smtp_user needs smtp_security starttls or tls")
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            user=settings.smtp_user,
            password=settings.smtp_password,
            sender=settings.smtp_from,
        )


def send(
    server: MailServer, message: EmailMessage, *, operation_s: float = OPERATION_S, total_s: float = TOTAL_S
) -> None:
    """Hand a message to the server. Raises `RetriableError` MAIL_FAILED on any failure."""
    connection: list[smtplib.SMTP] = []
    try:
        with deadline(lambda: connection[0].sock if connection else None, total_s):
            _connect(server, operation_s, connection)
            if server.security == "starttls":
                connection[0].starttls(context=ssl.create_default_context())
            if server.user:
                connection[0].login(server.user, server.password.reveal())
            connection[0].send_message(message)
            with contextlib.suppress(smtplib.SMTPException, OSError):  # the server has accepted the message
                connection[0].quit()
    except (OSError, smtplib.SMTPException) as exc:
        raise RetriableError("MAIL_FAILED", f"{server.host}: {_describe(exc)}"[:300]) from exc
    finally:
        for open_ in connection:
            open_.close()


class _Plain(smtplib.SMTP):
    """Hands itself over before it connects, because its constructor waits for the server's greeting."""

    def __init__(self, handed_over: list[smtplib.SMTP], *args: Any, **options: Any) -> None:
        handed_over.append(self)
        super().__init__(*args, **options)


class _Encrypted(smtplib.SMTP_SSL):
    """Like `_Plain`, with TLS from the first byte."""

    def __init__(self, handed_over: list[smtplib.SMTP], *args: Any, **options: Any) -> None:
        handed_over.append(self)
        super().__init__(*args, **options)


def _connect(server: MailServer, timeout_s: float, connection: list[smtplib.SMTP]) -> None:
    # Without a local name, smtplib asks the resolver for one, which may take half a minute.
    name = socket.gethostname()
    if server.security == "tls":
        context = ssl.create_default_context()
        _Encrypted(connection, server.host, server.port, local_hostname=name, timeout=timeout_s, context=context)
    else:
        _Plain(connection, server.host, server.port, local_hostname=name, timeout=timeout_s)


def _describe(exc: Exception) -> str:
    """The server's reply on one line, without anything that we sent."""
    text = str(exc)
    if isinstance(exc, smtplib.SMTPResponseException):
        reply = exc.smtp_error
        text = f"{exc.smtp_code} {reply.decode('utf-8', 'replace') if isinstance(reply, bytes) else reply}"
    elif isinstance(exc, smtplib.SMTPRecipientsRefused):
        text = "; ".join(f"{code} {reply.decode('utf-8', 'replace')}" for code, reply in exc.recipients.values())
    return one_line(f"{type(exc).__name__}: {text}")


def one_line(text: str) -> str:
    """Untrusted text on one line: control characters, line breaks above all, become blanks."""
    return "".join(c if c.isprintable() else " " for c in text)


def message(server: MailServer, to: str, id_: str, subject: str, lines: list[str], at_ms: int) -> EmailMessage:
    """A plain-text mail. A notification always has the same Message-ID, so that repeats can be recognised."""
    mail = EmailMessage()
    mail["Subject"] = one_line(subject)[:200]
    mail["From"] = server.sender
    mail["To"] = to
    mail["Date"] = format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC))
    mail["Message-ID"] = f"<{id_}@{server.sender.rpartition('@')[2].rstrip('>')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("".join(f"{one_line(line)}\n" for line in lines).encode("utf-8", "replace").decode("utf-8"))
    return mail


def wording(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Subject and lines of the mail for a notification body."""
    kind = body.get("kind", "import")
    if kind == "test":
        about = f"audience {body['audience']} of tenant {body['tenant']}" if body["audience"] else body["tenant"]
        what = f"test notification of {about}"
        return f"[Muster] {what}", [what, "", "Mail from Muster arrives here. There is nothing to do."]
    one = f"{'a' if kind == 'snapshot' else 'an'} {kind}"
    name = f"{body['tenant']}/{body['audience']}" if body.get("audience") else one
    cause = body.get("cause") or {}
    done = f"{name} is {'exported' if kind == 'export' else 'ready'}, version {body.get('version')}"
    if kind == "import" and body.get("version") is None:  # of events or profiles
        done = f"{name}: the import is complete"
    what = {
        "ready": done,
        "superseded": f"{name}: a newer import was published already",
        "user-error": f"{name}: the {'file' if kind == 'import' else kind} was refused ({cause.get('code')})",
        "system-error": f"{name}: {one} failed ({cause.get('code') or body.get('state')})",
        "not-registered": f"{name}: a folder in the inbox is not imported ({cause.get('code')})"
        if body.get("tenant")
        else f"{one} could not be registered",
    }[str(body["outcome"])]
    lines = [
        what,
        "",
        *([f"job       {body['job']}"] if body["outcome"] != "not-registered" or not body["tenant"] else []),
    ]
    lines += [f"{label:<9} {body[label]}" for label in ("source", "to", "manifest") if body.get(label)]
    lines += [f"{label:<9} {value:,}" for label, value in (body.get("counts") or {}).items()]
    if cause:
        lines += ["", f"{cause['code']}: {cause['message']}"]
    if body["outcome"] != "not-registered":
        lines += ["", f"muster jobs show {body['job']}"]
    return f"[Muster] {what}", lines
