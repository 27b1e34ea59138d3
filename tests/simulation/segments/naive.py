"""The answer by definition: what a partition's log says at a position, from all of its records so far."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from schemas.errors import UserError
from schemas.ids import TenantName
from schemas.segment_messages import RuleActivated, SegmentDeleted, SegmentPaused
from segmentation.expressions.literals import EPOCH
from segmentation.partitions.log_position import LogPosition
from segmentation.rules.nodes import Member, Rule
from segmentation.rules.record_reader import rule_from_json
from segmentation.rules.references import cycle, evaluation_order
from tests.naive_rules import Event, World, is_in

Segment = tuple[TenantName, str]
Members = dict[Segment, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class EventOf:
    """An event as its producer meant it. An `id` begins with its kind; it is empty until the event has a position."""

    tenant: TenantName
    event: Event


@dataclass(frozen=True, kw_only=True)
class ProfileOf:
    """A change of a profile as its producer meant it. None unsets an attribute; `deleted` unsets all."""

    tenant: TenantName
    user: str
    attributes: Mapping[str, Any]
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class AudienceOf:
    """From here on, an audience has these users of the partition."""

    tenant: TenantName
    audience: str
    users: frozenset[str]


Meaning = EventOf | ProfileOf | None
"""None: no row, as the record is refused or forwarded, or there is none."""


@dataclass(frozen=True)
class Active:
    """A segment's rule."""

    version: int
    rule: Rule
    paused: bool = False


@dataclass
class Rules:
    """What activations up to an offset say about one tenant."""

    segments: dict[str, Active] = field(default_factory=dict)
    audiences: dict[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def paused(self) -> set[str]:
        """Segments that are paused."""
        return {name for name, active in self.segments.items() if active.paused}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The segments, each after those that its rule names."""
        return evaluation_order({name: active.rule for name, active in self.segments.items()})

    @cached_property
    def unsettled(self) -> set[str]:
        """Segments whose members depend on when one was paused."""
        found = set(self.paused)
        for name in self.order:
            if any(isinstance(c, Member) and c.name in found for c in self.segments[name].rule.conditions):
                found.add(name)
        return found


@dataclass
class NaiveLog:
    """Everything in the log of one partition. Positions are those of the archive."""

    events: list[Meaning] = field(default_factory=list)
    profiles: list[Meaning] = field(default_factory=list)
    activations: list[Any] = field(default_factory=list)
    _users: dict[TenantName, dict[str, list[tuple[int, Event]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    _changes: dict[TenantName, dict[str, list[tuple[int, ProfileOf]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    _rules: dict[int, dict[TenantName, Rules]] = field(default_factory=lambda: {0: {}})

    def add_event(self, meaning: Meaning) -> None:
        """The next record of events."""
        if isinstance(meaning, EventOf):
            self._users[meaning.tenant][meaning.event.user].append((len(self.events), meaning.event))
        self.events.append(meaning)

    def add_profile(self, meaning: Meaning) -> None:
        """The next record of profiles."""
        if isinstance(meaning, ProfileOf):
            self._changes[meaning.tenant][meaning.user].append((len(self.profiles), meaning))
        self.profiles.append(meaning)

    def rules(self, activations: int) -> Mapping[TenantName, Rules]:
        """Rules by tenant as of an offset of the activations."""
        if activations not in self._rules:
            before = self.rules(activations - 1)
            after = {t: Rules(dict(r.segments), dict(r.audiences)) for t, r in before.items()}
            _activate(after, self.activations[activations - 1])
            self._rules[activations] = after
        return self._rules[activations]

    def answer(self, position: LogPosition, frozen: Mapping[Segment, frozenset[str]]) -> Members:
        """Members of each segment. `frozen`: those of paused segments, which a position does not tell."""
        at = EPOCH + timedelta(microseconds=position.at_us)
        found: Members = {}
        for tenant, rules in self.rules(position.activations).items():
            if not rules.segments:
                continue
            senders = {*self._users[tenant], *self._changes[tenant]}
            known = {user for user in senders if self._known(tenant, user, position)}
            # Who was a member when a segment was paused stays one, and is asked by form 2 of rules that name it.
            kept_in = [frozen.get((tenant, name), frozenset()) for name in rules.paused]
            worlds = {
                user: self._world(tenant, user, position, rules.audiences)
                for user in known.union(*rules.audiences.values(), *kept_in)
            }
            for name in rules.order:
                active, kept = rules.segments[name], frozen.get((tenant, name), frozenset())
                found[tenant, name] = kept if active.paused else _members(active.rule, worlds, known, at)
                for user, world in worlds.items():
                    if user in found[tenant, name]:
                        world.members.add(("segment", name, user))
        return found

    def _known(self, tenant: TenantName, user: str, position: LogPosition) -> bool:
        events, changes = self._users[tenant].get(user), self._changes[tenant].get(user)
        return bool((events and events[0][0] < position.events) or (changes and changes[0][0] < position.profiles))

    def _world(
        self, tenant: TenantName, user: str, position: LogPosition, audiences: Mapping[str, frozenset[str]]
    ) -> World:
        profile: dict[str, Any] = {}
        for number, change in self._changes[tenant].get(user, ()):
            if number < position.profiles:
                profile = {} if change.deleted else {**profile, **change.attributes}
        return World(
            events=[event for number, event in self._users[tenant].get(user, ()) if number < position.events],
            profiles={user: profile},
            members={("audience", name, user) for name, members in audiences.items() if user in members},
        )


def _members(rule: Rule, worlds: Mapping[str, World], known: set[str], at: datetime) -> frozenset[str]:
    return frozenset(user for user, world in worlds.items() if is_in(rule, user, at, world, known=user in known))


def _activate(tenants: dict[TenantName, Rules], message: Any) -> None:
    """Apply one activation; one that is refused changes nothing."""
    if message is None:
        return
    rules = tenants.setdefault(message.tenant, Rules())
    match message:
        case RuleActivated(segment=segment):
            try:
                rule = rule_from_json(message.rule.encode())
            except UserError:
                return
            if cycle({**{name: one.rule for name, one in rules.segments.items()}, segment: rule}) is None:
                rules.segments[segment] = Active(message.rule_version, rule)
        case SegmentPaused(segment=segment) if segment in rules.segments:
            before = rules.segments[segment]
            rules.segments[segment] = Active(before.version, before.rule, paused=True)
        case SegmentDeleted(segment=segment):
            rules.segments.pop(segment, None)
        case AudienceOf():
            rules.audiences[message.audience] = message.users
