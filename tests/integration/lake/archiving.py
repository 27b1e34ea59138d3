"""Records archived as a worker does it, in their own bucket and catalog."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects, list_objects
from connectors.storage.writing import put_if_absent
from schemas.activity import EVENT_ROWS, PROFILE_ROWS
from schemas.ids import Partition, TenantName
from schemas.layout import s3_uri
from schemas.segment_messages import ArchiveWritten
from schemas.topics import EVENTS, PROFILES
from segmentation.archiving import archive_files

NOON: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)
ACME: Final = TenantName("acme")
HERE: Final = Partition(3)
SCHEMAS: Final[Mapping[str, pa.Schema]] = {EVENTS: EVENT_ROWS, PROFILES: PROFILE_ROWS}
_numbers = itertools.count()
_empty: dict[str, list[str]] = {}
"""Unused buckets, by server: creating and deleting one takes longer than most tests."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A lake bucket for one test."""

    s3: S3Access
    name: str

    @classmethod
    @contextmanager
    def new(cls, s3: S3Access) -> Iterator["Bucket"]:
        """An empty bucket. It is emptied and reused: each has its own volumes, and the server has few."""
        empty = _empty.setdefault(s3.endpoint, [])
        if not empty:
            name = f"lake-{next(_numbers)}"
            s3.client().create_bucket(Bucket=name)
            empty.append(name)
        bucket = cls(s3=s3, name=empty.pop())
        yield bucket
        delete_objects(s3.client(), bucket.name, [entry.key for entry in list_objects(s3.client(), bucket.name, "")])
        empty.append(bucket.name)

    def write(
        self,
        first: int,
        end: int,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        topic: str = EVENTS,
        partition: Partition = HERE,
    ) -> ArchiveWritten:
        """Write files with these rows; returns the worker's announcement."""
        table = pa.Table.from_pylist(list(rows), schema=SCHEMAS[topic])
        uris = []
        for file in archive_files(topic, partition, table, first_offset=first, end_offset=end):
            uris.append(s3_uri(self.name, str(file.key)))
            put_if_absent(self.s3.client(), self.name, str(file.key), file.content)
        return ArchiveWritten(topic=topic, partition=partition, first_offset=first, end_offset=end, files=tuple(uris))

    def keys(self, prefix: str = "activity/") -> set[str]:
        return {entry.key for entry in list_objects(self.s3.client(), self.name, prefix)}


def event(offset: int, user: str = "alice", **given: Any) -> dict[str, Any]:
    row = {"tenant": ACME, "user_id": user, "event": "order", "occurred_at": NOON, "identity": offset}
    return {**row, "properties": [], "offset": offset, "received_at": NOON, **given}


def change(offset: int, user: str = "alice", **given: Any) -> dict[str, Any]:
    row = {"tenant": ACME, "user_id": user, "deleted": False, "attributes": [], "offset": offset}
    return {**row, "received_at": NOON, **given}


def values(named: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A map of values in the form of rows; None is an entry without a value."""
    types = {float: "double", str: "string", bool: "boolean", datetime: "timestamp"}
    return [(name, {} if v is None else {types.get(type(v), "date"): v}) for name, v in named.items()]


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)
