"""Delivers rows of the outbox. Each attempt is claimed first, and its result recorded afterwards.

1. claim: no other process tries this row until the lease expires;
2. send;
3. record the result: delivered, the time of the next attempt, or given up.
After a crash between 2 and 3 the recipient gets the notification again, under the same id.
"""

import contextvars
import json
import logging
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

from orchestration.notifications import mail, signing, webhook
from orchestration.notifications.outbox import Notification, Outbox
from orchestration.notifications.recipients import Channel
from orchestration.notifications.targets import ANYWHERE, PrivateTargets
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError

AT_ONCE_S: Final = 5.0
"""How long a step waits for deliveries before it leaves the rest to the control plane."""
_log = logging.getLogger("muster.notifications")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between attempts: doubled each time up to `max_s`, then shortened at random by up to a half."""

    first_s: float = 30.0
    max_s: float = 3600.0
    tries: int = 12

    def pause_ms(self, attempts: int, dice: random.Random) -> int | None:
        """The pause after that many attempts. None after the last one."""
        if attempts >= self.tries:
            return None
        full_s = min(self.max_s, self.first_s * 2 ** (attempts - 1))
        return int(1000 * full_s * (1 - dice.random() / 2))


class Courier:
    """Delivers notifications. Safe for several threads and processes at once."""

    def __init__(self, outbox: Outbox, settings: Settings, *, backoff: Backoff, dice: random.Random) -> None:
        self._outbox = outbox
        self._settings = settings
        self._backoff = backoff
        self._dice = dice

    def deliver(self, row: Notification) -> bool:
        """Try once, unless another process has claimed the row. True: delivered. Raises on outages of the catalog."""
        if not self._outbox.claim(row, now_ms()):  # 1
            return False
        try:
            send(row, self._settings)  # 2
        except MusterError as exc:
            fault = str(exc)
        except Exception as exc:  # noqa: BLE001  # one row that cannot be sent must not hold up the others
            _log.exception("notification %s", row.notification_id)
            fault = f"{type(exc).__name__}: {exc}"[:300]
        else:
            self._outbox.delivered(row.notification_id, now_ms())  # 3
            return True
        pause_ms = self._backoff.pause_ms(row.attempts + 1, self._dice)
        self._outbox.failed(row.notification_id, fault, None if pause_ms is None else now_ms() + pause_ms)
        what = "given up" if pause_ms is None else f"retrying in {pause_ms // 1000} s"
        _log.warning("notification %s of %s: %s; %s", row.notification_id, row.subject, fault, what)
        return False

    def deliver_at_once(self, rows: Iterable[Notification], budget_s: float = AT_ONCE_S) -> None:
        """Try these once, for at most `budget_s`.

        The control plane delivers the rest: channels that failed recently, and those that only it can use.
        """
        due = [row for row in rows if can_send(row.channel, self._settings) and not self._outbox.is_failing(row)]
        ends = time.monotonic() + budget_s

        def deliver_due() -> None:
            for row in due:
                if time.monotonic() >= ends:
                    return
                try:
                    self.deliver(row)
                except MusterError as exc:
                    _log.warning("notification %s: %s", row.notification_id, exc)

        # A thread of its own, because the resolver has no timeout. A claimed but unfinished row is tried again.
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(deliver_due,), name="courier", daemon=True
        )
        thread.start()
        thread.join(budget_s)


def can_send(channel: Channel, settings: Settings) -> bool:
    """Whether this process may use a channel. False if another process holds the secret that the channel needs."""
    match channel:
        case "log":
            return True
        case "email":
            return not settings.smtp_user_holder
        case "webhook":
            return not settings.webhook_secret_holder
        case _:
            assert_never(channel)


def send(row: Notification, settings: Settings) -> None:
    """Send a notification once. Raises `RetriableError` WEBHOOK_FAILED, MAIL_FAILED; `FatalError` if settings lack."""
    match row.channel:
        case "log":
            of_operators = row.outcome == "system-error" or (row.outcome == "not-registered" and not row.body["tenant"])
            level = logging.ERROR if of_operators else logging.INFO
            _log.log(level, "%s", json.dumps(dict(row.body), sort_keys=True))
        case "email":
            server = mail.MailServer.from_settings(settings)
            subject, lines = mail.wording(row.body)
            mail.send(server, mail.message(server, row.address, row.notification_id, subject, lines, row.created_at_ms))
        case "webhook":
            if not (secret := settings.webhook_secret):
                raise FatalError("NO_WEBHOOK_SECRET", "the setting webhook_secret is not set")
            body = json.dumps(dict(row.body), sort_keys=True).encode()
            key = signing.signing_key(secret, row.tenant)
            signed = signing.headers(key, row.notification_id, body, int(now_ms() / 1000))
            # Operators may be notified at any address: they choose it in their own settings.
            private = ANYWHERE if row.tenant is None else PrivateTargets.parse(settings.webhook_private_targets)
            webhook.post(row.address, body, signed, private=private)
        case _:
            assert_never(row.channel)
