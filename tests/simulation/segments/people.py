"""What producers, people and the control plane do: events, profiles, rules, versions of audiences, snapshots."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from schemas.codec import CODEC
from schemas.ids import AudienceName, TenantName, Version, new_job_id
from schemas.messages import EventRecord, ProfileRecord
from schemas.segment_messages import AudienceActivated, CutRequested, RuleActivated, SegmentDeleted, SegmentPaused
from schemas.topics import EVENTS, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.expressions.literals import EPOCH
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from tests.naive_rules import Event
from tests.simulation.kernel import Process
from tests.simulation.segments.naive import EventOf, Meaning, ProfileOf
from tests.simulation.segments.rules import draw_rule

if TYPE_CHECKING:
    from tests.simulation.segments.world import SegmentWorld

SHOP: Final = TenantName("default")
ACME: Final = TenantName("acme")
USERS: Final = tuple(f"u{n}" for n in range(7))
MEMBERS: Final = (*USERS, "stranger")
PAUSES_S: Final = (0.0, 0.0, 1.0, 5.0, 20.0, 20.0, 60.0, 130.0)
AGES_S: Final = (0, 0, 0, 1, 30, 60, 90, 200, 600, 7_200, -20, -60, -300)
"""Negative: in the future."""
AMOUNTS: Final = (None, None, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 0.1, 0.2, "2", True, 1e12)
"""Sums leave out the last one; 0.1, 0.2 and others add up to another double in another order."""
REPEATED_S: Final = 60.0


class People:
    """Draws a plan from the seed, and carries it out outside of all processes that can die."""

    def __init__(self, world: "SegmentWorld") -> None:
        self.world = world
        self.random = world.faults.random
        self._busy = 0
        self._events: list[EventOf] = []
        self._versions = 0
        self._rules: dict[tuple[TenantName, str], RuleActivated] = {}

    @property
    def done(self) -> bool:
        """True if the plan has been carried out."""
        return self._busy == 0

    def begin(self) -> None:
        """Carry out a plan. There are rules from the beginning, in some schedules of two tenants."""
        acts = self.random.choice((6, 10, 16))

        def control() -> None:
            for tenant, name in ((SHOP, "a"), (SHOP, "b"), (ACME, "a"))[: self.random.randint(1, 3)]:
                self._rule(tenant, name)
                if self.random.random() < 0.5:
                    self._audience(tenant)
            self._act(acts // 2, self._control)

        self._do("producer", lambda: self._act(acts, self._produce))
        self._do("control", control)

    def _do(self, name: str, act: Callable[[], None]) -> None:
        self._busy += 1

        def run() -> None:
            try:
                act()
            finally:
                self._busy -= 1

        self.world.kernel.spawn(Process(name=name, kind="people"), name, run)

    def _act(self, number: int, act: Callable[[], None]) -> None:
        for _ in range(number):
            act()
            self.world.kernel.sleep(self.random.choice(PAUSES_S) * self.random.uniform(0.5, 1.5))

    # --- producers ---------------------------------------------------------------------------------------------------

    def _produce(self) -> None:
        if self.random.random() < 0.25:
            self._profile()
        else:
            for _ in range(self.random.choice((1, 2, 3))):
                self._send_events()
        if self.world.faults.strike("offset without a record"):
            self.world.mark(self.random.choice((EVENTS, PROFILES)), self.random.randrange(self.world.partitions))

    def _send_events(self) -> None:
        user, tenant = self.random.choice(USERS), self.random.choice((SHOP, SHOP, ACME))
        partition = self.world.partition_of(user)
        batch: list[tuple[bytes, bytes | None, Meaning]] = []
        for _ in range(self.random.choice((1, 1, 2, 4))):
            known = [one for one in self._events if one.event.user == user and one.tenant == tenant]
            if known and self.world.faults.strike("event sent again"):
                again = self.random.choice(known)
                sent = replace(again, event=replace(again.event, properties=self._properties()))
            else:
                sent = self._event(tenant, user)
            if self.world.faults.strike("refused record"):
                self.world.produce(
                    EVENTS, partition, [(user.encode(), self.random.choice((b"{", b"\xc3\x01", None)), None)]
                )
            elif self.world.faults.strike("misplaced event"):
                self._misplace(sent)
            else:
                batch.append((user.encode(), self._encoded(sent), sent))
                self._events.append(sent)
        if batch:
            self.world.produce(EVENTS, partition, batch)

    def _time(self) -> datetime:
        """A time about now, in whole seconds."""
        now_us = self.world.kernel.now_us // 1_000_000 * 1_000_000
        return EPOCH + timedelta(microseconds=now_us - self.random.choice(AGES_S) * 1_000_000)

    def _event(self, tenant: TenantName, user: str) -> EventOf:
        return EventOf(
            tenant=tenant,
            event=Event(
                user=user,
                name=self.random.choice(("buy", "buy", "buy", "view", "refund")),
                occurred_at=self._time(),
                id=self.random.choice(("", "id 1", "id 2", "id 3")),
                properties=self._properties(),
            ),
        )

    def _properties(self) -> Mapping[str, Any]:
        amount = self.random.choice(AMOUNTS)
        return {} if amount is None else {"amount": amount}

    def _encoded(self, sent: EventOf) -> bytes:
        event, given_id = sent.event, sent.event.id.removeprefix("id ") or None
        if self.random.random() < 0.5:
            return CODEC.encode(
                EventRecord(
                    user_id=event.user,
                    event=event.name,
                    occurred_at_us=(event.occurred_at - EPOCH) // timedelta(microseconds=1),
                    properties=event.properties,
                    event_id=given_id,
                    tenant=sent.tenant,
                )
            )
        record = {
            "user_id": event.user,
            "event": event.name,
            "occurred_at": event.occurred_at.isoformat(),
            "properties": event.properties,
            "event_id": given_id,
            "tenant": sent.tenant,
        }
        return json.dumps(record).encode()

    def _misplace(self, sent: EventOf) -> None:
        """Send an event to another partition, which forwards it."""
        partition = (self.world.partition_of(sent.event.user) + 1) % self.world.partitions
        self.world.produce(EVENTS, partition, [(sent.event.user.encode(), self._encoded(sent), sent)])

    def _profile(self) -> None:
        user, tenant = self.random.choice(USERS), self.random.choice((SHOP, SHOP, ACME))
        deleted = self.random.random() < 0.15
        attributes: dict[str, Any] = {}
        if not deleted:
            attributes = {
                "age": self.random.choice((None, 20.0, 30.0)),
                "plan": self.random.choice((None, "gold", "free")),
                "renews": self.random.choice((None, self._time(), self._time())),
            }
            for name in self.random.sample(sorted(attributes), self.random.choice((0, 1, 2))):
                del attributes[name]
        meant = ProfileOf(tenant=tenant, user=user, attributes=attributes, deleted=deleted)
        partition = self.world.partition_of(user)
        if self.world.faults.strike("refused record"):
            self.world.produce(PROFILES, partition, [(user.encode(), b"[]", None)])
            return
        if deleted and tenant == SHOP and self.random.random() < 0.5:
            value = None
        elif self.random.random() < 0.5:
            record = ProfileRecord(user_id=user, attributes=attributes, deleted=deleted, tenant=tenant)
            value = CODEC.encode(record)
        else:
            plain = {
                name: {"timestamp": value.isoformat()} if isinstance(value, datetime) else value
                for name, value in attributes.items()
            }
            record_of = {"user_id": user, "attributes": plain, "deleted": deleted, "tenant": tenant}
            value = json.dumps(record_of).encode()
        self.world.produce(PROFILES, partition, [(user.encode(), value, meant)])

    # --- the control plane -------------------------------------------------------------------------------------------

    def _control(self) -> None:
        tenant, name = self.random.choice((SHOP, SHOP, ACME)), self.random.choice(("a", "a", "b"))
        self._versions += 1
        kind = self.random.random()
        if kind < 0.3 or (tenant, name) not in self._rules:
            self._rule(tenant, name)
        elif kind < 0.5:
            self._audience(tenant)
        elif kind < 0.6:
            self._request_snapshot(tenant, name)
        elif kind < 0.74:
            segment, version = AudienceName(name), self._rules[tenant, name].rule_version
            self.world.faults.saw("segment paused")
            self._activate(SegmentPaused(tenant=tenant, segment=segment, rule_version=version))
        elif kind < 0.88:
            self._activate(self._rules[tenant, name])
        else:
            segment = AudienceName(name)
            self._activate(SegmentDeleted(tenant=tenant, segment=segment, rule_version=self._versions))

    def _rule(self, tenant: TenantName, name: str) -> None:
        self._versions += 1
        rule = json.dumps(rule_record(draw_rule(self.random, on_segments=name == "b")))
        if self.world.faults.strike("activation refused"):
            rule = self.random.choice(("{}", json.dumps(rule_record(parse_rule(f"in segment {name}")))))
        message = RuleActivated(tenant=tenant, segment=AudienceName(name), rule_version=self._versions, rule=rule)
        if rule != "{}":
            self._rules[tenant, name] = message
        self._activate(message)

    def _audience(self, tenant: TenantName) -> None:
        self._versions += 1
        users = tuple(user for user in MEMBERS if self.random.random() < 0.4)
        audience, version = AudienceName("vip"), Version(self._versions)
        self.world.archive.versions[tenant, audience, version] = users
        self._activate(AudienceActivated(tenant=tenant, audience=audience, version=version))

    def _request_snapshot(self, tenant: TenantName, name: str) -> None:
        kernel = self.world.kernel
        cut_id = new_job_id(kernel.now_us // 1000, kernel.random.randbytes(10))
        at_us = kernel.now_us + int(self.random.choice((0.0, 10.0, 90.0)) * 1e6)
        message = CutRequested(cut_id=cut_id, tenant=tenant, segment=AudienceName(name), at_us=at_us)

        def ask() -> None:
            while not self.world.oracle.answered(cut_id):
                self._activate(message)
                kernel.sleep(REPEATED_S)

        self._do("snapshot", ask)

    def _activate(self, message: Any) -> None:
        """Send to all partitions, in the order of calls within each; copies follow at once."""
        for partition in range(self.world.partitions):
            for _ in range(1 + self.world.faults.strike("activation sent twice")):
                self.world.put(SEGMENT_ACTIVATIONS, partition, CODEC.encode(message))
            if self.random.random() < 0.3:
                self.world.kernel.sleep(self.random.uniform(0.0, 20.0))
