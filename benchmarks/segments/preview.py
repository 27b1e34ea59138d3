"""Counting the members of draft rules: whole previews, over an archive in its state after maintenance."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import pyarrow as pa

from benchmarks.measure import Result, best_of
from benchmarks.segments.events import SPAN_US, TENANT, Messages, user_ids, write_events, write_profiles
from benchmarks.segments.fold import STEP_CHUNKS
from benchmarks.setting import Setting
from connectors.storage.writing import put_if_absent
from orchestration.answers.counts import count_users
from orchestration.answers.reading import Reading
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from orchestration.readers.questions import CountUsers
from schemas.ids import Partition
from schemas.layout import s3_uri
from schemas.segment_messages import ArchiveWritten
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.archiving import archive_files
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord

GOAL_S: Final = 2.0
RULES: Final = {
    "a count": "count(add_to_cart, 3d) >= 3",
    "a count, an attribute": "count(purchase, 30d) >= 2 and age >= 25",
    "a property": "count(purchase where amount >= 100, 7d) >= 1",
    "ever": "ever(purchase)",
    "last seen": "last(login) < 2030-01-01T00:00:00Z",
    "attributes": 'age >= 65 or plan = "pro"',
    "or": 'count(page_view where category = "shoes", 7d) >= 3 or count(purchase, 7d) >= 2 or country = "JP"',
    "never": "never(purchase)",
    "never, an attribute": 'never(purchase) and plan in ("plus", "pro")',
    "at most": "count(page_view, 7d) <= 2",
    "not": "not (count(add_to_cart, 7d) >= 1 or age < 18)",
    "not set": "plan is not set",
    "a sequence of two": "sequence(add_to_cart then purchase within 1d, 7d)",
    "a sequence without an end": "sequence(add_to_cart then not purchase within 1d, 7d)",
    "a sum": "sum(amount of purchase, 30d) >= 100",
    "different values": "distinct(category of page_view, 7d) >= 3",
    "last, so long ago": "last(purchase) 30d..90d ago",
}
"""Rules by what they use. Those from the eighth on to "not set" match users without any data, or might."""
GOALS_S: Final = {"a sequence of two": 4.0, "a sequence without an end": 4.0}
"""Other goals than `GOAL_S`."""


def run(setting: Setting) -> list[Result]:
    """Run previews for a tenant with all events in the archive, in the partitions of the stack."""
    archive(setting)
    results = []
    for label, text in RULES.items():
        ask = partial(asked, setting.settings, text)
        best = best_of(setting.repeat, asked, setting.settings, text, prepare=partial(_once, ask))
        results.append(
            Result(
                benchmark="preview",
                label=f"preview, {label}",
                best=best,
                target=f"< {GOALS_S.get(label, GOAL_S):g} s",
                met=best.wall_s < GOALS_S.get(label, GOAL_S),
                note=text,
            )
        )
    return results


def asked(settings: Settings, text: str) -> int:
    """Run one preview; returns the number of rows in the archive."""
    context = Context(settings)
    try:
        draft = CountUsers(tenant=TENANT, rule=text, timezone=None, exact=True, users=0, notes=True)
        count_users(Reading(context=context), draft)
        return sum(file.rows for topic in ACTIVITY_TOPICS for file in context.archive.files(topic, tenant=TENANT))
    finally:
        context.archive.close()
        context.database.close()


def _once(ask: Callable[[], int]) -> None:
    ask()


def archive(setting: Setting) -> None:
    """Archive events up to now, and profiles, as workers, committer and maintenance would."""
    context, partitions = Context(setting.settings), setting.settings.partitions
    context.audiences.add_tenant(TENANT, 1)
    users, begin_us = user_ids(setting.users), time.time_ns() // 1000 - SPAN_US
    events = write_events(setting.scratch / "events", users, setting.events, partitions=partitions, begin_us=begin_us)
    profiles = write_profiles(setting.scratch / "profiles", users, partitions=partitions)
    for topic, messages in ((EVENTS, events), (PROFILES, profiles)):
        context.archive.append(topic, [_written(context, topic, some, partitions) for some in _steps(messages, topic)])
        temp = setting.scratch / "compaction"
        while context.archive.compact(topic, temp_directory=temp).after:
            pass
        while context.archive.write_users(topic, temp_directory=temp):
            pass


def _steps(messages: Messages, topic: str) -> Iterator[Sequence[TopicRecord]]:
    """Records of one partition at a time, in steps of the size that a worker takes."""
    waiting: dict[int, list[TopicRecord]] = defaultdict(list)
    offsets: dict[int, int] = defaultdict(int)
    for partition, (value, _) in zip(messages.partitions, messages, strict=True):
        record = TopicRecord(
            topic=topic,
            partition=Partition(partition),
            offset=offsets[partition],
            key=None,
            value=value,
            received_at_us=messages.times[-1],
        )
        offsets[partition] += 1
        waiting[partition].append(record)
        if len(waiting[partition]) == STEP_CHUNKS:
            yield waiting.pop(partition)
    yield from waiting.values()


def _written(context: Context, topic: str, records: Sequence[TopicRecord], partitions: int) -> ArchiveWritten:
    """Steps 1 and 2 of a worker: the files of a range of offsets."""
    taken = (ingest_events if topic == EVENTS else ingest_profiles)(records, partitions)
    assert not taken.refusals, taken.refusals[:1]
    rows = pa.Table.from_batches([taken.rows])
    partition, first, end = records[0].partition, records[0].offset, records[-1].offset + 1
    uris = []
    for file in archive_files(topic, partition, rows, first_offset=first, end_offset=end):
        uris.append(s3_uri(context.settings.lake_bucket, str(file.key)))
        put_if_absent(context.s3.client(), context.settings.lake_bucket, str(file.key), file.content)
    return ArchiveWritten(topic=topic, partition=partition, first_offset=first, end_offset=end, files=tuple(uris))
