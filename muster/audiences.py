"""Audiences and their versions, and how events and profiles are read. Part of `Client`."""

from collections.abc import Iterator, Mapping
from typing import Any

from muster.methods import Methods, Tagged
from muster.records import Record


class Audiences(Methods):
    """See `Client`."""

    def audiences(self, tenant: str, *, current: bool = False) -> Iterator[Record]:
        """Audiences by name. `current`: each with its current version."""
        return self._calls.pages("/tenants/{}/audiences", tenant, query=_flag("current", current))

    def audience(self, tenant: str, audience: str, *, current: bool = False) -> Record:
        """One audience. `current`: with its current version, its table, and who is notified."""
        return self._get("/tenants/{}/audiences/{}", tenant, audience, query=_flag("current", current))

    def audience_with_etag(self, tenant: str, audience: str) -> Tagged:
        """An audience, and its ETag."""
        return self._tagged("GET", "/tenants/{}/audiences/{}", tenant, audience)

    def create_audience(self, tenant: str, audience: str, **given: Any) -> Tagged:
        """Create an audience, with `settings` and `retention`."""
        return self._tagged("POST", "/tenants/{}/audiences", tenant, body={"audience": audience, **given})

    def configure_audience(self, tenant: str, audience: str, *, etag: str, **changes: Any) -> Tagged:
        """Change `settings`, `retention` and `recipients` of an audience."""
        return self._tagged("PATCH", "/tenants/{}/audiences/{}", tenant, audience, body=changes, etag=etag)

    def activity(self, tenant: str, kind: str) -> Record:
        """How files of `events` or `profiles` are read."""
        return self._get("/tenants/{}/activity/{}", tenant, kind)

    def configure_activity(self, tenant: str, kind: str, settings: Mapping[str, Any]) -> Record:
        """Change how files of `events` or `profiles` are read."""
        return self._send("PATCH", "/tenants/{}/activity/{}", tenant, kind, body={"settings": settings})

    def versions(self, tenant: str, audience: str) -> Iterator[Record]:
        """Kept versions of an audience, newest first."""
        return self._calls.pages("/tenants/{}/audiences/{}/versions", tenant, audience)

    def version(self, tenant: str, audience: str, version: int) -> Record:
        """One kept version of an audience."""
        return self._get("/tenants/{}/audiences/{}/versions/{}", tenant, audience, str(version))

    def pin_version(self, tenant: str, audience: str, version: int) -> Record:
        """Keep a version regardless of retention."""
        return self._send("PUT", "/tenants/{}/audiences/{}/versions/{}/pin", tenant, audience, str(version))

    def unpin_version(self, tenant: str, audience: str, version: int) -> Record:
        """Subject a version to retention again."""
        return self._send("DELETE", "/tenants/{}/audiences/{}/versions/{}/pin", tenant, audience, str(version))


def _flag(name: str, value: bool) -> Mapping[str, str]:  # noqa: FBT001  # its value
    return {name: "true"} if value else {}
