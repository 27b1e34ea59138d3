"""Work outside the record loop: tasks in the event loop, and blocking calls in threads."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Tasks and threads of one worker. Any error of a task calls `fail(error)`, which ends the process."""

    def __init__(self, threads: int, fail: Callable[[Exception], None]) -> None:
        self._fail = fail
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._tasks: set[asyncio.Task[None]] = set()

    async def in_thread(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in a thread, with the ids of its logs; return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, call, *args)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the work without waiting for it."""

        async def guarded() -> None:
            try:
                await work
            except Exception as exc:  # noqa: BLE001  # ends the worker; what was not acknowledged comes again
                self._fail(exc)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
