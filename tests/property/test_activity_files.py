"""A file of events or profiles has the same meaning as single records with the same content, in any format."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.publishing.attempts import ActivityAttempt
from connectors.publishing.chunking import Chunker
from connectors.sources.csv_reader import CsvReader
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.rejects import RejectBatch
from connectors.sources.suggestion import Layout, completed
from schemas.codec import CODEC
from schemas.ids import USER_ID_MAX_CHARACTERS, Attempt, JobId, Partition, TenantName
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from schemas.messages import AttributeValue, EventRecord, ProfileRecord, PropertyValue
from schemas.partitioning import partitions_of
from schemas.topics import EVENTS, PROFILES
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from tests.unit.connectors.sources.reading import Bytes

P = 3
SHOP = TenantName("shop")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOON_US = 1_795_608_000_000_000
Kind = Literal["events", "profiles"]
Reading = CsvReader | JsonLinesReader

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
WORDS = st.text(CHARACTERS, min_size=1, max_size=20)
NAMES = WORDS.filter(lambda text: not text.isspace() and text.strip() != "")
USERS = st.sampled_from(["alice", "bob", "21", "foobar"]) | NAMES.filter(lambda t: len(t) <= USER_ID_MAX_CHARACTERS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(datetime(2000, 1, 2), datetime(2026, 11, 25))  # noqa: DTZ001  # made aware below


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a file; None is an empty field."""

    user: str
    event: str
    at: datetime
    event_id: str | None
    total: float | None
    coupon: str | None
    gift: bool | None
    deleted: bool | None
    born: date | None = None

    @property
    def values(self) -> dict[str, PropertyValue | None]:
        return {"total": self.total, "coupon": self.coupon, "gift": self.gift}

    @property
    def attributes(self) -> dict[str, AttributeValue | None]:
        return {**self.values, "born": self.born, "at": self.at}


ROWS = st.lists(
    st.builds(
        Row,
        user=USERS,
        event=NAMES,
        at=TIMES.map(lambda t: t.replace(tzinfo=UTC)),
        event_id=st.none() | NAMES,
        total=st.none() | NUMBERS,
        coupon=st.none() | WORDS,
        gift=st.none() | st.booleans(),
        deleted=st.none() | st.booleans(),
        born=st.none() | st.dates(),
    ).map(
        lambda row: (
            Row(**{**vars(row), "total": None, "coupon": None, "gift": None, "born": None}) if row.deleted else row
        )
    ),
    max_size=30,
)
TYPES = [
    {"name": "total", "type": "double", "source": None},
    {"name": "gift", "type": "boolean", "source": None},
]
DATES = [{"name": "born", "type": "date", "source": None}, {"name": "at", "type": "timestamp", "source": None}]


def members(row: Row, kind: Kind) -> dict[str, Any]:
    at = row.at.isoformat().replace("+00:00", "Z")
    if kind == "profiles":
        born = row.born and row.born.isoformat()
        dates = {"born": born, "at": None if row.deleted else at}
        return {"user_id": row.user, **row.values, **dates, "deleted": row.deleted}
    return {"coupon": row.coupon, "user_id": row.user, "event_id": row.event_id, "event": row.event} | {
        "occurred_at": at,
        "total": row.total,
        "gift": row.gift,
    }


def as_csv(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if row[name] is None else str(row[name]) for name in names])
    return out.getvalue().encode()


def as_json(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> bytes:
    del names
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


FORMATS: dict[str, tuple[Callable[..., bytes], type[Any]]] = {
    "csv": (as_csv, CsvReader),
    "jsonl": (as_json, JsonLinesReader),
}


def in_partitions(values: Iterable[tuple[int, bytes]], topic: str) -> list[list[TopicRecord]]:
    logs: list[list[TopicRecord]] = [[] for _ in range(P)]
    for number, value in values:
        offset = len(logs[number])
        logs[number].append(
            TopicRecord(
                topic=topic,
                partition=Partition(number),
                offset=offset,
                key=None,
                value=value,
                received_at_us=NOON_US,
            )
        )
    return logs


def taken(logs: list[list[TopicRecord]], kind: Kind, *, of_place: bool) -> list[list[dict[str, Any]]]:
    """Rows of each partition, without the columns for their origin."""
    found = []
    for records in logs:
        intake = ingest_events(records, P) if kind == "events" else ingest_profiles(records, P)
        assert intake.refusals == ()
        rows = intake.rows.to_pylist()
        for row in rows:
            for name in ("offset", "source", "ordinal", "received_at"):
                del row[name]
            if kind == "events" and not of_place and row["event_id"] is None:
                del row["identity"]
            for name in ("properties", "attributes"):
                if name in row:
                    row[name] = sorted(row[name], key=lambda pair: pair[0])
        found.append(rows)
    return found


def of_file(rows: Sequence[Row], kind: Kind, format_: str, attempt: int = 1) -> list[list[TopicRecord]]:
    write, reader = FORMATS[format_]
    names = list(members(Row(**vars(rows[0])), kind)) if rows else []
    spec = activity_spec(kind, {"columns": TYPES + (DATES if kind == "profiles" else [])})
    layout = Layout(columns=[(name, "string") for name in names])
    spec = completed(layout, spec)
    chunks = []
    chunker = Chunker(
        ActivityAttempt(
            kind=kind,
            tenant=SHOP,
            source="s3://in/a?versionId=1",
            import_id=JobId("0" * 26),
            attempt=Attempt(attempt),
            partitions=P,
            columns=spec.row_schema,
        )
    )
    for batch in _read(reader, write([members(row, kind) for row in rows], names), spec):
        chunks += list(chunker.add(batch))
    chunks += list(chunker.finish())
    return in_partitions(
        ((chunk.partition, CODEC.encode(chunk)) for chunk in chunks), EVENTS if kind == "events" else PROFILES
    )


def _read(reader: type[Any], content: bytes, spec: ImportSpec) -> list[pa.RecordBatch]:
    found = list(reader(Bytes(content), spec, received_at_us=NOON_US))
    assert not any(isinstance(batch, RejectBatch) for batch in found)
    return found


def of_records(rows: Sequence[Row], kind: Kind) -> list[list[TopicRecord]]:
    messages: list[EventRecord | ProfileRecord] = []
    for row in rows:
        if kind == "profiles":
            given_ = {} if row.deleted else row.attributes
            messages.append(ProfileRecord(user_id=row.user, attributes=given_, deleted=bool(row.deleted), tenant=SHOP))
        else:
            us = (row.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            values = {name: value for name, value in row.values.items() if value is not None}
            messages.append(
                EventRecord(
                    user_id=row.user,
                    event=row.event,
                    occurred_at_us=us,
                    properties=values,
                    event_id=row.event_id,
                    tenant=SHOP,
                )
            )
    placed, _ = partitions_of(pa.array([row.user for row in rows], pa.string()), P)
    return in_partitions(
        zip(placed.tolist(), map(encoded, range(len(messages)), messages), strict=True),
        EVENTS if kind == "events" else PROFILES,
    )


def encoded(number: int, message: EventRecord | ProfileRecord) -> bytes:
    """As Avro; every other profile as JSON."""
    if number % 2 or isinstance(message, EventRecord):
        return CODEC.encode(message)
    attributes = {
        name: {"timestamp": value.isoformat()}
        if isinstance(value, datetime)
        else {"date": value.isoformat()}
        if isinstance(value, date)
        else value
        for name, value in message.attributes.items()
    }
    return json.dumps({**asdict(message), "attributes": attributes}).encode()


@given(ROWS.filter(bool), st.sampled_from(["events", "profiles"]), st.sampled_from(sorted(FORMATS)))
def test_file_equals_single_records_of_its_rows(rows: list[Row], kind: Kind, format_: str) -> None:
    of_rows = taken(of_records(rows, kind), kind, of_place=False)
    assert taken(of_file(rows, kind, format_), kind, of_place=False) == of_rows


@given(ROWS.filter(bool), st.sampled_from(sorted(FORMATS)))
def test_another_attempt_yields_the_same_events(rows: list[Row], format_: str) -> None:
    first, second = (taken(of_file(rows, "events", format_, attempt), "events", of_place=True) for attempt in (1, 2))
    assert first == second
    identities = [(row["user_id"], row["event"], row["occurred_at"], row["identity"]) for part in first for row in part]
    without_id = [row.event_id is None for row in rows]
    assert len(set(identities)) >= sum(without_id)
