"""Consumes the status of segments, and parts of their snapshots, into the catalog."""

import threading

from orchestration.catalog.jobs import JobStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.segments import SegmentStore
from orchestration.control.topic_fold import TopicFold
from orchestration.kinds.snapshot.cuts import put_cuts
from orchestration.platform.clock import now_ms
from schemas.messages import Message
from schemas.segment_messages import SegmentCut, SegmentStatus
from schemas.topics import SEGMENT_STATUS, SEGMENT_STATUS_GROUP


def status_fold(
    segments: SegmentStore,
    jobs: JobStore,
    progress: ProgressStore,
    bootstrap: str,
    stop: threading.Event,
    changed: threading.Event,
) -> TopicFold:
    """Writes the status of each partition of a segment, and the parts that snapshots have asked for."""

    def put(messages: list[Message]) -> None:
        segments.put_statuses([message for message in messages if isinstance(message, SegmentStatus)])
        if cuts := [message for message in messages if isinstance(message, SegmentCut)]:
            put_cuts(jobs, progress, cuts, now_ms())

    return TopicFold(bootstrap, SEGMENT_STATUS, SEGMENT_STATUS_GROUP, put, stop, changed)
