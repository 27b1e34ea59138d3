"""The current meaning of a rule, and the members it cannot ask about: for previews, checks, explanations, snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from connectors.lake.activity_relations import Activity, PinnedActivity
from connectors.lake.archive import ActivityArchive
from connectors.lake.rule_answers import RuleQueries
from connectors.lake.segment_queries import Question, SegmentQueries
from connectors.lake.spark_queries import PinnedQuestion, PinnedTable, SparkQueries
from orchestration.catalog.activations import ActivationStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.references import ref_of
from orchestration.catalog.segments import SegmentStore
from orchestration.records.questions import Outside, UnknownMembers
from schemas.errors import UserError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.rules.nodes import Rule
from segmentation.rules.references import names
from segmentation.versions import VersionStore

QuestionT = TypeVar("QuestionT", Question, PinnedQuestion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A rule with the current state of everything that it depends on."""

    rule: Rule
    segments: Mapping[str, Rule]
    versions: Mapping[str, tuple[Version, tuple[str, ...]]]  # of audiences, with their files
    paused: tuple[str, ...]
    changed_ms: tuple[int, ...]  # when each segment was last edited, paused or resumed

    def question(self, activity: Activity) -> Question:
        """The rule as a query over some activity."""
        audiences = {name: files for name, (_, files) in self.versions.items()}
        return Question(rule=self.rule, activity=activity, segments=self.segments, audiences=audiences)

    def unknown_members(self, queries: RuleQueries[QuestionT], question: QuestionT) -> UnknownMembers:
        """By audience that the rule depends on. `question`: the rule as a query. Raises as `queries`."""
        if not self.versions:
            return UnknownMembers()
        admitted = self._admitted()
        others = {name: files for name, files in question.audiences.items() if name not in admitted}
        outside = queries.unknown_members(replace(question, audiences=others)) if others else {}
        matched = queries.strangers(question) if admitted else {}
        return UnknownMembers(
            outside=tuple(self._users(name, n) for name, n in outside.items()),
            known_only_by=tuple(self._users(name, n) for name, n in matched.items() if name in admitted),
        )

    def _users(self, audience: str, users: int) -> Outside:
        return Outside(audience=audience, version=self.versions[audience][0], users=users)

    def _admitted(self) -> set[str]:
        """The audiences whose members the rule asks about, also through segments."""
        found, waiting = set[str](), [self.rule]
        while waiting:
            for member in waiting.pop().admits:
                if member.kind == "audience":
                    found.add(member.name)
                else:
                    waiting.append(self.segments[member.name])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanings:
    """Resolves rules against the current catalog and lake."""

    segments: SegmentStore
    audiences: AudienceStore
    activations: ActivationStore
    versions: VersionStore
    archive: ActivityArchive
    queries: SegmentQueries
    cluster: SparkQueries | None = None

    def activity(self, tenant: TenantName, partition: Partition | None = None) -> Activity:
        """Archived events and profiles of a tenant, or of one partition of it."""
        events, profiles = (
            self.archive.files(topic, tenant=tenant, partition=partition, with_users=True)
            for topic in (EVENTS, PROFILES)
        )
        return Activity(events=events, profiles=profiles)

    @property
    def spark(self) -> SparkQueries:
        """The queries of the cluster. Raises `UserError` NO_SPARK."""
        if self.cluster is None:
            raise UserError("NO_SPARK", "no cluster is set: give the setting spark_remote, such as sc://host:15002")
        return self.cluster

    def pinned_activity(self, tenant: TenantName) -> PinnedActivity:
        """As `activity`, for Spark: the archive's tables as they are now."""
        snapshots = {topic: self.archive.snapshot(topic) for topic in ACTIVITY_TOPICS}
        return PinnedActivity(tenant=tenant, snapshots=snapshots)

    def pinned_question(self, tenant: TenantName, meaning: Meaning, activity: PinnedActivity) -> PinnedQuestion:
        """As `Meaning.question`, for Spark."""
        return PinnedQuestion(
            rule=meaning.rule,
            activity=activity,
            segments=meaning.segments,
            audiences={
                name: self._pinned_table(tenant, name, number) for name, (number, _) in meaning.versions.items()
            },
        )

    def _pinned_table(self, tenant: TenantName, name: str, number: Version) -> PinnedTable | None:
        ref = ref_of(self.audiences.get(tenant, AudienceName(name)))
        address = self.versions.address(ref) if number else None
        if address is None:
            return None
        return PinnedTable(name=address.name, snapshot=self.versions.version(ref, number).snapshot_id)

    def resolve(self, tenant: TenantName, rule: Rule, segments_too: Sequence[str] = ()) -> Meaning:
        """The meaning that workers have: by the audience version that was published to them, else the current one.

        `segments_too`: whose rules are needed besides those that the rule names. Raises `UserError` UNKNOWN_AUDIENCE,
        UNKNOWN_SEGMENT.
        """
        overviews = {one.segment.name: one for one in self.segments.overviews(tenant)}
        segments: dict[str, Rule] = {}
        waiting = [*names(rule).segments, *segments_too]
        while waiting:
            if (name := waiting.pop()) not in segments:
                if (found := overviews.get(AudienceName(name))) is None:  # it was deleted meanwhile
                    raise UserError("UNKNOWN_SEGMENT", f"segment {name!r} does not exist", tenant=tenant, segment=name)
                segments[name] = found.rule.parsed
                waiting += names(segments[name]).segments
        versions = {}
        for name in sorted({a for one in (rule, *segments.values()) for a in names(one).audiences}):
            audience = self.audiences.get(tenant, AudienceName(name))
            ref, chosen = ref_of(audience), self.activations.audience(audience.audience_id)
            current = None if chosen is not None else self.versions.current(ref)
            number = chosen.version if chosen is not None else None if current is None else current.version
            files = () if number is None else tuple(part.uri for part in self.versions.files(ref, number))
            versions[name] = (number or Version(0), files)
        paused = tuple(sorted(n for n in segments if overviews[AudienceName(n)].segment.state == "paused"))
        changed = tuple(overviews[AudienceName(n)].segment.updated_at_ms for n in sorted(segments))
        return Meaning(rule=rule, segments=segments, versions=versions, paused=paused, changed_ms=changed)

    def unknown_members(self, tenant: TenantName, meaning: Meaning, activity: Activity | None = None) -> UnknownMembers:
        """By audience that the rule depends on. Without any, the lake is not queried.

        `activity`: what counts as known; by default everything archived. Raises as `SegmentQueries`.
        """
        if not meaning.versions:
            return UnknownMembers()
        return meaning.unknown_members(self.queries, meaning.question(activity or self.activity(tenant)))
