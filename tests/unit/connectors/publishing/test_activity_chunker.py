from pathlib import Path
from typing import Any

import pytest

from connectors.publishing.attempts import ActivityAttempt, Chunk
from connectors.publishing.chunking import Chunker
from connectors.sources.digested import open_digested
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from schemas.activity_columns import columns_of
from schemas.codec import CODEC
from schemas.columns import Column, ColumnType, ImportKind
from schemas.ids import Attempt, JobId, Partition, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import ProfileChunk
from schemas.topics import CHUNK_MAX_BYTES, EVENTS, PROFILES
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from segmentation.intake.value_maps import values_of

P = 4
ROWS = 30_000
SOURCE = "s3://inbox/shop/orders.csv?versionId=3"
ATTRIBUTES: tuple[tuple[str, ColumnType], ...] = (("age", "double"), ("plan", "string"))
LATER_US = 4_000_000_000_000_000


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve events for each of 2,500 users; every tenth row is invalid."""
    path = tmp_path_factory.mktemp("orders") / "orders.csv"
    with path.open("w") as file:
        file.write("user_id,event,occurred_at,total\n")
        for n in range(ROWS):
            event = "" if n % 10 == 9 else "order"
            file.write(f"user-{n % 2500},{event},2026-01-01T00:00:{n % 60:02}Z,{n}\n")
    return path


def spec_of(kind: ImportKind, *columns: str) -> ImportSpec:
    return ImportSpec(kind=kind, mode="append", columns=columns_of(kind, [Column.parse(c) for c in columns]))


def chunked(path: Path, spec: ImportSpec, attempt: int = 1) -> tuple[Chunker, list[Chunk]]:
    made = ActivityAttempt(
        kind="events" if spec.kind == "events" else "profiles",
        tenant=TenantName("shop"),
        source=SOURCE,
        import_id=JobId("01jd0000000000000000000000"),
        attempt=Attempt(attempt),
        partitions=P,
        columns=spec.row_schema,
    )
    chunker = Chunker(made)
    chunks: list[Chunk] = []
    with open_parsed(path, spec) as parsed:
        for found in parsed:
            if not isinstance(found, RejectBatch):
                chunks += chunker.add(found)
    return chunker, [*chunks, *chunker.finish()]


def record(topic: str, offset: int, value: bytes, partition: Partition) -> TopicRecord:
    return TopicRecord(topic=topic, partition=partition, offset=offset, key=None, value=value, received_at_us=LATER_US)


def arrived(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """Rows of all partitions, as a reader of the events topic sees them."""
    rows: list[dict[str, Any]] = []
    for partition in range(P):
        mine = [chunk for chunk in chunks if chunk.partition == partition]
        assert [chunk.seq for chunk in mine] == list(range(len(mine)))
        records = [record(EVENTS, n, CODEC.encode(chunk), Partition(partition)) for n, chunk in enumerate(mine)]
        intake = ingest_events(records, P)
        assert (intake.refusals, intake.moves) == ((), ())
        rows += intake.rows.to_pylist()
    return rows


def test_every_accepted_row_becomes_one_event_in_its_users_partition(orders: Path) -> None:
    spec = spec_of("events", "total:double")
    chunker, chunks = chunked(orders, spec)
    rows = arrived(chunks)
    found = sorted(int(row["properties"][0][1]["double"]) for row in rows)
    assert found == [n for n in range(ROWS) if n % 10 != 9]
    assert {(row["user_id"], row["event"], row["tenant"]) for row in rows} == {
        (f"user-{n % 2500}", "order", "shop") for n in range(ROWS) if n % 10 != 9
    }
    assert chunker.chunks == tuple(sum(c.partition == p for c in chunks) for p in range(P))
    with open_digested(orders, spec, partitions=P) as verified:
        assert sum(batch.num_rows for batch in verified) == ROWS // 10
        assert verified.digests == chunker.digests


def test_another_attempt_sends_the_same_events(orders: Path) -> None:
    spec = spec_of("events", "total:double")
    (_, first), (_, second) = chunked(orders, spec, attempt=1), chunked(orders, spec, attempt=2)
    identities = [[row["identity"] for row in arrived(chunks)] for chunks in (first, second)]
    assert identities[0] == identities[1]
    assert len(set(identities[0])) == ROWS * 9 // 10
    assert {chunk.attempt for chunk in second} == {2}


def test_chunk_of_any_rows_fits_into_a_message(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    text = "x" * 8000
    path.write_text("user_id,event,occurred_at,text\n" + f"alice,order,2026-01-01T00:00:00Z,{text}\n" * 500)
    _, chunks = chunked(path, spec_of("events", "text"))
    assert sum(chunk.count for chunk in chunks) == 500
    assert max(len(CODEC.encode(chunk)) for chunk in chunks) <= CHUNK_MAX_BYTES


def test_profile_file_becomes_changes_in_order(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("user_id,age,plan\nalice,30,gold\nalice,31,\n")
    _, chunks = chunked(path, spec_of("profiles", "age:double", "plan"))
    [chunk] = chunks
    assert isinstance(chunk, ProfileChunk)
    rows = ingest_profiles([record(PROFILES, 5, CODEC.encode(chunk), chunk.partition)], P).rows
    ages, plans = (values_of(rows.column("attributes"), name, type_) for name, type_ in ATTRIBUTES)
    assert (ages.to_pylist(), plans.to_pylist()) == ([30.0, 31.0], ["gold", None])
