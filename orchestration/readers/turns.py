"""Whose question goes first: the newest edit of an editor, one query of a tenant, a share of the readers for everyone.

The state is that of one process of the service.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from orchestration.readers.cancellation import Cancellation
from schemas.errors import UserError

REMEMBERED_EDITORS: Final = 10_000
ENDING_S: Final = 5.0
"""How long the next query of a tenant waits for one that has been given up, whose process takes a moment to end."""
AT_ONCE: Final = 4
"""Questions of one principal that may run or wait."""


@dataclass(slots=True)
class _Edit:
    revision: int
    running: Cancellation | None


class Turns:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._edits: OrderedDict[Hashable, _Edit] = OrderedDict()
        self._busy: dict[str, Cancellation] = {}
        self._asking: Counter[Hashable] = Counter()

    @contextmanager
    def newest(self, editor: Hashable, revision: int, cancellation: Cancellation) -> Iterator[None]:
        """The question of a revision, which gives up that of a lower or equal one of the same editor.

        The order is that of the revisions, since requests overtake each other. Raises `UserError` SUPERSEDED if a
        higher revision has been asked for.
        """
        with self._lock:
            edit = self._edits.setdefault(editor, _Edit(revision=revision, running=None))
            self._edits.move_to_end(editor)
            if revision < edit.revision:
                raise _superseded()
            older, edit.revision, edit.running = edit.running, revision, cancellation
            if len(self._edits) > REMEMBERED_EDITORS:
                self._edits.popitem(last=False)
        if older is not None:
            older.set(_superseded())
        try:
            yield
        finally:
            with self._lock:
                if edit.running is cancellation:
                    edit.running = None

    @contextmanager
    def alone(self, tenant: str, cancellation: Cancellation) -> Iterator[None]:
        """The only query of a tenant. Waits for one that has been given up. Raises `UserError` QUERY_RUNNING."""
        with self._ended:
            self._ended.wait_for(lambda: not self._is_ending(tenant), ENDING_S)
            if tenant in self._busy:
                raise UserError("QUERY_RUNNING", f"a query of tenant {tenant} is running; wait until it ends")
            self._busy[tenant] = cancellation
        try:
            yield
        finally:
            with self._ended:
                del self._busy[tenant]
                self._ended.notify_all()

    def _is_ending(self, tenant: str) -> bool:
        running = self._busy.get(tenant)
        return running is not None and running.error is not None

    @contextmanager
    def share(self, principal: Hashable) -> Iterator[None]:
        """One of the questions of a principal. Raises `UserError` TOO_MANY_QUESTIONS."""
        with self._lock:
            if self._asking[principal] >= AT_ONCE:
                raise UserError(
                    "TOO_MANY_QUESTIONS", f"{AT_ONCE} questions of yours are running or waiting; wait until one ends"
                )
            self._asking[principal] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking[principal] -= 1
                if not self._asking[principal]:
                    del self._asking[principal]


def _superseded() -> UserError:
    return UserError("SUPERSEDED", "a newer revision of the rule is being counted")
