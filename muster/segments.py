"""Segments, and what their rules find. Part of `Client`."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from muster.methods import Methods, Tagged
from muster.records import Record
from muster.repeating import start


class Segments(Methods):
    """See `Client`."""

    def segments(self, tenant: str) -> Iterator[Record]:
        """Segments by name."""
        return self._calls.pages("/tenants/{}/segments", tenant)

    def segment(self, tenant: str, segment: str) -> Record:
        """One segment, with its partitions."""
        return self._get("/tenants/{}/segments/{}", tenant, segment)

    def segment_with_etag(self, tenant: str, segment: str) -> Tagged:
        """A segment with its partitions, and its ETag."""
        return self._tagged("GET", "/tenants/{}/segments/{}", tenant, segment)

    def rule_versions(self, tenant: str, segment: str) -> list[Record]:
        """The rules that a segment has had, oldest first."""
        return cast("list[Record]", self._get("/tenants/{}/segments/{}/versions", tenant, segment)["items"])

    def create_segment(
        self, tenant: str, segment: str, rule: str | Mapping[str, Any], *, timezone: str | None = None
    ) -> Tagged:
        """Create a segment, with its rule as text or JSON."""
        body = {"segment": segment, "rule": rule, "timezone": timezone}
        return self._tagged("POST", "/tenants/{}/segments", tenant, body=body)

    def edit_segment(
        self, tenant: str, segment: str, rule: str | Mapping[str, Any], *, etag: str, timezone: str | None = None
    ) -> Tagged:
        """Change the rule of a segment."""
        body = {"rule": rule, "timezone": timezone}
        return self._tagged("PUT", "/tenants/{}/segments/{}", tenant, segment, body=body, etag=etag)

    def change_segment_state(self, tenant: str, segment: str, state: str) -> Tagged:
        """Make a segment `active` or `paused`."""
        return self._tagged("PUT", "/tenants/{}/segments/{}/state", tenant, segment, body={"state": state})

    def delete_segment(self, tenant: str, segment: str, *, etag: str) -> Record:
        """Delete a segment; returns it as it was."""
        return self._send("DELETE", "/tenants/{}/segments/{}", tenant, segment, etag=etag)

    def snapshot_segment(self, tenant: str, segment: str, *, key: str | None = None, **wanted: Any) -> Record:
        """Publish the members of a segment as a version of an audience; returns {job}."""
        return start(self._calls, "/tenants/{}/segments/{}/snapshots", tenant, segment, body=wanted, key=key)

    def begin_segment_check(self, tenant: str, segment: str, *, timeout_s: float = 120.0) -> Record:
        """Begin to compare the members of a segment with its rule; `operation` has the result."""
        return self._send("POST", "/tenants/{}/segments/{}/checks", tenant, segment, body={"timeout_s": timeout_s})

    def segment_coverage(self, tenant: str, segment: str) -> Record:
        """How far a segment is behind the topics, and how many members of its audiences no rule covers."""
        return self._get("/tenants/{}/segments/{}/coverage", tenant, segment)

    def explain(self, tenant: str, segment: str, user: str, *, as_of: str | None = None) -> Record:
        """Why a user is in a segment or not. `as_of`: RFC 3339, with an offset."""
        body = {"user": user, "as_of": as_of}
        return self._send("POST", "/tenants/{}/segments/{}/explanations", tenant, segment, body=body)
