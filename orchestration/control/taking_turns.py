"""Who is asked about at a look, where asking about all would be too much."""

from collections.abc import Iterable, Set
from typing import Final

EXECUTIONS_A_LOOK: Final = 20
"""Of jobs, and of exports: with a look every five seconds 8 a second, of 10 to 15 that Step Functions takes for long.
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""


class TakingTurns:
    """A queue of ids, of which each look takes the first `most` to its end. New ones stand behind those that wait.

    So an id that stays is taken at least once in `1 + n // most` looks, whoever comes meanwhile; `n`: how many were
    there when it came.
    """

    def __init__(self, most: int = EXECUTIONS_A_LOOK) -> None:
        self._most = most
        self._queue: list[str] = []

    def take(self, ids: Iterable[str]) -> Set[str]:
        """Whose turn it is, of those that are there now."""
        there = dict.fromkeys(ids)
        known = set(self._queue)
        self._queue = [one for one in self._queue if one in there] + [one for one in there if one not in known]
        taken, waiting = self._queue[: self._most], self._queue[self._most :]
        self._queue = waiting + taken
        return frozenset(taken)
