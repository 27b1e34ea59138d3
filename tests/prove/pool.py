"""Both cores: work in processes of their own, which load the product anew and share nothing."""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from tests.prove.kept import Kept


def in_processes(
    call: Callable[..., Any], work: Iterable[tuple[Any, ...]], *, kept: Kept, processes: int, deadline_s: float
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(arguments, result) of each call: those that are `kept`, then others as they end.

    What has not ended in time is not given.
    """
    ends = time.monotonic() + deadline_s
    asked_for = list(work)
    yield from ((arguments, kept[arguments]) for arguments in asked_for if arguments in kept)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {pool.submit(call, *arguments): arguments for arguments in asked_for if arguments not in kept}
        try:
            for done in as_completed(asked, timeout=max(ends - time.monotonic(), 0)):
                kept[asked[done]] = done.result()
                yield asked[done], done.result()
        except TimeoutError:
            pool.shutdown(wait=False, cancel_futures=True)
