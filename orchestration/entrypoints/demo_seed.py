"""A tenant with something of everything, made through the service as any client makes it: for looking around.

The clicks of a shop as events, its users as profiles and as audiences, segments of them, an import with rejects and one
that failed, schedules, an export, a snapshot, and messages that no worker can read.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from connectors.kafka.logon import librdkafka_config
from muster import Client
from muster.following import follow
from muster.records import Record
from orchestration.entrypoints.demo_clicks import recent_clicks
from schemas.topics import EVENTS

MADE_LAST: Final = "weekly-report"
"""The schedule that exists once everything does."""
CUSTOMERS: Final = "customers"
SEGMENTS: Final[Mapping[str, str]] = {
    "buyers": "count(purchase, 30d) >= 1",
    "abandoned-carts": "count(add_to_cart, 14d) >= 1 and count(purchase, 14d) <= 0",
    "mobile-fans": 'platform = "mobile" and count(product_view, 30d) >= 5',
    "loyal-buyers": 'in segment buyers and lifecycle = "loyal"',
}
PAUSED: Final = "mobile-fans"
TO_BE_READ: Final = (
    b'{"user_id": "user_0001", "event": "purchase"}',
    b'{"user_id": "user_0002", "evnt": "purchase", "occurred_at": "2026-01-01T00:00:00Z"}',
    b"user_0003,purchase,2026-01-01",
)
"""Messages that become dead letters."""
Say = Callable[[str], None]


def is_seeded(muster: Client, tenant: str) -> bool:
    """Whether `seed` has finished in a tenant."""
    return any(one["name"] == MADE_LAST for one in muster.schedules(tenant))


def seed(muster: Client, tenant: str, folder: Path, kafka: str, *, say: Say) -> Path:
    """Make everything; returns the file of clicks.

    `kafka`: address of the broker. Raises `ApiError`; started again after one, it makes what is missing.
    """
    muster.create_tenant(tenant)
    clicks, users = folder / "clicks.csv", folder / "profiles.csv"
    rows = list(recent_clicks(until=datetime.now(UTC) - timedelta(minutes=5)))
    _write(clicks, rows)
    known = {row["user_id"]: row for row in rows}
    _write(users, [_profile(row) for row in known.values()])
    say(f"{len(rows):,} clicks of {len(known):,} users")
    running = [
        muster.import_file(tenant, clicks, kind="events", settings=CLICKS)["job"],
        muster.import_file(tenant, users, kind="profiles")["job"],
    ]
    _import_customers(muster, tenant, folder, list(known))
    _import_faults(muster, tenant, folder, list(known))
    _send_broken(kafka)
    for job in running:
        _ended(muster, job)
    say("events, profiles, audiences, and what was rejected")
    present = {one["segment"] for one in muster.segments(tenant)}
    for name, rule in SEGMENTS.items():
        if name not in present:
            muster.create_segment(tenant, name, rule)
    muster.change_segment_state(tenant, PAUSED, "paused")
    jobs = [
        muster.start_export(tenant, audience=CUSTOMERS, to="download", format="csv")["export"],
        muster.snapshot_segment(tenant, "buyers")["job"],
    ]
    for job in jobs:
        _ended(muster, job)
    say("segments, an export and a snapshot")
    muster.replace_recipients(tenant, email=["ops@shop.example"], webhook=[])
    _schedule(muster, tenant)
    say("schedules and recipients")
    return clicks


CLICKS: Final = {"columns": [{"name": "occurred_at", "type": "timestamp", "source": "timestamp"}]}


def _profile(row: Mapping[str, str]) -> dict[str, str]:
    return {
        "user_id": row["user_id"],
        "platform": row["platform"],
        "channel": row["acquisition_channel"],
        "cohort": row["user_cohort"],
        "lifecycle": row["user_lifecycle"],
    }


def _import_customers(muster: Client, tenant: str, folder: Path, users: Sequence[str]) -> None:
    """Two versions: the second has lost some and won more."""
    file = folder / "customers.csv"
    half, fifth = len(users) // 2, len(users) // 5
    for of_version in (users[: half + fifth], users[fifth:]):
        _write(file, [{"user_id": one, "plan": ("free", "pro")[len(one) % 2]} for one in of_version])
        _ended(muster, muster.import_file(tenant, file, audience=CUSTOMERS, again=True)["job"])


def _import_faults(muster: Client, tenant: str, folder: Path, users: Sequence[str]) -> None:
    """An import that rejects a few rows, and one that fails by them."""
    file = folder / "newsletter.csv"
    settings = {"columns": [{"name": "age", "type": "long"}], "max_reject_share": 0.1}
    for every in (20, 3):
        rows = ["user_id,age"]
        for number, user in enumerate(users):
            broken = (f"{user},unknown", f",{number}", f"{user},1,2")[number // every % 3]
            rows.append(broken if number % every == 1 else f"{user},{18 + number % 60}")
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
        _ended(muster, muster.import_file(tenant, file, audience="newsletter", settings=settings, again=True)["job"])


def _schedule(muster: Client, tenant: str) -> None:
    present = {one["name"] for one in muster.schedules(tenant)}
    wanted: Mapping[str, Mapping[str, Any]] = {
        "nightly-buyers": {"expression": "cron(0 3 * * ? *)", "snapshot": {"segment": "buyers"}},
        MADE_LAST: {"expression": "cron(0 6 ? * MON *)", "snapshot": {"segment": "loyal-buyers"}},
    }
    for name, given in wanted.items():
        if name not in present:
            _, etag = muster.create_schedule(tenant, name, timezone="Asia/Tokyo", **given)
            if name == MADE_LAST:
                muster.change_schedule(tenant, name, enabled=False, etag=etag)


def _send_broken(kafka: str) -> None:
    producer = Producer({**librdkafka_config(kafka), "partitioner": "murmur2_random"})
    for message in TO_BE_READ:
        producer.produce(EVENTS, message, key=b"user_0001")
    producer.flush(30)


def _ended(muster: Client, job: str) -> Record:
    *_, last = follow(muster, job)
    return last


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
