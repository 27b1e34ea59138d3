"""What the workflow knows of units that run side by side: a JSON array in staging, which a Map reads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from connectors.storage.objects import ObjectStore
from orchestration.kinds.compute_target import compute_target
from orchestration.kinds.records import ImportRecords
from orchestration.kinds.timeouts import timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A unit: the bytes and members that decide where it runs and how long it may take; `times`: of which stages."""

    number: int
    bytes: int
    members: int = 0
    times: tuple[str, ...]


def for_workflow(works: Iterable[Work], key: str, *, records: ImportRecords, objects: ObjectStore) -> dict[str, Any]:
    """Store units for the workflow. Returns where it reads them, and how many it takes at once."""
    settings = records.settings
    items = [_item(work, records) for work in works]
    objects.put(settings.staging_bucket, key, json.dumps(items).encode())
    return {"bucket": settings.staging_bucket, "key": key, "at_once": settings.units_side_by_side}


def _item(work: Work, records: ImportRecords) -> dict[str, Any]:
    """Numbers are texts: arguments of containers are."""
    place = compute_target(records.settings, work.bytes)
    seconds = timeouts(work.bytes, work.members, place)
    return {"number": str(work.number), "place": place} | {name: seconds[name] for name in work.times}
