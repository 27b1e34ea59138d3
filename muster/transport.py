"""HTTP/1.1 over one connection, kept open between requests."""

import http.client
import select
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Final, Protocol
from urllib.parse import urlsplit

from muster.errors import ApiError
from muster.proof import demand_proof

TIMEOUT_S: Final = 60.0
"""The service answers a question within 55 s."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers with names in lower case, body."""
Stream = tuple[int, Mapping[str, str], Iterator[bytes]]
"""Status, headers with names in lower case, lines of the body."""
SILENCE_S: Final = 20.0
"""Streams say at least every 15 s that they are alive."""


class Transport(Protocol):
    """Sends requests. Redirects are not followed.

    Raises `ApiError` API_UNREACHABLE without an answer, UNPROVEN_SERVICE if a token would go to another program.
    """

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The answer to a request."""

    def stream(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> AbstractContextManager[Stream]:
        """An answer that is read as it comes, on a connection of its own. Reading it raises as `send`."""

    def close(self) -> None:
        """Close the connection; the next request opens another."""


class HttpTransport:
    """`Transport` by `http.client`, which loads in a quarter of the time of others. Proxies are not used."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._url = url
        self._base = parts.path.rstrip("/")
        self._connection = self._connection_to(timeout_s)
        self._proven: str | None = None

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """See `Transport.send`. A read is sent again if the service had closed the idle connection meanwhile."""
        try:
            return self._send(method, target, headers, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as exc:
            self.close()
            if method != "GET":
                raise self._unreachable(exc) from exc
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise self._unreachable(exc) from exc
        try:
            return self._send(method, target, headers, body)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise self._unreachable(exc) from exc

    @contextmanager
    def stream(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Iterator[Stream]:
        """See `Transport.stream`."""
        with closing(self._connection_to(SILENCE_S)) as connection:
            try:
                self._connect(connection, headers)
                connection.request(method, self._base + target, body, dict(headers))
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as exc:
                raise self._unreachable(exc) from exc
            yield answer.status, {name.lower(): value for name, value in answer.getheaders()}, self._lines(answer)

    def _lines(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while line := answer.readline(MAX_ANSWER_BYTES):
                yield line
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(exc) from exc

    def _connection_to(self, timeout_s: float) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        connection.auto_open = 0  # never to another listener than the one that was proven
        return connection

    def _connect(self, connection: http.client.HTTPConnection, headers: Mapping[str, str]) -> None:
        """Open a connection, over plain http to a listener that has proved that it knows the token in the headers."""
        connection.connect()
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token and not isinstance(connection, http.client.HTTPSConnection):
            try:
                demand_proof(connection, self._base, token)
            except BaseException:
                connection.close()
                raise

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        idle = self._connection.sock
        if idle is not None and select.select([idle], [], [], 0)[0]:
            self.close()  # the service has closed it meanwhile: no answer is due
        if self._connection.sock is None or self._proven != headers.get("Authorization"):
            self.close()
            self._connect(self._connection, headers)
            self._proven = headers.get("Authorization")
        self._connection.request(method, self._base + target, body, dict(headers))
        answer = self._connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            self.close()
            raise ApiError("ANSWER_TOO_LARGE", f"the answer has more than {MAX_ANSWER_BYTES} bytes", kind="fatal")
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def close(self) -> None:
        """See `Transport.close`."""
        self._connection.close()

    def _unreachable(self, exc: Exception) -> ApiError:
        why = str(exc) or type(exc).__name__
        return ApiError(
            "API_UNREACHABLE",
            f"the service does not answer at {self._url} ({why}); start the embedded stack with `muster up`, or name "
            "another service with `muster login URL`",
            kind="retriable",
        )
