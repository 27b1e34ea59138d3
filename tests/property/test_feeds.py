"""Whatever owners of partitions repeat, whenever a feed dies: its receiver ends with the members, each change once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.feeds import ChangesLog, FeedOfLog, Receiver

users = st.lists(st.sampled_from([f"u{n}" for n in range(9)]), min_size=1, max_size=6, unique=True)
steps = st.one_of(
    st.tuples(st.just("change"), users),
    st.tuples(st.just("other"), users),
    st.tuples(st.just("start")),
    st.tuples(st.just("repeat"), st.integers(0, 5)),
    st.tuples(st.just("replaced"), users),
    st.tuples(st.just("recreate"), users),
    st.tuples(st.just("expire")),
    st.tuples(st.just("rewind")),
    st.tuples(st.just("run"), st.integers(1, 7), st.integers(1, 3), st.booleans()),
)


def take(step: tuple[object, ...], log: ChangesLog, feed: FeedOfLog) -> None:
    match step:
        case ("change", list(given_)):
            log.change(given_)
        case ("other", list(given_)):
            log.change(given_, segment="lapsed")
        case ("start",):
            log.start()
        case ("repeat", int(back)):
            log.repeat(back)
        case ("replaced", list(given_)):
            log.replaced_writes(given_)
        case ("recreate", list(given_)):
            log.recreate(given_)
        case ("expire",):
            log.first = len(log.records)
        case ("rewind",):
            feed.begin()
        case ("run", int(most), int(batches), bool(recorded)):
            feed.run(most, batches, recorded=recorded)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40), st.integers(1, 7))
def test_receiver_has_the_members_whatever_is_repeated_lost_or_created_again(
    history: list[tuple[object, ...]], most: int
) -> None:
    log, receiver = ChangesLog(partition=1), Receiver()
    log.start()
    feed = FeedOfLog(log, receiver)
    for step in history:
        take(step, log, feed)
    feed.run(most, None, recorded=True)
    assert receiver.members(1) == log.members


@settings(max_examples=100)
@given(st.lists(steps, max_size=20), st.lists(steps, max_size=20))
def test_feed_from_now_gives_only_what_changes_after_it_began(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]]
) -> None:
    log, receiver = ChangesLog(partition=0), Receiver()
    log.start()
    feed = FeedOfLog(log, receiver)
    for step in before:
        if step[0] not in {"run", "rewind"}:
            take(step, log, feed)
    known = set(log.members)
    feed.begin(members=False)
    for step in after:
        if step[0] in {"change", "other", "start", "repeat", "replaced", "run"}:
            take(step, log, feed)
    feed.run(3, None, recorded=True)
    named = {user for _, user in receiver.users}
    assert receiver.members(0) == log.members & named
    assert named >= known ^ log.members
