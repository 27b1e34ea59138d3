"""The answer to a query of any length: lines of JSON, as its rows arrive, until it ends or the client leaves."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestration.access.bodies.common import Problem, Shape
from orchestration.api.problems import problem
from orchestration.api.schema import model_of
from orchestration.api.service import Service, client_gone, service_of, watching
from orchestration.readers.cancellation import Cancellation
from orchestration.records.fields import Example
from orchestration.records.questions import Column
from schemas.errors import FatalError, MusterError, RetriableError

MEDIA_TYPE: Final = "application/x-ndjson"
BEGIN_S: Final = 10.0
"""A problem within this time has its own status; a later one is the last line."""
ALIVE_S: Final = 15.0
"""After so much silence an empty line is sent: load balancers close a connection after 60 s."""
POLL_S: Final = 1.0
AHEAD: Final = 4
"""Lines that wait for a client that reads slowly."""
Put = Callable[[dict[str, Any]], None]


class QueryLine(Shape):
    """A line of an answer has one member: first `columns`, then any number of `rows`, finally `end` or `error`.

    Empty lines say that the query still runs.
    """

    columns: list[model_of(Column)] | None = None  # type: ignore[valid-type]  # made when this is loaded
    rows: list[list[Any]] | None = None
    end: Literal[True] | None = None
    error: Problem | None = None
    example: ClassVar[Example] = {"rows": [["ann"], ["bob"]]}


class QueryStream(Response):
    """Lines {columns}, {rows}..., and finally {end} or {error}."""

    media_type = MEDIA_TYPE
    own_headers: Mapping[str, str] = {}

    def __init__(self, service: Service, request_id: str, lines: "_Lines") -> None:
        self.status_code = 200
        self.background = None
        self._service = service
        self._request_id = request_id
        self._lines = lines
        self.init_headers({"Content-Type": self.media_type, "X-Accel-Buffering": "no", **self.own_headers})

    @classmethod
    async def begin(cls, request: Request, tenant: str, run: Callable[[Cancellation, Put], None]) -> Self:
        """Run a query in a thread of its own. Raises what it raises within `BEGIN_S`, before its columns are known."""
        service = service_of(request)
        lines = _Lines(service, request, tenant, run)
        await lines.wait(BEGIN_S)
        return cls(service, request.state.request_id, lines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end."""
        del scope, receive
        lines, silent_s = self._lines, 0.0
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            last = self.ended(None)
            try:
                while (line := await lines.next(POLL_S)) is not None:
                    silent_s = silent_s + POLL_S if not line else 0.0
                    if line or silent_s >= ALIVE_S:
                        silent_s = 0.0
                        await _write(send, self.encoded(line))
                    if self._service.streams.stopping:
                        lines.stop(RetriableError("SERVICE_STOPS", "the service is stopping; try again"))
            except MusterError as exc:
                last = self.ended(exc)
            if last is None:
                return
            await _write(send, last)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await lines.close()

    def encoded(self, line: dict[str, Any]) -> bytes:
        """A line from a query; an empty one becomes the line that keeps the connection open."""
        return json.dumps(line, separators=(",", ":")).encode() + b"\n" if line else b"\n"

    def ended(self, error: MusterError | None) -> bytes | None:
        """The last line. None breaks the connection off, for formats that cannot say that rows are missing."""
        return self.encoded({"end": True} if error is None else {"error": problem(error, self._request_id)})


class _Lines:
    """What a query in another thread puts, in order."""

    def __init__(
        self, service: Service, request: Request, tenant: str, run: Callable[[Cancellation, Put], None]
    ) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | MusterError | None] = asyncio.Queue(AHEAD)
        self._cancellation = Cancellation()
        self._loop = asyncio.get_running_loop()
        self._first: dict[str, Any] | None = None
        self._task = asyncio.ensure_future(service.queries.run(lambda: self._run(run), tenant=tenant))
        self._watch = watching(request, self._cancellation)

    def _run(self, run: Callable[[Cancellation, Put], None]) -> None:
        last: MusterError | None = None
        try:
            with self._cancellation:
                run(self._cancellation, self._put)
        except MusterError as exc:
            last = exc
        except Exception:
            last = FatalError("INTERNAL", "a bug in Muster")
            raise
        finally:
            self._put(last)

    def _put(self, line: dict[str, Any] | MusterError | None) -> None:
        """From the thread; waits while the client does not read."""
        asyncio.run_coroutine_threadsafe(self._queue.put(line), self._loop).result()

    async def wait(self, seconds: float) -> None:
        """Wait for the first line, for some time at most. Raises the error of a query that ends before."""
        try:
            self._first = await self.next(seconds)
        except BaseException:
            await self.close()
            raise

    async def next(self, seconds: float) -> dict[str, Any] | None:
        """The next line; empty if there is none in time, None at the end. Raises the error of the query."""
        if self._first:
            first, self._first = self._first, None
            return first
        found: dict[str, Any] | MusterError | None = {}
        got = asyncio.ensure_future(self._queue.get())
        await asyncio.wait({got, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if got.done():
            found = got.result()
        else:
            got.cancel()
            if self._task.done():  # it was not even begun: all threads are busy
                self._task.result()
        if isinstance(found, MusterError):
            raise found
        return found

    def stop(self, error: MusterError) -> None:
        """Give the query up."""
        self._cancellation.set(error)

    async def close(self) -> None:
        """Give the query up if it still runs, and wait for its thread."""
        self.stop(client_gone())
        self._watch.cancel()
        while not self._task.done():
            got = asyncio.ensure_future(self._queue.get())
            await asyncio.wait({got, self._task}, return_when=asyncio.FIRST_COMPLETED)
            got.cancel()
        if not self._task.cancelled():
            self._task.exception()  # was answered


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
