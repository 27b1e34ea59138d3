from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from schemas.topics import MEMBERSHIP_CHANGES
from streams.segments import log_reader
from streams.segments.log_reader import LogReader

pytestmark = pytest.mark.anyio
TP = TopicPartition(MEMBERSHIP_CHANGES, 3)


class Consumer:
    """Notes the calls of a reader; each fetch returns the next of `fetches`."""

    def __init__(self, *fetches: list[str]) -> None:
        self.fetches = list(fetches)
        self.calls: list[Any] = []
        self.assigned: set[TopicPartition] = set()

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def beginning_offsets(self, _: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.calls.append("begin")
        return {TP: 5}

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def assign(self, tps: list[TopicPartition]) -> None:
        self.calls.append("assign")
        self.assigned |= set(tps)

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.calls.append(("seek", offset))

    async def getmany(self, _: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        self.calls.append(("fetch", timeout_ms))
        records = self.fetches.pop(0) if self.fetches else []
        return {TP: [_Record(text) for text in records]}


class _Record:
    offset = 7

    def __init__(self, value: str) -> None:
        self.value = value


def made(monkeypatch: pytest.MonkeyPatch, consumer: Consumer) -> list[int]:
    waits: list[int] = []

    def make(_: str, fetch_wait_ms: int) -> Consumer:
        waits.append(fetch_wait_ms)
        return consumer

    monkeypatch.setattr(log_reader, "_consumer", make)
    return waits


async def test_unstarted_reader_stops_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = made(monkeypatch, Consumer())
    await LogReader("", MEMBERSHIP_CHANGES, 3).stop()
    assert waits == []


async def test_no_fetch_delays_offset_requests_before_the_first_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = Consumer()
    made(monkeypatch, consumer)
    reader = LogReader("", MEMBERSHIP_CHANGES, 3)
    await reader.start(2)
    assert consumer.calls == ["start", "begin"]
    for _ in range(2):
        await reader.read()
    assert consumer.calls[2:] == ["assign", ("seek", 5), ("fetch", 0), ("fetch", 0)]


async def test_arrived_records_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch, Consumer([], ["a", "b"], ["c"]))
    reader = LogReader("", MEMBERSHIP_CHANGES, 3)
    await reader.start(0)
    await reader.arrived()
    assert [[record.value for record in await reader.read()] for _ in range(3)] == [["a", "b"], ["c"], []]
