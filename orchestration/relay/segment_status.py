"""Status of segments -> catalog."""

import threading

from orchestration.context import Context
from orchestration.relay.folding import TopicFold
from schemas.messages import Message
from schemas.segment_messages import SegmentStatus
from schemas.topics import SEGMENT_STATUS, SEGMENT_STATUS_GROUP


def status_fold(context: Context, stop: threading.Event, changed: threading.Event) -> TopicFold:
    """Writes what workers say of the partitions of segments. Cuts are read by who has asked for them."""

    def put(messages: list[Message]) -> None:
        context.segments.put_statuses([message for message in messages if isinstance(message, SegmentStatus)])

    return TopicFold(context.settings.kafka_bootstrap, SEGMENT_STATUS, SEGMENT_STATUS_GROUP, put, stop, changed)
