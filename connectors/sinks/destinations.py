"""Where an export goes: a local folder, or a prefix of an object store. The manifest comes last and is never replaced.

A reader that starts at the manifest sees a whole export or none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from connectors.sinks.addresses import local_path
from connectors.sinks.local_folder import LocalFolder
from connectors.sinks.profiles import DestinationProfile
from connectors.sinks.s3_prefix import S3Prefix
from connectors.storage.access import S3Access
from schemas.errors import UserError


class Destination(Protocol):
    """Takes the files of one export. Raises `UserError` DESTINATION_NOT_WRITABLE, and what its store raises."""

    def check(self) -> None:
        """Raise what can be known of writing there before anything is read; leaves no file."""

    def manifest(self) -> bytes | None:
        """The manifest of the export that is there already, as far as a manifest may be long."""

    def put(self, path: Path, key: str) -> None:
        """A file, which is moved or copied. The same key again is no error when it has the same bytes.

        Raises `UserError` DESTINATION_KEY_TAKEN when it has others: nothing is overwritten.
        """

    def put_manifest(self, data: bytes) -> bool:
        """The manifest, unless there is one: then False."""

    def remove(self, key: str) -> None:
        """Take a file back that no manifest names."""

    def keys(self) -> Iterator[str]:
        """Of all files that are there."""

    def uri(self, key: str) -> str:
        """Where a file is, for people."""

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """A folder for files before `put`, removed with what is left in it. Turns a full disk into an error of ours."""


def destination(to: str, access: S3Access, profile: DestinationProfile | None = None) -> Destination:
    """The destination that a person names: a path, or `s3://bucket/prefix` with our own credentials or a profile's.

    Raises `UserError` BAD_URI, OUTSIDE_PROFILE.
    """
    if "://" not in to:
        if profile is not None:
            raise UserError("BAD_URI", f"profile {profile.name} is for s3://bucket/prefix, not for {to[:200]}", uri=to)
        return LocalFolder(local_path(to))
    if profile is None:
        return S3Prefix(access, to)
    profile.admit(to)
    return S3Prefix(profile.access, to, extra=profile.extra, profile=profile.name)
