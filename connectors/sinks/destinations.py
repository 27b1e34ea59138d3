"""Destinations of exports: a local folder, or a prefix in an object store. The manifest is last and never replaced.

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
    """Receives the files of one export. Raises `UserError` DESTINATION_NOT_WRITABLE, and errors of its store."""

    def check(self) -> None:
        """Raise errors of writing there that can be detected before anything is read; leaves no file behind."""

    def manifest(self) -> bytes | None:
        """The manifest that is there already, cut at the maximum length of a manifest; None if there is none."""

    def put(self, path: Path, key: str) -> None:
        """Move or copy a file to `key`. Repeating it with the same key and bytes is no error.

        Raises `UserError` DESTINATION_KEY_TAKEN if the key has other bytes: nothing is overwritten.
        """

    def put_manifest(self, data: bytes) -> bool:
        """Write the manifest. False if there is one already."""

    def remove(self, key: str) -> None:
        """Remove a file that no manifest names."""

    def keys(self) -> Iterator[str]:
        """Keys of all files at the destination."""

    def uri(self, key: str) -> str:
        """Address of a file, for people."""

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """A folder for files before `put`, removed with its contents. Translates the error of a full disk."""


def destination(to: str, access: S3Access, profile: DestinationProfile | None = None) -> Destination:
    """The destination for an address: a path, or `s3://bucket/prefix` with our own credentials or a profile's.

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
