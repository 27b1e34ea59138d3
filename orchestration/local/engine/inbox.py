"""The bridge from the inbox bucket to the workflow: no object is forgotten, whatever dies in between.

The webhook is quick but sent once: an event that meets a closed port is lost, and so is an execution when the engine
is killed. So every version of every object is recorded once its first workflow state is done, and the bucket is
compared with that record at each start and every `SWEEP_S` seconds. An object may therefore start two executions;
the first state of the workflow ends the second one.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from orchestration.local.engine.s3_events import ObjectCreated, sequencer
from orchestration.local.seaweedfs import s3_client
from orchestration.platform.settings import Settings

SWEEP_S: Final = 60.0
RETRY_S: Final = 2.0
"""Pause after a sweep that found the S3 server unresponsive (it may still be starting)."""
CHECK_S: Final = 0.5

log = logging.getLogger("muster.engine.inbox")

Executions = Sequence[Any]
"""Whatever `put` returns for each, for `is_registered`."""


class InboxJournal:
    """Object versions whose import has been registered. An SQLite file, for one process."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS registered "
            "(bucket TEXT, key TEXT, version TEXT, PRIMARY KEY (bucket, key, version)) WITHOUT ROWID"
        )
        self._lock = threading.Lock()

    def has(self, event: ObjectCreated) -> bool:
        """Whether this version is known."""
        with self._lock:
            row = self._db.execute(
                "SELECT 1 FROM registered WHERE bucket = ? AND key = ? AND version = ?", _identity(event)
            ).fetchone()
        return row is not None

    def add(self, event: ObjectCreated) -> None:
        """Record this version."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO registered VALUES (?, ?, ?)", _identity(event))


class InboxBridge:
    """Hands each new object to `put` once, and records it when its executions are past their first state.

    `put` returns the executions that it started, `is_registered` says of one of them whether its first state is done.
    """

    def __init__(
        self,
        journal: InboxJournal,
        *,
        put: Callable[[ObjectCreated], Executions],
        is_registered: Callable[[Any], bool | None],
        listing: Callable[[], Iterable[ObjectCreated]],
    ) -> None:
        self._journal = journal
        self._put = put
        self._is_registered = is_registered
        self._listing = listing
        self._pending: dict[tuple[str, str, str], tuple[ObjectCreated, Executions]] = {}
        self._lock = threading.Lock()

    def offer(self, event: ObjectCreated) -> bool:
        """Start executions for an object, once in the life of this engine. False if they were started before."""
        with self._lock:
            if _identity(event) in self._pending or self._journal.has(event):
                return False
            self._pending[_identity(event)] = event, ()
        try:
            executions = self._put(event)
            if not executions:  # its rule has no target yet: the sender, or the next sweep, offers it again
                raise ConnectionError(f"no state machine takes {event.bucket}/{event.key} yet")
        except BaseException:
            with self._lock:
                del self._pending[_identity(event)]
            raise
        log.info("%s/%s version %s started %d execution(s)", event.bucket, event.key, event.version_id, len(executions))
        with self._lock:
            self._pending[_identity(event)] = event, executions
        return True

    def sweep(self) -> int:
        """Offer the objects in the bucket that were never announced. Returns how many were new.

        An object that cannot be started does not keep the others waiting. Raises the error of the first such one.
        """
        found, errors = 0, list[Exception]()
        for event in self._listing():
            try:
                found += self.offer(event)
            except Exception as exc:  # noqa: BLE001 - raised below
                errors.append(exc)
        if found:
            log.warning("found %d object(s) in the inbox without an event", found)
        if errors:
            raise errors[0]
        return found

    def record_registered(self) -> None:
        """Record the objects whose executions have registered a job; the next sweep offers the others again."""
        with self._lock:
            pending = list(self._pending.values())
        for event, executions in pending:
            answers = [self._is_registered(one) for one in executions]
            if not executions or None in answers:  # without any, it is being offered at this moment
                continue
            if all(answers):
                self._journal.add(event)
            else:
                log.error("%s/%s version %s was not registered", event.bucket, event.key, event.version_id)
            with self._lock:
                del self._pending[_identity(event)]

    def run(self, stopping: threading.Event) -> None:
        """Sweep and settle until the engine stops."""
        next_sweep_s, said = 0.0, ""
        while not stopping.wait(CHECK_S):
            next_sweep_s -= CHECK_S
            try:
                self.record_registered()
                if next_sweep_s <= 0:
                    next_sweep_s = RETRY_S
                    self.sweep()
                    next_sweep_s, said = SWEEP_S, ""
            except Exception as exc:  # noqa: BLE001 - a bridge that stopped would lose uploads silently
                level = logging.DEBUG if str(exc) == said else logging.WARNING
                log.log(level, "cannot compare the inbox with its journal: %s", exc)
                said = str(exc)


def listing(settings: Settings) -> Iterator[ObjectCreated]:
    """Every version of every object below the inbox's prefix, oldest first within a key as far as S3 tells."""
    client = s3_client(settings, attempts=1)
    versions = client.get_paginator("list_object_versions")
    for page in versions.paginate(Bucket=settings.inbox_bucket, Prefix=settings.inbox_prefix):
        for version in page.get("Versions", []):
            version_id = version["VersionId"] if version["VersionId"] != "null" else ""
            yield ObjectCreated(
                bucket=settings.inbox_bucket,
                key=version["Key"],
                size=version["Size"],
                etag=version["ETag"].strip('"'),
                version_id=version_id,
                sequencer=sequencer(version_id, int(version["LastModified"].timestamp()) * 1_000_000_000),
            )


def _identity(event: ObjectCreated) -> tuple[str, str, str]:
    return event.bucket, event.key, event.version_id or event.etag
