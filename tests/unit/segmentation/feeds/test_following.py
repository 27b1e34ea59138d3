"""From membership messages to events, record by record."""

import json
from typing import Any

import pytest

from schemas.codec import CODEC
from segmentation.feeds.following import Followed, GapError, PartitionFeed
from segmentation.feeds.headers import change_header, encoded_names
from segmentation.feeds.positions import ANY, MEMBERS, CutPart, Position, as_json, from_json
from tests.fakes.feeds import SEGMENT, TENANT, changes, started

FOLLOWED = Followed(tenant=TENANT, segment=SEGMENT, topic_id="T", epoch=2)
PART = CutPart(partition=5, part="s3://b/k", members=2, rule_version=3, at_us=1_764_166_201_500_000)


def feed(offset: int = 10, generation: int = 4, seq: int = ANY, ordinal: int = 0) -> PartitionFeed:
    return PartitionFeed(FOLLOWED, 5, Position(offset, generation, seq, ordinal))


def shown(fold: PartitionFeed, offset: int, value: bytes | None) -> list[dict[str, Any]]:
    return [json.loads(event.value) for event in fold.take(offset, value)]


def test_change_is_a_cloud_event_that_names_its_message() -> None:
    [found] = shown(feed(), 10, changes([("ann", True)], generation=4, seq=7, partition=5))
    assert found == {
        "specversion": "1.0",
        "id": "T.5.4.7.0",
        "source": "/tenants/acme/segments/buyers/5",
        "type": "io.muster.membership.entered",
        "time": "2025-11-26T14:10:01.500000Z",
        "sequence": "000002.1.000000000004.0000000007.0000",
        "data": {
            "segment": "buyers",
            "rule_version": 3,
            "effective_at": "2025-11-26T14:10:01.500000Z",
            "cause": "event",
        },
        "subject": "ann",
        "datacontenttype": "application/json",
    }


def test_beginning_names_members_then_a_reset_and_then_takes_any_seq() -> None:
    fold = feed(seq=MEMBERS)
    events = [*fold.members("cut", PART, ["ann", "bob"]), fold.reset("cut", PART)]
    assert [(event.user, event.kind) for event in events] == [("ann", "entered"), ("bob", "entered"), (None, "reset")]
    first, _, last = (json.loads(event.value) for event in events)
    assert (first["id"], first["sequence"], first["data"]["cause"]) == ("cut.5.0", "000002.0.000000000000", "reset")
    assert (last["id"], last["sequence"], last["data"]["members"]) == ("cut.5.2", "000002.0.000000000002", 2)
    assert "subject" not in last
    assert [event.after for event in events] == [(10, 4, MEMBERS, 1), (10, 4, MEMBERS, 2), (10, 4, ANY, 0)]
    [change] = shown(fold, 10, changes([("bob", False)], generation=4, seq=31, partition=5))
    assert (change["type"], change["sequence"] > last["sequence"]) == ("io.muster.membership.left", True)


def test_beginning_goes_on_after_the_members_that_are_delivered() -> None:
    rest = list(feed(seq=MEMBERS, ordinal=1).members("cut", PART, ["ann", "bob"]))
    assert [event.user for event in rest] == ["bob"]


def test_file_of_members_that_lacks_some_is_no_beginning() -> None:
    with pytest.raises(GapError, match="1 of 2 members"):
        list(feed(seq=MEMBERS).members("cut", PART, ["ann"]))


def test_feed_goes_on_within_a_message() -> None:
    message = changes([("ann", True), ("bob", True), ("eve", False)], generation=4, seq=7, partition=5)
    first, second, third = feed().take(10, message)
    assert [one.after for one in (first, second, third)] == [(10, 4, 7, 1), (10, 4, 7, 2), (11, 4, 8, 0)]
    again = PartitionFeed(FOLLOWED, 5, second.after)
    assert again.take(10, message) == [third]
    assert again.position == third.after


def test_replaced_owner_and_repetitions_are_skipped() -> None:
    fold = feed(seq=8)
    assert fold.take(10, changes([("ann", True)], generation=3, seq=9)) == []
    assert fold.take(11, changes([("ann", True)], generation=4, seq=7)) == []
    assert fold.position == (12, 4, 8, 0)
    assert fold.take(12, started()) == []
    assert fold.take(13, changes([("ann", True)], generation=4, seq=8)) == []
    assert len(fold.take(14, changes([("ann", True)], generation=12, seq=0))) == 1
    assert fold.position == (15, 12, 1, 0)


@pytest.mark.parametrize("segment", [SEGMENT, "other"])
def test_missing_message_ends_the_feed_also_one_of_another_segment(segment: str) -> None:
    with pytest.raises(GapError, match="messages 8 to 8 of generation 4 are missing"):
        feed(seq=8).take(10, changes([("ann", True)], generation=4, seq=9, segment=segment))


def test_foreign_records_move_the_position_only() -> None:
    fold = feed()
    assert [fold.take(offset, value) for offset, value in ((10, None), (11, b""), (12, b"\xc3\x01 of others"))] == [
        [],
        [],
        [],
    ]
    assert fold.position == (13, 4, ANY, 0)


@pytest.mark.parametrize(("tenant", "segment"), [("a" * 63, "b" * 63), ("acme", "buyers")])
@pytest.mark.parametrize("number", [0, 63, 64, 2**31, 2**40])
def test_header_is_that_of_the_decoded_message(tenant: str, segment: str, number: int) -> None:
    value = changes([], generation=number, seq=number, segment=segment, tenant=tenant)
    message = CODEC.decode(value)
    found = change_header(value)
    assert found == (encoded_names(tenant, segment), message.generation, message.seq)  # type: ignore[union-attr]


def test_sequences_of_users_sort_as_text_like_numbers() -> None:
    def sequence(generation: int, seq: int) -> str:
        [found] = shown(feed(generation=generation), 10, changes([("ann", True)], generation=generation, seq=seq))
        return str(found["sequence"])

    in_order = [sequence(9, 9), sequence(9, 10), sequence(10, 0), sequence(100, 2), sequence(100, 10)]
    assert in_order == sorted(in_order)


def test_positions_round_trip() -> None:
    positions = {3: Position(1, 2, ANY), 11: Position(4, 5, MEMBERS, 6)}
    assert from_json(json.loads(json.dumps(as_json(positions)))) == positions
