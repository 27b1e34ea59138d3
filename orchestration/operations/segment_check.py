"""Compares a segment's members in the stream with its rule evaluated over the archive.

These steps begin once workers know everything in the catalog (before that, a rule means something else to them):
1. Every partition is asked for a cut: the members at an instant shortly ahead.
2. Each partition writes its members, and reports the offsets at which they are valid.
3. Once the archive has everything below these offsets, the rule is evaluated over exactly that, at that instant.
4. Both must have the same members. The meaning of the rule must not have changed in the meantime.
5. What the partitions have written is removed.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from connectors.lake.activity_relations import Activity, EndOffsets, PinnedActivity
from connectors.lake.rule_answers import UnknownNames
from connectors.lake.segment_queries import Comparison
from connectors.lake.spark_queries import Members
from orchestration.catalog.segment_records import Segment
from orchestration.kinds.segment_meaning import Meaning
from orchestration.operations.cuts import POLL_S, ask_for_cuts
from orchestration.operations.segments import find
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import DUCKDB, SPARK
from orchestration.records.questions import UnknownMembers
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import JobId, Partition
from schemas.layout import cut_prefix
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import EVENTS, PROFILES
from segmentation.expressions.literals import EPOCH

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.activations import ActivationStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.kinds.segment_meaning import Meanings
    from orchestration.platform.settings import Settings

ActivityT = TypeVar("ActivityT", Activity, PinnedActivity)
AHEAD_S: Final = 2
"""A cut is requested for an instant in the future, so that no partition has passed it."""
SAMPLE: Final = 10
"""How many differing users are named."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Result of a check: both sizes, the difference, and the cut they refer to.

    `members`: at the offsets of the cut; it and `unknown` are empty if only one partition is checked.
    """

    cut_id: JobId
    rule_version: int
    at: datetime
    comparison: Comparison
    members: UnknownMembers = field(default_factory=UnknownMembers)
    unknown: UnknownNames = field(default_factory=UnknownNames)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCheck:
    """Checks segments; the steps are in the module's docstring."""

    activations: "ActivationStore"
    archive: "ActivityArchive"
    meanings: "Meanings"
    objects: "ObjectStore"
    segments: "SegmentStore"
    settings: "Settings"

    def run(
        self,
        tenant: str,
        name: str,
        timeout_s: float,
        sleep: Callable[[float], None] = time.sleep,
        only: Partition | None = None,
        engine: str = DUCKDB,
    ) -> Checked:
        """Compare the stream's members of a segment with its rule; the steps are in the module's docstring.

        `only`: check one partition and its users. `engine`: that evaluates the rule.

        Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED; `RetriableError` SEGMENT_NOT_READY, SEGMENT_CHANGED,
        CUT_TIMEOUT, KAFKA_UNAVAILABLE, LAKE_UNAVAILABLE; `FatalError` TOPIC_PARTITIONS_CHANGED; and with Spark as
        `SparkQueries`, `UserError` NO_SPARK.
        """
        on_spark = engine == SPARK
        if on_spark:
            _ = self.meanings.spark  # refused before workers are asked
        deadline = time.monotonic() + timeout_s
        segment, meaning = self._known_to_workers(tenant, name, deadline, sleep)
        request = CutRequested(
            cut_id=fresh_id(),
            tenant=segment.tenant,
            segment=segment.name,
            at_us=(now_ms() + AHEAD_S * 1000) * 1000,
        )
        try:
            cuts = ask_for_cuts(self.settings, request, deadline, only=only)  # 1, 2
            found = self._compare(segment, meaning, cuts, deadline, sleep, on_spark=on_spark)
            if only is not None:
                return found
            if on_spark:
                pinned = _below(self.meanings.pinned_activity(segment.tenant), cuts)
                asked = self.meanings.pinned_question(segment.tenant, meaning, pinned)
                members = meaning.unknown_members(self.meanings.spark, asked)
                return replace(found, members=members, unknown=self.meanings.spark.unknown_names(asked))
            everything = _below(self.meanings.activity(segment.tenant), cuts)
            unknown = self.meanings.queries.unknown_names(meaning.question(everything))
            members = self.meanings.unknown_members(segment.tenant, meaning, everything)
            return replace(found, members=members, unknown=unknown)
        finally:
            self._remove(request)  # 5

    def _known_to_workers(
        self, tenant: str, name: str, deadline: float, sleep: Callable[[float], None]
    ) -> tuple[Segment, Meaning]:
        """The segment and the meaning of its rule, once workers have been notified of it. Raises as `run`."""
        while True:
            segment = find(self.segments, tenant, name).segment
            meaning = self._active_meaning(segment)
            if self.activations.all_sent(segment.tenant):
                return segment, meaning
            if time.monotonic() > deadline:
                raise RetriableError(
                    "SEGMENT_NOT_READY",
                    f"workers have not yet been notified of all segments of {tenant}, or of the audiences "
                    "that these name",
                    segment=name,
                )
            sleep(POLL_S)

    def _compare(
        self,
        segment: Segment,
        meaning: Meaning,
        cuts: list[SegmentCut],
        deadline: float,
        sleep: Callable[[float], None],
        *,
        on_spark: bool,
    ) -> Checked:
        """Steps 3 and 4."""
        name = segment.name
        for cut in cuts:
            if cut.rule_version != segment.rule_version:
                raise RetriableError(
                    "SEGMENT_NOT_READY",
                    f"partition {cut.partition} has rule version {cut.rule_version} of {name}, not "
                    f"{segment.rule_version}; try again later",
                    segment=name,
                    partition=cut.partition,
                )
        self._wait_for_archive(cuts, deadline, sleep)  # 3
        by_instant: dict[int, list[SegmentCut]] = defaultdict(list)
        for cut in cuts:
            by_instant[cut.at_us].append(cut)
        parts = [cut.part for cut in cuts if cut.part is not None]
        groups = [(group, EPOCH + timedelta(microseconds=at_us)) for at_us, group in by_instant.items()]
        if on_spark:
            tables = self._members_on_spark(segment, meaning, groups)
            comparison = self.meanings.queries.compare_members(tables, parts, SAMPLE)
        else:
            activity = self.meanings.activity(segment.tenant, cuts[0].partition if len(cuts) == 1 else None)
            questions = [(meaning.question(_below(activity, group)), at) for group, at in groups]
            comparison = self.meanings.queries.compare(questions, parts, SAMPLE, self.settings.partitions)
        present = find(self.segments, segment.tenant, name).segment
        if present != segment or self._active_meaning(segment) != meaning:  # 4
            raise RetriableError(
                "SEGMENT_CHANGED",
                f"the meaning of the rule of {name} has changed in the meantime; check again",
                segment=name,
            )
        return Checked(
            cut_id=cuts[0].cut_id,
            rule_version=segment.rule_version,
            at=EPOCH + timedelta(microseconds=max(by_instant)),
            comparison=comparison,
        )

    def _members_on_spark(
        self, segment: Segment, meaning: Meaning, groups: Sequence[tuple[list[SegmentCut], datetime]]
    ) -> Iterator[Members]:
        activity = self.meanings.pinned_activity(segment.tenant)
        for group, at in groups:
            asked = self.meanings.pinned_question(segment.tenant, meaning, _below(activity, group))
            yield from self.meanings.spark.members(asked, at, self.settings.partitions)

    def _active_meaning(self, segment: Segment) -> Meaning:
        """Raises `UserError` SEGMENT_PAUSED: the members of a paused segment date from when it was paused."""
        rule = self.segments.versions(segment.segment_id)[segment.rule_version - 1].parsed
        meaning = self.meanings.resolve(segment.tenant, rule)
        if paused := [*((segment.name,) if segment.state == "paused" else ()), *meaning.paused]:
            raise UserError(
                "SEGMENT_PAUSED",
                f"{', '.join(paused)} is paused, so its members cannot be compared with a rule",
                segments=paused,
            )
        return meaning

    def _remove(self, request: CutRequested) -> None:
        """Files that a partition writes too late, or that cannot be removed now, are removed with other orphans."""
        try:
            self.objects.delete_prefix(self.settings.staging_bucket, cut_prefix(request.cut_id))
        except MusterError as exc:
            _log.warning("the members of cut %s were not removed: %s", request.cut_id, exc)

    def _wait_for_archive(self, cuts: list[SegmentCut], deadline: float, sleep: Callable[[float], None]) -> None:
        while True:
            events, profiles = self.archive.archived_to(EVENTS), self.archive.archived_to(PROFILES)
            behind = [
                cut.partition
                for cut in cuts
                if events.get(cut.partition, 0) < cut.events or profiles.get(cut.partition, 0) < cut.profiles
            ]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise RetriableError(
                    "CUT_TIMEOUT",
                    f"the archive has not reached the cut in partitions {', '.join(map(str, behind))}",
                    partitions=behind,
                )
            sleep(POLL_S)


def _below(activity: ActivityT, cuts: Sequence[SegmentCut]) -> ActivityT:
    """The activity that the partitions of these cuts had read."""
    return replace(
        activity,
        events_below=EndOffsets(ends={cut.partition: cut.events for cut in cuts}),
        profiles_below=EndOffsets(ends={cut.partition: cut.profiles for cut in cuts}),
    )
