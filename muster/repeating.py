"""Requests that start something: sent again under the same key until they are answered, so that it starts once."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from muster.errors import ApiError
from muster.http_calls import HttpCalls

GIVE_UP_S: Final = 45.0
"""A service that dies while it starts something holds the key for 30 s."""
PAUSE_S: Final = 0.5
ValueT = TypeVar("ValueT")


def start(
    calls: HttpCalls,
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

    def send() -> Mapping[str, Any]:
        answer: Mapping[str, Any] = calls.call("POST", path, *names, body=body, headers=sent)[0]
        return answer

    return until_answered(send, clock=clock, sleep=sleep)


def until_answered(
    send: Callable[[], ValueT],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ValueT:
    """The answer to an idempotent request. Raises `ApiError` as its last try."""
    until, pause = clock() + GIVE_UP_S, PAUSE_S
    while True:
        try:
            return send()
        except ApiError as exc:
            if (exc.kind != "retriable" and exc.code != "REQUEST_IN_PROGRESS") or clock() + pause > until:
                raise
            sleep(pause)
            pause = min(2 * pause, 5.0)
