"""Event streams: server-sent events as records, over as many connections as it takes."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from muster.errors import ApiError
from muster.records import Event

PAUSES_S: Final = (0.5, 2.0, 5.0, 10.0)
"""Before the 1st, 2nd, ... attempt to connect again; with the last one for all later ones."""
Connect = Callable[[], AbstractContextManager[Iterator[bytes]]]


def follow(connect: Connect, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Event]:
    """Events as `Client.events`. `connect` yields the lines of a stream, and raises `ApiError`."""
    as_of: str | None = None
    attempts, connected = 0, False
    while True:
        try:
            with connect() as lines:
                for name, data in _parsed(lines):
                    attempts, connected = 0, True
                    as_of = data.get("as_of", as_of)
                    if name == "ready":
                        yield {"kind": "ready", "id": None, "value": None, "as_of": as_of}
                    elif name == "end":
                        break
                    elif name != "alive":
                        yield {"kind": data["kind"], "id": data["id"], "value": data["value"], "as_of": as_of}
        except ApiError as exc:
            if not connected or (exc.kind != "retriable" and exc.code != "TOO_MANY_REQUESTS"):
                raise
        if attempts == 0:
            yield {"kind": "lost", "id": None, "value": None, "as_of": as_of}
        sleep(PAUSES_S[min(attempts, len(PAUSES_S) - 1)])
        attempts += 1


def _parsed(lines: Iterator[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and data; both are single lines in the streams of Muster."""
    name = ""
    for line in lines:
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            yield name, json.loads(value)
