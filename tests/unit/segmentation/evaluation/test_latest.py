"""The latest events of users, and their deadlines."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segmentation.evaluation.columns import LONG_AGO, NEVER
from segmentation.evaluation.latest import Deadlines, LatestEvents
from tests.examples import examples

ANN, BEN, CYD = 0, 1, 2
EVERY = np.array([ANN, BEN, CYD], np.int32)


def latest(keep: int, *events: tuple[int, int, int]) -> LatestEvents:
    """Latest events after these (user, time, identity), one after the other."""
    out = LatestEvents(keep)
    for user, at, identity in events:
        out.add(np.array([user], np.int32), np.array([at]), np.array([identity]))
    return out


def times(events: LatestEvents, user: int) -> list[int]:
    """Times kept for a user, the latest first."""
    rows = events.rows(np.array([user], np.int32))
    each = [int(events.times(rows, nth)[0]) for nth in range(1, events.keep + 1)]
    return [at for at in each if at != LONG_AGO]


def test_only_the_latest_events_are_kept_in_any_order() -> None:
    events = latest(2, (ANN, 30, 1), (ANN, 10, 1), (ANN, 20, 1), (ANN, 40, 1))
    assert times(events, ANN) == [40, 30]
    assert events.first(events.rows(EVERY)).tolist() == [10, NEVER, NEVER]


def test_an_old_event_of_one_user_leaves_the_others_alone() -> None:
    events = latest(2, (ANN, 30, 1), (BEN, 30, 1), (ANN, 40, 1), (BEN, 40, 1), (ANN, 10, 1), (ANN, 20, 2))
    assert (times(events, ANN), times(events, BEN), times(events, CYD)) == ([40, 30], [40, 30], [])


def test_duplicate_counts_once_among_simultaneous_events() -> None:
    once = [(ANN, 10, 2), (ANN, 10, 1), (ANN, 10, 3)]
    for again in once:
        assert times(latest(4, *once, again), ANN) == [10, 10, 10]


def test_duplicate_of_an_evicted_event_is_ignored() -> None:
    """Of events at one moment, those with the highest identities are kept, even if they came first."""
    for order in ([1, 2, 3], [3, 2, 1], [2, 3, 1]):
        events = latest(2, *((ANN, 10, identity) for identity in order))
        before = events._identities[0].tolist()
        assert before == [3, 2]
        events.add(np.array([ANN], np.int32), np.array([10]), np.array([1]))
        assert events._identities[0].tolist() == before


def test_many_users_are_kept_apart_while_columns_grow() -> None:
    users = np.arange(5_000, dtype=np.int32)
    events = LatestEvents(1)
    for at in (1, 2):
        events.add(users, users.astype(np.int64) * 10 + at, np.zeros(5_000, np.int64))
    assert events.times(events.rows(users), 1).tolist() == [10 * user + 2 for user in range(5_000)]
    assert len(events) == 5_000


def test_deadline_passes_at_its_instant_and_remains_until_reset() -> None:
    deadlines = Deadlines()
    deadlines.set(np.array([0, 7], np.int32), np.array([100, 50]))
    assert [column.tolist() for column in deadlines.passed(49)] == [[], []]
    assert [column.tolist() for column in deadlines.passed(50)] == [[7], [50]]
    assert [column.tolist() for column in deadlines.passed(100)] == [[0, 7], [100, 50]]
    deadlines.set(np.array([7], np.int32), np.array([NEVER]))
    assert [column.tolist() for column in deadlines.passed(100)] == [[0], [100]]
    deadlines.set(np.array([0], np.int32), np.array([NEVER]))
    assert [column.tolist() for column in deadlines.passed(10**18)] == [[], []]


@examples(200)
@given(
    st.lists(
        st.dictionaries(st.integers(0, 300), st.integers(0, 20) | st.just(NEVER), min_size=1, max_size=40), max_size=6
    ),
    st.lists(st.integers(0, 20), min_size=6, max_size=6),
)
def test_deadlines_are_found_at_any_index(steps: list[dict[int, int]], instants: list[int]) -> None:
    deadlines, expected = Deadlines(), dict.fromkeys(range(301), NEVER)
    for new, at in zip(steps, sorted(instants), strict=False):
        expected |= new
        deadlines.set(np.array(list(new), np.int32), np.array(list(new.values())))
        passed = [row for row, due in expected.items() if due <= at]
        assert [column.tolist() for column in deadlines.passed(at)] == [passed, [expected[row] for row in passed]]
