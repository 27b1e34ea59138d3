"""One call of the API: its target, its answer, its error."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from muster.errors import ApiError
from muster.versions import VERSION_HEADER, check_version

if TYPE_CHECKING:
    from muster.transport import Transport

PROBLEM: Final = "application/problem+json"
PAGE: Final = 500
LINES: Final = "application/x-ndjson"
WAITS: Final = 15
"""How often to send again a call that was refused for its rate, before anything was done."""
Query = Mapping[str, Any]


class HttpCalls:
    """Sends calls with a token, or without one what is public."""

    def __init__(self, transport: "Transport", token: str | None, *, note: str = "") -> None:
        self._transport = transport
        self._token = token
        self._note = note
        self._known_version = False

    def call(
        self,
        method: str,
        path: str,
        *names: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """The JSON of an answer, and its headers. `names` fill the braces of the path. Raises `ApiError`.

        A caller that sends more than the service takes is slowed down.
        """
        target = _target(path, names, query)
        sent = {**self._authorization(), "Accept": "application/json", **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        for waits in range(WAITS + 1):
            status, received, answer = self._transport.send(method, target, sent, content)
            self._check_version(received)
            if 200 <= status < 300:
                return _json(answer, status), received
            error = _error(status, received, answer)
            if error.code != "TOO_MANY_REQUESTS" or waits == WAITS:
                break
            time.sleep(float(received["retry-after"]))
        raise error

    @contextmanager
    def stream(self, path: str, *names: str, query: Query | None = None) -> Iterator[Iterator[bytes]]:
        """The lines of a stream. Raises `ApiError`."""
        sent = {**self._authorization(), "Accept": "text/event-stream"}
        with self._streamed("GET", _target(path, names, query), sent, None) as lines:
            yield lines

    @contextmanager
    def records(self, path: str, *names: str, body: Any) -> Iterator[Iterator[Any]]:
        """The records of an answer in lines, as they come, without empty lines. Raises `ApiError`."""
        sent = {**self._authorization(), "Accept": LINES, "Content-Type": "application/json"}
        with self._streamed("POST", _target(path, names, None), sent, json.dumps(body).encode()) as lines:
            yield (_json(line, 200) for line in lines if line.strip())

    @contextmanager
    def _streamed(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Iterator[Iterator[bytes]]:
        with self._transport.stream(method, target, headers, body) as (status, received, lines):
            self._check_version(received)
            if status != 200:
                raise _error(status, received, b"".join(lines))
            yield lines

    def _authorization(self) -> Mapping[str, str]:
        noted = {"Muster-As": quote(self._note)} if self._note else {}
        return {**noted, **({} if self._token is None else {"Authorization": f"Bearer {self._token}"})}

    def _check_version(self, received: Mapping[str, str]) -> None:
        if not self._known_version and VERSION_HEADER in received:
            check_version(received[VERSION_HEADER])
            self._known_version = True

    def pages(self, path: str, *names: str, query: Query | None = None, limit: int | None = None) -> Iterator[Any]:
        """The items of a list, page by page, at most `limit`."""
        cursor, left = None, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            page, _ = self.call("GET", path, *names, query={**(query or {}), "limit": size, "cursor": cursor})
            yield from page["items"]
            cursor = page["next"]
            left = None if left is None else left - len(page["items"])
            if cursor is None:
                return


def _target(path: str, names: Sequence[str], query: Query | None) -> str:
    target = "/v1" + path.format(*(quote(name, safe="") for name in names))
    given = {name: _value(value) for name, value in (query or {}).items() if value not in (None, [], ())}
    return f"{target}?{urlencode(given, doseq=True)}" if given else target


def _value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _json(answer: bytes, status: int) -> Any:
    try:
        return json.loads(answer)
    except ValueError as exc:
        raise _foreign(status) from exc


def _error(status: int, headers: Mapping[str, str], answer: bytes) -> ApiError:
    if headers.get("content-type", "").partition(";")[0] != PROBLEM:
        return _foreign(status)
    problem = _json(answer, status)
    return ApiError(
        str(problem["code"]),
        str(problem["detail"]),
        kind=str(problem["kind"]),
        status=status,
        values=problem["values"],
        request_id=str(problem["instance"]),
    )


def _foreign(status: int) -> ApiError:
    return ApiError(
        "NOT_MUSTER",
        f"something other than Muster answered, with status {status}; check the address, and proxies on the way",
        kind="user" if status < 500 else "retriable",
        status=status,
    )
