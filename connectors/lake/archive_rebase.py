"""Rebases a topic that was lost and recreated: positions in the archive continue although offsets restart at 0.

1. load the table, and how far it goes in each partition
2. the first record of the new log gets the position at which the table ends; the difference is the partition's `base`
3. commit base, log epoch and topic id together with a snapshot without files, which invalidates every append that
   began before

Files announced for an earlier log epoch are refused from then on. Repeating it for a topic that is already archived
leaves positions unchanged.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from connectors.lake.archive_tables import (
    BASE,
    LOG_EPOCH,
    TOPIC_ID,
    ArchiveTables,
    archived_log,
    archived_to,
    archived_topic_id,
)
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit
from schemas.ids import Partition
from segmentation.archived import ArchivedLog

if TYPE_CHECKING:
    from pyiceberg.table import Table


def rebase(
    tables: ArchiveTables,
    topic: str,
    *,
    topic_id: str,
    starts: Mapping[Partition, int],
    log_epoch: int,
    sleep: Callable[[float], None],
) -> ArchivedLog:
    """Steps 1 to 3. `starts`: where the new log begins, for all its partitions. `log_epoch`: higher than any before.

    Raises `RetriableError` ARCHIVE_CONFLICT, LAKE_UNAVAILABLE.
    """

    def decide(table: "Table") -> Decision[ArchivedLog]:
        log, known = archived_log(table), archived_topic_id(table)
        if (log.epoch, known) == (log_epoch, topic_id):
            return Settled(log)
        base = log.base
        if known not in {None, topic_id}:
            ends = archived_to(table)
            base = {p: ends.get(p, start) - start for p, start in starts.items()}
        transaction = table.transaction()
        with transaction.update_snapshot().merge_append():
            pass
        properties = {f"{BASE}{topic}.{partition}": str(added) for partition, added in base.items()}
        transaction.set_properties(properties | {LOG_EPOCH + topic: str(log_epoch), TOPIC_ID + topic: topic_id})
        return Staged(transaction, ArchivedLog(epoch=log_epoch, base=base))

    return decide_and_commit(
        lambda: tables.find_or_create(topic),
        decide,
        doing=f"rebasing the archive of {topic}",
        conflict=commit_conflict("ARCHIVE_CONFLICT", topic=topic),
        sleep=sleep,
    )
