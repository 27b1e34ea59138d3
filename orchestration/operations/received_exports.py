"""Exports as their receiver sees them: verified, and read, from the manifest alone."""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.sinks.checking import Difference, check
from connectors.sinks.receiving import read_manifest
from connectors.sources.fork_server import PARSERS
from connectors.sources.limits import ParseLimits
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.kinds.export.destinations import profile_of
from orchestration.platform.settings import Settings
from schemas.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedExports:
    """Reads manifests and their files. Uses no audience and no catalog."""

    limits: DuckLimits
    parse_limits: ParseLimits
    s3: S3Access
    settings: Settings

    def verify(
        self, address: str, *, profile: str | None = None, on_rows: Callable[[int], None] = lambda _: None
    ) -> tuple[Manifest, Difference | None]:
        """Read an export back from its manifest; returns the first difference, if any.

        Raises `UserError` NO_MANIFEST, BAD_MANIFEST, UNKNOWN_PROFILE, BAD_PROFILES, ACCESS_DENIED; `RetriableError`
        S3_UNAVAILABLE.
        """
        access = self.s3 if profile is None else profile_of(self.settings, profile).access
        PARSERS.prepare()  # starts while the manifest is read
        with read_manifest(address, access, self.limits.temp_directory) as (manifest, files):
            return manifest, check(manifest, files, limits=self.parse_limits, on_rows=on_rows)
