"""Events and profiles of a shop, seeded, as the chunks that an import sends; and fifty rules of all kinds.

Half of the events come in visits: a user has some of them within a third of a day, then none for ten days. The other
half come from any user at any time, which caches cannot predict. One event in fifty is up to two days late.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from benchmarks.generate import COUNTRIES, uuids
from connectors.publishing.attempts import ActivityAttempt
from connectors.publishing.chunking import Chunker
from schemas.activity_columns import EVENT, OCCURRED_AT
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.ids import Attempt, JobId, TenantName

TENANT: Final = TenantName("bench")
SEED: Final = 13
BATCH_ROWS: Final = 500_000
DAY_US: Final = 24 * 60 * 60 * 1_000_000
SPAN_US: Final = 30 * DAY_US
BEGIN_US: Final = 1_793_000_000_000_000
"""2026-10-26: the benchmark's clock follows its events."""

NAMES: Final = ("page_view", "search", "add_to_cart", "purchase", "login")
SHARES: Final = (0.5, 0.15, 0.2, 0.05, 0.1)
CATEGORIES: Final = ("shoes", "coats", "hats", "bags", "toys", "books")
PLANS: Final = ("free", "plus", "pro")
VISITS: Final = 3
VISITORS: Final = 0.03
"""Share of users on a visit at any time: of the ten days from one visit to the next, a visit lasts 0.3 days."""

EVENT_SCHEMA: Final = RowSchema(
    columns=(
        Column(name=EVENT),
        Column(name=OCCURRED_AT, type="timestamp"),
        Column(name="amount", type="double"),
        Column(name="category"),
        Column(name="mobile", type="boolean"),
    )
)
PROFILE_SCHEMA: Final = RowSchema(
    columns=(Column(name="age", type="double"), Column(name="country"), Column(name="plan"))
)

FIRST: Final = "count(add_to_cart, 3d) >= 3"
"""The rule used in the comparison with other systems."""


def rules(number: int) -> dict[str, str]:
    """The first `number` rules by segment name: `FIRST`, then counts, tests, times and attributes."""
    texts = [FIRST]
    for window in ("1h", "1d", "3d", "7d", "30d"):
        texts += [
            f"count(page_view, {window}) >= 5",
            f"count(purchase where amount >= 100, {window}) >= 1 and age >= 25",
            f"count(search, {window}) = 2",
            f"count(add_to_cart, {window}) >= 2 and not (count(purchase, {window}) >= 1)",
            f'count(page_view where category = "shoes", {window}) >= 2',
            f"count(login, {window}) <= 1 and ever(purchase)",
            f"count(add_to_cart where mobile = true, {window}) >= 2 or count(purchase, {window}) >= 2",
        ]
    texts += [
        'ever(purchase) and country = "JP"',
        'never(purchase) and plan in ("plus", "pro")',
        "last(login) < 2026-11-10T00:00:00Z",
        "first(purchase) >= 2026-11-05T00:00:00Z and age < 40",
        'ever(page_view where category in ("bags", "toys")) and not (ever(purchase))',
        "age >= 65",
        'country in ("US", "DE") and count(add_to_cart where amount >= 50, 7d) >= 1',
        "in segment s0 and age >= 25",
        "in segment s1 and not (in segment s0)",
        "count(add_to_cart where amount >= 20, 3d) >= 3",
        "never(login)",
        "plan is set and count(search, 14d) >= 4",
        "last(purchase where mobile = false) >= 2026-11-01T00:00:00Z",
        'count(page_view where category = "books", 12h) >= 3',
    ]
    if number > len(texts):
        raise ValueError(f"there are {len(texts)} rules")
    return {f"s{place}": text for place, text in enumerate(texts[:number])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Encoded chunks one after another in a file: where each ends, its partition, and when it arrived."""

    path: Path
    rows: int
    ends: tuple[int, ...]
    partitions: tuple[int, ...]
    times: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        start = 0
        with self.path.open("rb") as file:
            for end, at_us in zip(self.ends, self.times, strict=True):
                yield file.read(end - start), at_us
                start = end


def event_batches(
    users: pa.StringArray, events: int, begin_us: int = BEGIN_US, span_us: int = SPAN_US
) -> Iterator[pa.RecordBatch]:
    """Events of these users as rows of a file, in order of arrival."""
    random = np.random.default_rng(SEED)
    names, categories = pa.array(NAMES), pa.array(CATEGORIES)
    for first in range(0, events, BATCH_ROWS):
        n = min(BATCH_ROWS, events - first)
        part = (first + np.arange(n)) / events
        visiting = (part * VISITS + random.random(n) * VISITORS) % 1.0
        of = np.where(random.random(n) < 0.5, visiting, random.random(n))
        late = np.where(random.random(n) < 0.02, random.integers(0, 2 * DAY_US, n), 0)
        name = random.choice(len(NAMES), n, p=SHARES)
        bought = np.isin(name, (2, 3))
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(first + np.arange(n)),
                users.take(pa.array((of * len(users)).astype(np.int64))),
                names.take(pa.array(name)),
                pa.array(begin_us + (part * span_us).astype(np.int64) - late).cast(pa.timestamp("us", "UTC")),
                pa.array(np.round(random.exponential(60.0, n), 2), mask=~bought),
                categories.take(pa.array(random.integers(0, len(CATEGORIES), n), mask=(name == 1) | (name == 4))),
                pa.array(random.random(n) < 0.6),
            ],
            schema=arrow_schema(EVENT_SCHEMA, ordinal=True),
        )


def profile_batches(users: pa.StringArray) -> Iterator[pa.RecordBatch]:
    """One profile per user."""
    random = np.random.default_rng(SEED)
    for first in range(0, len(users), BATCH_ROWS):
        ids = users.slice(first, BATCH_ROWS)
        n = len(ids)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(first + np.arange(n)),
                ids,
                pa.array(random.integers(16, 90, n).astype(np.float64)),
                pa.array(COUNTRIES).take(pa.array(random.integers(0, len(COUNTRIES), n))),
                pa.array(PLANS).take(pa.array(random.integers(0, len(PLANS), n), mask=random.random(n) < 0.2)),
            ],
            schema=arrow_schema(PROFILE_SCHEMA, ordinal=True),
        )


def user_ids(users: int) -> pa.StringArray:
    """The ids of all users."""
    return uuids(np.random.default_rng(SEED), users)


def write_events(
    path: Path,
    users: pa.StringArray,
    events: int,
    *,
    partitions: int = 1,
    begin_us: int = BEGIN_US,
    span_us: int = SPAN_US,
) -> Messages:
    """Write the chunks of the events."""
    chunker = Chunker(_attempt("events", EVENT_SCHEMA, partitions))
    batches = event_batches(users, events, begin_us, span_us)
    return _write(path, chunker, batches, lambda rows: begin_us + span_us * rows // events)


def write_profiles(path: Path, users: pa.StringArray, *, partitions: int = 1) -> Messages:
    """Write the chunks of the profiles."""
    chunker = Chunker(_attempt("profiles", PROFILE_SCHEMA, partitions))
    return _write(path, chunker, profile_batches(users), lambda _: BEGIN_US)


def _attempt(kind: Literal["events", "profiles"], columns: RowSchema, partitions: int) -> ActivityAttempt:
    return ActivityAttempt(
        kind=kind,
        tenant=TENANT,
        source=f"s3://bench-inbox/{TENANT}/{kind}.csv?versionId=1",
        import_id=JobId("0" * 26),
        attempt=Attempt(1),
        partitions=partitions,
        columns=columns,
    )


def _write(
    path: Path,
    chunker: Chunker,
    batches: Iterator[pa.RecordBatch],
    came_at: Callable[[int], int],
) -> Messages:
    """Write the chunks. `came_at` gives the arrival time of the n-th row, in microseconds."""
    ends: list[int] = []
    partitions: list[int] = []
    times: list[int] = []
    size = rows = 0
    with path.open("wb") as file:
        for chunk in chain.from_iterable(chain((chunker.add(batch) for batch in batches), [chunker.finish()])):
            size += file.write(CODEC.encode(chunk))
            rows += chunk.count
            ends.append(size)
            partitions.append(chunk.partition)
            times.append(came_at(rows))
    return Messages(path=path, rows=rows, ends=tuple(ends), partitions=tuple(partitions), times=tuple(times))
