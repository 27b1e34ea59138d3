"""Reports of a partition task about its segments: sizes at intervals, and cuts on request."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from schemas.ids import AudienceName, Partition, TenantName
from schemas.layout import cut_key, s3_uri
from schemas.segment_messages import SegmentCut, SegmentStatus
from schemas.topics import SEGMENT_STATUS
from segmentation.partitions.partition import PartitionSegments
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import Sent, TaskEnvironment
from streams.segments.snapshots import PartitionSnapshot


class Reporter:
    """Reports of one partition."""

    def __init__(self, partition: Partition, config: SegmentWorkerConfig) -> None:
        self._partition = partition
        self._config = config
        self._reported_at = float("-inf")
        self._reported: list[SegmentStatus] = []

    def sizes(self, segments: PartitionSegments, now: float) -> list[Sent]:
        """Sizes of all segments, if a report is due; `now`: seconds of a steady clock."""
        if now - self._reported_at < self._config.status_after_s:
            return []
        statuses = list(self._statuses(segments))
        is_same = [replace(one, at_us=0) for one in statuses] == self._reported
        again_s = self._config.status_again_s
        if is_same and now // again_s == self._reported_at // again_s:  # all partitions at the same time
            return []
        self._reported_at = now
        self._reported = [replace(one, at_us=0) for one in statuses]
        return [(SEGMENT_STATUS, None, self._key(one.tenant, one.segment), one) for one in statuses]

    def cut(self, snapshot: PartitionSnapshot, environment: TaskEnvironment, emitted_to: int, generation: int) -> Sent:
        """A cut, with its file in the staging bucket. `emitted_to`: offset of the first change that it lacks."""
        request = snapshot.request
        part = None
        if len(snapshot.members):
            content = snapshot.content()
            key = cut_key(request.cut_id, self._partition, hashlib.sha256(content).hexdigest()[:32])
            environment.store.put_new(self._config.staging_bucket, key, content)
            part = s3_uri(self._config.staging_bucket, key)
        message = SegmentCut(
            cut_id=request.cut_id,
            tenant=request.tenant,
            segment=request.segment,
            rule_version=snapshot.rule_version,
            partition=self._partition,
            partitions=self._config.partitions,
            at_us=snapshot.position.at_us,
            events=snapshot.position.events,
            profiles=snapshot.position.profiles,
            activations=snapshot.position.activations,
            changes=emitted_to,
            generation=generation,
            members=len(snapshot.members),
            digest=snapshot.digest,
            part=part,
        )
        return SEGMENT_STATUS, None, self._key(request.tenant, request.segment), message

    def _statuses(self, segments: PartitionSegments) -> Iterator[SegmentStatus]:
        position = segments.position
        for tenant, of_tenant in segments.tenants.items():
            for name, active in of_tenant.rules.items():
                yield SegmentStatus(
                    tenant=tenant,
                    segment=AudienceName(name),
                    rule_version=active.version,
                    partition=self._partition,
                    partitions=self._config.partitions,
                    members=of_tenant.evaluator.size(name),
                    at_us=position.at_us,
                    events=position.events,
                    profiles=position.profiles,
                    activations=position.activations,
                    paused=active.paused,
                )

    def _key(self, tenant: TenantName, segment: AudienceName) -> bytes:
        return f"{tenant}/{segment}/{self._partition}".encode()
