"""Keeps the archive readable: merges small files, lists users, forgets snapshots, removes what nobody needs.

In a thread of its own: what is read and written takes its time, and nobody waits for it.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Final

from orchestration.context import Context
from orchestration.control.rounds import go_round
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, MusterError
from schemas.topics import ACTIVITY_TOPICS, HOUR_MS

LOOK_S: Final = 300.0
"""At a commit every two seconds a partition has 150 small files more by then."""
CLEAN_EVERY_MS: Final = HOUR_MS
_log = logging.getLogger(__name__)


class ArchiveKeeper:
    """Goes round until `stop` is set."""

    def __init__(self, context: Context, stop: threading.Event) -> None:
        self._context = context
        self._stop = stop
        self._temp = context.settings.home / "tmp" / "archive"
        self._cleaned_ms = 0

    def start(self) -> None:
        """Begin, in a thread."""
        go_round(lambda: self.look(now_ms()), name="archive-keeper", every_s=LOOK_S, stop=self._stop)

    def look(self, now: int) -> None:
        """Do what is due; a failure is logged, and the next look tries again."""
        clean = now - self._cleaned_ms >= CLEAN_EVERY_MS
        steps: tuple[Callable[[str], None], ...] = (
            self._compact,
            self._write_users,
            partial(self._remove, now=now, clean=clean),
        )
        for topic, keep in product(ACTIVITY_TOPICS, steps):
            try:
                keep(topic)
            except FatalError as exc:
                _log.error("upkeep of the archive of %s: %s", topic, exc)
            except MusterError as exc:
                _log.warning("upkeep of the archive of %s: %s", topic, exc)
        if clean:
            self._cleaned_ms = now

    def _compact(self, topic: str) -> None:
        while (
            not self._stop.is_set() and (done := self._context.archive.compact(topic, temp_directory=self._temp)).after
        ):
            _log.info("%s: %d files of the archive became %d", topic, done.before, done.after)

    def _write_users(self, topic: str) -> None:
        """Some at a time: of an archive that has none yet the rest comes with the next looks."""
        if not self._stop.is_set() and (files := self._context.archive.write_users(topic, temp_directory=self._temp)):
            _log.info("%s: listed the users of %d files of the archive", topic, files)

    def _remove(self, topic: str, *, now: int, clean: bool) -> None:
        at = datetime.fromtimestamp(now / 1000, UTC)
        self._context.archive.expire(topic, now=at)
        if clean and (removed := self._context.archive.remove_garbage(topic, now=at)).files:
            _log.info("%s: removed %d objects of the archive, %d bytes", topic, removed.files, removed.bytes)
