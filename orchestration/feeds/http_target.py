"""Delivers a feed to a receiver over HTTP: up to 500 CloudEvents in a POST, one request in flight.

Signed as Standard Webhooks say (https://www.standardwebhooks.com): base64 of HMAC-SHA256 over id, timestamp and body.
A batch is repeated until it is taken; equal batches have equal ids. What the status means:

- 2xx: taken.
- 410: the receiver wants nothing any more: the feed is halted.
- 429, 5xx, no answer: later again, as `Retry-After` says, else after up to five minutes.
- Any other, a redirect too: the same, but the feed is halted after `MAX_REFUSALS` in a row.
"""

import base64
import hashlib
import hmac
import http.client
import random
import socket
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from orchestration.feeds.target import RefusedError
from orchestration.notifications.deadline import deadline
from orchestration.notifications.outbound import connected
from orchestration.notifications.targets import PrivateTargets, resolve
from orchestration.platform.settings import Secret
from schemas.errors import MusterError, RetriableError, UserError
from schemas.feed_events import BATCH_CONTENT_TYPE, batch
from segmentation.feeds.following import FeedEvent

MAX_REFUSALS: Final = 8
FIRST_PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 300.0
MAX_RETRY_AFTER_S: Final = 3600.0
OPERATION_S: Final = 10.0
TOTAL_S: Final = 20.0
MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer's body, which is read and dropped: otherwise the connection could not be used again."""
_GONE: Final = 410
_BUSY: Final = 429
_STEP_S: Final = 1.0


class HttpTarget:
    """For one thread. `step` is called between attempts, and raises to stop; `failed` is told of every failure.

    `keys`: sign every request, at most two while one replaces the other.
    """

    most: Final = 500

    def __init__(
        self,
        url: str,
        keys: Callable[[], Sequence[Secret]],
        private: PrivateTargets,
        *,
        step: Callable[[], None],
        failed: Callable[[MusterError], object],
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._url = urlsplit(url)
        self._keys = keys
        self._private = private
        self._step = step
        self._failed = failed
        self._rest = pause or self._pause
        self._dice = random.Random()  # noqa: S311  # of pauses
        self._connection: http.client.HTTPConnection | None = None
        self._used = False
        self._opened: list[socket.socket] = []

    def deliver(self, events: Sequence[FeedEvent]) -> None:
        """Returns once the receiver has taken all events. Raises `RefusedError`, and what `step` raises."""
        body = batch([event.value for event in events])
        id_ = hashlib.sha256(body).hexdigest()[:32]
        tries = refusals = 0
        while True:
            self._step()
            fault, again_s, final = self._tried(id_, body)
            if fault is None:
                return
            tries += 1
            refusals = refusals + 1 if isinstance(fault, UserError) else 0
            if final or refusals >= MAX_REFUSALS:
                raise RefusedError(fault, skippable=not final)
            self._failed(fault)
            full_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries, 12))
            self._rest(again_s if again_s is not None else full_s * (0.5 + self._dice.random() / 2))

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tried(self, id_: str, body: bytes) -> tuple[MusterError | None, float | None, bool]:
        """Why a batch was not taken, after how many seconds to repeat it, and whether that is of no use."""
        host = self._url.hostname or ""
        try:
            status, retry_after = self._post(id_, body)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            self.close()  # what is left of an answer must not be taken for the next one's
            return RetriableError("RECEIVER_FAILED", f"{host}: {type(exc).__name__}: {exc}"[:300]), None, False
        if 200 <= status < 300:
            return None, None, False
        if status == _GONE:
            return UserError("RECEIVER_GONE", f"{host} answered 410: it wants nothing any more"), None, True
        if status == _BUSY or status >= 500:
            return RetriableError("RECEIVER_FAILED", f"{host} answered {status}", status=status), retry_after, False
        why = "; redirects are not followed" if 300 <= status < 400 else ""
        return UserError("RECEIVER_REFUSES", f"{host} answered {status}{why}", status=status), retry_after, False

    def _post(self, id_: str, body: bytes) -> tuple[int, float | None]:
        with deadline(lambda: self._opened[-1] if self._opened else None, TOTAL_S) as until:
            try:
                answer = self._answer(self._connection or self._connect(until), id_, body)
            except (ConnectionError, http.client.BadStatusLine):
                if self._connection is None or not self._used:
                    raise
                # The receiver has closed a connection that was idle.
                self.close()
                answer = self._answer(self._connect(until), id_, body)
            self._used = True
            status, retry_after = answer.status, _seconds(answer.headers.get("Retry-After"))
            if len(answer.read(MAX_ANSWER_BYTES)) == MAX_ANSWER_BYTES or answer.will_close or until < time.monotonic():
                self.close()
            return status, retry_after

    def _answer(self, connection: http.client.HTTPConnection, id_: str, body: bytes) -> http.client.HTTPResponse:
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        connection.request("POST", target, body, self._headers(id_, body))
        return connection.getresponse()

    def _connect(self, until: float) -> http.client.HTTPConnection:
        https = self._url.scheme == "https"
        host, port = self._url.hostname or "", self._url.port or (443 if https else 80)
        found = resolve(host, port, https=https, private=self._private)
        made = http.client.HTTPConnection(host, self._url.port, timeout=OPERATION_S)
        self._opened.clear()
        made.sock = connected(host, found, self._opened, https=https, timeout_s=OPERATION_S, until=until)
        self._connection, self._used = made, False
        return made

    def _headers(self, id_: str, body: bytes) -> dict[str, str]:
        now = str(int(time.time()))
        text = b".".join((id_.encode(), now.encode(), body))
        signatures = [hmac.digest(base64.b64decode(key.reveal()), text, "sha256") for key in self._keys()]
        return {
            "Content-Type": BATCH_CONTENT_TYPE,
            "User-Agent": "muster",
            "webhook-id": id_,
            "webhook-timestamp": now,
            "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
        }

    def _pause(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _STEP_S))
            self._step()


def _seconds(text: str | None) -> float | None:
    """`Retry-After`: seconds, or a date. None if there is none, or one that cannot be read."""
    if text is None:
        return None
    try:
        found = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(found, 0.0), MAX_RETRY_AFTER_S)
