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

    def deployment_events(self, *, kind: Sequence[str] = ()) -> Iterator[Event]:
        """As `events`: workers, their lag, and the jobs of all tenants."""
        return follow(lambda: self._calls.stream("/events", query={"kind": list(kind)}))
