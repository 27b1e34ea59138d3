"""What changes something, and starts jobs. Part of `Client`."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from orchestration.client.calls import Calls
from orchestration.client.errors import ApiError
from orchestration.client.records import Record
from orchestration.client.repeating import start, until_answered
from orchestration.client.sending import BytesListener, send_piece

SENDS: Final = 4
"""How often a file, or a part of it, is sent that does not arrive."""
PAUSE_S: Final = 0.5
"""Before the second try; each later pause is twice as long."""
SENT_AGAIN: Final = frozenset({403, 412})
"""Refusals that a fresh request may cure: the last one has expired, or its file has arrived without an answer."""
ValueT = TypeVar("ValueT")
Tagged = tuple[Record, str]
"""A record, and its ETag, which a change of it sends back."""


class Writes:
    """Methods that start something take `key`: repeat them with the same key after an error, and it starts once.

    Without one they make a fresh key, and repeat the request themselves for 45 s.
    """

    _calls: Calls

    # Jobs

    def start_import(self, tenant: str, *, key: str | None = None, **wanted: Any) -> Record:
        """Start an import; returns {job}. `wanted`: members of `NewImport` in docs/openapi.json."""
        return start(self._calls, "/tenants/{}/imports", tenant, body=wanted, key=key)

    def import_file(
        self,
        tenant: str,
        path: Path,
        *,
        key: str | None = None,
        on_bytes: BytesListener = lambda _: None,
        **wanted: Any,
    ) -> Record:
        """Upload a file and start its import; returns {job}. `wanted`: as `start_import`, without its source."""
        made_key = key or secrets.token_hex(16)
        upload = self.send_file(tenant, path, key=f"{made_key}-upload", on_bytes=on_bytes)
        return self.start_import(tenant, key=made_key, upload=upload["upload"], **wanted)

    def start_export(self, tenant: str, *, key: str | None = None, **wanted: Any) -> Record:
        """Start an export; returns {export}. `wanted`: members of `NewExport` in docs/openapi.json."""
        return start(self._calls, "/tenants/{}/exports", tenant, body=wanted, key=key)

    def export_files(self, tenant: str, export: str) -> Record:
        """The files of an export to `download`, with URLs that are valid for five minutes."""
        return self._send("GET", "/tenants/{}/exports/{}/files", tenant, export)

    def cancel(self, tenant: str, job: str) -> Record:
        """Cancel a job."""
        return self._send("PUT", "/tenants/{}/jobs/{}/cancellation", tenant, job)

    def retry(
        self,
        tenant: str,
        job: str,
        *,
        with_audience_settings: bool = False,
        force: bool = False,
        key: str | None = None,
    ) -> Record:
        """Run a FAILED or CANCELLED job again; returns {job or export, retry_of}."""
        body = {"with_audience_settings": with_audience_settings, "force": force}
        return start(self._calls, "/tenants/{}/jobs/{}/retries", tenant, job, body=body, key=key)

    # Uploads

    def create_upload(
        self,
        tenant: str,
        name: str,
        size: int,
        *,
        content_type: str = "application/octet-stream",
        key: str | None = None,
    ) -> Record:
        """Begin an upload; `put` is the request that sends it, or `parts` says in how many parts it is sent."""
        body = {"name": name, "size": size, "content_type": content_type}
        return start(self._calls, "/tenants/{}/uploads", tenant, body=body, key=key)

    def send_file(
        self, tenant: str, path: Path, *, key: str | None = None, on_bytes: BytesListener = lambda _: None
    ) -> Record:
        """Upload a file; returns the stored upload. No effect if it was stored under the key before. Raises OSError.

        What does not arrive is sent again, a few times. Characters of its name that are not printable become `_`.
        """
        size, key = path.stat().st_size, key or secrets.token_hex(16)

        def send() -> str:
            made = self.create_upload(tenant, _shown_name(path), size, key=key)  # a repeat has a fresh request
            upload = str(made["upload"])
            if self.upload(tenant, upload)["state"] == "unfinished":
                if made["put"] is not None:
                    send_piece(made["put"], path, 0, size, on_bytes)
                else:
                    self._send_parts(tenant, upload, path, size, made["parts"], on_bytes)
            return upload

        upload = _sent(send)
        return until_answered(lambda: self.complete_upload(tenant, upload))  # not all again for a restarting service

    def upload(self, tenant: str, upload: str) -> Record:
        """An upload, and whether it has arrived."""
        return self._send("GET", "/tenants/{}/uploads/{}", tenant, upload)

    def upload_parts(self, tenant: str, upload: str, parts: Sequence[int]) -> list[Record]:
        """Requests that send parts of a file above 5 GiB."""
        found = self._send("POST", "/tenants/{}/uploads/{}/parts", tenant, upload, body={"parts": list(parts)})
        return cast("list[Record]", found["items"])

    def complete_upload(self, tenant: str, upload: str) -> Record:
        """Check that the whole file has arrived, and join its parts."""
        return self._send("PUT", "/tenants/{}/uploads/{}/completion", tenant, upload)

    def delete_upload(self, tenant: str, upload: str) -> Record:
        """Delete an upload."""
        return self._send("DELETE", "/tenants/{}/uploads/{}", tenant, upload)

    # Audiences

    def create_audience(self, tenant: str, audience: str, **given: Any) -> Tagged:
        """Create an audience, with `settings` and `retention`."""
        return self._tagged("POST", "/tenants/{}/audiences", tenant, body={"audience": audience, **given})

    def audience_with_etag(self, tenant: str, audience: str) -> Tagged:
        """An audience, and its ETag."""
        return self._tagged("GET", "/tenants/{}/audiences/{}", tenant, audience)

    def configure_audience(self, tenant: str, audience: str, *, etag: str, **changes: Any) -> Tagged:
        """Change `settings`, `retention` and `recipients` of an audience."""
        return self._tagged("PATCH", "/tenants/{}/audiences/{}", tenant, audience, body=changes, etag=etag)

    def configure_activity(self, tenant: str, kind: str, settings: Mapping[str, Any]) -> Record:
        """Change how files of `events` or `profiles` are read."""
        return self._send("PATCH", "/tenants/{}/activity/{}", tenant, kind, body={"settings": settings})

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

    def rename_audience(
        self, tenant: str, audience: str, new_name: str, *, etag: str, key: str | None = None
    ) -> Record:
        """Rename an audience; returns an operation."""
        path, headers = "/tenants/{}/audiences/{}/renames", {"If-Match": etag}
        return start(self._calls, path, tenant, audience, body={"audience": new_name}, key=key, headers=headers)

    def delete_audience(self, tenant: str, audience: str, *, etag: str) -> Record:
        """Delete an audience with all its versions; returns an operation."""
        return self._send("DELETE", "/tenants/{}/audiences/{}", tenant, audience, etag=etag)

    def operation(self, tenant: str, operation: str) -> Record:
        """An operation: `pending`, `done` or `failed`."""
        return self._send("GET", "/tenants/{}/operations/{}", tenant, operation)

    # Segments

    def create_segment(
        self, tenant: str, segment: str, rule: str | Mapping[str, Any], *, timezone: str | None = None
    ) -> Tagged:
        """Create a segment, with its rule as text or JSON."""
        body = {"segment": segment, "rule": rule, "timezone": timezone}
        return self._tagged("POST", "/tenants/{}/segments", tenant, body=body)

    def segment_with_etag(self, tenant: str, segment: str) -> Tagged:
        """A segment with its partitions, and its ETag."""
        return self._tagged("GET", "/tenants/{}/segments/{}", tenant, segment)

    def edit_segment(
        self, tenant: str, segment: str, rule: str | Mapping[str, Any], *, etag: str, timezone: str | None = None
    ) -> Tagged:
        """Change the rule of a segment."""
        body = {"rule": rule, "timezone": timezone}
        return self._tagged("PUT", "/tenants/{}/segments/{}", tenant, segment, body=body, etag=etag)

    def delete_segment(self, tenant: str, segment: str, *, etag: str) -> Record:
        """Delete a segment; returns it as it was."""
        return self._send("DELETE", "/tenants/{}/segments/{}", tenant, segment, etag=etag)

    def change_segment_state(self, tenant: str, segment: str, state: str) -> Tagged:
        """Make a segment `active` or `paused`."""
        return self._tagged("PUT", "/tenants/{}/segments/{}/state", tenant, segment, body={"state": state})

    def snapshot_segment(self, tenant: str, segment: str, *, key: str | None = None, **wanted: Any) -> Record:
        """Publish the members of a segment as a version of an audience; returns {job}."""
        return start(self._calls, "/tenants/{}/segments/{}/snapshots", tenant, segment, body=wanted, key=key)

    # Schedules, recipients, places

    def create_schedule(self, tenant: str, name: str, expression: str, **wanted: Any) -> Tagged:
        """Create a schedule. `wanted`: `timezone`, and one of `import`, `export`, `snapshot`."""
        body = {"name": name, "expression": expression, **wanted}
        return self._tagged("POST", "/tenants/{}/schedules", tenant, body=body)

    def schedule_with_etag(self, tenant: str, schedule: str) -> Tagged:
        """A schedule, and its ETag."""
        return self._tagged("GET", "/tenants/{}/schedules/{}", tenant, schedule)

    def change_schedule(self, tenant: str, schedule: str, *, etag: str, **changes: Any) -> Tagged:
        """Change `expression`, `timezone`, `enabled`, or members of `import`, `export`, `snapshot`; the rest stays."""
        return self._tagged("PATCH", "/tenants/{}/schedules/{}", tenant, schedule, body=changes, etag=etag)

    def delete_schedule(self, tenant: str, schedule: str, *, etag: str) -> Record:
        """Delete a schedule; returns it as it was."""
        return self._send("DELETE", "/tenants/{}/schedules/{}", tenant, schedule, etag=etag)

    def run_schedule(self, tenant: str, schedule: str, *, key: str | None = None) -> Record:
        """Start a run now; returns {job or export}."""
        return start(self._calls, "/tenants/{}/schedules/{}/runs", tenant, schedule, key=key)

    def replace_recipients(
        self, tenant: str, *, email: Sequence[str], webhook: Sequence[str], audience: str | None = None
    ) -> list[Record]:
        """Replace who is notified about an audience, or about all audiences."""
        body, query = {"email": list(email), "webhook": list(webhook)}, {"audience": audience}
        found, _ = self._calls.call("PUT", "/tenants/{}/recipients", tenant, query=query, body=body)
        return cast("list[Record]", found["items"])

    def change_recipients(
        self,
        tenant: str,
        *,
        email: Sequence[str] | None = None,
        webhook: Sequence[str] | None = None,
        audience: str | None = None,
    ) -> Record:
        """Replace who is notified by mail or by webhook; None leaves a channel. Returns {items, warnings}."""
        given = {"email": email, "webhook": webhook}
        body = {name: list(value) for name, value in given.items() if value is not None}
        found, _ = self._calls.call("PATCH", "/tenants/{}/recipients", tenant, query={"audience": audience}, body=body)
        return cast(Record, found)

    def places(self) -> Tagged:
        """The places of all tenants, and their ETag."""
        return self._tagged("GET", "/places")

    def replace_places(self, places: Mapping[str, Sequence[str]], *, etag: str) -> Tagged:
        """Replace the places of all tenants."""
        items = [{"tenant": tenant, "places": list(of)} for tenant, of in places.items()]
        return self._tagged("PUT", "/places", body={"items": items}, etag=etag)

    def _send_parts(
        self, tenant: str, upload: str, path: Path, size: int, parts: Mapping[str, int], on_bytes: BytesListener
    ) -> None:
        of = parts["bytes"]
        for number in range(1, parts["count"] + 1):

            def send(number: int = number, at: int = (number - 1) * of) -> None:
                [request] = self.upload_parts(tenant, upload, [number])
                send_piece(request, path, at, min(of, size - at), on_bytes)

            _sent(send)

    def _send(self, method: str, path: str, *names: str, body: Any = None, etag: str | None = None) -> Record:
        headers = {} if etag is None else {"If-Match": etag}
        return cast(Record, self._calls.call(method, path, *names, body=body, headers=headers)[0])

    def _tagged(self, method: str, path: str, *names: str, body: Any = None, etag: str | None = None) -> Tagged:
        headers = {} if etag is None else {"If-Match": etag}
        record, received = self._calls.call(method, path, *names, body=body, headers=headers)
        return record, received["etag"]


def _sent(send: Callable[[], ValueT]) -> ValueT:
    """What a call returns, which is made again if the object store does not answer, or refuses an expired request."""
    for last in range(1, SENDS + 1):
        try:
            return send()
        except ApiError as exc:
            if (exc.kind != "retriable" and exc.status not in SENT_AGAIN) or last == SENDS:
                raise
            time.sleep(PAUSE_S * 2 ** (last - 1))
    raise AssertionError(SENDS)


def _shown_name(path: Path) -> str:
    """The name of a file as the service takes it: at most 255 characters, of which the last ones say its format."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in path.name)[-255:]
