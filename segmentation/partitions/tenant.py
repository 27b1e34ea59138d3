"""The segments of one tenant in one partition: rules are added, changed, paused and deleted; the evaluator follows."""

from collections.abc import Iterator, Mapping, Sequence
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
from segmentation.rules.records import rule_from_json

Activation = RuleActivated | SegmentPaused | SegmentDeleted | AudienceActivated


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Everything a partition has taken: below `events` and `profiles` from the archive, then these rows.

    The rows belong to all tenants, in log order (`EVENT_ROWS`, `PROFILE_ROWS`).
    """

    history: HistoricalActivity
    partition: Partition
    partitions: int
    events: int
    profiles: int
    event_rows: Sequence[pa.RecordBatch] = ()
    profile_rows: Sequence[pa.RecordBatch] = ()

    def known_users(self, tenant: TenantName) -> Iterator[pa.StringArray]:
        """Known users, each at least once."""
        yield from self.history.known_users(tenant, self.partition, events=self.events, profiles=self.profiles)
        for rows in (*self.event_rows, *self.profile_rows):
            yield rows.filter(pc.equal(rows.column(TENANT), tenant)).column(USER_ID)

    def events_of(self, tenant: TenantName, names: Sequence[str], since_us: int | None) -> Iterator[EventBatch]:
        """At least the events of these names that are later than `since_us`."""
        archived = self.history.events(tenant, self.partition, before=self.events, names=names, since_us=since_us)
        for rows in chain(archived, self.event_rows):
            yield from (batch for of, batch in event_batches(rows) if of == tenant)

    def profiles_of(self, tenant: TenantName) -> Iterator[ProfileBatch]:
        """Changes of profiles in the order in which they apply."""
        archived = self.history.profiles(tenant, self.partition, before=self.profiles)
        for rows in chain(archived, self.profile_rows):
            yield from (batch for of, batch in profile_batches(rows) if of == tenant)


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

    def rebuilt(self, past: Past, at_us: int) -> "TenantSegments":
        """The same rules, evaluated over the past alone, at `at_us`. Raises the history's `RetriableError`."""
        made = TenantSegments(tenant=self.tenant, evaluator=Evaluator({}, at_us=at_us), audiences=dict(self.audiences))
        made._succeed(self.rules, past)  # same class
        return made

    def activate(self, message: Activation, past: Past, at_us: int) -> list[Changes]:
        """Advance time to `at_us`, then apply the message. A repeated message changes nothing.

        Raises `UserError` BAD_RULE, SEGMENT_CYCLE, with nothing changed; the history's `RetriableError`.
        """
        match message:
            case AudienceActivated():
                return self._activate_audience(message, past, at_us)
            case RuleActivated():
                rule = ActiveRule(version=message.rule_version, rule=rule_from_json(message.rule.encode()))
                rules = {**self.rules, message.segment: rule}
            case SegmentPaused() if message.segment in self.rules:
                rules = {**self.rules, message.segment: replace(self.rules[message.segment], paused=True)}
            case _:
                rules = {name: active for name, active in self.rules.items() if name != message.segment}
        plan_of(rules)  # raises before anything has changed
        changes = self.evaluator.advance(at_us)
        return changes if rules == self.rules else changes + self._succeed(rules, past)

    def _activate_audience(self, message: AudienceActivated, past: Past, at_us: int) -> list[Changes]:
        changes: list[Changes] = []
        if self.audiences.get(message.audience) != message.version:
            member = Member(kind="audience", name=message.audience)
            if member in self.evaluator.plan.members:
                ids = self._members(past, message.audience, message.version)
                changes = self.evaluator.set_members(member, pa.concat_arrays([pa.array([], pa.string()), *ids]), at_us)
            self.audiences[message.audience] = message.version
        return changes

    def _succeed(self, rules: Mapping[str, ActiveRule], past: Past) -> list[Changes]:
        first = not self.rules  # without rules, no user was recorded
        succession = Succession(rules, self.evaluator)
        for ids in past.known_users(self.tenant) if first else ():
            succession.known(ids)
        if succession.kinds:
            for batch in past.events_of(self.tenant, succession.event_names, succession.since_us):
                succession.events(batch)
        if succession.tests:
            for changed in past.profiles_of(self.tenant):
                succession.profiles(changed)
        for member in succession.audiences:
            version = self.audiences.get(AudienceName(member.name))
            for ids in () if version is None else self._members(past, AudienceName(member.name), version):
                succession.members(member, ids)
        self.evaluator, changes = succession.settle()
        return changes

    def _members(self, past: Past, audience: AudienceName, version: Version) -> Iterator[pa.StringArray]:
        return past.history.members(self.tenant, audience, version, past.partition, past.partitions)
