"""Ports of the embedded stack, all on loopback: fixed and documented by default, free ones for tests."""

import fcntl
import os
import random
import socket
import tempfile
import time
import tomllib
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.kafka_address import hosts

LOOPBACK: Final = "127.0.0.1"
FREE_RANGE: Final = range(10_240, 32_000)
"""Below Linux's ephemeral ports (32768..60999), so that no outgoing connection takes a port between two starts."""
CLAIM_S: Final = 900.0
KAFKA_MECHANISM: Final = "SCRAM-SHA-512"


def kafka_address(server: str) -> str:
    """The value of the setting `kafka_bootstrap` for the embedded broker at `host:port`."""
    return f"sasl_plaintext://{server}?mechanism={KAFKA_MECHANISM}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port that the stack listens on. Clients use the first four, which are stored in the settings."""

    kafka: int = 19092
    s3: int = 18333
    engine: int = 18180
    api: int = 18480
    kafka_controller: int = 19093
    s3_grpc: int = 18334
    s3_master: int = 18335
    s3_master_grpc: int = 18336
    s3_volume: int = 18337
    s3_volume_grpc: int = 18338
    s3_filer: int = 18339
    s3_filer_grpc: int = 18340

    def addresses(self) -> dict[str, str | int]:
        """The settings with the ports that clients use."""
        return {
            "kafka_bootstrap": kafka_address(f"{LOOPBACK}:{self.kafka}"),
            "s3_endpoint": f"http://{LOOPBACK}:{self.s3}",
            "engine_url": f"http://{LOOPBACK}:{self.engine}",
            "api_url": f"http://{LOOPBACK}:{self.api}",
        }

    def as_toml(self) -> str:
        """The file that `load` reads."""
        return "".join(f"{f.name} = {getattr(self, f.name)}\n" for f in fields(self))

    @classmethod
    def load(cls, path: Path, settings: Settings) -> Self:
        """Ports of a home; clients' ports come from the settings. Raises `UserError` BAD_PORTS, NOT_LOOPBACK."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            inner = {f.name: int(values[f.name]) for f in fields(cls) if f.name in values}
        except (ValueError, TypeError) as exc:
            raise UserError("BAD_PORTS", f"{path} cannot be read: {exc}", path=str(path)) from exc
        outer = {
            "kafka": _port("kafka_bootstrap", f"//{hosts(settings.kafka_bootstrap)[0]}"),
            "s3": _port("s3_endpoint", settings.s3_endpoint),
            "engine": _port("engine_url", settings.engine_url),
            "api": _port("api_url", settings.api_url),
        }
        return cls(**(inner | outer))


def pick_free_ports() -> Ports:
    """Ports without a listener that no other call got recently. Raises `UserError` NO_FREE_PORTS."""
    names = [f.name for f in fields(Ports)]
    return Ports(**dict(zip(names, claim_free_ports(len(names)), strict=True)))


def claim_free_ports(count: int, claims: Path | None = None) -> list[int]:
    """Free ports that no other process of this user gets for `CLAIM_S`.

    A stack listens seconds after it has chosen, and not while one of its parts is down: without claims, two stacks that
    start at once would occasionally choose the same port. Claims are lines `port until` in a file that is locked
    meanwhile (`claims`; by default in the temporary directory).
    """
    path = claims or Path(tempfile.gettempdir()) / f"muster-ports-{os.getuid()}"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        now = time.time()
        claimed = {port: until for port, until in map(_claim, file) if until > now}
        candidates = (p for p in random.sample(FREE_RANGE, len(FREE_RANGE)) if p not in claimed and is_free(p))
        chosen = list(islice(candidates, count))
        if len(chosen) < count:
            first, last = FREE_RANGE[0], FREE_RANGE[-1]
            raise UserError("NO_FREE_PORTS", f"fewer than {count} ports are free between {first} and {last}")
        claimed |= dict.fromkeys(chosen, now + CLAIM_S)
        file.seek(0)
        file.truncate()
        file.writelines(f"{port} {until:.0f}\n" for port, until in claimed.items())
    return chosen


def _claim(line: str) -> tuple[int, float]:
    """Port and end of a claim; an expired one if a crash or a full disk cut the line short."""
    try:
        port, until = line.split()
        return int(port), float(until)
    except ValueError:
        return 0, 0.0


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Whether a server accepts connections on this loopback port now."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _port(setting: str, address: str) -> int:
    parts = urlsplit(address)
    if parts.hostname not in {LOOPBACK, "localhost"} or parts.port is None:
        raise UserError(
            "NOT_LOOPBACK",
            f"setting {setting} points to {parts.netloc}, which is not a port on {LOOPBACK}: the embedded stack only "
            "listens on loopback; unset it, or do not start the embedded stack",
            setting=setting,
            address=parts.netloc,
        )
    return parts.port
