"""Health, connections, events of the deployment, notifications. Part of `Client`."""

from collections.abc import Iterator, Sequence

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

    def deployment_events(self, *, kind: Sequence[str] = ()) -> Iterator[Event]:
        """As `events`: workers, their lag, and the jobs of all tenants."""
        return follow(lambda: self._calls.stream("/events", query={"kind": list(kind)}))

    def notifications(self, *, limit: int = 100) -> Record:
        """Notifications that are waiting or were given up, and whether there are others."""
        return self._get("/notifications", query={"limit": limit})

    def resend_notifications(self, ids: Sequence[str] | None) -> int:
        """Start the delivery of notifications (None: all that were given up) again; returns of how many."""
        body = {"notifications": None if ids is None else list(ids)}
        return int(self._send("POST", "/notifications/resends", body=body)["resent"])
