"""Resolves a request to a version of an audience."""

from datetime import datetime
from typing import TYPE_CHECKING

from orchestration.catalog.references import ref_of
from schemas.errors import UserError
from schemas.ids import Version

if TYPE_CHECKING:
    from orchestration.catalog.records import Audience
    from segmentation.versions import VersionStore


def resolve_version(
    versions: "VersionStore", audience: "Audience", *, version: int | None = None, as_of: datetime | None = None
) -> Version:
    """A version by its number, the one that was current at `as_of` (aware), or the current one.

    Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION.
    """
    ref = ref_of(audience)
    if version is not None:
        return versions.version(ref, Version(version)).version
    if as_of is not None:
        known = {info.version: info for info in versions.versions(ref)}
        found = max((info.version for info in known.values() if info.published_at <= as_of), default=None)
        # If a version survives only because it is held, its successor may have been current at that time, and be gone.
        if found is None or (found != max(known) and found + 1 not in known):
            raise UserError(
                "NO_SUCH_VERSION",
                f"audience {audience.name} had no version at {as_of.isoformat()}, or that version has expired",
                audience=audience.name,
            )
        return found
    current = versions.current(ref)
    if current is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)
    return current.version
