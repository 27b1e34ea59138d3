"""What the rules of segments find. Part of `Client`."""

from muster.methods import Methods
from muster.records import Record


class Segments(Methods):
    """See `Client`."""

    def segment_coverage(self, tenant: str, segment: str) -> Record:
        """How far a segment is behind the topics, and how many members of its audiences no rule covers."""
        return self._get("/tenants/{}/segments/{}/coverage", tenant, segment)

    def explain(self, tenant: str, segment: str, user: str, *, as_of: str | None = None) -> Record:
        """Why a user is in a segment or not. `as_of`: RFC 3339, with an offset."""
        body = {"user": user, "as_of": as_of}
        return self._send("POST", "/tenants/{}/segments/{}/explanations", tenant, segment, body=body)
