"""The pool in which the catalog is called."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from orchestration.api.thread_pool import ThreadPool
from schemas.errors import RetriableError, UserError

pytestmark = pytest.mark.anyio


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What threads wait for; set in the end, so that a failure leaves none."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_call_returns_its_value_or_raises_its_error() -> None:
    calls = ThreadPool()
    assert await calls.run(lambda: 3) == 3

    def refuse() -> None:
        raise UserError("BAD_NAME", "x")

    with pytest.raises(UserError):
        await calls.run(refuse)

    def time_out() -> None:
        raise TimeoutError("of the database")

    with pytest.raises(TimeoutError, match="of the database"):
        await calls.run(time_out)
    calls.close()


async def test_timed_out_call_keeps_its_thread_until_it_ends(release: threading.Event) -> None:
    calls = ThreadPool(threads=1, queue=1, limit_s=0.01)
    for _ in range(2):  # one runs, one waits for its thread
        with pytest.raises(RetriableError) as late:
            await calls.run(release.wait)
        assert late.value.code == "CALL_TIMEOUT"
    release.set()
    while True:  # the first call ends now; the second was cancelled before it began
        try:
            assert await calls.run(lambda: 3) == 3
            break
        except RetriableError:
            await asyncio.sleep(0)
    calls.close()


async def test_calls_beyond_threads_and_queue_are_refused_immediately(release: threading.Event) -> None:
    calls = ThreadPool(threads=1, queue=1)
    running = [asyncio.create_task(calls.run(release.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RetriableError) as refused:
        await calls.run(lambda: 3)
    assert refused.value.code == "BUSY"
    release.set()
    assert await asyncio.gather(*running) == [True, True]
    calls.close()


async def test_concurrent_stream_starts_wait_for_their_turn(release: threading.Event) -> None:
    """Each begins with two calls."""
    calls = ThreadPool()
    waiting = [asyncio.create_task(calls.run(release.wait)) for _ in range(400)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*waiting) == [True] * 400
    calls.close()
