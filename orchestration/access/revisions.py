"""Revisions: what a change must have seen of the thing that it changes. The API carries them as ETags."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import UserError

AUDIENCE: Final = ("audience", "audience_id", "spec", "retention", "notified")
"""Without `current` and `table`: a version that is published makes no change of settings stale."""
SEGMENT: Final = ("segment_id", "state", "rule_version")
SCHEDULE: Final = ("schedule", "expression", "timezone", "enabled", "request")


def revision_of(record: Mapping[str, Any], members: tuple[str, ...]) -> str:
    """Changes whenever one of these members of a record does."""
    text = json.dumps([record[name] for name in members], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def require_revision(present: str, seen: str) -> None:
    """Raises `UserError` STALE_ETAG if a thing has changed since the caller read it."""
    if present != seen:
        raise UserError("STALE_ETAG", "this has changed since it was read; read it again, then repeat the change")
