"""Owners continue from checkpoints with rules of every kind, and from one that release 0.2.0 wrote."""

import json
from pathlib import Path

import pytest

from schemas.ids import AudienceName, TenantName, Version
from schemas.messages import EventRecord, ProfileRecord
from schemas.segment_messages import AudienceActivated, RuleActivated, SegmentPaused
from schemas.topics import EVENTS, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.partitions.checkpoint import decode
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from tests.fakes.segment_world import LivingOwner, World

pytestmark = pytest.mark.anyio
NOW_US = 1_795_608_000_000_000
SHOP = TenantName("default")
WRITTEN_BY_0_2_0 = Path(__file__).with_name("checkpoint-0.2.0.npz")
"""State of the owner in `world_of_0_2_0`, as that release wrote it."""
OLD_RULES = {
    "buyers": "count(purchase, 1h) >= 2",
    "young": "in audience vip and not age >= 25",
    "unnamed": "in audience vip and email is not set",
    "loyal": "in segment buyers and never(refund)",
    "angry": "ever(refund)",
}
NEW_RULES = {
    "buyers": "sequence(purchase then not refund within 10m, 2h)",
    "young": "rule 2: in audience vip and not age >= 25",
    "unnamed": "rule 2: in audience vip and email is not set",
    "loyal": "sum(amount of purchase, 1h) >= 100",
    "angry": "expires > now",
    "trying": "distinct(amount of purchase, 30m) >= 1 and first(purchase) in last 25m",
    "held-out": "rule 2: in audience vip and split(winter) < 50",
}


def send(world: World, user: str, event: str = "purchase", *, amount: float, ago_s: int = 0) -> None:
    at_us = world.now_us - ago_s * 1_000_000
    record = EventRecord(
        user_id=user, event=event, occurred_at_us=at_us, properties={"amount": amount}, tenant=SHOP, event_id="1"
    )
    world.append(EVENTS, record, user.encode())


def activate(world: World, rules: dict[str, str], version: int) -> None:
    for name, text in rules.items():
        rule = json.dumps(rule_record(parse_rule(text, timezone="UTC")))
        segment = AudienceName(name)
        world.append(SEGMENT_ACTIVATIONS, RuleActivated(tenant=SHOP, segment=segment, rule_version=version, rule=rule))


async def started(world: World) -> LivingOwner:
    living = world.owner()
    await living.owner.start()
    return living


async def step(living: LivingOwner) -> None:
    await living.deliver()
    await living.owner.step()


async def kept(world: World, living: LivingOwner) -> None:
    """Archive everything, and write a checkpoint."""
    world.archive()
    world.steady_s += 1.0
    await step(living)
    world.archive()


async def world_of_0_2_0() -> World:
    """A purchase is to come, a segment paused, a member of an audience not known, and the last checkpoint 0.2.0's."""
    world = World(NOW_US, checkpoint_after_s=1.0)
    living = await started(world)
    world.versions["vip", 1] = ["dan", "eve", "zoe"]
    activate(world, OLD_RULES, 1)
    vip = AudienceActivated(tenant=SHOP, audience=AudienceName("vip"), version=Version(1))
    world.append(SEGMENT_ACTIVATIONS, vip)
    send(world, "ann", amount=70.0, ago_s=1_800)
    send(world, "ann", amount=40.0)
    send(world, "bob", amount=30.0, ago_s=50)
    send(world, "cid", amount=5.0, ago_s=-600)
    send(world, "fay", "refund", amount=1.0, ago_s=60)
    for user, age in (("dan", 30.0), ("eve", 20.0)):
        world.append(PROFILES, ProfileRecord(user_id=user, attributes={"age": age}, tenant=SHOP), user.encode())
    await step(living)
    world.archive()
    world.append(SEGMENT_ACTIVATIONS, SegmentPaused(tenant=SHOP, segment=AudienceName("angry"), rule_version=1))
    await step(living)
    await kept(world, living)
    (key,) = world.store.keys("checkpoints")
    world.store.objects["staging", key] = WRITTEN_BY_0_2_0.read_bytes()
    assert decode(WRITTEN_BY_0_2_0.read_bytes()).segments.position.events == len(world.logs[EVENTS])
    return world


def at(world: World, after_s: int) -> None:
    world.now_us = NOW_US + after_s * 1_000_000


async def test_checkpoint_of_0_2_0_is_continued() -> None:
    world = await world_of_0_2_0()
    emitted = {"buyers": {"ann"}, "loyal": {"ann"}, "young": {"eve"}, "unnamed": {"dan", "eve"}, "angry": {"fay"}}
    assert world.received() == emitted
    living = await started(world)
    await step(living)
    assert world.received() == emitted
    send(world, "bob", amount=80.0)
    send(world, "cid", "refund", amount=1.0)
    await step(living)
    assert world.received() == emitted | {"buyers": {"ann", "bob"}, "loyal": {"ann", "bob"}}  # angry is paused
    at(world, 1_800)
    await step(living)
    assert world.received() == emitted | {"buyers": {"bob"}, "loyal": {"bob"}}


async def test_new_conditions_replace_rules_of_0_2_0_and_continue_from_checkpoints() -> None:
    world = await world_of_0_2_0()
    living = await started(world)
    send(world, "bob", amount=80.0)
    expires = {"timestamp": "2026-11-25T12:33:20Z"}
    profile = {"user_id": "ann", "attributes": {"expires": expires}, "tenant": SHOP}
    world.append(PROFILES, json.dumps(profile).encode(), b"ann")
    at(world, 1_800)
    await kept(world, living)
    activate(world, NEW_RULES, 2)
    await step(living)
    emitted = {
        "buyers": {"ann", "bob", "cid"},
        "young": {"eve", "zoe"},
        "unnamed": {"dan", "eve", "zoe"},
        "loyal": {"bob"},
        "angry": {"ann"},
        "trying": {"cid"},
        "held-out": {"eve", "zoe"},
    }
    assert world.received() == emitted
    for after_s, emptied in ((1_999, ""), (2_000, "angry"), (2_100, "trying"), (3_550, "loyal")):
        await kept(world, living)
        living = await started(world)
        at(world, after_s)
        await step(living)
        emitted = {name: members for name, members in emitted.items() if name != emptied}
        assert world.received() == emitted
    send(world, "cid", "refund", amount=1.0, ago_s=2_950)
    await step(living)
    assert world.received()["buyers"] == {"ann", "bob"}
