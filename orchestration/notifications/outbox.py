"""The outbox: one row per job, outcome and recipient, until the notification is delivered or given up.

A claim moves the next attempt one lease into the future, so that the step and the control plane do not deliver a row
at the same time; if the claimant dies, the row becomes due again. Delivery is at least once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.selected import answer_of
from orchestration.catalog.tables import jobs, notifications
from orchestration.notifications.recipients import Channel, Recipient
from orchestration.records import notifications as answers
from schemas.ids import JobId, TenantName

Outcome = Literal["ready", "superseded", "user-error", "system-error", "not-registered"]

LEASE_MS: Final = 60_000
"""Longer than any delivery may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One row. `subject`: the job, or the execution that could not register one."""

    notification_id: str
    subject: str
    outcome: Outcome | Literal["test"]
    channel: Channel
    address: str
    tenant: TenantName | None
    body: Mapping[str, Any]
    attempts: int
    created_at_ms: int
    next_attempt_at_ms: int | None
    delivered_at_ms: int | None
    last_error: str | None

    @property
    def state(self) -> Literal["delivered", "waiting", "given up"]:
        """State of the delivery."""
        if self.delivered_at_ms is not None:
            return "delivered"
        return "given up" if self.next_attempt_at_ms is None else "waiting"

    @property
    def shown(self) -> answers.Notification:
        """As the service answers it."""
        recipient = self.recipient.shown
        return answer_of(answers.Notification, self, notification=self.notification_id, recipient=recipient)

    @property
    def recipient(self) -> Recipient:
        """Recipient of the row."""
        return Recipient(channel=self.channel, address=self.address, tenant=self.tenant)


def notification_id(subject: str, outcome: Outcome, recipient: Recipient) -> str:
    """Idempotency key: the same for the same job, outcome and recipient, so that repeated writes add one row."""
    return sha256("\0".join((subject, outcome, recipient.channel, recipient.address)).encode()).hexdigest()[:32]


class Outbox:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(
        self, subject: str, outcome: Outcome, recipients: Sequence[Recipient], body: Mapping[str, Any], *, now_ms: int
    ) -> list[Notification]:
        """Add the missing rows and return those that were added. The first body written stays."""
        ids = {notification_id(subject, outcome, recipient): recipient for recipient in recipients}
        try:
            return self._write(subject, outcome, ids, body, now_ms)
        except sa.exc.IntegrityError:  # another process wrote some of them between our read and our insert
            return self._write(subject, outcome, ids, body, now_ms)

    def _write(
        self, subject: str, outcome: Outcome, ids: Mapping[str, Recipient], body: Mapping[str, Any], now_ms: int
    ) -> list[Notification]:
        key = notifications.c.notification_id
        with self._database.write() as connection:
            known = set(connection.scalars(sa.select(key).where(key.in_(list(ids)))))
            added = [(id_, recipient) for id_, recipient in ids.items() if id_ not in known]
            for id_, recipient in added:
                connection.execute(
                    notifications.insert().values(
                        notification_id=id_,
                        subject=subject[:255],
                        outcome=outcome,
                        channel=recipient.channel,
                        address=recipient.address,
                        tenant=recipient.tenant,
                        body={"id": id_, **body},
                        attempts=0,
                        created_at_ms=now_ms,
                        next_attempt_at_ms=now_ms,
                    )
                )
        return self._select(key.in_([id_ for id_, _ in added]))

    def due(self, now_ms: int, limit: int = 50) -> list[Notification]:
        """Rows that are due, the longest due first."""
        return self._select(notifications.c.next_attempt_at_ms <= now_ms, limit=limit)

    def by_subject(self, subject: str) -> list[Notification]:
        """All rows of a job."""
        return self._select(notifications.c.subject == subject)

    def undelivered(self, limit: int = 100) -> list[Notification]:
        """Rows that are waiting or were given up."""
        return self._select(notifications.c.delivered_at_ms.is_(None), limit=limit)

    def find(self, id_: str) -> Notification | None:
        """One row, or None."""
        return next(iter(self._select(notifications.c.notification_id == id_)), None)

    def is_failing(self, notification: Notification) -> bool:
        """Whether the channel to this recipient failed recently: the server for mail, the URL for a webhook."""
        c = notifications.c
        same_channel = [c.channel == notification.channel]
        if notification.channel == "webhook":
            same_channel.append(c.address == notification.address)
        waiting = [c.delivered_at_ms.is_(None), c.next_attempt_at_ms.is_not(None), c.attempts > 0]
        others = c.notification_id != notification.notification_id
        return bool(self._select(*same_channel, *waiting, others, limit=1))

    def claim(self, seen: Notification, now_ms: int) -> bool:
        """Claim a row for one attempt, if it is still as `seen`: true for one caller only, until the lease expires."""
        c = notifications.c
        with self._database.write() as connection:
            result = connection.execute(
                notifications.update()
                .where(
                    c.notification_id == seen.notification_id,
                    c.attempts == seen.attempts,
                    c.next_attempt_at_ms == seen.next_attempt_at_ms,
                )
                .values(attempts=seen.attempts + 1, next_attempt_at_ms=now_ms + LEASE_MS)
            )
        return result.rowcount == 1

    def delivered(self, id_: str, now_ms: int) -> None:
        """Record the delivery."""
        self._set(id_, delivered_at_ms=now_ms, next_attempt_at_ms=None, last_error=None)

    def failed(self, id_: str, error: str, next_attempt_at_ms: int | None) -> None:
        """Record a failed attempt; without a next one the row is given up. A delivered row stays delivered."""
        self._set(id_, next_attempt_at_ms=next_attempt_at_ms, last_error=error)

    def resend(self, id_: str, now_ms: int) -> None:
        """Make an undelivered row due now, with all its attempts."""
        self._set(id_, attempts=0, next_attempt_at_ms=now_ms, last_error=None)

    def forget(self, *, written_before_ms: int) -> int:
        """Delete old rows of any job that are delivered or given up; returns how many. Waiting rows stay."""
        c = notifications.c
        with self._database.write() as connection:
            result = connection.execute(
                notifications.delete().where(c.next_attempt_at_ms.is_(None), c.created_at_ms < written_before_ms)
            )
        return result.rowcount

    def _set(self, id_: str, **values: Any) -> None:
        c = notifications.c
        with self._database.write() as connection:
            connection.execute(
                notifications.update().where(c.notification_id == id_, c.delivered_at_ms.is_(None)).values(**values)
            )

    def unnotified(self, *, finished_before_ms: int, finished_after_ms: int, limit: int = 50) -> list[JobId]:
        """Jobs in READY, SUPERSEDED or FAILED without any notification."""
        notified = sa.select(notifications.c.subject).where(notifications.c.subject == jobs.c.job_id).exists()
        query = (
            sa.select(jobs.c.job_id)
            .where(
                jobs.c.state.in_(("READY", "SUPERSEDED", "FAILED")),
                jobs.c.finished_at_ms.between(finished_after_ms, finished_before_ms),
                ~notified,
            )
            .limit(limit)
        )
        with self._database.read() as connection:
            return [JobId(found) for found in connection.scalars(query)]

    def _select(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[Notification]:
        c = notifications.c
        query = sa.select(notifications).where(*where).order_by(c.next_attempt_at_ms, c.created_at_ms, c.channel)
        with self._database.read() as connection:
            return [Notification(**row) for row in connection.execute(query.limit(limit)).mappings()]
