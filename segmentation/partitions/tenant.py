"""The segments of one tenant in one partition: rules are added, changed, paused and deleted; the evaluator follows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import TENANT
from schemas.columns import USER_ID
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.segment_messages import AudienceActivated, RuleActivated, SegmentDeleted, SegmentPaused
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule, plan_of
from segmentation.evaluation.succession import Succession
from segmentation.historical_activity import HistoricalActivity
from segmentation.intake.batches import event_batches, profile_batches
from segmentation.rules.nodes import Member
from segmentation.rules.record_reader import rule_from_json

Activation = RuleActivated | SegmentPaused | SegmentDeleted | AudienceActivated


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionHistory:
    """Everything a partition has taken: below `events` and `profiles` from the archive, then these rows.

    The rows belong to all tenants, in log order (`EVENT_ROWS`, `PROFILE_ROWS`), and are iterated more than once.
    """

    archive: HistoricalActivity
    partition: Partition
    partitions: int
    events: int
    profiles: int
    event_rows: Iterable[pa.RecordBatch] = ()
    profile_rows: Iterable[pa.RecordBatch] = ()

    def known_users(self, tenant: TenantName) -> Iterator[pa.StringArray]:
        """Known users, each at least once."""
        yield from self.archive.known_users(tenant, self.partition, events=self.events, profiles=self.profiles)
        for rows in chain(self.event_rows, self.profile_rows):
            yield rows.filter(pc.equal(rows.column(TENANT), tenant)).column(USER_ID)

    def tenant_events(self, tenant: TenantName, names: Sequence[str], since_us: int | None) -> Iterator[EventBatch]:
        """At least the events of these names that are later than `since_us`."""
        archived = self.archive.events(tenant, self.partition, before=self.events, names=names, since_us=since_us)
        for rows in chain(archived, self.event_rows):
            yield from (batch for name, batch in event_batches(rows) if name == tenant)

    def tenant_profiles(self, tenant: TenantName) -> Iterator[ProfileBatch]:
        """Changes of profiles in the order in which they apply."""
        archived = self.archive.profiles(tenant, self.partition, before=self.profiles)
        for rows in chain(archived, self.profile_rows):
            yield from (batch for name, batch in profile_batches(rows) if name == tenant)


@dataclass(slots=True, kw_only=True)
class TenantSegments:
    """`audiences`: the version of each audience that memberships refer to; an audience not listed has no members."""

    tenant: TenantName
    evaluator: Evaluator
    audiences: dict[AudienceName, Version] = field(default_factory=dict)

    @property
    def rules(self) -> Mapping[str, ActiveRule]:
        """Rules by segment name."""
        return self.evaluator.plan.rules

    def rebuilt(self, history: PartitionHistory, at_us: int) -> "TenantSegments":
        """The same rules, evaluated over the past alone, at `at_us`. Raises the history's `RetriableError`."""
        rebuilt = TenantSegments(
            tenant=self.tenant, evaluator=Evaluator({}, at_us=at_us), audiences=dict(self.audiences)
        )
        rebuilt._switch_rules(self.rules, history)  # same class
        return rebuilt

    def activate(self, message: Activation, history: PartitionHistory, at_us: int) -> list[Changes]:
        """Advance time to `at_us`, then apply the message. A repeated message changes nothing.

        Raises `UserError` BAD_RULE, SEGMENT_CYCLE, with nothing changed; the history's `RetriableError`.
        """
        match message:
            case AudienceActivated():
                return self._activate_audience(message, history, at_us)
            case RuleActivated():
                rule = ActiveRule(version=message.rule_version, rule=rule_from_json(message.rule.encode()))
                rules = {**self.rules, message.segment: rule}
            case SegmentPaused() if message.segment in self.rules:
                rules = {**self.rules, message.segment: replace(self.rules[message.segment], paused=True)}
            case _:
                rules = {name: active for name, active in self.rules.items() if name != message.segment}
        plan_of(rules)  # raises before anything has changed
        changes = self.evaluator.advance(at_us)
        return changes if rules == self.rules else changes + self._switch_rules(rules, history)

    def _activate_audience(self, message: AudienceActivated, history: PartitionHistory, at_us: int) -> list[Changes]:
        changes: list[Changes] = []
        if self.audiences.get(message.audience) != message.version:
            member = Member(kind="audience", name=message.audience)
            if member in self.evaluator.plan.members:
                ids = self._members(history, message.audience, message.version)
                changes = self.evaluator.set_members(member, pa.concat_arrays([pa.array([], pa.string()), *ids]), at_us)
            self.audiences[message.audience] = message.version
        return changes

    def _switch_rules(self, rules: Mapping[str, ActiveRule], history: PartitionHistory) -> list[Changes]:
        first = not self.rules  # without rules, no user was recorded
        succession = Succession(rules, self.evaluator)
        for ids in history.known_users(self.tenant) if first else ():
            succession.known(ids)
        if succession.kinds:
            for batch in history.tenant_events(self.tenant, succession.event_names, succession.since_us):
                succession.events(batch)
        if succession.tests:
            for changed in history.tenant_profiles(self.tenant):
                succession.profiles(changed)
        for member in succession.audiences:
            version = self.audiences.get(AudienceName(member.name))
            for ids in () if version is None else self._members(history, AudienceName(member.name), version):
                succession.members(member, ids)
        self.evaluator, changes = succession.settle()
        return changes

    def _members(self, history: PartitionHistory, audience: AudienceName, version: Version) -> Iterator[pa.StringArray]:
        return history.archive.members(self.tenant, audience, version, history.partition, history.partitions)
