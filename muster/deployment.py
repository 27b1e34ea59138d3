"""Health, workers and their lag, dead letters, notifications. Part of `Client`."""

from collections.abc import Iterator, Sequence
from typing import cast

from muster.events import follow
from muster.methods import Methods
from muster.records import Event, Record


class Deployment(Methods):
    """See `Client`."""

    def health(self) -> Record:
        """The service's state and version."""
        return self._get("/health")

    def connections(self, tenant: str | None = None) -> Record:
        """Addresses of the deployment, and snippets without keys. `tenant`: whose audiences they read."""
        return self._get("/connections", query={} if tenant is None else {"tenant": tenant})

    def workers(self) -> Record:
        """Workers wherever they run, and how many jobs wait for one."""
        return self._get("/workers")

    def lag(self) -> list[Record]:
        """How far the groups of workers are behind, by partition."""
        return cast("list[Record]", self._get("/lag")["items"])

    def samples(self, *, minutes: int = 60) -> Record:
        """Lag, members and rates of the last minutes, topic by topic, as columns; None where nothing was measured."""
        return self._get("/samples", query={"minutes": minutes})

    def deployment_events(self, *, kind: Sequence[str] = ()) -> Iterator[Event]:
        """As `events`: workers, their lag, and the jobs of all tenants."""
        return follow(lambda: self._calls.stream("/events", query={"kind": list(kind)}))

    def dead_letters(self, *, limit: int = 50, state: Sequence[str] = ()) -> Record:
        """The newest dead letters (in these states), and whether there are earlier ones."""
        return self._get("/dead-letters", query={"limit": limit, "state": list(state)})

    def dead_letter(self, number: int) -> Record:
        """One dead letter with its key and value, in base64 and as text."""
        return self._get(f"/dead-letters/{number}")

    def replay_dead_letters(
        self, numbers: Sequence[int] | None, *, topic: str | None = None, code: str | None = None
    ) -> Record:
        """Send dead letters (None: all open ones, of a topic, with a code) to their topics again, each once.

        Returns how many were `sent`, how many were replayed or dismissed `already`, and whether there are `more`.
        """
        return self._send("POST", "/dead-letters/replays", body=_chosen(numbers, topic, code))

    def dismiss_dead_letters(
        self, numbers: Sequence[int] | None, *, topic: str | None = None, code: str | None = None
    ) -> Record:
        """Dismiss dead letters; as `replay_dead_letters`, with how many were `dismissed`."""
        return self._send("POST", "/dead-letters/dismissals", body=_chosen(numbers, topic, code))

    def notifications(self, *, limit: int = 100) -> Record:
        """Notifications that are waiting or were given up, and whether there are others."""
        return self._get("/notifications", query={"limit": limit})

    def resend_notifications(self, ids: Sequence[str] | None) -> int:
        """Start the delivery of notifications (None: all that were given up) again; returns of how many."""
        body = {"notifications": None if ids is None else list(ids)}
        return int(self._send("POST", "/notifications/resends", body=body)["resent"])


def _chosen(numbers: Sequence[int] | None, topic: str | None, code: str | None) -> Record:
    given = {"topic": topic, "code": code}
    return {
        "dead_letters": None if numbers is None else list(numbers),
        **{name: value for name, value in given.items() if value is not None},
    }
