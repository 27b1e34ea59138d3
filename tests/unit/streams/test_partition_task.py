"""A partition task handles records, requests and faults, one at a time."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faust.types import TP

from schemas.columns import RowSchema
from schemas.errors import FatalError
from schemas.ids import AudienceName, JobId, Partition, TenantName, Version
from schemas.layout import checkpoint_prefix, split_s3_uri
from schemas.messages import DeadLetter, EventRecord, ProfileRecord
from schemas.metrics import RECOVERY
from schemas.row_digest import digest_rows
from schemas.segment_messages import (
    ArchiveWritten,
    AudienceActivated,
    CutRequested,
    MembershipChanges,
    OwnerStarted,
    RuleActivated,
    SegmentCut,
    SegmentDeleted,
    SegmentPaused,
    SegmentStatus,
)
from schemas.topics import (
    ARCHIVE,
    DEAD_LETTERS,
    EVENTS,
    MEMBERSHIP_CHANGES,
    PROFILES,
    SEGMENT_ACTIVATIONS,
    SEGMENT_STATUS,
)
from segmentation.partitions.change_log import ChangeLog, emission_of
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from streams.background import Background
from streams.segments.inputs import OVERHEAD_BYTES
from streams.segments.owned_partitions import OwnedPartitions
from streams.segments.tenants import Tenants
from tests.fakes.fetches import fetched
from tests.fakes.segment_world import BATCH, HERE, DiedError, LivingOwner, World, follow

pytestmark = pytest.mark.anyio

NOW_US = 1_795_608_000_000_000
SHOP, BUYERS = TenantName("default"), AudienceName("buyers")
GHOST = TenantName("ghost")
CUT = JobId("0" * 26)


def purchase(user: str, ago_s: int = 0) -> EventRecord:
    return EventRecord(user_id=user, event="purchase", occurred_at_us=NOW_US - ago_s * 1_000_000, tenant=SHOP)


def buyers(rule: str = "ever(purchase)", version: int = 1) -> RuleActivated:
    return RuleActivated(
        tenant=SHOP, segment=BUYERS, rule_version=version, rule=json.dumps(rule_record(parse_rule(rule)))
    )


async def started(world: World) -> LivingOwner:
    living = world.owner()
    await living.owner.start()
    return living


async def step(living: LivingOwner) -> None:
    await living.deliver()
    await living.owner.step()


def of_type(world: World, topic: str, type_: type[Any]) -> list[Any]:
    return [message for message in world.messages(topic) if isinstance(message, type_)]


async def test_records_are_acknowledged_after_archiving() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    (written,) = of_type(world, ARCHIVE, ArchiveWritten)
    assert (written.topic, written.first_offset, written.end_offset) == (EVENTS, 0, 1)
    await step(living)
    assert world.committed[EVENTS] == 0
    world.archive()
    await step(living)
    assert world.committed[EVENTS] == 1


async def test_trailing_markers_are_archived_and_then_acknowledged() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await living.deliver()
    acked: list[int] = []
    living.owner.skip_to(EVENTS, 3, SimpleNamespace(ack=lambda: acked.append(3)))
    await living.owner.step()
    living.owner.skip_to(PROFILES, 2, SimpleNamespace(ack=lambda: acked.append(2)))
    await living.owner.step()
    position = living.owner.segments.position
    assert (position.events, position.profiles) == (3, 2)
    ranges = [(m.topic, m.first_offset, m.end_offset, len(m.files)) for m in world.messages(ARCHIVE)]
    assert ranges == [(EVENTS, 0, 3, 1), (PROFILES, 0, 2, 0)]
    assert (world.committed[EVENTS], acked) == (0, [])
    world.archive()
    await step(living)
    assert (world.committed[EVENTS], sorted(acked)) == (1, [2, 3])


async def test_markers_wait_for_earlier_records() -> None:
    world = World(NOW_US, tail_bytes=0)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.append(EVENTS, purchase("bob"), b"bob")
    await living.deliver()
    living.owner.skip_to(EVENTS, 5, SimpleNamespace(ack=lambda: None))
    await living.owner.step()  # takes nothing more before the archive has the first record
    assert (living.owner.segments.position.events, living.owner.has_waiting(EVENTS)) == (1, True)
    world.archive()
    await living.owner.step()
    await living.owner.step()
    assert (living.owner.segments.position.events, living.owner.has_waiting(EVENTS)) == (5, False)


async def test_lost_announcement_is_repeated() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.logs[ARCHIVE].clear()
    await step(living)
    assert world.messages(ARCHIVE) == []
    world.steady_s += world.config.archive_again_s
    await step(living)
    assert len(world.messages(ARCHIVE)) == 1


async def test_invalid_event_becomes_a_dead_letter_and_is_acknowledged() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, b'{"user_id": "ann"', b"ann")
    await step(living)
    (letter,) = of_type(world, DEAD_LETTERS, DeadLetter)
    assert (letter.topic, letter.offset, letter.key, letter.value) == (EVENTS, 0, b"ann", b'{"user_id": "ann"')
    assert letter.reason.startswith("bad_json")
    world.archive()
    await step(living)
    assert world.committed[EVENTS] == 1


async def test_records_of_an_unknown_tenant_remain_dead_letters_after_its_creation() -> None:
    world = World(NOW_US, archive_after_s=60.0)
    living = await started(world)
    of_ghost = replace(purchase("ann"), tenant=GHOST)
    world.append(EVENTS, of_ghost, b"ann")
    world.append(PROFILES, ProfileRecord(user_id="ann", attributes={"age": 3.0}, tenant=GHOST), b"ann")
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(living)
    letters = of_type(world, DEAD_LETTERS, DeadLetter)
    assert [(letter.topic, letter.offset) for letter in letters] == [(EVENTS, 0), (PROFILES, 0)]
    assert {letter.reason.split(",")[0] for letter in letters} == {
        "unknown_tenant: tenant 'ghost' did not exist when the record arrived; create it with `muster tenants create`"
    }
    world.now_us += 1_000_000
    world.tenants[GHOST] = world.now_us
    world.config = replace(world.config, archive_after_s=0.0)
    again = await started(world)  # it reads the same records again: nothing was acknowledged
    world.append(EVENTS, of_ghost, b"ann")  # as a replay of the dead letter does
    await step(again)
    world.archive()
    rows = pa.concat_tables(world.tables[EVENTS]).select(["tenant", "offset"]).to_pylist()
    assert rows == [{"tenant": "default", "offset": 1}, {"tenant": "ghost", "offset": 2}]
    assert pa.concat_tables(world.tables[PROFILES]).num_rows == 0


async def test_tenant_created_between_two_records_takes_one_lookup() -> None:
    world = World(NOW_US)
    looks: list[int] = []

    def find() -> dict[TenantName, int]:
        looks.append(world.now_us)
        return dict(world.tenants)

    tenants = Tenants(find)
    assert not any(tenants.for_received_records()(name, NOW_US) for name in (GHOST, TenantName("other")))
    world.tenants[GHOST] = NOW_US + 1
    existed = tenants.for_received_records()
    assert [existed(GHOST, at_us) for at_us in (NOW_US, NOW_US + 1, NOW_US + 2)] == [False, True, True]
    assert existed(SHOP, 0)
    assert not tenants.for_received_records()(GHOST, NOW_US)
    assert len(looks) == 3  # one for each of the first two records, one after the tenant was created


async def test_rule_emits_its_history_then_each_event() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(living)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    world.append(EVENTS, purchase("eve"), b"eve")
    await step(living)
    emitted = [(m.cause, m.count, m.seq) for m in of_type(world, MEMBERSHIP_CHANGES, MembershipChanges)]
    assert emitted == [("rule", 2, 0), ("event", 1, 1)]
    assert world.received() == {"buyers": {"ann", "bob", "eve"}}


async def test_invalid_rule_message_is_skipped() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, b"?")
    world.append(SEGMENT_ACTIVATIONS, RuleActivated(tenant=SHOP, segment=BUYERS, rule_version=1, rule="{}"))
    world.append(SEGMENT_ACTIVATIONS, OwnerStarted(partition=HERE, worker="w", started_at_us=0))
    world.append(SEGMENT_ACTIVATIONS, buyers("never(refund)", 2))
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    letters = of_type(world, DEAD_LETTERS, DeadLetter)
    assert [(letter.topic, letter.offset) for letter in letters] == [(SEGMENT_ACTIVATIONS, n) for n in range(3)]
    assert world.received() == {"buyers": {"ann"}}


async def test_timed_leave_is_emitted_before_a_refused_message() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("count(purchase, 1h) >= 1"))
    world.append(EVENTS, purchase("ann", ago_s=3_590), b"ann")
    await step(living)
    world.append(SEGMENT_ACTIVATIONS, RuleActivated(tenant=SHOP, segment=BUYERS, rule_version=2, rule="{}"))
    world.calls_take_us = 30_000_000  # so the hour is over between the step's records and the message
    await step(living)
    assert len(of_type(world, DEAD_LETTERS, DeadLetter)) == 1
    assert world.received() == {}


async def test_cut_has_the_members_of_its_instant_and_the_next_change_offset() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("count(purchase, 1h) >= 1"))
    for user, ago_s in (("bob", 0), ("ann", 0), ("old", 3_590)):
        world.append(EVENTS, purchase(user, ago_s), user.encode())
    await step(living)
    at_us = NOW_US + 5_000_000
    world.append(SEGMENT_ACTIVATIONS, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=at_us))
    await step(living)
    assert of_type(world, SEGMENT_STATUS, SegmentCut) == []
    world.now_us += 60_000_000  # by then, "old" has left
    await step(living)
    (cut,) = of_type(world, SEGMENT_STATUS, SegmentCut)
    assert (cut.at_us, cut.events, cut.activations, cut.members, cut.rule_version) == (at_us, 3, 2, 3, 1)
    content = world.store.get(*split_s3_uri(cut.part))
    assert content is not None
    rows = pq.read_table(io.BytesIO(content))
    assert rows.column("user_id").to_pylist() == ["ann", "bob", "old"]
    assert (cut.digest, cut.generation) == (digest_rows(rows, RowSchema()), 0)
    assert world.received() == {"buyers": {"ann", "bob"}}
    later = of_type(world, MEMBERSHIP_CHANGES, MembershipChanges)[-1]
    assert (later.cause, world.messages(MEMBERSHIP_CHANGES).index(later)) == ("time", cut.changes)


async def test_repeated_cut_has_the_members_of_its_message() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.append(SEGMENT_ACTIVATIONS, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US))
    await step(living)
    living.dies_after = 2  # the members are stored, but their message is not sent
    with pytest.raises(DiedError):
        await step(living)
    assert len(world.store.keys("segments/cuts/")) == 1
    living = await started(world)
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(living)
    await step(living)
    (cut,) = of_type(world, SEGMENT_STATUS, SegmentCut)
    content = world.store.get(*split_s3_uri(cut.part))
    assert content is not None
    assert (cut.members, pq.read_table(io.BytesIO(content)).column("user_id").to_pylist()) == (2, ["ann", "bob"])


async def test_cut_plus_later_changes_equals_members_for_any_owner() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("count(purchase, 1h) >= 1"))
    for user, ago_s in (("bob", 0), ("ann", 0), ("old", 3_590)):
        world.append(EVENTS, purchase(user, ago_s), user.encode())
    await step(living)
    world.append(SEGMENT_ACTIVATIONS, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US + 1))
    await step(living)
    world.now_us += 1_000_000
    await step(living)
    (cut,) = of_type(world, SEGMENT_STATUS, SegmentCut)
    content = world.store.get(*split_s3_uri(cut.part))
    assert content is not None
    members = set(pq.read_table(io.BytesIO(content)).column("user_id").to_pylist())
    world.append(EVENTS, purchase("new"), b"new")
    await step(living)
    late = replace(of_type(world, MEMBERSHIP_CHANGES, MembershipChanges)[-1], seq=99)
    another = await started(world)
    world.now_us += 60_000_000  # "old" leaves, which the new owner emits
    await step(another)
    world.append(MEMBERSHIP_CHANGES, late)  # the replaced owner continues
    await step(another)
    log = ChangeLog(cut.generation)
    for offset, message in list(enumerate(world.messages(MEMBERSHIP_CHANGES)))[cut.changes :]:
        if log.counts(offset, message):
            follow(members, emission_of(message).changes)
    assert members == world.received()["buyers"] == {"ann", "bob", "new"}


async def test_repeated_request_is_answered_once() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    request = CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US)
    for _ in range(2):  # while it waits, and again once it is answered
        world.append(SEGMENT_ACTIVATIONS, request)
        world.append(SEGMENT_ACTIVATIONS, request)
        await step(living)
        await step(living)
    assert len(of_type(world, SEGMENT_STATUS, SegmentCut)) == 1


async def test_owner_replaced_while_emitting_announces_no_cut() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(SEGMENT_ACTIVATIONS, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US + 1))
    await step(living)
    world.append(MEMBERSHIP_CHANGES, OwnerStarted(partition=HERE, worker="another", started_at_us=NOW_US))
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)  # ann enters, and the change is after the other owner's start
    world.now_us += 1
    with pytest.raises(FatalError, match="OWNER_REPLACED"):
        await step(living)
    assert of_type(world, SEGMENT_STATUS, SegmentCut) == []


async def test_cut_of_an_unknown_segment_is_empty() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US))
    await step(living)
    await step(living)
    (cut,) = of_type(world, SEGMENT_STATUS, SegmentCut)
    assert (cut.rule_version, cut.members, cut.part) == (0, 0, None)


async def test_paused_segment_is_frozen() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.append(SEGMENT_ACTIVATIONS, SegmentPaused(tenant=SHOP, segment=BUYERS, rule_version=1))
    await step(living)
    world.append(EVENTS, purchase("bob"), b"bob")
    world.steady_s += world.config.status_after_s
    await step(living)
    status = of_type(world, SEGMENT_STATUS, SegmentStatus)[-1]
    assert (status.paused, status.members, status.events) == (True, 1, 2)
    world.append(SEGMENT_ACTIVATIONS, buyers(version=2))
    await step(living)
    assert world.received() == {"buyers": {"ann", "bob"}}


async def test_segment_paused_after_the_last_checkpoint_keeps_its_emitted_members() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    rule = json.dumps(rule_record(parse_rule("in segment buyers or ever(refund)")))
    fans = RuleActivated(tenant=SHOP, segment=AudienceName("fans"), rule_version=1, rule=rule)
    world.append(SEGMENT_ACTIVATIONS, fans)
    world.append(EVENTS, purchase("ann"), b"ann")
    world.steady_s += 1.0
    await step(living)
    assert len(world.store.keys("checkpoints")) == 1
    world.append(SEGMENT_ACTIVATIONS, SegmentPaused(tenant=SHOP, segment=BUYERS, rule_version=1))
    await step(living)
    for user in ("bob", "eve"):
        world.append(EVENTS, purchase(user), user.encode())
    await step(living)
    emitted = {"buyers": {"ann"}, "fans": {"ann"}}
    assert world.received() == emitted
    for _ in range(2):  # with the checkpoint from before the pause, then with one from after it
        living = await started(world)
        world.steady_s += 1.0
        await step(living)
        await step(living)
        members = living.owner.segments.members(SHOP, BUYERS)
        assert members is not None
        assert (members.to_pylist(), world.received()) == (["ann"], emitted)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    assert world.received() == {"buyers": {"ann", "bob", "eve"}, "fans": {"ann", "bob", "eve"}}


async def test_owner_replaced_while_it_recovers_ends_before_its_first_change(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(NOW_US)
    append = world.append

    def append_both(topic: str, value: bytes, key: bytes) -> int:
        offset = append(topic, value, key)
        append(topic, OwnerStarted(partition=HERE, worker="other", started_at_us=NOW_US))
        return offset

    living = world.owner()
    monkeypatch.setattr(world, "append", append_both)
    with pytest.raises(FatalError, match="another worker has taken over at offset 1") as caught:
        await living.owner.start()
    assert caught.value.code == "OWNER_REPLACED"


async def test_owner_that_finds_the_checkpoint_of_a_later_one_is_replaced_and_not_in_another_log() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    living, may_continue = world.owner(), asyncio.Event()
    in_thread = living.owner._environment.in_thread

    async def later(*call: Any) -> Any:
        await may_continue.wait()
        return await in_thread(*call)

    living.owner._environment = replace(living.owner._environment, in_thread=later)
    starting = asyncio.create_task(living.owner.start())
    await world.appended.wait()
    other = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    world.steady_s += 1.0
    await step(other)
    assert len(world.store.keys("checkpoints")) == 1
    may_continue.set()
    with pytest.raises(FatalError, match="another worker has taken over at offset 1") as caught:
        await starting
    assert caught.value.code == "OWNER_REPLACED"


async def test_records_archived_since_the_checkpoint_count_for_the_next_owner() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("count(purchase, 1d) >= 2"))
    world.append(EVENTS, purchase("ann"), b"ann")
    world.steady_s += 1.0
    await step(living)
    assert len(world.store.keys("checkpoints")) == 1
    world.append(EVENTS, purchase("bob"), b"bob")
    for _ in range(2):
        await step(living)
        world.archive()
    await step(living)
    assert world.committed[EVENTS] == 2
    other = await started(world)
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(other)
    await step(other)
    assert world.received() == {"buyers": {"bob"}}


async def test_members_follow_the_version_of_an_audience_and_leave_a_deleted_segment() -> None:
    world = World(NOW_US)
    world.versions |= {("vip", 1): ["ann"], ("vip", 2): ["bob"]}
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("in audience vip and ever(purchase)"))
    for user in ("ann", "bob"):
        world.append(EVENTS, purchase(user), user.encode())
    for version, user in ((Version(1), "ann"), (Version(2), "bob")):
        named = AudienceActivated(tenant=SHOP, audience=AudienceName("vip"), version=version)
        world.append(SEGMENT_ACTIVATIONS, named)
        await step(living)
        assert world.received() == {"buyers": {user}}
    world.append(SEGMENT_ACTIVATIONS, SegmentDeleted(tenant=SHOP, segment=BUYERS, rule_version=1))
    await step(living)
    assert world.received() == {}


async def test_clock_that_steps_back_takes_no_position_back() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers("count(purchase, 1h) >= 1"))
    world.append(EVENTS, purchase("ann"), b"ann")
    world.now_us += 3_599_000_000
    await step(living)
    assert world.received() == {"buyers": {"ann"}}
    reached = living.owner.segments.position
    world.now_us -= 60_000_000
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(living)
    assert living.owner.segments.position.reached(reached)
    assert world.received() == {"buyers": {"ann", "bob"}}


async def test_replaced_owner_ends_before_writing_a_checkpoint() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    frozen = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(frozen)
    other = await started(world)
    await step(other)
    world.append(EVENTS, purchase("bob"), b"bob")
    world.steady_s += 1.0
    with pytest.raises(FatalError, match="another worker has taken over") as caught:
        await step(frozen)
    assert caught.value.code == "OWNER_REPLACED"
    assert world.store.keys("checkpoints") == []
    await step(other)
    assert world.received() == {"buyers": {"ann", "bob"}}


async def test_foreign_records_in_the_log_of_changes_are_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    first = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(first)
    for foreign in (b"rubbish", None, CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US)):
        world.append(MEMBERSHIP_CHANGES, foreign)
    living = await started(world)
    world.append(MEMBERSHIP_CHANGES, b"rubbish")
    world.append(EVENTS, purchase("bob"), b"bob")
    await step(living)
    world.steady_s += 1.0
    await step(living)  # a checkpoint, before which it reads the log again
    assert len(world.store.keys("checkpoints")) == 1
    assert world.received() == {"buyers": {"ann", "bob"}}
    assert "skipped: muster.membership-changes offset=2: not Avro" in caplog.text
    assert "a CutRequested does not belong in muster.membership-changes" in caplog.text


async def test_checkpoint_of_another_log_is_refused_even_if_longer() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.steady_s += 1.0
    await step(living)
    (kept,) = world.store.keys("checkpoints")
    again = await started(world)  # the same log has the same owner at the checkpoint's position
    assert again.owner.segments.position.events == 1

    world.logs = {}
    world.committed = dict.fromkeys(world.committed, 0)
    world.now_us += 60_000_000
    for _ in range(10):  # repeated restarts make the new log longer than the old one was
        with pytest.raises(FatalError, match=r"OTHER_LOG: .* the checkpoint of generation 0 belongs to another log"):
            await started(world)
    assert world.store.keys("checkpoints") == [kept]
    assert of_type(world, MEMBERSHIP_CHANGES, MembershipChanges) == []


async def kept(world: World, *users: str) -> LivingOwner:
    """A task that has emitted these users and kept a checkpoint; its archive has all but the last user."""
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    for user in users:
        world.append(EVENTS, purchase(user, ago_s=50), user.encode())
        world.archive()
        await step(living)
    world.steady_s += 1.0
    await step(living)
    assert len(world.store.keys("checkpoints")) == 1
    return living


@pytest.mark.parametrize("whole", [False, True], ids=["events and profiles", "all of Kafka"])
async def test_rebased_owner_continues_from_the_archive_and_loses_no_leave(whole: bool) -> None:  # noqa: FBT001
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await kept(world, "ann", "bob", "cid")
    assert (world.archived[EVENTS, 0], living.owner.segments.position.events) == (2, 3)
    assert world.received() == {"buyers": {"ann", "bob", "cid"}}
    world.rebase(*(world.logs if whole else (EVENTS, PROFILES)))
    if whole:
        world.append(SEGMENT_ACTIVATIONS, buyers())  # as the control plane resends it
    for user in ("dan", "eve"):
        world.append(EVENTS, purchase(user), user.encode())
    restarted = await started(world)
    assert restarted.owner.segments.position.events == 2
    await step(restarted)
    emitted = [emission_of(m).changes for m in of_type(world, MEMBERSHIP_CHANGES, MembershipChanges)][-2:]
    changed = {
        (user, entered)
        for one in emitted
        for user, entered in zip(one.user_ids.to_pylist(), one.entered.tolist(), strict=True)
    }
    # The event of cid was never archived: it is lost with its topic, and so is its effect.
    assert changed == {("cid", False), ("dan", True), ("eve", True)}
    if not whole:
        assert world.received() == {"buyers": {"ann", "bob", "dan", "eve"}}
    written = of_type(world, ARCHIVE, ArchiveWritten)[-1]
    assert (written.first_offset, written.end_offset, written.era) == (2, 4, 1)
    world.archive()
    world.steady_s += 1.0
    await step(restarted)
    assert (world.committed[EVENTS], world.archived[EVENTS, 0]) == (2, 4)
    assert sorted(world.table(EVENTS).column("offset").to_pylist()) == [0, 1, 2, 3]

    again = await started(world)  # from the checkpoint of the new log epoch, though its generation is lower
    assert again.owner.segments.position.events == 4
    world.append(EVENTS, purchase("fay"), b"fay")
    await step(again)
    assert again.owner.segments.members(SHOP, BUYERS).to_pylist() == ["ann", "bob", "dan", "eve", "fay"]  # type: ignore[union-attr]


async def test_record_refused_after_a_rebase_is_named_by_its_new_offset() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    await kept(world, "ann", "bob")
    world.rebase(EVENTS, PROFILES)
    living = await started(world)
    world.append(EVENTS, b"no event", b"ann")
    await step(living)
    (letter,) = of_type(world, DEAD_LETTERS, DeadLetter)
    assert (letter.topic, letter.offset) == (EVENTS, 0)


async def test_owner_warns_while_recovery_stalls(caplog: pytest.LogCaptureFixture) -> None:
    def has_waiting(living: LivingOwner) -> float:
        (sample,) = (one for one in living.owner.samples() if one.metric is RECOVERY)
        return sample.value

    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    assert has_waiting(living) == 0
    (lost,) = world.logs[EVENTS]
    world.logs[EVENTS] = []
    living = await started(world)
    world.steady_s += 60.0
    await step(living)
    world.steady_s += 30.0
    await step(living)
    assert has_waiting(living) == 90.0
    (said,) = (one for one in caplog.messages if "recovering to" in one)
    assert "for 60 s recovering to LogPosition(events=1" in said
    assert "now at LogPosition(events=0" in said
    world.logs[EVENTS] = [lost]
    await step(living)
    assert (has_waiting(living), world.received()) == (0, {"buyers": {"ann"}})


async def test_archive_behind_the_committed_offset_is_reported() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.archive()
    await step(living)
    living = await started(world)
    world.archived[EVENTS, 0] = 0
    with pytest.raises(FatalError, match="Set the offset of the group to 0") as caught:
        await step(living)
    assert caught.value.code == "ARCHIVE_GAP"


async def test_rule_reads_all_acknowledged_records_though_the_last_report_of_the_archive_was_a_late_one() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    world.archive()
    await step(living)
    world.archived[EVENTS, 0] = 0  # as reported by a committer that was frozen
    living = await started(world)
    world.archived[EVENTS, 0] = 1  # as reported again
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    assert world.received() == {"buyers": {"ann"}}


@pytest.mark.parametrize("skew_s", [120, -120])
async def test_owner_with_a_wrong_clock_changes_nothing(skew_s: int) -> None:
    world = World(NOW_US)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.skew_us = skew_s * 1_000_000
    with pytest.raises(FatalError, match="Synchronise the clocks with NTP") as caught:
        await started(world)
    assert (caught.value.code, caught.value.detail["skew_s"]) == ("CLOCK_SKEW", skew_s)
    assert of_type(world, MEMBERSHIP_CHANGES, MembershipChanges) == []


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_bit_flipped(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


def of_another_release(content: bytes) -> bytes:
    del content
    about = {"format": 1, "partition": 0, "place": {}, "generation": 0, "changes": 0, "next_seq": 0}
    rule = {"segment": "buyers", "version": 1, "paused": False, "rule": {"format": 99}}
    tenant = {"tenant": "default", "at_us": 0, "rules": [rule], "audiences": {}}
    out = io.BytesIO()
    np.savez(out, about=np.frombuffer(json.dumps(about | {"tenants": [tenant]}).encode(), np.uint8))
    return out.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [lambda _: b"not a checkpoint", lambda _: b"", cut_off, with_a_bit_flipped, of_another_release],
    ids=["something-else", "empty", "cut-off", "a-bit-flipped", "of-another-release"],
)
async def test_few_checkpoints_are_kept_and_a_broken_one_falls_back(
    damaged: Callable[[bytes], bytes],
) -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    for user in ("ann", "bob", "eve"):
        world.append(EVENTS, purchase(user), user.encode())
        world.steady_s += 1.0
        await step(living)
    keys = world.store.keys("checkpoints")
    assert len(keys) == 2
    world.store.objects["staging", keys[-1]] = damaged(world.store.objects["staging", keys[-1]])
    living = await started(world)
    assert living.owner.segments.position.events == 2
    await step(living)
    assert world.received() == {"buyers": {"ann", "bob", "eve"}}
    assert of_type(world, MEMBERSHIP_CHANGES, OwnerStarted)[-1].partition == Partition(0)


async def test_foreign_objects_among_checkpoints_are_ignored() -> None:
    world = World(NOW_US, checkpoint_after_s=1.0)
    foreign = [f"{checkpoint_prefix(Partition(0))}{name}" for name in ("zone=a/part-0.parquet", "~", "era-9.npz")]
    for key in foreign:
        world.store.put_new("staging", key, b"an export")
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    for user in ("ann", "bob", "eve"):
        world.append(EVENTS, purchase(user), user.encode())
        world.steady_s += 1.0
        await step(living)
    assert len(set(world.store.keys("checkpoints")) - set(foreign)) == 2
    assert set(foreign) <= set(world.store.keys("checkpoints"))
    again = await started(world)
    assert again.owner.segments.position.events == 3


async def test_closed_task_reports_nothing() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    world.append(EVENTS, purchase("ann"), b"ann")
    await living.deliver()
    before = {topic: len(log) for topic, log in world.logs.items()}
    living.owner.close()
    await living.owner.step()
    assert {topic: len(log) for topic, log in world.logs.items()} == before


async def test_owner_revoked_before_its_start_announces_none() -> None:
    world = World(NOW_US)
    given_up, living = world.owner(), await started(world)
    given_up.owner.close()
    await given_up.owner.run()
    assert len(of_type(world, MEMBERSHIP_CHANGES, OwnerStarted)) == 1
    assert living.owner.live


async def test_owner_revoked_during_its_start_is_not_the_newest() -> None:
    """Two rebalances at once: the first owner's message is in flight when the second owner is created."""
    world = World(NOW_US)
    given_up = world.owner()
    living = world.owner(beside=given_up)
    given_up.may_send.clear()
    beginnings = [asyncio.create_task(given_up.owner.run())]
    await asyncio.sleep(0)
    given_up.owner.close()
    beginnings.append(asyncio.create_task(living.owner.start()))
    await asyncio.sleep(0)
    given_up.may_send.set()
    await asyncio.gather(*beginnings)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    await step(living)
    assert world.received() == {"buyers": {"ann"}}


async def test_fetch_waits_for_room_and_counts_tombstones() -> None:
    world = World(NOW_US, queue_bytes=10 * (OVERHEAD_BYTES + len(b"ann")))
    living = await started(world)
    for _ in range(20):
        world.append(PROFILES, None, b"ann")
    await living.deliver(10)
    delivering = asyncio.create_task(living.deliver(10))
    await asyncio.sleep(0)
    assert not delivering.done()
    while not delivering.done():
        await living.owner.step()
    await living.owner.step()
    assert living.owner.segments.position.profiles == 20


async def test_records_awaiting_the_archive_leave_the_owner_idle() -> None:
    world = World(NOW_US, tail_bytes=0, step_bytes=1, step_s=600.0, gather_bytes=1)
    living = await started(world)
    for user in ("ann", "bob", "cat", "dan"):  # a batch, and a record
        world.append(EVENTS, purchase(user), user.encode())
    await step(living)
    await step(living)
    waiting = asyncio.create_task(living.owner.step())
    await asyncio.sleep(0)
    assert (living.owner.segments.position.events, waiting.done()) == (BATCH, False)
    waiting.cancel()


async def test_records_accumulate_until_a_step_pays() -> None:
    world = World(NOW_US, step_s=600.0, gather_bytes=2 * OVERHEAD_BYTES)
    living = await started(world)
    world.append(PROFILES, None, b"ann")
    await living.deliver()
    stepping = asyncio.create_task(living.owner.step())
    await asyncio.sleep(0.05)
    assert (living.owner.segments.position.profiles, stepping.done()) == (0, False)
    world.append(PROFILES, None, b"bob")
    await living.deliver()
    await stepping
    assert living.owner.segments.position.profiles == 2


def owned_partitions(fail: Callable[[Exception], None] = lambda _: None) -> OwnedPartitions:
    """The partitions of a worker that reaches nothing outside."""
    world = World(NOW_US)
    environment: Any = MagicMock(fail=fail, background=Background(1, fail))
    return OwnedPartitions(world.config, environment)


async def test_partition_assigned_without_its_other_topic_ends_the_worker() -> None:
    errors: list[Any] = []
    owned_partitions(errors.append).on_rewound({TP(EVENTS, 0): 0}, 1)
    (error,) = errors
    assert (error.code, error.detail["partition"]) == ("NOT_COPARTITIONED", 0)


async def test_skipped_offset_ends_the_worker_unless_the_log_skips_it() -> None:
    owned = owned_partitions()
    owned.on_rewound({TP(EVENTS, 0): 0, TP(PROFILES, 0): 0}, 1)
    asked: list[tuple[int, int]] = []

    async def is_gap(due: int, got: int) -> bool:
        asked.append((due, got))
        return got < 7

    owned._gaps[TP(EVENTS, 0)] = SimpleNamespace(is_gap=is_gap)  # type: ignore[assignment]

    async def come(*offsets: int) -> None:
        message = fetched(TP(EVENTS, 0), [(offset, b"") for offset in offsets])
        await owned.accept(SimpleNamespace(message=message))  # type: ignore[arg-type]

    await come(0)
    await come(1, 4)
    with pytest.raises(FatalError, match=r"DELIVERY_GAP: .* offset 7 was delivered, but 5 was expected"):
        await come(7)
    assert asked == [(2, 4), (5, 7)]


async def at_rest(rule: str = "ever(purchase)", *records: tuple[str, Any], **config: Any) -> LivingOwner:
    """An owner with one rule that has folded and archived these records, and rests in its next step."""
    world = World(NOW_US, rest_s=600.0, **config)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers(rule))
    for topic, record in records:
        world.append(topic, record, b"ann")
    await step(living)
    if records:
        world.archive()
        await step(living)
    return living


async def resting(living: LivingOwner) -> asyncio.Task[None]:
    """The next step, once it waits."""
    stepping = asyncio.create_task(living.owner.step())
    for _ in range(10):
        await asyncio.sleep(0)
    return stepping


async def test_an_owner_without_work_rests_until_a_record_arrives() -> None:
    living = await at_rest()
    stepping = await resting(living)
    assert not stepping.done()
    living.world.append(EVENTS, purchase("ann"), b"ann")
    await living.deliver()
    await stepping
    assert living.world.received() == {"buyers": {"ann"}}


async def test_an_activation_ends_a_rest() -> None:
    living = await at_rest("ever(refund)", (EVENTS, purchase("ann")))
    stepping = await resting(living)
    assert not stepping.done()
    living.world.append(SEGMENT_ACTIVATIONS, buyers("ever(purchase)", version=2))
    await stepping
    assert living.world.received() == {"buyers": {"ann"}}


async def test_closing_ends_a_rest() -> None:
    living = await at_rest()
    stepping = await resting(living)
    living.owner.close()
    await stepping


@pytest.mark.parametrize(
    ("rule", "ago_s", "members"),
    [("count(purchase, 1h) >= 1", 3595, {}), ("ever(purchase)", -5, {"buyers": {"ann"}})],
    ids=["a window that ends", "an event of the future"],
)
async def test_an_owner_rests_no_longer_than_until_time_changes_a_membership(
    rule: str, ago_s: int, members: dict[str, set[str]]
) -> None:
    living = await at_rest(rule, (EVENTS, purchase("ann", ago_s)))
    stepping = await resting(living)
    assert not stepping.done()
    assert living.world.received() != members
    stepping.cancel()
    living.world.now_us += 10_000_000
    await living.owner.step()
    assert living.world.received() == members


async def test_an_owner_rests_no_longer_than_until_a_snapshot_is_due() -> None:
    living = await at_rest()
    request = CutRequested(cut_id=CUT, tenant=SHOP, segment=BUYERS, at_us=NOW_US + 1_000_000)
    living.world.append(SEGMENT_ACTIVATIONS, request)
    await step(living)
    stepping = await resting(living)
    assert not stepping.done()
    stepping.cancel()
    living.world.now_us = request.at_us
    await living.owner.step()
    assert [cut.at_us for cut in of_type(living.world, SEGMENT_STATUS, SegmentCut)] == [request.at_us]


async def test_partitions_of_a_worker_wake_together(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    wait = asyncio.wait

    async def waited(tasks: Any, **options: Any) -> Any:
        timeouts.append(options["timeout"])
        return await wait(tasks, **(options | {"timeout": 0.0}))

    living = await at_rest()
    monkeypatch.setattr("streams.segments.partition_task.asyncio.wait", waited)
    for living.world.steady_s in (450.0, 1_300.0):
        await living.owner.step()
    assert timeouts == [150.0, 500.0]


async def test_an_owner_does_not_rest_while_the_archive_lacks_rows() -> None:
    world = World(NOW_US, rest_s=600.0)
    living = await started(world)
    await living.owner.step()
    world.append(EVENTS, purchase("ann"), b"ann")
    await step(living)
    await living.owner.step()
    world.archive()
    await living.owner.step()
    assert world.committed[EVENTS] == 1


async def test_a_status_is_repeated_rarely_unless_it_changes() -> None:
    world = World(NOW_US)
    living = await started(world)
    world.append(SEGMENT_ACTIVATIONS, buyers())
    await step(living)
    reported = []
    for seconds in (0.0, 2.0, 28.0, 2.0):
        world.steady_s += seconds
        world.now_us += int(seconds * 1e6)
        await step(living)
        reported.append(len(of_type(world, SEGMENT_STATUS, SegmentStatus)))
    world.append(EVENTS, purchase("ann"), b"ann")
    world.steady_s += 2.0
    await step(living)
    assert (reported, len(of_type(world, SEGMENT_STATUS, SegmentStatus))) == ([1, 1, 2, 2], 3)
