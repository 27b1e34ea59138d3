"""Identity of a worker: `host/worker-2/4711` is its machine, its name in its home, its process id.

It is the worker's `client.id` in Kafka, so that the consumer group lists every worker wherever it runs. A lock holds
the name while the process lives: two workers of a home never share a name, nor each other's metrics file.
"""

import fcntl
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from schemas.errors import UserError

MAX_NUMBERS: Final = 1_000
_NUMBER: Final = re.compile(r"([1-9][0-9]{0,5})(\+?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """`part` is worker or segment-worker, `number` counts them in a home."""

    host: str
    part: str
    number: int
    pid: int

    @property
    def name(self) -> str:
        """Name of the worker in its home."""
        return f"{self.part}-{self.number}"

    def __str__(self) -> str:
        return _client_id(self.host, self.name, self.pid)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Inverse of `str`. None for any other client id, such as that of a worker of an earlier release."""
        host, _, rest = text.partition("/")
        name, _, pid = rest.partition("/")
        part, _, number = name.rpartition("-")
        if not (host and part and number.isdecimal() and pid.isdecimal()):
            return None
        return cls(host=host, part=part, number=int(number), pid=int(pid))


def client_id(name: str) -> str:
    """The `client.id` in Kafka of a member that is no worker, in the same format: `host/relay/4711`."""
    return _client_id(socket.gethostname(), name, os.getpid())


def host_of(client_id: str) -> str:
    """The machine in a client id; the whole text if it has another format."""
    return client_id.partition("/")[0]


def _client_id(host: str, name: str, pid: int) -> str:
    return f"{host}/{name}/{pid}"


def claim_identity(home: Path, part: str, wanted: str) -> WorkerIdentity:
    """Take a number for the life of this process. `wanted`: `2` is that number, `2+` the first free one from 2 on.

    Raises `UserError` BAD_NUMBER, WORKER_RUNS.
    """
    match = _NUMBER.fullmatch(wanted)
    if match is None:
        raise UserError(
            "BAD_NUMBER", f"{wanted!r} is not a worker number such as 2, or 2+ for the first free number from 2 on"
        )
    first = int(match[1])
    folder = home / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + MAX_NUMBERS if match[2] else first + 1):
        if _lock(folder / f"{part}-{number}"):
            return WorkerIdentity(host=socket.gethostname(), part=part, number=number, pid=os.getpid())
    raise UserError("WORKER_RUNS", f"{part}-{wanted} is already running in {home}", part=part, number=wanted)


def _lock(path: Path) -> bool:
    """Lock the file. The descriptor stays open: the system releases the lock with the process, however that ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
