"""Revisions for optimistic concurrency. The API carries them as ETags."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import NewType

from schemas.errors import UserError
from schemas.records import as_record

Seen = NewType("Seen", str)
"""The revision that a caller has read; the API takes it from the header If-Match."""


def revision_of(record: object, members: tuple[str, ...]) -> str:
    """Changes whenever one of these members of a record does."""
    values = [record[name] if isinstance(record, Mapping) else getattr(record, name) for name in members]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=as_record)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def require_revision(present: str, seen: str) -> None:
    """Raises `UserError` STALE_ETAG if a thing has changed since the caller read it."""
    if present != seen:
        raise UserError("STALE_ETAG", "this has changed since it was read; read it again, then repeat the change")


def unchanged(members: tuple[str, ...], seen: Seen) -> Callable[[object], None]:
    """A check for stores: raises `UserError` STALE_ETAG for a thing whose revision is not the one seen."""
    return lambda present: require_revision(revision_of(present, members), seen)
