"""Partition tasks come, freeze and die at any moment: followers of the changes know what the whole history says.

No user enters or leaves twice, no leaving is lost, and the archive has every record once. Few examples suffice: what is
found here, schedules of segments (`tests/simulation`) find too, beside other partitions and with whole workers.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.activity import OFFSET
from schemas.errors import MusterError
from schemas.ids import AudienceName, TenantName, Version
from schemas.messages import EventRecord, ProfileRecord
from schemas.segment_messages import AudienceActivated, RuleActivated, SegmentDeleted, SegmentPaused
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.expressions.literals import EPOCH
from segmentation.rules.nodes import Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from tests.examples import examples
from tests.fakes.segment_world import HERE, DiedError, LivingOwner, World
from tests.naive_rules import Event
from tests.property.test_evaluator import Audience, Events, History, Profile, Profiles, micros

START = datetime(2026, 11, 1, 4, 30, tzinfo=EPOCH.tzinfo)
SHOP = TenantName("default")
USERS = ("ann", "bob", "eve")
RULES = (
    "count(purchase, 1h) >= 2",
    "count(purchase, 1d) = 1 and not age >= 25",
    "count(purchase where amount >= 2, 1h) <= 0",
    "in audience vip or ever(refund)",
    "rule 2: in audience vip and never(refund)",
    "in segment a and never(refund)",
    "age is set or last(purchase) >= 2026-11-01T04:30:00Z",
    "sequence(purchase then not refund within 30m, 1d) or first(purchase) in last 1h",
    "sum(amount of purchase, 1h) >= 3 or distinct(amount of refund, 1d) >= 2",
)
SECONDS = st.sampled_from([0, 1, 3_599, 3_600, 86_400])


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Events by age in seconds (negative: in the future), and how often they are sent again."""

    rows: list[tuple[str, str, int, float, int]]


@dataclass(frozen=True, kw_only=True)
class Ruled:
    name: str
    rule: str | None


@dataclass(frozen=True, kw_only=True)
class Paused:
    name: str


@dataclass(frozen=True, kw_only=True)
class Dies:
    """The task dies at a given call from now on; another one takes over."""

    calls: int


@dataclass(frozen=True, kw_only=True)
class Steps:
    most: int


Move = Sent | Profile | Audience | Ruled | Paused | Dies | Steps | int | str
USER = st.sampled_from(USERS)
MOVES: st.SearchStrategy[Move] = st.one_of(
    st.builds(
        Sent,
        rows=st.lists(
            st.tuples(
                USER,
                st.sampled_from(["purchase", "purchase", "refund"]),
                st.sampled_from([0, 0, 1, 3_600, 86_400, -1, -3_600]),
                st.sampled_from([1.0, 2.0]),
                st.integers(0, 2),
            ),
            min_size=1,
            max_size=4,
        ),
    ),
    st.builds(Profile, user=USER, attributes=st.fixed_dictionaries({"age": st.sampled_from([None, 20.0, 30.0])})),
    st.builds(Profile, user=USER, attributes=st.just({}), deleted=st.just(True)),
    st.builds(Audience, name=st.just("vip"), users=st.frozensets(USER)),
    st.builds(Ruled, name=st.sampled_from(["a", "b"]), rule=st.sampled_from(RULES)),
    st.builds(Ruled, name=st.sampled_from(["a", "b"]), rule=st.none() | st.sampled_from(RULES)),
    st.builds(Dies, calls=st.integers(0, 12)),
    st.builds(Steps, most=st.integers(1, 3)),
    st.builds(Steps, most=st.just(1_000)),
    SECONDS,
    st.builds(Paused, name=st.sampled_from(["a", "b"])),
    st.sampled_from(["archive", "archive", "checkpoint", "freeze", "wake", "archive again", "rebase"]),
)


@dataclass
class Play:
    """The world, its expected answers, and the tasks in it."""

    world: World = field(default_factory=lambda: World(micros(START), checkpoint_after_s=60.0))
    history: History = field(default_factory=History)
    rules: dict[str, Rule] = field(default_factory=dict)
    activated: dict[str, RuleActivated] = field(default_factory=dict)
    versions: int = 0
    owner: LivingOwner | None = None
    frozen: list[LivingOwner] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.world.now_us)

    async def living(self) -> LivingOwner:
        if self.owner is None:
            self.owner = self.world.owner()
            await self.owner.owner.start()
        return self.owner

    async def step(self, most: int) -> None:
        try:
            owner = await self.living()
            await owner.deliver(most)
            await owner.owner.step()
        except DiedError:
            self.owner = None

    async def do(self, move: Move) -> None:
        match move:
            case Sent() | Profile() | Audience() | Ruled():
                self.write(move)
            case Paused(name=name) if name in self.rules:
                version = self.activated[name].rule_version
                self.activate(SegmentPaused(tenant=SHOP, segment=AudienceName(name), rule_version=version))
            case Dies():
                await self.die(move)
            case Steps():
                await self.step(move.most)
            case int():
                self.world.now_us += move * 1_000_000
                self.world.steady_s += move
            case "archive":
                self.world.archive()
            case "archive again":
                self.world.steady_s += self.world.config.archive_again_s
            case "checkpoint":
                self.world.steady_s += self.world.config.checkpoint_after_s
                await self.step(1_000)
            case "freeze" if self.owner is not None:
                self.frozen.append(self.owner)
                self.owner = None
            case "rebase":
                await self.rebase()
            case "wake" if self.frozen:
                await self.wake()

    def write(self, move: Sent | Profile | Audience | Ruled) -> None:
        match move:
            case Sent():
                rows = [
                    Event(
                        user=user,
                        name=name,
                        occurred_at=self.now - timedelta(seconds=ago),
                        id=str(number),
                        properties={"amount": amount},
                    )
                    for user, name, ago, amount, number in move.rows
                ]
                self.history.take(Events(rows=rows))
                for row in rows:
                    self.world.append(EVENTS, event_record(row), row.user.encode())
            case Profile():
                self.history.take(Profiles(rows=[move]))
                record = ProfileRecord(user_id=move.user, attributes=dict(move.attributes), deleted=move.deleted)
                self.world.append(PROFILES, record, move.user.encode())
            case Audience():
                self.history.take(move)
                self.versions += 1
                self.world.versions[move.name, self.versions] = sorted(move.users)
                self.activate(
                    AudienceActivated(tenant=SHOP, audience=AudienceName(move.name), version=Version(self.versions))
                )
            case Ruled():
                self.rule(move)

    async def die(self, move: Dies) -> None:
        owner = self.owner
        if owner is not None:
            owner.dies_after = move.calls
            for _ in range(move.calls + 1):
                if self.owner is owner:
                    await self.step(2)
            self.owner = None

    async def rebase(self) -> None:
        """Recreate events and profiles once the archive has all of them: unarchived records would be lost."""
        while any(self.world.archived.get((topic, 0), 0) < self.end_of(topic) for topic in ACTIVITY_TOPICS):
            await self.step(1_000)
            self.world.archive()
        self.owner = None
        self.world.rebase(*ACTIVITY_TOPICS)

    def end_of(self, topic: str) -> int:
        """Position of the next record."""
        return self.world.archived_logs[topic].position(HERE, len(self.world.logs.get(topic, [])))

    async def wake(self) -> None:
        try:
            await self.frozen[-1].deliver()
            await self.frozen[-1].owner.step()
        except MusterError:  # at some point it finds out that it was replaced
            self.frozen.pop()

    def rule(self, move: Ruled) -> None:
        self.versions += 1
        name = AudienceName(move.name)
        if move.rule is None:
            self.rules.pop(move.name, None)
            self.activate(SegmentDeleted(tenant=SHOP, segment=name, rule_version=self.versions))
        elif move.name == "b" or "segment" not in move.rule:
            rule = parse_rule(move.rule)
            self.rules[move.name] = rule
            self.activated[move.name] = RuleActivated(
                tenant=SHOP, segment=name, rule_version=self.versions, rule=json.dumps(rule_record(rule))
            )
            self.activate(self.activated[move.name])

    def activate(self, message: Any) -> None:
        self.world.append(SEGMENT_ACTIVATIONS, message)

    async def end(self) -> Mapping[str, set[str]]:
        """Take and archive everything, with no segment paused; returns the current members."""
        for name in self.rules:
            self.activate(self.activated[name])
        for _ in range(4):
            await self.step(1_000)
            self.world.archive()
        await self.step(1_000)
        return {name: users for name, users in self.history.answer(self.rules, self.now).items() if users}


def event_record(row: Event) -> EventRecord:
    return EventRecord(
        user_id=row.user,
        event=row.name,
        occurred_at_us=micros(row.occurred_at),
        properties=row.properties,
        event_id=row.id,
        tenant=SHOP,
    )


@examples(40)
@given(moves=st.lists(MOVES, min_size=4, max_size=25))
def test_emitted_changes_match_the_whole_history(moves: list[Move]) -> None:
    async def play() -> None:
        play = Play()
        for move in moves:
            await play.do(move)
        expected = await play.end()
        assert play.world.received() == expected
        for topic in ACTIVITY_TOPICS:
            offsets = play.world.table(topic).column(OFFSET).to_pylist()
            assert sorted(offsets) == list(range(play.end_of(topic)))
            assert play.world.committed[topic] == len(play.world.logs.get(topic, []))

    asyncio.run(play())
