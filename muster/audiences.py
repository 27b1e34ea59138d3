"""Audiences and their versions, and how events and profiles are read. Part of `Client`."""

from collections.abc import Iterator, Mapping
from typing import Any

from muster.methods import Methods, Tagged
from muster.records import Record
from muster.repeating import start


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

    def rename_audience(
        self, tenant: str, audience: str, new_name: str, *, etag: str, key: str | None = None
    ) -> Record:
        """Rename an audience; returns an operation."""
        path, headers = "/tenants/{}/audiences/{}/renames", {"If-Match": etag}
        return start(self._calls, path, tenant, audience, body={"audience": new_name}, key=key, headers=headers)

    def delete_audience(self, tenant: str, audience: str, *, etag: str) -> Record:
        """Delete an audience with all its versions; returns an operation."""
        return self._send("DELETE", "/tenants/{}/audiences/{}", tenant, audience, etag=etag)

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

    def roll_back(
        self, tenant: str, audience: str, version: int, *, reason: str = "", key: str | None = None
    ) -> Record:
        """Publish the members of an older version as a new version; returns an operation."""
        body = {"version": version, "reason": reason}
        return start(self._calls, "/tenants/{}/audiences/{}/rollbacks", tenant, audience, body=body, key=key)

    def compact_audience(self, tenant: str, audience: str, *, target_mb: int = 128, key: str | None = None) -> Record:
        """Publish the current members in fewer files, as a new version; returns an operation."""
        body = {"target_mb": target_mb}
        return start(self._calls, "/tenants/{}/audiences/{}/compactions", tenant, audience, body=body, key=key)

    def expire_versions(self, tenant: str, audience: str, *, key: str | None = None, **kept: int) -> Record:
        """Expire old versions now; returns an operation. `kept`: `versions`, `days`."""
        return start(self._calls, "/tenants/{}/audiences/{}/expirations", tenant, audience, body=kept, key=key)

    def begin_difference(
        self,
        tenant: str,
        audience: str,
        earlier: int,
        later: int,
        *,
        sample: int = 0,
        after: str | None = None,
        change: str | None = None,
        values: bool = False,
    ) -> Record:
        """Begin to compare two versions; `operation` has the result, with up to `sample` ids of each kind of change.

        `after`: those after this id; `change`: of this kind alone; `values`: with the values that changed.
        """
        body: dict[str, Any] = {"earlier": earlier, "later": later, "sample": sample}
        body |= {"after": after, "change": change, "values": values} if after or change or values else {}
        return self._send("POST", "/tenants/{}/audiences/{}/differences", tenant, audience, body=body)

    def begin_file(
        self,
        tenant: str,
        audience: str,
        to: str,
        *,
        version: int | None = None,
        as_of: str | None = None,
        overwrite: bool = False,
    ) -> Record:
        """Begin to write a version as one Parquet file at s3://bucket/key; `operation` has the result."""
        body = {"to": to, "version": version, "as_of": as_of, "overwrite": overwrite}
        return self._send("POST", "/tenants/{}/audiences/{}/files", tenant, audience, body=body)


def _flag(name: str, value: bool) -> Mapping[str, str]:  # noqa: FBT001  # its value
    return {name: "true"} if value else {}
