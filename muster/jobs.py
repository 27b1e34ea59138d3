"""Jobs of all kinds: read, followed by events, started, cancelled and tried again. Part of `Client`."""

from collections.abc import Iterator, Sequence

from muster.events import follow
from muster.http_calls import PAGE
from muster.methods import Methods
from muster.records import Event, Record


class Jobs(Methods):
    """See `Client`."""

    def receipt(self, tenant: str, job: str) -> Record:
        """The receipt of a job."""
        return self._get("/tenants/{}/jobs/{}/receipt", tenant, job)

    def rejects(
        self, tenant: str, job: str, *, code: str | None = None, rows: int = 0, cursor: str | None = None
    ) -> Record:
        """How many rows of a job were rejected, by code; and a page of so many rows."""
        query = {"code": code, "rows": rows or None, "cursor": cursor}
        return self._get("/tenants/{}/jobs/{}/rejects", tenant, job, query=query)

    def rejected_rows(self, tenant: str, job: str, *, code: str | None = None, page: int = PAGE) -> Iterator[Record]:
        """The rejected rows of a job, in the order of the file."""
        cursor = None
        while True:
            found = self.rejects(tenant, job, code=code, rows=page, cursor=cursor)
            yield from found["items"]
            if (cursor := found["next"]) is None:
                return

    def events(self, tenant: str, *, kind: Sequence[str] = (), job: str | None = None) -> Iterator[Event]:
        """The present state of everything in a tenant, or of one job, and then what changes.

        Does not end: it connects again when the connection is lost, and says so (see `Event`). Raises `ApiError` if the
        first connection fails, or the token is no longer valid.
        """
        query = {"kind": list(kind), "job": job}
        return follow(lambda: self._calls.stream("/tenants/{}/events", tenant, query=query))
