"""Segments of a tenant."""

from typing import Annotated, Final

from orchestration.access.bodies.segments import NewSegment, NewSnapshot, SegmentEdit, SegmentRule, SegmentState
from orchestration.access.guard import SHOWN, Entry, reads, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.listed import By, Part
from orchestration.access.pages import Page, Tagged, first
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.listing import Listing
from orchestration.catalog.segment_sizes import DAY_MS, KEPT_DAYS
from orchestration.operations.feeds import unexcluded_lists
from orchestration.operations.snapshots import snapshot
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.records.fields import About
from orchestration.records.jobs import Started
from orchestration.records.segments import RuleVersion, Segment, SegmentDetail, SegmentSize
from schemas.ids import JobId, segment_name

OF_RULES: Final = (
    "BAD_NAME",
    "BAD_RULE",
    "RULE_TOO_BIG",
    "BAD_TIMEZONE",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_SEGMENT",
    "SEGMENT_CYCLE",
)


class Segments(TenantView):
    """Segments as one caller sees and changes them."""

    @reads(Action.READ, "GET /segments")
    def list_segments(self, *, part: Part = "", order: By = "name", after: str = "", limit: int) -> Page[Segment]:
        """Segments, with their sizes."""
        listing = Listing(part=part, order=order)
        found = self._services.segments.page(
            self._name,
            listing=listing,
            after=after,
            limit=limit + 1,
            partitions=self._services.partitions,
            now_ms=now_ms(),
        )
        return first(found, limit, lambda one: listing.key(one.segment, one.segment_id))

    @reads(Action.READ)
    def count_segments(self, *, part: str = "") -> int:
        """How many segments have this part in their names."""
        return self._services.segments.count(self._name, Listing(part=part))

    @reads(Action.READ, "GET /segments/{segment}")
    def get_segment(self, segment: str) -> Tagged[SegmentDetail]:
        """A segment with the latest report of each partition."""
        services, name = self._services, segment_name(segment)
        rule = services.segments.rule(services.segments.get(self._name, name))
        return services.segments.detail(
            self._name,
            name,
            unexcluded_lists=unexcluded_lists(services.consent.of(self._name).lists, rule),
            partitions=services.partitions,
            now_ms=now_ms(),
        )

    @reads(Action.READ, "GET /segments/{segment}/versions")
    def list_rule_versions(self, segment: str) -> list[RuleVersion]:
        """The rules that a segment has had, oldest first."""
        return self._services.segments.rules_of(self._name, segment_name(segment))

    @reads(Action.READ, "GET /segments/{segment}/sizes")
    def list_segment_sizes(
        self, segment: str, *, days: Annotated[int, About("How far to look back.", ge=1, le=KEPT_DAYS)] = 30
    ) -> list[SegmentSize]:
        """How many members a segment had, hour by hour, oldest first."""
        return self._services.segments.sizes(self._name, segment_name(segment), since_ms=now_ms() - days * DAY_MS)

    @recorded(
        Action.WRITE_SEGMENTS,
        "segments create",
        "POST /segments",
        status=201,
        problems=(*OF_RULES, "NAME_TAKEN", "AUDIENCE_NAME_TAKEN", "SEGMENT_EXISTS", "TOO_MANY_SEGMENTS"),
    )
    def create_segment(self, entry: Entry, body: NewSegment) -> Tagged[Segment]:
        """Create a segment. Its workers evaluate it over all past events first."""
        _describe(entry, body.segment, body)
        self._services.segments.create(
            self._name,
            segment_name(body.segment),
            body.given(),
            new_id=fresh_id(),
            author=self._caller.principal.name,
            now_ms=now_ms(),
        )
        return self._changed(entry, body.segment)

    @recorded(
        Action.WRITE_SEGMENTS,
        "segments edit",
        "PUT /segments/{segment}",
        problems=(*OF_RULES, "SEGMENT_PAUSED", "EDIT_WOULD_CHANGE", "EDIT_NOT_COUNTED"),
    )
    def edit_segment(
        self, entry: Entry, cancellation: Cancellation, segment: str, body: SegmentEdit, *, seen: Seen
    ) -> Tagged[Segment]:
        """Change the rule of a segment. The same rule in other words makes no version.

        A change of many members is refused until its numbers are approved (EDIT_WOULD_CHANGE).
        """
        _describe(entry, segment, body)
        check, name = unchanged(Segment.revision, seen), segment_name(segment)
        found = self._services.segments.get(self._name, name)
        check(found)
        if found.state == "active":  # a paused one refuses
            approved = self._edit_guard(cancellation).approved(name, body, body.approve)
            entry.arguments = {**entry.arguments, **approved}
            cancellation.check()
        self._services.segments.edit(
            self._name,
            name,
            body.given(),
            author=self._caller.principal.name,
            now_ms=now_ms(),
            check=check,
        )
        return self._changed(entry, segment)

    @recorded(Action.WRITE_SEGMENTS, "segments change state", "PUT /segments/{segment}/state")
    def change_segment_state(self, entry: Entry, segment: str, body: SegmentState) -> Tagged[Segment]:
        """Pause or resume a segment. No effect on one in that state."""
        entry.object, entry.arguments = f"segments/{segment[:63]}", {"state": body.state}
        segments = self._services.segments
        change = segments.pause if body.state == "paused" else segments.resume
        change(self._name, segment_name(segment), now_ms=now_ms())
        return self._changed(entry, segment)

    @recorded(Action.WRITE_SEGMENTS, "segments delete", "DELETE /segments/{segment}", problems=("SEGMENT_IN_USE",))
    def delete_segment(self, entry: Entry, segment: str, *, seen: Seen) -> Segment:
        """Delete a segment; all its members leave. Its answer is the segment as it was."""
        entry.object = f"segments/{segment[:63]}"
        entry.before = before = self._segment(segment)
        self._services.segments.delete(
            self._name, segment_name(segment), now_ms=now_ms(), check=unchanged(Segment.revision, seen)
        )
        return before

    @recorded(
        Action.RUN_JOBS,
        "segments snapshot",
        "POST /segments/{segment}/snapshots",
        status=202,
        problems=("BAD_TIME", "SEGMENT_PAUSED", "ENGINE_UNAVAILABLE", "ENGINE_REFUSED"),
    )
    def snapshot_segment(self, entry: Entry, segment: str, body: NewSnapshot, *, key: RequestKey) -> Started:
        """Publish the members of a segment as a version of an audience."""
        entry.object = f"segments/{segment[:63]}"
        entry.arguments = {"audience": body.audience, "allow_shrink": body.allow_shrink}

        def start(claim: Claim) -> Started:
            job = snapshot(
                self._name,
                segment,
                audience=body.audience,
                at=body.at,
                allow_shrink=body.allow_shrink,
                new_id=claim.job_id,
                audiences=self._services.audiences,
                engine=self._services.engine,
                segments=self._services.segments,
            )
            return Started(job=job)

        started = once(Started, self._services, self._caller, self._name, key, start)
        entry.job_id = JobId(started.job)
        return started

    def _segment(self, name: str) -> Segment:
        return self._services.segments.one(
            self._name, segment_name(name), partitions=self._services.partitions, now_ms=now_ms()
        )

    def _changed(self, entry: Entry, name: str) -> Segment:
        entry.after = found = self._segment(name)
        return found


def _describe(entry: Entry, name: str, body: SegmentRule) -> None:
    entry.object = f"segments/{name[:63]}"
    entry.arguments = {**body.model_dump(exclude={"segment", "approve"}), "rule": body.text()[:SHOWN]}
