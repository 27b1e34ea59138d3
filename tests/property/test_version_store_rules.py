"""Any history of publishes, late and repeated ones, rollbacks and expiries, compared with a model of plain sets."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from schemas.ids import JobId, Version
from segmentation.versions import AlreadyPublished, BaseMoved, Published, PublishRequest, SupersededBy
from tests.examples import examples
from tests.fakes.version_store import InMemoryVersionStore
from tests.integration.lake.support import AT, Parts, audience, counts, new_id, request, users

NAMES = st.frozensets(st.sampled_from("abcdefgh"), max_size=8)
ORDERS = st.integers(0, 99).map("{:02d}".format)


@dataclass(frozen=True)
class Made:
    """A version in the model."""

    number: int
    members: frozenset[str]
    by: JobId


class Versions(RuleBasedStateMachine):
    """Importers pin a base, sleep, and publish in any order; the model predicts the result."""

    writers = Bundle("writers")
    finished = Bundle("finished")

    @initialize()
    def start(self) -> None:
        self.parts = Parts()
        self.store = InMemoryVersionStore(self.parts.read)
        self.ref = audience()
        self.made: list[Made] = []
        self.kept: list[Made] = []
        self.newest_order = ""
        self.day = 0

    def current(self) -> Made | None:
        return self.made[-1] if self.made else None

    @rule(target=writers, names=NAMES, order=ORDERS)
    def build_replace(self, names: frozenset[str], order: str) -> PublishRequest:
        return request(self.ref, self.parts.write(self.ref, new_id(), users(*names)), order)

    @rule(target=writers, names=NAMES, order=ORDERS, remove=st.booleans())
    def build_on_base(self, names: frozenset[str], order: str, *, remove: bool) -> PublishRequest:
        base = self.current()
        before = base.members if base else frozenset()
        after = before - names if remove else before | names
        number = base.number if base else None
        changes: dict[str, Any] = {
            "mode": "remove" if remove else "append",
            "base_version": number,
            "counts": counts(len(before), len(after - before), len(before - after), len(before & after), number),
        }
        return request(self.ref, self.parts.write(self.ref, new_id(), users(*after)), order, **changes)

    @rule(target=finished, writer=consumes(writers))
    def publish(self, writer: PublishRequest) -> PublishRequest:
        base = self.current()
        outcome = self.store.publish(writer)
        if writer.mode == "replace" and self.newest_order >= writer.order_key and self.made:
            assert isinstance(outcome, SupersededBy)
            assert outcome.order_key == self.newest_order
        elif writer.mode != "replace" and (base.number if base else None) != writer.base_version:
            assert outcome == BaseMoved(current_version=None if base is None else Version(base.number))
        else:
            assert isinstance(outcome, Published)
            self.counts_are_against(base, self.members_of(writer))
            self.add(outcome, self.members_of(writer), writer.import_id, writer.order_key)
        return writer

    @rule(writer=finished)
    def publish_again(self, writer: PublishRequest) -> None:
        outcome = self.store.publish(writer)
        mine = [m for m in self.kept if m.by == writer.import_id]
        if mine:
            assert isinstance(outcome, AlreadyPublished)
            assert outcome.version == mine[0].number
        else:
            assert isinstance(outcome, SupersededBy | BaseMoved)

    @rule(data=st.data(), order=ORDERS)
    def roll_back(self, data: st.DataObject, order: str) -> None:
        if not self.kept:
            return
        to = data.draw(st.sampled_from(self.kept))
        operation, base = new_id(), self.current()
        outcome = self.store.rollback(self.ref, Version(to.number), operation_id=operation, order_key=order, at=AT)
        assert isinstance(outcome, Published)
        self.counts_are_against(base, to.members)
        self.add(outcome, to.members, operation, order)

    @rule(keep=st.integers(1, 3), pinned=st.integers(0, 2), data=st.data())
    def expire(self, keep: int, pinned: int, data: st.DataObject) -> None:
        pins = (
            data.draw(st.frozensets(st.sampled_from(self.kept), min_size=min(pinned, len(self.kept)), max_size=pinned))
            if self.kept
            else frozenset()
        )
        self.store.expire(
            self.ref,
            keep_last=keep,
            keep_younger_than=timedelta(0),
            now=AT,
            pins={Version(m.number) for m in pins},
        )
        self.kept = [m for m in self.kept if m in self.kept[-keep:] or m in pins]

    def counts_are_against(self, base: Made | None, after: frozenset[str]) -> None:
        before, number = (base.members, base.number) if base else (frozenset(), None)
        current = self.store.current(self.ref)
        assert current is not None
        assert current.counts == counts(
            len(before), len(after - before), len(before - after), len(before & after), number
        )

    def members_of(self, writer: PublishRequest) -> frozenset[str]:
        return frozenset(u for p in writer.parts for u in self.parts.tables[p.uri].column("user_id").to_pylist())

    def add(self, outcome: Published, members: frozenset[str], by: JobId, order: str) -> None:
        assert outcome.version == len(self.made) + 1
        self.made.append(Made(outcome.version, members, by))
        self.kept.append(self.made[-1])
        self.newest_order = max(self.newest_order, order)

    @invariant()
    def every_kept_version_has_exactly_its_members(self) -> None:
        if not hasattr(self, "store"):
            return
        assert [v.version for v in self.store.versions(self.ref)] == [m.number for m in self.kept]
        for made in self.kept:
            files = self.store.files(self.ref, Version(made.number))
            seen = [u for p in files for u in self.parts.tables[p.uri].column("user_id").to_pylist()]
            assert sorted(seen) == sorted(made.members)


TestVersions = Versions.TestCase
TestVersions.settings = examples(60, stateful_step_count=30)
