"""The operations of the API as methods. Lists are iterators that fetch pages as they are read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, cast

from orchestration.client.access import Access
from orchestration.client.calls import PAGE, Calls
from orchestration.client.events import follow
from orchestration.client.query_rows import Rows, rows_of
from orchestration.client.records import Event, Grants, MadeToken, Me, Principal, Record, Roles, Session, Tenant, Token
from orchestration.client.transport import HttpTransport, Transport
from orchestration.client.writing import Writes


class Client(Writes):
    """A service, as the owner of a token sees it. Every method raises `ApiError`. Not thread-safe.

    `note`: on whose behalf, for the audit trail; it is no identity.
    """

    def __init__(self, access: Access, transport: Transport | None = None, *, note: str = "") -> None:
        self._url = access.url
        self._transport = transport or HttpTransport(access.url)
        self._calls = Calls(self._transport, access.token, note=note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    # Jobs

    def jobs(
        self,
        tenant: str | None,
        *,
        kind: Sequence[str] = (),
        audience: str | None = None,
        state: Sequence[str] = (),
        begins: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Jobs of all kinds, newest first: of a tenant, or of all in which the caller may read jobs (None).

        `begins`: how their ids begin, only for all.
        """
        query = {"kind": list(kind), "audience": audience, "state": list(state), "begins": begins}
        path, names = _scoped(tenant, "/jobs")
        return self._calls.pages(path, *names, query=query, limit=limit)

    def job(self, tenant: str | None, job: str) -> Record:
        """A job with its history and progress: of a tenant, or of any in which the caller may read jobs (None)."""
        path, names = _scoped(tenant, "/jobs/{}")
        return self._get(path, *names, job)

    def receipt(self, tenant: str, job: str) -> Record:
        """The receipt of a job."""
        return self._get("/tenants/{}/jobs/{}/receipt", tenant, job)

    def rejects(
        self, tenant: str, job: str, *, code: str | None = None, rows: int = 0, cursor: str | None = None
    ) -> Record:
        """How many rows of a job were rejected, by code; and a page of so many rows."""
        query = {"code": code, "rows": rows or None, "cursor": cursor}
        return self._get("/tenants/{}/jobs/{}/rejects", tenant, job, query=query)

    def rejects_file(self, tenant: str, job: str) -> Record:
        """All rejected rows of a job as a Parquet file, with a URL that is valid for five minutes."""
        return self._get("/tenants/{}/jobs/{}/rejects/file", tenant, job)

    def events(self, tenant: str, *, kind: Sequence[str] = (), job: str | None = None) -> Iterator[Event]:
        """The present state of everything in a tenant, or of one job, and then what changes.

        Does not end: it connects again when the connection is lost, and says so (see `Event`). Raises `ApiError` if the
        first connection fails, or the token is no longer valid.
        """
        query = {"kind": list(kind), "job": job}
        return follow(lambda: self._calls.stream("/tenants/{}/events", tenant, query=query))

    def rejected_rows(self, tenant: str, job: str, *, code: str | None = None, page: int = PAGE) -> Iterator[Record]:
        """The rejected rows of a job, in the order of the file."""
        cursor = None
        while True:
            found = self.rejects(tenant, job, code=code, rows=page, cursor=cursor)
            yield from found["items"]
            if (cursor := found["next"]) is None:
                return

    # Questions

    def count(
        self,
        tenant: str,
        rule: str,
        *,
        timezone: str | None = None,
        exact: bool = False,
        users: int = 0,
        notes: bool = False,
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
        return self._post("/tenants/{}/counts", tenant, body=body)

    def names(self, tenant: str) -> Record:
        """Events, properties, attributes, audiences and segments that rules can name."""
        return self._get("/tenants/{}/names", tenant)

    def user(self, tenant: str, user: str) -> Record:
        """What is known of a user."""
        return self._post("/tenants/{}/user-lookups", tenant, body={"user": user})

    def explain(self, tenant: str, segment: str, user: str, *, as_of: str | None = None) -> Record:
        """Why a user is in a segment or not. `as_of`: RFC 3339, with an offset."""
        body = {"user": user, "as_of": as_of}
        return self._post("/tenants/{}/segments/{}/explanations", tenant, segment, body=body)

    def segment_coverage(self, tenant: str, segment: str) -> Record:
        """How far a segment is behind the topics, and how many members of its audiences no rule covers."""
        return self._get("/tenants/{}/segments/{}/coverage", tenant, segment)

    def query(self, tenant: str, sql: str, *, rows: int = 1000, timeout_s: float = 30.0) -> Record:
        """The result of one SELECT over `audience(...)` and `rejects(...)`."""
        return self._post("/tenants/{}/queries", tenant, body={"sql": sql, "rows": rows, "timeout_s": timeout_s})

    @contextmanager
    def stream_query(self, tenant: str, sql: str, *, timeout_s: float = 3600.0) -> Iterator[Rows]:
        """The columns and all rows of one SELECT, as they arrive; leaving the context ends the query.

        Reading the rows raises `ApiError` as well.
        """
        body = {"sql": sql, "timeout_s": timeout_s}
        with self._calls.records("/tenants/{}/query-streams", tenant, body=body) as records:
            yield rows_of(records)

    # Audiences, segments, schedules

    def audiences(self, tenant: str, *, current: bool = False) -> Iterator[Record]:
        """Audiences by name. `current`: each with its current version."""
        return self._calls.pages("/tenants/{}/audiences", tenant, query=_flag("current", current))

    def audience(self, tenant: str, audience: str, *, current: bool = False) -> Record:
        """One audience. `current`: with its current version, its table, and who is notified."""
        return self._get("/tenants/{}/audiences/{}", tenant, audience, query=_flag("current", current))

    def activity(self, tenant: str, kind: str) -> Record:
        """How files of `events` or `profiles` are read."""
        return self._get("/tenants/{}/activity/{}", tenant, kind)

    def versions(self, tenant: str, audience: str) -> Iterator[Record]:
        """Kept versions of an audience, newest first."""
        return self._calls.pages("/tenants/{}/audiences/{}/versions", tenant, audience)

    def version(self, tenant: str, audience: str, version: int) -> Record:
        """One kept version of an audience."""
        return self._get("/tenants/{}/audiences/{}/versions/{}", tenant, audience, str(version))

    def segments(self, tenant: str) -> Iterator[Record]:
        """Segments by name."""
        return self._calls.pages("/tenants/{}/segments", tenant)

    def segment(self, tenant: str, segment: str) -> Record:
        """One segment, with its partitions."""
        return self._get("/tenants/{}/segments/{}", tenant, segment)

    def rule_versions(self, tenant: str, segment: str) -> list[Record]:
        """The rules that a segment has had, oldest first."""
        return cast("list[Record]", self._get("/tenants/{}/segments/{}/versions", tenant, segment)["items"])

    def schedules(self, tenant: str) -> Iterator[Record]:
        """Schedules by name."""
        return self._calls.pages("/tenants/{}/schedules", tenant)

    def schedule(self, tenant: str, schedule: str) -> Record:
        """One schedule."""
        return self._get("/tenants/{}/schedules/{}", tenant, schedule)

    def recipients(self, tenant: str, audience: str | None = None) -> list[Record]:
        """Who is notified about an audience, or about all audiences."""
        found = self._get("/tenants/{}/recipients", tenant, query={"audience": audience})
        return cast("list[Record]", found["items"])

    # Access

    def grants(self, tenant: str | None) -> Grants:
        """The roles in a tenant, or in the deployment (None)."""
        path, names = _scoped(tenant, "/grants")
        return _with_etag(self._calls.call("GET", path, *names))

    def replace_grants(self, tenant: str | None, roles: Roles, *, etag: str) -> Grants:
        """Replace all roles in a tenant, or in the deployment (None). `etag`: of the grants that were read."""
        path, names = _scoped(tenant, "/grants")
        items = [{"principal": principal, "roles": list(held)} for principal, held in roles.items()]
        return _with_etag(self._calls.call("PUT", path, *names, body={"items": items}, headers={"If-Match": etag}))

    def tokens(self, tenant: str | None) -> Iterator[Token]:
        """Tokens that reach a tenant; or one's own, of all tenants (None). Newest first."""
        path, names = _scoped(tenant, "/tokens")
        return self._calls.pages(path, *names)

    def create_token(
        self,
        name: str,
        *,
        tenants: Roles | None = None,
        deployment: Sequence[str] = (),
        days: int | None = None,
    ) -> MadeToken:
        """Make a token of one's own, limited to these roles."""
        capped = {tenant: list(roles) for tenant, roles in (tenants or {}).items()}
        body = {"name": name, "tenants": capped, "deployment": list(deployment), "days": days}
        return cast(MadeToken, self._calls.call("POST", "/tokens", body=body)[0])

    def create_service_token(
        self, tenant: str, principal: str, name: str, roles: Sequence[str], *, days: int | None = None
    ) -> MadeToken:
        """Make a token of a service account of a tenant."""
        body = {"name": name, "roles": list(roles), "days": days, "principal": principal}
        return cast(MadeToken, self._calls.call("POST", "/tenants/{}/tokens", tenant, body=body)[0])

    def revoke_token(self, token: str, *, tenant: str | None = None) -> Token:
        """Revoke a token of one's own; or take a tenant from any that reaches it."""
        path, names = _scoped(tenant, "/tokens/{}")
        return cast(Token, self._calls.call("DELETE", path, *names, token)[0])

    def sessions(self) -> list[Session]:
        """One's own sessions in browsers that have not ended, newest first."""
        return cast("list[Session]", self._get("/sessions")["items"])

    def end_session(self, session: str) -> Session:
        """End a session of one's own."""
        return cast(Session, self._calls.call("DELETE", "/sessions/{}", session)[0])

    def console_url(self) -> str:
        """Where a browser gets in with one's rights, once, within a minute: not for the eyes of others."""
        made, _ = self._calls.call("POST", "/console-codes")
        return f"{self._url}{made['path']}"

    def audit(
        self,
        tenant: str,
        *,
        audience: str | None = None,
        job: str | None = None,
        since: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Who did what, newest first. `since`: RFC 3339, with an offset."""
        query = {"audience": audience, "job": job, "since": since}
        return self._calls.pages("/tenants/{}/audit", tenant, query=query, limit=limit)

    def whole_audit(
        self,
        *,
        tenant: str | None = None,
        on: str | None = None,
        job: str | None = None,
        since: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Who did what in all tenants and in the deployment, newest first. `on`: an object, such as `acme/vip`."""
        query = {"tenant": tenant, "on": on, "job": job, "since": since}
        return self._calls.pages("/audit", query=query, limit=limit)

    # Deployment

    def health(self) -> Record:
        """The service's state and version."""
        return self._get("/health")

    def me(self) -> Me:
        """The caller and its rights."""
        return cast(Me, self._get("/me"))

    def tenants(self) -> Iterator[Tenant]:
        """The tenants in which the caller has a right."""
        return self._calls.pages("/tenants")

    def create_tenant(self, tenant: str) -> Tenant:
        """Create a tenant."""
        return cast(Tenant, self._calls.call("POST", "/tenants", body={"tenant": tenant})[0])

    def principals(self) -> Iterator[Principal]:
        """People and service accounts."""
        return self._calls.pages("/principals")

    def create_principal(self, name: str, *, kind: str) -> Principal:
        """Create a `person` or a `service` account, without roles."""
        return cast(Principal, self._calls.call("POST", "/principals", body={"name": name, "kind": kind})[0])

    # Operations

    def begin_difference(self, tenant: str, audience: str, earlier: int, later: int, *, sample: int = 0) -> Record:
        """Begin to compare two versions; `operation` has the result."""
        body = {"earlier": earlier, "later": later, "sample": sample}
        return self._post("/tenants/{}/audiences/{}/differences", tenant, audience, body=body)

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
        return self._post("/tenants/{}/audiences/{}/files", tenant, audience, body=body)

    def begin_segment_check(self, tenant: str, segment: str, *, timeout_s: float = 120.0) -> Record:
        """Begin to compare the members of a segment with its rule; `operation` has the result."""
        return self._post("/tenants/{}/segments/{}/checks", tenant, segment, body={"timeout_s": timeout_s})

    def begin_inspection(
        self,
        tenant: str,
        source: str,
        *,
        kind: str = "audience",
        format: str | None = None,  # noqa: A002
    ) -> Record:
        """Begin to inspect a file in the object store; `operation` has the result."""
        return self._post("/tenants/{}/checks", tenant, body={"source": source, "kind": kind, "format": format})

    def begin_dry_run(
        self,
        tenant: str,
        target: str,
        *,
        source: str | None = None,
        upload: str | None = None,
        spec: Mapping[str, Any] | None = None,
        manifest: str | None = None,
    ) -> Record:
        """Begin a dry run of the import of an object or an upload; `operation` has the result."""
        body = {"source": source, "upload": upload, "target": target, "spec": spec or {}, "manifest": manifest}
        return self._post("/tenants/{}/checks", tenant, body=body)

    def operation(self, tenant: str, operation: str) -> Record:
        """An operation that the caller began, with its result or error."""
        return self._get("/tenants/{}/operations/{}", tenant, operation)

    def check(self, tenant: str, operation: str) -> Record:
        """The same, for a check of a file."""
        return self._get("/tenants/{}/checks/{}", tenant, operation)

    # Workers

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
        return int(self._post("/dead-letters/replays", body=body)["sent"])

    def connections(self, tenant: str | None = None) -> Record:
        """Addresses of the deployment, and snippets without keys. `tenant`: whose audiences they read."""
        return self._get("/connections", query={} if tenant is None else {"tenant": tenant})

    def notifications(self, *, limit: int = 100) -> Record:
        """Notifications that are waiting or were given up, and whether there are others."""
        return self._get("/notifications", query={"limit": limit})

    def resend_notifications(self, ids: Sequence[str] | None) -> int:
        """Start the delivery of notifications (None: all that were given up) again; returns of how many."""
        body = {"notifications": None if ids is None else list(ids)}
        return int(self._post("/notifications/resends", body=body)["resent"])

    def _post(self, path: str, *names: str, body: Mapping[str, Any]) -> Record:
        return cast(Record, self._calls.call("POST", path, *names, body=body)[0])

    def _get(self, path: str, *names: str, query: Mapping[str, Any] | None = None) -> Record:
        return cast(Record, self._calls.call("GET", path, *names, query=query)[0])


def _scoped(tenant: str | None, path: str) -> tuple[str, tuple[str, ...]]:
    return (path, ()) if tenant is None else ("/tenants/{}" + path, (tenant,))


def _flag(name: str, value: bool) -> Mapping[str, str]:  # noqa: FBT001  # its value
    return {name: "true"} if value else {}


def _with_etag(answer: tuple[Any, Mapping[str, str]]) -> Grants:
    record, headers = answer
    return {"items": record["items"], "etag": headers["etag"]}
