"""Which ids to query per tick when querying all of them would exceed a rate limit."""

from collections.abc import Iterable, Set
from typing import Final

EXECUTIONS_PER_TICK: Final = 20
"""Each for jobs and exports: a tick every five seconds makes 8 calls a second, of 10 to 15 that Step Functions allows.
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""


class FairQueue:
    """A round-robin queue of ids; each call takes the first `most`. New ids join behind those that wait.

    So an id is taken at least once in `1 + n // most` calls, whatever joins meanwhile; `n`: the number of ids when it
    joined.
    """

    def __init__(self, most: int = EXECUTIONS_PER_TICK) -> None:
        self._most = most
        self._queue: list[str] = []

    def take(self, ids: Iterable[str]) -> Set[str]:
        """The ids of this turn, out of those that are there now."""
        present = dict.fromkeys(ids)
        known = set(self._queue)
        self._queue = [one for one in self._queue if one in present] + [one for one in present if one not in known]
        chosen, waiting = self._queue[: self._most], self._queue[self._most :]
        self._queue = waiting + chosen
        return frozenset(chosen)
