"""docs/events.md agrees with the code."""

import json
import re
from pathlib import Path

from schemas import activity
from schemas.activity_columns import NAME_MAX_CHARACTERS
from schemas.ids import USER_ID_MAX_CHARACTERS, Partition
from schemas.messages import EventRecord
from schemas.partitioning import partition_of
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.refusals import RefusalCode
from segmentation.intake.topic_records import TopicRecord

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "events.md").read_text()
TEXT = " ".join(PAGE.split())
NOON_US = 1_795_608_000_000_000
HERE = Partition(partition_of("alice", 4))


def record(value: str, topic: str, offset: int = 0) -> TopicRecord:
    return TopicRecord(
        topic=topic, partition=HERE, offset=offset, key=b"alice", value=value.encode(), received_at_us=NOON_US
    )


def test_exactly_the_existing_refusals_are_explained() -> None:
    table = PAGE[PAGE.index("## Refusals") : PAGE.index("## Import of files")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == {code.value for code in RefusalCode}


def test_documented_event_limits_match_the_code() -> None:
    assert f"at most {activity.RECORD_MAX_BYTES // 1024} KiB" in TEXT
    assert f"1 to {USER_ID_MAX_CHARACTERS} characters, not only white space" in TEXT
    assert f"the event's name, 1 to {NAME_MAX_CHARACTERS} characters" in TEXT
    assert f"At most {activity.MAX_PROPERTIES}, with names of 1 to {NAME_MAX_CHARACTERS} characters" in TEXT
    assert f"at most {activity.PROPERTY_MAX_BYTES // 1024} KiB in UTF-8" in TEXT
    assert f"more than {activity.MAX_AHEAD_US // 3_600_000_000} hours ahead" in TEXT
    assert activity.EARLIEST_US == 946_684_800_000_000
    assert "before 2000-01-01" in TEXT


def test_documented_events_are_accepted() -> None:
    event, profiles = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    rows = ingest_events([record(event, "muster.events")], 4).rows.to_pylist()
    assert [(row["user_id"], row["event"], row["event_id"], row["tenant"]) for row in rows] == [
        ("alice", "order", "o-1", "default")
    ]
    changes = [record(line, "muster.profiles", offset) for offset, line in enumerate(profiles.splitlines())]
    assert ingest_profiles(changes, 4).rows.column("deleted").to_pylist() == [False, True]


def test_event_members_match_the_table() -> None:
    members = re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", PAGE, re.MULTILINE)
    event = json.dumps(dict.fromkeys([*members, "another"]))
    [refusal] = ingest_events([record(event, "muster.events")], 4).refusals
    assert refusal.reason == (
        "unknown member 'another'; known are event, event_id, occurred_at, properties, tenant, user_id"
    )
    assert {name.removesuffix("_us") for name in EventRecord.__dataclass_fields__} == set(members)
