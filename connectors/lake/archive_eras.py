"""A topic that was lost and made anew: the archive goes on behind what it has, though offsets begin at 0 again.

1. load the table, and how far it goes in each partition
2. the first record that the new log has will have the position at which the table ends: the `base` of each partition
3. commit base, era and id of the topic, together with a snapshot without files: no append that was begun before holds
What is announced for an earlier era is refused from then on. The same once more, of a topic that is archived already,
leaves positions as they are.
"""

import random
from collections.abc import Callable, Mapping
from typing import Final

from connectors.lake.archive_tables import BASE, ERA, TOPIC_ID, ArchiveTables, archived_log, archived_to
from connectors.lake.faults import lake_faults
from schemas.errors import RetriableError
from schemas.ids import Partition
from segmentation.archived import ArchivedLog

TRIES: Final = 20
PAUSE_S: Final = 0.5


def begin_anew(
    tables: ArchiveTables,
    topic: str,
    *,
    topic_id: str,
    starts: Mapping[Partition, int],
    era: int,
    sleep: Callable[[float], None],
) -> ArchivedLog:
    """Steps 1 to 3. `starts`: where the new log begins, of all of its partitions. `era` is higher than any before.

    Raises `RetriableError` ARCHIVE_CONFLICT, LAKE_UNAVAILABLE.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    for _ in range(TRIES):
        with lake_faults(f"beginning {topic} anew"):
            table = tables.find_or_create(topic)
            ends, log = archived_to(table), archived_log(table)
            if table.metadata.properties.get(TOPIC_ID + topic, topic_id) != topic_id:
                log = ArchivedLog(base={p: ends.get(p, start) - start for p, start in starts.items()})
            properties = {f"{BASE}{topic}.{partition}": str(base) for partition, base in log.base.items()}
            transaction = table.transaction()
            with transaction.update_snapshot().merge_append():
                pass
            transaction.set_properties(properties | {ERA + topic: str(era), TOPIC_ID + topic: topic_id})
            try:
                transaction.commit_transaction()
            except (CommitFailedException, ValidationException):
                sleep(PAUSE_S * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                continue
            return ArchivedLog(era=era, base=log.base)
    raise RetriableError("ARCHIVE_CONFLICT", f"{topic}: {TRIES} commits in a row lost against other writers")
