"""A lane: one topic-partition while this worker owns it. Records are acknowledged in offset order, or not at all."""

from collections.abc import Iterable
from itertools import takewhile
from typing import Protocol

from faust.types import TP

from schemas.errors import FatalError
from segmentation.acks import AckLedger, DeliveryGapError


class Acknowledgeable(Protocol):
    """A Faust event (only `ack` is used), or a stand-in for offsets without a record."""

    def ack(self) -> bool:
        """Count the record as processed; the offset is committed by the consumer's timer."""


class Lane:
    """Ledger and unacknowledged records of one topic-partition. Lives in the event loop; `close` is final.

    After `close` nothing is acknowledged any more, though work in progress may still finish.
    """

    def __init__(self, tp: TP, position: int, generation: int) -> None:
        self.tp = tp
        self.position = position
        self.generation = generation
        self.live = True
        self._ledger = AckLedger.start(position)
        self._events: dict[int, Acknowledgeable] = {}  # by the last offset that each acknowledges
        self._kept: dict[int, int] = {}  # bytes of rows that only this worker has, by the offset of their record
        self.kept_bytes = 0

    @property
    def pending(self) -> int:
        """Records not acknowledged yet."""
        return self._ledger.pending

    @property
    def due(self) -> int:
        """The offset of the next record."""
        return self._ledger.next_offset

    def skip_to(self, end: int, gap: Acknowledgeable | None = None) -> None:
        """Skip the offsets from `due` up to `end`, exclusive, which hold no record; `gap` acknowledges them.

        `gap` is not needed if a record at `end` follows.
        """
        if end > self.due:
            self._ledger = self._ledger.skip_to(end)
            if gap is not None:
                self._events[end - 1] = gap

    def deliver(self, first: int, end: int, event: Acknowledgeable | None) -> None:
        """Take the records at `first` to `end` - 1. `event` acknowledges them, and everything before them.

        `event` is None while more records of the same event follow. Raises `FatalError` DELIVERY_GAP if `first` is not
        the offset that is due.
        """
        try:
            self._ledger = self._ledger.deliver(first, end)
        except DeliveryGapError as exc:
            raise FatalError(
                "DELIVERY_GAP",
                f"{self.tp.topic}/{self.tp.partition}: {exc}; the worker exits, to be restarted from the committed "
                "offset. If imports hit the same gap again, a producer sends in transactions, whose markers take up "
                "offsets",
                topic=self.tp.topic,
                partition=self.tp.partition,
                expected=exc.expected,
                got=exc.got,
            ) from exc
        if event is not None:
            self._events[end - 1] = event

    def keep(self, offset: int, size: int) -> None:
        """Count rows that only this worker has; `size`: their bytes."""
        self._kept[offset] = size
        self.kept_bytes += size

    def done(self, offsets: Iterable[int]) -> None:
        """The content of these records is durable: acknowledge as many as possible, in order."""
        if not self.live:
            return
        offsets = list(offsets)
        self.kept_bytes -= sum(self._kept.pop(offset, 0) for offset in offsets)
        self._ledger, ackable = self._ledger.complete(offsets)
        for offset in ackable:
            if (event := self._events.pop(offset, None)) is not None:
                event.ack()

    def done_to(self, end: int) -> None:
        """Everything below `end` is durable, records or not: acknowledge it, in order."""
        if not self.live:
            return
        self._ledger = self._ledger.complete_to(end)
        for offset in list(takewhile(lambda known: known < end, self._events)):
            self._events.pop(offset).ack()

    def close(self) -> None:
        """Stop: another worker may own the partition now."""
        self.live = False
        self._events.clear()
