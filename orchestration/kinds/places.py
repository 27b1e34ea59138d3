"""Addresses that a tenant may name: its own, and its places, which administrators of the deployment choose.

Its own are its uploads, what lies in the inbox below its name, and `download/<tenant>/`, where exports wait for their
receiver. A place is one of

    s3://bucket/prefix/     every object below the prefix; `s3://bucket` is the whole bucket
    kafka://TOPIC           exports to this topic
    https://host/path/      feeds to receivers below this address
    profile:NAME            exports with these credentials, to wherever they reach
    *                       everything: for a tenant that shares its machine with nobody

None of them opens the buckets of the lake and of staging, which hold rows of every tenant (`kinds.sources`,
`require_export_prefix`), and `*` ends where another tenant's folder begins. The service checks before it starts
anything, and registration again: a retry or a run of a schedule may come after the place is gone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Protocol, Self
from urllib.parse import unquote, urlsplit

from connectors.sinks.addresses import S3, s3_prefix
from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.catalog.places import EVERYWHERE
from orchestration.kinds.sources import require_source
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.ids import TenantName
from schemas.layout import DOWNLOADS_PREFIX, EXPORTS_PREFIX, UPLOADS_PREFIX, s3_uri, split_s3_uri

DOWNLOAD: Final = "download"
"""The destination of an export that its receiver fetches from the service."""
HTTP: Final = ("https://", "http://")
"""Addresses of receivers of feeds. `notifications.targets` says which of them may be called."""
PROFILE: Final = "profile:"
MAX_PLACE: Final = 1024
_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def checked_place(text: str) -> str:
    """A place in its one form: prefixes end with `/`. Raises `UserError` BAD_PLACE."""
    try:
        if text == EVERYWHERE or (text.startswith(PROFILE) and _PROFILE_NAME.fullmatch(text.removeprefix(PROFILE))):
            return text
        if text.startswith(SCHEME):
            return f"{SCHEME}{topic_of(text)}"
        if text.startswith(HTTP) and len(text) < MAX_PLACE:
            return _receivers(text)
        if text.startswith(S3) and len(text) < MAX_PLACE:
            bucket, prefix = s3_prefix(text)
            return s3_uri(bucket, prefix)
    except UserError as exc:
        raise UserError("BAD_PLACE", f"{text[:200]!r} is not a place: {exc.message}", place=text[:200]) from exc
    raise UserError(
        "BAD_PLACE",
        f"{text[:200]!r} is not a place: write s3://bucket/prefix/, kafka://TOPIC, https://host/path/, profile:NAME "
        "or *",
        place=text[:200],
    )


class Places(Protocol):
    """The part of `PlaceStore` that is needed here."""

    def of(self, tenant: TenantName) -> tuple[str, ...]:
        """See `PlaceStore.of`."""
        ...

    def is_tenant(self, name: str) -> bool:
        """See `PlaceStore.is_tenant`."""
        ...


class _AskedOnce:
    def __init__(self, places: Places) -> None:
        self.of = cache(places.of)
        self.is_tenant = places.is_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedLocations:
    """What one tenant may name. `places` is asked for addresses beyond its own: most imports need none."""

    tenant: TenantName
    places: Places
    settings: Settings

    def asking_once(self) -> Self:
        """The same for many addresses: it asks for the places once."""
        return replace(self, places=_AskedOnce(self.places))

    def require_source(self, bucket: str, key: str) -> None:
        """Raises `UserError` BAD_SOURCE for an object that the tenant may not read. `key` may have placeholders."""
        settings = self.settings
        require_source(settings, self.tenant, bucket, key)
        own = (
            (settings.staging_bucket, f"{UPLOADS_PREFIX}{self.tenant}/"),
            (settings.inbox_bucket, f"{settings.inbox_prefix}{self.tenant}/"),
        )
        if self._covers(bucket, key, own):
            return
        uri = s3_uri(bucket, key)[:200]
        if _dotted(key):
            why = "has a part `.` or `..`, by which some servers leave the tenant's folder; rename the object"
        else:
            why = (
                f"is not in a place of tenant {self.tenant}; upload the file, or ask an administrator of the "
                "deployment to add the place"
            )
        raise UserError("BAD_SOURCE", f"{uri} {why}", uri=uri)

    def require_destination(self, to: str, profile: str | None) -> None:
        """Raises `UserError` BAD_DESTINATION, BAD_URI for an address that the tenant may not export to."""
        if to == DOWNLOAD and profile is None:
            return
        places = self.places.of(self.tenant)
        if profile is not None and PROFILE + profile in places:
            return
        if to.startswith(S3):
            if profile is None:
                require_export_prefix(self.settings, self.tenant, to)
            bucket, key = split_s3_uri(to)
            folder = f"{key.rstrip('/')}/"
            own = ((self.settings.staging_bucket, self._downloads),)
            if profile is None and _below(bucket, folder, (*own, *_prefixes(places))):
                return
            if EVERYWHERE in places and not self._of_another(bucket, folder):
                return
        elif EVERYWHERE in places or (profile is None and (to in places or is_receiver_below(places, to))):
            return
        what = to[:200] if profile is None else f"profile {profile[:80]}"
        raise UserError(
            "BAD_DESTINATION",
            f"{what} is not a place of tenant {self.tenant}; export to `download`, or ask an administrator of the "
            "deployment to add the place",
            to=to[:200],
        )

    def resolved(self, to: str, export_id: str) -> str:
        """The address of a destination: for `download`, where this export waits for its receiver."""
        return s3_uri(self.settings.staging_bucket, f"{self._downloads}{export_id}") if to == DOWNLOAD else to

    @property
    def _downloads(self) -> str:
        return f"{DOWNLOADS_PREFIX}{self.tenant}/"

    def _covers(self, bucket: str, key: str, own: Sequence[tuple[str, str]]) -> bool:
        if _below(bucket, key, own):
            return True
        places = self.places.of(self.tenant)
        if _below(bucket, key, _prefixes(places)):
            return True
        # The inbox has a folder for each tenant, so "everywhere" ends at the others'.
        in_inbox = bucket == self.settings.inbox_bucket and (_dotted(key) or key.startswith(self.settings.inbox_prefix))
        return EVERYWHERE in places and not in_inbox

    def _of_another(self, bucket: str, folder: str) -> bool:
        """Whether a folder for exports in the lake's bucket bears the name of another tenant."""
        if bucket != self.settings.lake_bucket or not folder.startswith(EXPORTS_PREFIX):
            return False
        name = folder.removeprefix(EXPORTS_PREFIX).partition("/")[0]
        return name != self.tenant and self.places.is_tenant(name)


def _receivers(text: str) -> str:
    """An address of receivers: scheme, host and port, and a path that ends with `/`. Raises `UserError` BAD_URI."""
    url = urlsplit(text)
    if not url.hostname or "@" in url.netloc or url.query or url.fragment or _dotted(url.path):
        raise UserError("BAD_URI", "it is not of the form https://host/path/", uri=text[:200])
    path = url.path if url.path.endswith("/") else f"{url.path}/"
    return f"{url.scheme}://{url.netloc.lower()}{path}"


def is_receiver_below(places: Sequence[str], to: str) -> bool:
    """Whether the address of a receiver is below one of the places."""
    if not to.startswith(HTTP):
        return False
    url = urlsplit(to)
    # As servers see it: an escaped dot or slash would leave the path.
    path = unquote(url.path)
    here = f"{url.scheme}://{url.netloc.lower()}{path}"
    inside = not _dotted(path) and "\\" not in path
    return inside and any(f"{here}/".startswith(place) for place in places if place.startswith(HTTP))


def _prefixes(places: Sequence[str]) -> list[tuple[str, str]]:
    return [split_s3_uri(place) for place in places if place.startswith(S3)]


def _below(bucket: str, key: str, prefixes: Sequence[tuple[str, str]]) -> bool:
    return not _dotted(key) and any(bucket == where and key.startswith(prefix) for where, prefix in prefixes)


def _dotted(key: str) -> bool:
    """Whether a server that resolves dots, as a file system does, would leave a prefix of the key."""
    return any(part in {".", ".."} for part in key.split("/"))


def require_export_prefix(settings: Settings, tenant: str, to: str) -> None:
    """Allow a tenant's exports to Muster's own buckets below two prefixes only.

    The rest is Muster's own data, imported files, or downloads of other tenants.

    `to` is a prefix or an object in our own store. Raises `UserError` BAD_DESTINATION, BAD_URI.
    """
    bucket, key = split_s3_uri(to)
    allowed = {
        settings.inbox_bucket: "",
        settings.staging_bucket: f"{DOWNLOADS_PREFIX}{tenant}/",
        settings.lake_bucket: EXPORTS_PREFIX,
    }
    if bucket not in allowed:
        return
    prefix = allowed[bucket]
    # A server that resolves dots like a file system would leave the prefix.
    dotted = any(part in {"", ".", ".."} for part in key.rstrip("/").split("/"))
    if not prefix or dotted or not f"{key}/".startswith(prefix):
        raise UserError(
            "BAD_DESTINATION",
            f"{to[:200]} is in a bucket of Muster's own data; export to `download`, to "
            f"{s3_uri(settings.lake_bucket, EXPORTS_PREFIX)}..., to a bucket of yours, or to a local folder",
            to=to[:200],
        )
