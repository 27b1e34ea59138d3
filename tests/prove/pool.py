"""All cores: work runs in separate processes, which load the product afresh and share nothing."""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from tests.prove.kept import Kept


def in_processes(
    call: Callable[..., Any], work: Iterable[tuple[Any, ...]], *, kept: Kept, processes: int, deadline_s: float
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield (arguments, result) of each call: `kept` ones first, then others as they end.

    A call that has not ended in time is not yielded.
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
