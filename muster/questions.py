"""Counts, streamed queries, checks of files, and operations. Part of `Client`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from muster.methods import Methods
from muster.query_rows import Rows, rows_of
from muster.records import Record


class Questions(Methods):
    """See `Client`."""

    def count(
        self,
        tenant: str,
        rule: str,
        *,
        timezone: str | None = None,
        exact: bool = False,
        users: int = 0,
        notes: bool = False,
        engine: str | None = None,
        editor: str | None = None,
        revision: int = 0,
    ) -> Record:
        """How many users a rule matches, with each of its groups and conditions."""
        body = {
            "rule": rule,
            "timezone": timezone,
            "precision": "exact" if exact else "estimate",
            "users": users,
            "notes": notes,
            "editor": editor,
            "revision": revision,
        }
        if engine is not None:  # unknown to a service of 0.2.0
            body["engine"] = engine
        return self._send("POST", "/tenants/{}/counts", tenant, body=body)

    @contextmanager
    def stream_query(
        self, tenant: str, sql: str, *, parameters: Mapping[str, str] | None = None, timeout_s: float = 3600.0
    ) -> Iterator[Rows]:
        """The columns and all rows of one SELECT, as they arrive; leaving the context ends the query.

        `parameters`: texts, for which `$name` stands in the query. Reading the rows raises `ApiError` as well.
        """
        body: dict[str, Any] = {"sql": sql, "timeout_s": timeout_s}
        if parameters:  # unknown to a service of 0.2.0
            body["parameters"] = dict(parameters)
        with self._calls.records("/tenants/{}/query-streams", tenant, body=body) as records:
            yield rows_of(records)

    def begin_inspection(
        self,
        tenant: str,
        source: str,
        *,
        kind: str = "audience",
        format: str | None = None,  # noqa: A002
    ) -> Record:
        """Begin to inspect a file in the object store; `operation` has the result."""
        return self._send("POST", "/tenants/{}/checks", tenant, body={"source": source, "kind": kind, "format": format})

    def begin_dry_run(
        self,
        tenant: str,
        target: str,
        *,
        source: str | None = None,
        list: str | None = None,  # noqa: A002
        upload: str | None = None,
        uploads: Sequence[str] = (),
        spec: Mapping[str, Any] | None = None,
        manifest: str | None = None,
    ) -> Record:
        """Begin a dry run of the import of an object or an upload, or of several; `operation` has the result."""
        body: dict[str, Any] = {"source": source, "upload": upload, "target": target, "spec": spec or {}}
        body["manifest"] = manifest
        if list is not None or uploads:  # unknown to a service of 0.2.0
            body |= {"list": list, "uploads": [*uploads]}
        return self._send("POST", "/tenants/{}/checks", tenant, body=body)
