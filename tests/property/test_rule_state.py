"""Random events of a user: the events that a condition requests determine its answer, and when it changes."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from segmentation.rules.events import Events
from segmentation.rules.nodes import MAX_TIMES, Count, EventCondition, Ever, Group, Never, Rule, Seen
from segmentation.rules.parser import parse_rule
from segmentation.rules.state import Need, needs
from tests.examples import examples
from tests.naive_rules import Event, World, is_true
from tests.property.rule_cases import NOW

SECOND = timedelta(seconds=1)
BUY = Events(event="buy")
MOMENTS = st.integers(0, 8).map(lambda second: NOW + second * SECOND)
CONDITIONS: st.SearchStrategy[EventCondition] = st.one_of(
    st.builds(
        Count,
        events=st.just(BUY),
        quantity=st.sampled_from(["at_least", "at_most", "exactly"]),
        times=st.integers(1, 3),
        within_s=st.integers(1, 6),
    ),
    st.builds(
        Count,
        events=st.just(BUY),
        quantity=st.sampled_from(["at_most", "exactly"]),
        times=st.just(0),
        within_s=st.integers(1, 6),
    ),
    st.sampled_from([Ever(events=BUY), Never(events=BUY)]),
    st.builds(
        Seen,
        events=st.just(BUY),
        which=st.sampled_from(["first", "last"]),
        bound=st.sampled_from(["before", "from"]),
        moment=MOMENTS,
    ),
)
HAPPENED = st.lists(
    st.builds(
        Event,
        user=st.just("ann"),
        name=st.just("buy"),
        occurred_at=MOMENTS,
        id=st.sampled_from("12345"),
        properties=st.just({}),
    ),
    max_size=12,
    unique_by=lambda event: (event.occurred_at, event.id),
)


def answer(condition: EventCondition, events: list[Event], at: datetime) -> bool:
    return is_true(condition, "ann", at, None, World(events=events, profiles={}, members=set()))


@examples(300)
@given(CONDITIONS, HAPPENED)
def test_rule_state_determines_the_answer_and_its_change_times(condition: EventCondition, events: list[Event]) -> None:
    need = needs(Rule(groups=(Group(conditions=(condition,)),)))[condition]
    ranked = sorted(events, key=lambda event: event.occurred_at, reverse=need.end == "latest")
    kept = ranked[: need.keep]
    changes = {
        ranked[rank - 1].occurred_at + timedelta(seconds=need.within_s)
        for rank in need.deadlines
        if need.within_s is not None and rank <= len(kept)
    }
    for second in range(8, 16):
        at = NOW + second * SECOND
        since = None if need.within_s is None else at - timedelta(seconds=need.within_s)
        left = [event for event in kept if since is None or event.occurred_at > since]
        assert answer(condition, left, at) == answer(condition, events, at)
        if answer(condition, events, at) != answer(condition, events, at + SECOND):
            assert at + SECOND in changes


def test_rule_needs_the_state_of_its_event_conditions() -> None:
    rule = parse_rule(
        "count(buy, 3d) >= 3 and count(buy, 3d) <= 1000 and count(buy, 1s) = 2 and never(buy) and first(buy) < "
        "2026-11-01T00:00Z and age >= 25 and count(buy, 1h) = 0"
    )
    day = 86_400
    assert [*needs(rule).values()] == [
        Need(events=BUY, keep=3, end="latest", within_s=3 * day, deadlines=(3,)),
        Need(events=BUY, keep=MAX_TIMES + 1, end="latest", within_s=3 * day, deadlines=(1_001,)),
        Need(events=BUY, keep=3, end="latest", within_s=1, deadlines=(2, 3)),
        Need(events=BUY, keep=1, end="latest", within_s=None, deadlines=()),
        Need(events=BUY, keep=1, end="earliest", within_s=None, deadlines=()),
        Need(events=BUY, keep=1, end="latest", within_s=3_600, deadlines=(1,)),
    ]
