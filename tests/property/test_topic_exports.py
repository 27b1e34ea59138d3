"""Whatever comes twice, late or interleaved, the receiver of an export has every user once, or reports a fault."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.publishing.cutting import Piece, RowCutter
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.messages import ExportChunk
from tests.fakes.import_log import InMemoryTopicLog
from tests.fakes.receivers import Receiver
from tests.fakes.topic_exports import EXPORT, Row, export_all, topic_export, whole

SCHEMA = RowSchema(
    columns=(
        Column(name="note"),
        Column(name="n", type="long"),
        Column(name="ok", type="boolean"),
        Column(name="share", type="double"),
    )
)
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
rows_lists = st.lists(
    st.tuples(
        text,
        st.none() | st.text(st.characters(codec="utf-8"), max_size=200),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | st.floats(),
    ),
    max_size=60,
)


def cut(rows: list[tuple[object, ...]], edges: list[int]) -> list[Piece]:
    """Cut rows that come in batches into pieces; each batch has its own arrays, with arbitrary bytes under nulls."""
    cutter = RowCutter(schema=SCHEMA, ordinal=False, partitions=3, max_rows=4, max_bytes=6_000)
    pieces: list[Piece] = []
    for first, last in pairwise([0, *sorted({edge % (len(rows) + 1) for edge in edges}), len(rows)]):
        columns = zip(*rows[first:last], strict=True) if last > first else [[]] * 5
        arrays = [pa.array(column, field.type) for column, field in zip(columns, arrow_schema(SCHEMA), strict=True)]
        pieces += cutter.add(pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(SCHEMA)))
    pieces += cutter.finish()
    return sorted(pieces, key=lambda piece: (piece.partition, piece.seq))


@given(rows_lists, st.lists(st.integers(0, 60), max_size=6))
def test_equal_rows_make_byte_equal_chunks_in_any_reading(rows: list[tuple[object, ...]], edges: list[int]) -> None:
    assert cut(rows, edges) == cut(rows, [])


P, SIZE = 2, 300
GROUPS: list[list[Row]] = [[(f"{g}-{n:06d}", n, None) for n in range(SIZE * (g + 1))] for g in range(2)]


def messages_of(attempt: int) -> list[list[bytes]]:
    """Messages of each partition."""
    log = InMemoryTopicLog(P)
    groups = [[(None, b) for _, batches in whole(rows, 100) for b in ([batch] for batch in batches)] for rows in GROUPS]
    export_all(topic_export(P, attempt=attempt), log, [list(group) for group in groups])
    return log.messages


FIRST, SECOND = messages_of(1), messages_of(2)
CHUNKS = [(p, n) for p in range(P) for n, v in enumerate(FIRST[p]) if isinstance(CODEC.decode(v), ExportChunk)]


@st.composite
def repeated(draw: st.DrawFn, messages: list[bytes]) -> list[bytes]:
    """Content of a partition after steps that died, slept and were repeated.

    The start marker comes first, then the chunks in any order, then the end marker; repeats of a message follow it
    anywhere.
    """
    start, *chunks, end = messages
    log = [start, *draw(st.permutations(chunks)), end]
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(log) - 1))
        log.insert(draw(st.integers(at + 1, len(log))), log[at])
    return log


def read(partitions: list[list[bytes]], turns: list[int]) -> Receiver:
    """Take messages from the partitions in the order of `turns`, each partition in order."""
    waiting = [list(messages) for messages in partitions]
    receiver = Receiver()
    for turn in turns:
        if waiting[turn % P]:
            receiver.take([waiting[turn % P].pop(0)])
    for messages in waiting:
        receiver.take(messages)
    return receiver


def is_everybody(receiver: Receiver) -> bool:
    return sorted(row for _, row in receiver.finished[EXPORT]) == [row for group in GROUPS for row in group]


turns = st.lists(st.integers(0, P - 1), max_size=40)


@given(st.data(), turns)
def test_receiver_has_every_user_once_despite_repetitions(data: st.DataObject, turns: list[int]) -> None:
    receiver = read([data.draw(repeated(messages)) for messages in FIRST], turns)
    assert receiver.faults == []
    assert is_everybody(receiver)


@given(st.data(), turns, st.sampled_from(CHUNKS))
def test_receiver_never_accepts_an_export_without_all_chunks(
    data: st.DataObject, turns: list[int], lost: tuple[int, int]
) -> None:
    partition, number = lost
    partitions = [data.draw(repeated(messages)) for messages in FIRST]
    partitions[partition] = [value for value in partitions[partition] if value != FIRST[partition][number]]
    receiver = read(partitions, turns)
    assert receiver.finished == {}
    assert [fault.split(":")[0] for fault in receiver.faults] == [f"export {EXPORT} partition {partition}"]


@given(st.data(), turns, st.booleans())
def test_attempts_never_mix(data: st.DataObject, turns: list[int], ends: bool) -> None:  # noqa: FBT001
    """An older attempt dies at any point, or continues as a zombie while a newer one is sent."""
    partitions = []
    for older, newer in zip(FIRST, SECOND, strict=True):
        log = list(newer)
        rest = older[: data.draw(st.integers(0, len(older)))] if not ends else older[:]
        at = 0
        for value in rest:
            at = data.draw(st.integers(at, len(log)))
            log.insert(at, value)
            at += 1
        partitions.append(log)
    receiver = read(partitions, turns)
    assert receiver.faults == []
    assert is_everybody(receiver)
