"""Progress topic -> catalog."""

import threading

from orchestration.context import Context
from orchestration.control.folding import TopicFold
from orchestration.kinds.materialised import as_row
from orchestration.platform.clock import now_ms
from schemas.messages import Message, PartitionFailed, PartitionMaterialised
from schemas.topics import IMPORT_PROGRESS, RELAY_GROUP


def progress_fold(context: Context, stop: threading.Event, changed: threading.Event) -> TopicFold:
    """Writes what workers say of the partitions of imports."""

    def put(messages: list[Message]) -> None:
        said = (m for m in messages if isinstance(m, PartitionMaterialised | PartitionFailed))
        if rows := [as_row(message, now_ms()) for message in said]:
            context.progress.put_partitions(rows)

    return TopicFold(context.settings.kafka_bootstrap, IMPORT_PROGRESS, RELAY_GROUP, put, stop, changed)
