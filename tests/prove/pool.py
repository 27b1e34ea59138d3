"""Both cores: work in processes of their own, which load the product anew and share nothing."""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any


def in_processes(
    call: Callable[..., Any], work: Iterable[tuple[Any, ...]], *, processes: int, deadline_s: float
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(arguments, result) of each call, as they end. What has not ended in time is not given."""
    ends = time.monotonic() + deadline_s
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {pool.submit(call, *arguments): arguments for arguments in work}
        try:
            for done in as_completed(asked, timeout=max(ends - time.monotonic(), 0)):
                yield asked[done], done.result()
        except TimeoutError:
            pool.shutdown(wait=False, cancel_futures=True)
