"""A real SMTP server in its own process. `python -m tests.servers.mail OPTIONS` serves; `mail_server` starts one.

It accepts every recipient except `refused@...`, and writes each mail as one line of JSON.
"""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A running server."""

    port: int
    file: Path

    def mails(self, to: str | None = None) -> list[EmailMessage]:
        """Mails received [by an address], in order."""
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        arrived = [json.loads(line) for line in lines]
        return [
            message_from_string(mail["content"], policy=policy.default)
            for mail in arrived
            if to is None or to in mail["to"]
        ]

    def wait_for(self, count: int, to: str | None = None) -> list[EmailMessage]:
        """Wait until at least `count` mails [for an address] have arrived."""
        until(lambda: len(self.mails(to)) >= count, lambda: f"{len(self.mails(to))} of {count} mails")
        return self.mails(to)


@contextmanager
def mail_server(
    folder: Path,
    *,
    security: str = "none",
    certificate: tuple[Path, Path] | None = None,
    password: str | None = None,
    port: int = 0,
) -> Iterator[Mailbox]:
    """Start a server; with a password it accepts mail only from user `muster`."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "security": security,
        "certificate": [str(path) for path in certificate or ()],
        "password": password,
        "file": str(folder / "mails.jsonl"),
        "port": port,
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.mail", json.dumps(options)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert server.stdout is not None
    try:
        yield Mailbox(port=int(server.stdout.readline()), file=folder / "mails.jsonl")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


class _Handler:
    # ruff: noqa: ARG002  # aiosmtpd gives more than is wanted
    def __init__(self, file: Path) -> None:
        self._file = file

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("refused@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        mail = {"to": envelope.rcpt_tos, "content": envelope.content.decode("utf-8")}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 OK"


async def serve(options: Mapping[str, Any]) -> None:
    """Serve until killed; prints the port to stdout."""
    context = None
    if options["certificate"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options["certificate"])
    starttls, password = options["security"] == "starttls", options["password"]

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        ok = isinstance(data, LoginPassword) and (data.login, data.password) == (b"muster", password.encode())
        return AuthResult(success=ok, handled=ok)

    def made() -> SMTP:
        return SMTP(
            _Handler(Path(options["file"])),
            require_starttls=starttls,
            tls_context=context if starttls else None,
            authenticator=authenticate if password else None,
            auth_required=bool(password),
            auth_require_tls=starttls,
        )

    implicit = context if options["security"] == "tls" else None
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", options["port"], ssl=implicit)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
