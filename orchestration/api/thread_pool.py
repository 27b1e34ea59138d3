"""Calls that block, in a bounded pool of threads with a time limit. Tenants share a pool for questions (`shares`)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from orchestration.readers.shares import may_take
from schemas.errors import RetriableError

THREADS: Final = 16
QUEUE: Final = 512
"""Calls that may wait for a thread. 200 pages that connect at once make 400; at 5 ms each, the last waits 0.13 s."""
LIMIT_S: Final = 10.0
ValueT = TypeVar("ValueT")


class ThreadPool:
    """Runs calls in threads, in the caller's context. A call that exceeds its time keeps its thread until it ends."""

    def __init__(self, *, threads: int = THREADS, queue: int = QUEUE, limit_s: float = LIMIT_S) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="catalog")
        self._most = threads + queue
        self._limit_s = limit_s
        self._pending = Counter[str]()

    async def run(self, call: Callable[[], ValueT], *, tenant: str | None = None) -> ValueT:
        """The value of a call, or what it raises. `tenant`: leaves a share of the threads to others.

        Raises `RetriableError` BUSY, CALL_TIMEOUT.
        """
        holder = tenant or ""
        if self._pending.total() >= self._most or (
            tenant is not None and not may_take(holder, self._pending, self._most)
        ):
            raise RetriableError("BUSY", "the service has too many requests at once; try again")
        future, loop = self._pool.submit(copy_context().run, call), asyncio.get_running_loop()
        self._pending[holder] += 1
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done, holder))
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise RetriableError(
                "CALL_TIMEOUT", f"the catalog did not answer within {self._limit_s:g} s; a change may have been made"
            ) from exc

    def _done(self, holder: str) -> None:
        self._pending -= Counter({holder: 1})  # drops those that hold nothing

    def close(self) -> None:
        """Start no more calls; running ones are not awaited."""
        self._pool.shutdown(wait=False, cancel_futures=True)
