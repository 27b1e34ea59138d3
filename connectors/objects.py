"""S3 objects: pinned sources that are read as they were, and the few writes that Muster makes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One version of one object: by version id where the bucket has versions, by etag everywhere."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int
    last_modified: datetime


class ObjectStore:
    """Reads pinned objects."""

    def stream(self, source: SourceObject) -> Iterator[bytes]:
        """Blocks of the pinned object, in order."""
        raise NotImplementedError
