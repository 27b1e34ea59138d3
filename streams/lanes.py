"""A lane: one topic-partition while this worker owns it. Records are acknowledged in offset order, or not at all."""

from collections.abc import Iterable
from typing import Protocol

from faust.types import TP

from schemas.errors import FatalError
from segmentation.acks import AckLedger, DeliveryGapError


class Acknowledgeable(Protocol):
    """A Faust event, of which only this is used."""

    def ack(self) -> bool:
        """Count the record as processed; the offset is committed by the consumer's timer."""


class Lane:
    """Ledger and unacknowledged records of one topic-partition. Lives in the event loop; `close` ends it for good.

    After `close` nothing is acknowledged any more, though work that was begun may still end.
    """

    def __init__(self, tp: TP, position: int, generation: int) -> None:
        self.tp = tp
        self.position = position
        self.generation = generation
        self.live = True
        self._ledger = AckLedger.start(position)
        self._events: dict[int, Acknowledgeable] = {}

    @property
    def pending(self) -> int:
        """Records that are not acknowledged yet."""
        return self._ledger.pending

    def deliver(self, offset: int, event: Acknowledgeable) -> None:
        """A record has arrived. Raises `FatalError` DELIVERY_GAP when it is not the one that is due."""
        try:
            self._ledger = self._ledger.deliver(offset)
        except DeliveryGapError as exc:
            raise FatalError(
                "DELIVERY_GAP",
                f"{self.tp.topic}/{self.tp.partition}: {exc}; the worker ends, to be started again from the committed "
                "offset. Where that meets the same gap, somebody sends in transactions, whose markers take offsets",
                topic=self.tp.topic,
                partition=self.tp.partition,
                expected=exc.expected,
                got=exc.got,
            ) from exc
        self._events[offset] = event

    def done(self, offsets: Iterable[int]) -> None:
        """What these records carry is durable: acknowledge all that may be, in order."""
        if not self.live:
            return
        self._ledger, ackable = self._ledger.complete(offsets)
        for offset in ackable:
            self._events.pop(offset).ack()

    def close(self) -> None:
        """Somebody else may own the partition now."""
        self.live = False
        self._events.clear()
