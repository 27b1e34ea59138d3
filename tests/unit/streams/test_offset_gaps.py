"""Offsets without a record are distinguished from records lost on the way."""

from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from schemas.errors import FatalError
from schemas.topics import EVENTS
from streams.lanes import Lane
from streams.segments.offset_gaps import OffsetGaps

pytestmark = pytest.mark.anyio


class Log:
    """A log with records at some offsets, ending at `end`; records below `begins` have expired by the first read."""

    def __init__(self, records: Iterable[int], end: int, begins: int = 0) -> None:
        self.records = list(records)
        self.last = end
        self.begins = begins
        self.reads = 0
        self.open = 0
        self.next_offset = 0

    def __call__(self) -> "Log":
        self.open += 1
        return self

    async def start(self, offset: int) -> None:
        self.next_offset = offset

    async def stop(self) -> None:
        self.open -= 1

    async def begin(self) -> int:
        return self.begins

    async def end(self) -> int:
        return self.last

    async def read(self, wait_ms: int = 0) -> list[Any]:
        raise NotImplementedError

    async def arrived(self) -> None:
        raise NotImplementedError

    async def read_to(self, end: int) -> AsyncIterator[Any]:
        assert end <= self.last, "nothing comes that far, and this would wait for ever"
        self.reads += 1
        for offset in self.records:
            if max(self.next_offset, self.begins) <= offset:
                yield SimpleNamespace(offset=offset)


async def test_transaction_markers_are_no_gap_but_a_lost_record_is() -> None:
    log = Log([5, 7, 10], end=12)
    assert await OffsetGaps(log).is_gap(6, 7)
    assert await OffsetGaps(log).is_gap(8, 10)
    assert not await OffsetGaps(log).is_gap(6, 10)
    assert not await OffsetGaps(log).is_gap(5, 7)
    assert log.open == 0


async def test_missing_record_is_no_proof_of_markers() -> None:
    assert not await OffsetGaps(Log([5, 10], end=12)).is_gap(6, 8)


async def test_gaps_of_one_fetch_are_checked_in_one_read() -> None:
    log = Log([1, 3, 5, 7], end=9)
    holes = OffsetGaps(log)
    assert [await holes.is_gap(due, got) for due, got in ((0, 1), (2, 3), (4, 5), (6, 7))] == [True] * 4
    assert log.reads == 1
    assert not await holes.is_gap(4, 7)
    log.records.append(9)
    log.last = 11
    assert await holes.is_gap(8, 9)
    assert log.reads == 2


async def test_expired_offsets_are_undecidable() -> None:
    assert not await OffsetGaps(Log([5, 7], end=9, begins=7)).is_gap(6, 7)
    assert await OffsetGaps(Log([5], end=9, begins=7)).end_of_gap(6) == 6


async def test_trailing_markers_are_skipped_but_never_records() -> None:
    assert await OffsetGaps(Log([5], end=9)).end_of_gap(6) == 9
    assert await OffsetGaps(Log([5, 8], end=9)).end_of_gap(6) == 6
    assert await OffsetGaps(Log([5], end=6)).end_of_gap(6) == 6


def test_lane_acknowledges_skipped_offsets_with_their_neighbours() -> None:
    acked: list[str] = []
    lane = Lane(TP(EVENTS, 0), 3, 1)
    lane.deliver(3, 4, SimpleNamespace(ack=lambda: acked.append("3")))
    lane.skip_to(6)
    lane.deliver(6, 7, SimpleNamespace(ack=lambda: acked.append("6")))
    lane.skip_to(9, SimpleNamespace(ack=lambda: acked.append("up to 9")))
    assert (lane.due, lane.pending) == (9, 6)
    lane.done_to(5)
    assert acked == ["3"]
    lane.done_to(8)
    assert acked == ["3", "6"]
    lane.done_to(9)
    assert (acked, lane.pending) == (["3", "6", "up to 9"], 0)
    with pytest.raises(ValueError, match="offset 9 has not been delivered"):
        lane.done_to(10)


def test_lane_never_moves_back_or_accepts_an_unproven_gap() -> None:
    lane = Lane(TP(EVENTS, 0), 3, 1)
    lane.skip_to(2)
    assert lane.due == 3
    with pytest.raises(FatalError, match=r"DELIVERY_GAP: .* offset 5 was delivered, but 3 was expected"):
        lane.deliver(5, 6, SimpleNamespace(ack=lambda: None))
