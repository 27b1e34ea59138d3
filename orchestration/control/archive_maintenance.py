"""Maintenance of the archive: merges small files, lists users, expires snapshots, removes garbage."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

from connectors.lake.archive import ActivityArchive
from schemas.errors import FatalError, MusterError
from schemas.topics import ACTIVITY_TOPICS

_log = logging.getLogger(__name__)


class ArchiveMaintenance:
    """Maintains the tables of both topics until `stop` is set. A failure is logged; the next call tries again."""

    def __init__(self, archive: ActivityArchive, temp_directory: Path, stop: threading.Event) -> None:
        self._archive = archive
        self._stop = stop
        self._temp = temp_directory

    def maintain(self, now: int) -> None:
        """Merge files, list users, expire snapshots."""
        self._each(self._compact, self._write_users, partial(self._expire, now=now))

    def remove_garbage(self, now: int) -> None:
        """Remove objects that no table refers to."""
        self._each(partial(self._remove_garbage, now=now))

    def _each(self, *steps: Callable[[str], None]) -> None:
        for topic, step in product(ACTIVITY_TOPICS, steps):
            try:
                step(topic)
            except FatalError as exc:
                _log.error("archive maintenance of %s: %s", topic, exc)
            except MusterError as exc:
                _log.warning("archive maintenance of %s: %s", topic, exc)

    def _compact(self, topic: str) -> None:
        while not self._stop.is_set() and (done := self._archive.compact(topic, temp_directory=self._temp)).after:
            _log.info("%s: compacted %d archive files into %d", topic, done.before, done.after)

    def _write_users(self, topic: str) -> None:
        """A few at a time: an archive without any gets the rest with the next calls."""
        if not self._stop.is_set() and (files := self._archive.write_users(topic, temp_directory=self._temp)):
            _log.info("%s: indexed the users of %d archive files", topic, files)

    def _expire(self, topic: str, *, now: int) -> None:
        self._archive.expire(topic, now=datetime.fromtimestamp(now / 1000, UTC))

    def _remove_garbage(self, topic: str, *, now: int) -> None:
        at = datetime.fromtimestamp(now / 1000, UTC)
        if (removed := self._archive.remove_garbage(topic, now=at)).files:
            _log.info("%s: removed %d archive objects, %d bytes", topic, removed.files, removed.bytes)
