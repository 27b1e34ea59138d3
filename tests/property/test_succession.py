"""Rules come, change and go, and workers restart from what they kept: the answer stays that of the whole history."""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.ids import Partition, TenantName
from segmentation.evaluation.batches import Changes
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.evaluation.succession import Succession
from segmentation.partitions.checkpoint import Checkpoint, decode, encode
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.tenant import TenantSegments
from segmentation.rules.nodes import Rule
from segmentation.rules.references import cycle
from tests.examples import examples
from tests.fakes.segment_world import follow
from tests.property.rule_cases import NAMES, NEAR, rules, widened
from tests.property.test_evaluator import (
    COUNT_RULES,
    STEP,
    Audience,
    Events,
    History,
    Profiles,
    Step,
    event_batch,
    give,
    micros,
    profile_batch,
)

SHOP = TenantName("acme")
SEGMENTS = st.dictionaries(st.sampled_from(["vip", "x", *NAMES[:1]]), COUNT_RULES | rules() | widened(), max_size=2)
TURN = st.tuples(NEAR, STEP | SEGMENTS | st.just("restart"))


def restarted(evaluator: Evaluator) -> Evaluator:
    """As the next owner of the partition has it, from a checkpoint."""
    kept = TenantSegments(tenant=SHOP, evaluator=evaluator)
    segments = PartitionSegments(Partition(0), LogPosition(), {SHOP: kept})
    checkpoint = decode(encode(Checkpoint(segments=segments, generation=0, changes=0, next_seq=0)))
    again = checkpoint.segments.tenants[SHOP]
    assert (again.rules, again.evaluator.at_us) == (kept.rules, evaluator.at_us)
    return again.evaluator


def succeeded(
    old: Evaluator, active: Mapping[str, ActiveRule], past: list[Step], known: set[str], at: datetime
) -> tuple[Evaluator, list[Changes]]:
    """A new evaluator given the whole past, as the archive has it: more than it lacks does no harm."""
    changes = old.advance(micros(at))
    succession = Succession(active, old)
    succession.known(pa.array(sorted(known), pa.string()))
    since = succession.since_us
    members: dict[str, frozenset[str]] = {}
    for step in past:
        match step:
            case Events():
                wanted = [
                    one
                    for one in step.rows
                    if one.name in succession.event_names and (since is None or micros(one.occurred_at) > since)
                ]
                if wanted:
                    succession.events(event_batch(Events(rows=wanted)))
            case Profiles():
                succession.profiles(profile_batch(step))
            case Audience():
                members[step.name] = step.users
    for member in succession.audiences:
        succession.members(member, pa.array(sorted(members.get(member.name, ())), pa.string()))
    new, more = succession.settle()
    return new, changes + more


@examples(150)
@given(first=SEGMENTS, turns=st.lists(TURN, min_size=2, max_size=9))
def test_new_rules_match_rules_present_from_the_start(
    first: dict[str, Rule], turns: list[tuple[datetime, Step | dict[str, Rule] | str]]
) -> None:
    assume(cycle(first) is None)
    turns = list(zip(sorted(at for at, _ in turns), (what for _, what in turns), strict=True))
    of = first
    version = 1
    evaluator = Evaluator(
        {name: ActiveRule(version=version, rule=rule) for name, rule in of.items()}, at_us=micros(turns[0][0])
    )
    history, past = History(), list[Step]()
    emitted: dict[str, set[str]] = {}
    for at, what in turns:
        if what == "restart":
            changes = evaluator.advance(micros(at))
            evaluator = restarted(evaluator)
        elif isinstance(what, dict):
            assume(cycle(what) is None)
            of, version = what, version + 1
            active = {name: ActiveRule(version=version, rule=rule) for name, rule in of.items()}
            evaluator, changes = succeeded(evaluator, active, past, history.known, at)
        else:
            assert not isinstance(what, str)
            changes = give(evaluator, what, at)
            history.take(what)
            past.append(what)
        for change in changes:
            follow(emitted.setdefault(change.segment, set()), change)
        expected = history.answer(of, at)
        assert {name: set(evaluator.members(name).to_pylist()) for name in of} == expected
        assert {name: inside for name, inside in emitted.items() if inside} == {n: e for n, e in expected.items() if e}
