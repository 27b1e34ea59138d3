"""What the methods of `Client` have in common."""

from collections.abc import Mapping
from typing import Any, cast

from muster.calls import Calls
from muster.records import Record

Tagged = tuple[Record, str]
"""A record, and its ETag, which a change of it sends back."""


class Methods:
    """Sends calls. Every method raises `ApiError`."""

    _url: str
    _calls: Calls

    def _get(self, path: str, *names: str, query: Mapping[str, Any] | None = None) -> Record:
        return cast(Record, self._calls.call("GET", path, *names, query=query)[0])

    def _send(self, method: str, path: str, *names: str, body: Any = None, etag: str | None = None) -> Record:
        return self._tagged(method, path, *names, body=body, etag=etag)[0]

    def _tagged(self, method: str, path: str, *names: str, body: Any = None, etag: str | None = None) -> Tagged:
        headers = {} if etag is None else {"If-Match": etag}
        record, received = self._calls.call(method, path, *names, body=body, headers=headers)
        return cast(Record, record), received.get("etag", "")


def scoped(tenant: str | None, path: str) -> tuple[str, tuple[str, ...]]:
    """A path, and the names in it: below a tenant, or in the deployment (None)."""
    return (path, ()) if tenant is None else ("/tenants/{}" + path, (tenant,))
