"""Consumes the progress topic into the catalog."""

import threading

from orchestration.catalog.progress import ProgressStore
from orchestration.control.topic_fold import TopicFold
from orchestration.kinds.materialised import as_row
from orchestration.platform.clock import now_ms
from schemas.messages import Message, PartitionFailed, PartitionMaterialised
from schemas.topics import IMPORT_PROGRESS, RELAY_GROUP


def progress_fold(
    progress: ProgressStore, bootstrap: str, stop: threading.Event, changed: threading.Event
) -> TopicFold:
    """Writes what workers announce about partitions of imports."""

    def put(messages: list[Message]) -> None:
        announcements = (m for m in messages if isinstance(m, PartitionMaterialised | PartitionFailed))
        if rows := [as_row(message, now_ms()) for message in announcements]:
            progress.put_partitions(rows)

    return TopicFold(bootstrap, IMPORT_PROGRESS, RELAY_GROUP, put, stop, changed)
