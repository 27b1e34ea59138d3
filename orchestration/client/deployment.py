"""Health, workers and their lag, dead letters, notifications. Part of `Client`."""

from collections.abc import Iterator, Sequence
from typing import cast

from orchestration.client.events import follow
from orchestration.client.methods import Methods
from orchestration.client.records import Event, Record


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

    def dead_letters(self, *, limit: int = 50) -> Record:
        """The newest dead letters, and whether there are earlier ones."""
        return self._get("/dead-letters", query={"limit": limit})

    def replay_dead_letters(self, numbers: Sequence[int] | None) -> int:
        """Send dead letters (None: all) to their topics again; returns how many."""
        body = {"dead_letters": None if numbers is None else list(numbers)}
        return int(self._send("POST", "/dead-letters/replays", body=body)["sent"])

    def notifications(self, *, limit: int = 100) -> Record:
        """Notifications that are waiting or were given up, and whether there are others."""
        return self._get("/notifications", query={"limit": limit})

    def resend_notifications(self, ids: Sequence[str] | None) -> int:
        """Start the delivery of notifications (None: all that were given up) again; returns of how many."""
        body = {"notifications": None if ids is None else list(ids)}
        return int(self._send("POST", "/notifications/resends", body=body)["resent"])
