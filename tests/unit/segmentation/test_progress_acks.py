"""Acknowledgements go strictly in offset order, and merges take each chunk once."""

import pytest

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition, Seq
from schemas.layout import RunKey
from segmentation.acks import AckLedger, DeliveryGapError
from segmentation.merging import MAX_OVERTAKEN, MergeQueue, StagedRun, select_each_chunk_once


def delivered(first: int, count: int) -> AckLedger:
    ledger = AckLedger.start(first)
    for offset in range(first, first + count):
        ledger = ledger.deliver(offset, offset + 1)
    return ledger


def test_early_completion_waits_for_earlier_records() -> None:
    ledger = delivered(100, 4)
    ledger, acked = ledger.complete([102, 103])
    assert list(acked) == []
    ledger, acked = ledger.complete([100])
    assert list(acked) == [100]
    ledger, acked = ledger.complete([101])
    assert list(acked) == [101, 102, 103]
    assert ledger.pending == 0


def test_completing_a_record_twice_acknowledges_it_once() -> None:
    ledger, acked = delivered(0, 2).complete([0])
    ledger, again = ledger.complete([0])
    assert (list(acked), list(again)) == ([0], [])


@pytest.mark.parametrize("offset", [11, 9])
def test_delivery_gap_is_detected(offset: int) -> None:
    with pytest.raises(DeliveryGapError, match=f"offset {offset} was delivered, but 10 was expected"):
        AckLedger.start(10).deliver(offset, offset + 1)


def test_undelivered_record_cannot_complete() -> None:
    with pytest.raises(ValueError, match="has not been delivered"):
        delivered(0, 2).complete([2])


def run(name: str, *seqs: int) -> StagedRun:
    return StagedRun(
        key=RunKey(
            import_id=JobId("0" * 26),
            attempt=Attempt(1),
            partition=Partition(0),
            first_seq=Seq(min(seqs)),
            last_seq=Seq(max(seqs)),
            content_hash=name,
        ),
        chunks={Seq(s): Digest(schema_id=RowSchema().schema_id, count=1, sum0=s, sum1=s) for s in seqs},
        row_bytes=10 * len(seqs),
    )


def test_overlapping_runs_of_two_owners_yield_each_chunk_once() -> None:
    takes = select_each_chunk_once([run("a", 0, 1, 2), run("b", 2, 3), run("c", 1, 2), run("d", 4)])
    assert [(t.run.key.content_hash, sorted(t.seqs)) for t in takes] == [("a", [0, 1, 2]), ("b", [3]), ("d", [4])]


def test_small_merges_run_first_without_starving_a_large_one() -> None:
    queue: MergeQueue[str] = MergeQueue()
    queue = queue.add("big", 1_000_000)
    order = []
    for n in range(MAX_OVERTAKEN + 3):
        queue = queue.add(f"small {n}", 10)
        queue, item = queue.pop()
        order.append(item)
    assert order.index("big") == MAX_OVERTAKEN
    assert order[0] == "small 0"


def test_a_merge_is_queued_once() -> None:
    queue: MergeQueue[str] = MergeQueue()
    assert len(queue.add("a", 1).add("a", 1)) == 1
    assert "a" not in queue.add("a", 1).remove(["a"])
