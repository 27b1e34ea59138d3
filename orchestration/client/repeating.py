"""Requests that start something: sent again under the same key until they are answered, so that it starts once."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestration.client.calls import Calls
from orchestration.client.errors import ApiError

GIVE_UP_S: Final = 45.0
"""A service that dies while it starts something keeps the key for 30 s."""
PAUSE_S: Final = 0.5


def start(
    calls: Calls,
    path: str,
    *names: str,
    body: Any = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """The answer to a POST. `key`: None makes a fresh one. Raises `ApiError` as its last try does."""
    sent = {"Idempotency-Key": key or secrets.token_hex(16), **(headers or {})}
    until, pause = clock() + GIVE_UP_S, PAUSE_S
    while True:
        try:
            answer: Mapping[str, Any] = calls.call("POST", path, *names, body=body, headers=sent)[0]
        except ApiError as exc:
            if (exc.kind != "retriable" and exc.code != "REQUEST_IN_PROGRESS") or clock() + pause > until:
                raise
            sleep(pause)
            pause = min(2 * pause, 5.0)
        else:
            return answer
