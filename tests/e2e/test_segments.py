"""A segment from its rule to its members, kept current by real workers, and equal to what the archive says."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from connectors.kafka.logon import librdkafka_config
from orchestration.platform.settings import Settings
from schemas.topics import EVENTS, PROFILES
from tests.e2e.conftest import Muster
from tests.integration.workers import ROOT
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.slow("goes through eight states of a stream, which its workers report every two seconds"),
]
TENANT = "shop"
RULE = "count(purchase, 1d) >= 2 and age >= 25"


def send(settings: Settings, users: int) -> None:
    """Send two purchases per user (one of them twice); every third user is 17 years old, the others 30."""
    producer = Producer({**librdkafka_config(settings.kafka_bootstrap), "partitioner": "murmur2_random"})
    at = datetime.now(UTC) - timedelta(minutes=5)
    for n in range(users):
        user = f"user-{n}"
        for event_id in (f"{n}a", f"{n}b", f"{n}b"):
            event = {"user_id": user, "event": "purchase", "occurred_at": at.isoformat(), "event_id": event_id}
            producer.produce(EVENTS, json.dumps({**event, "tenant": TENANT}), key=user)
        change = {"user_id": user, "attributes": {"age": 17 if n % 3 == 0 else 30}, "tenant": TENANT}
        producer.produce(PROFILES, json.dumps(change), key=user)
    assert producer.flush(30) == 0


def snapshot_is_a_version(muster: Muster, folder: Path, broker: str) -> None:
    """The 400 buyers become a version of an audience, usable by exports, rules and receivers like any other."""
    made = muster("segments", "snapshot", "buyers", "-t", TENANT, "--wait", "--json")
    assert made.code == 0, made.err
    receipt, rule = made.json["receipt"], muster("segments", "show", "buyers", "-t", TENANT, "--json").json
    assert (receipt["members"], receipt["version"], receipt["snapshot"]["rule_hash"]) == (400, 1, rule["rule_hash"])
    assert all(p["changes"] > p["generation"] >= 0 for p in receipt["partitions"])
    exported = muster("export", "buyers-snapshot", "-t", TENANT, "--to", str(folder / "out"), "--format", "jsonl")
    assert exported.code == 0, exported.err
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert (manifest["rule_hash"], manifest["rows"]) == (rule["rule_hash"], 400)
    (folder / "receipt.json").write_text(muster("receipt", made.json["job"], "--json").out)
    assert len(members_of_a_receiver(folder, broker)) == 400
    assert users_in(folder / "out") == {f"user-{n}" for n in range(600) if n % 3}
    again = muster("export", "buyers", "-t", TENANT, "--to", str(folder / "again"), "--format", "jsonl", "--json")
    assert again.code == 0, again.err
    assert (again.json["version"], again.json["digest"], again.json["rows"]) == (2, receipt["digest"], 400)
    named = ("--rule", "in audience buyers-snapshot")
    assert muster("segments", "create", "copied", *named, "-t", TENANT).code == 0
    until(lambda: members_of(muster, "copied", 400), timeout_s=300)
    assert muster("segments", "delete", "copied", "-t", TENANT).code == 0


def users_in(folder: Path) -> set[str]:
    """Users in the files that a manifest names."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    lines = [line for file in files for line in (folder / file["key"]).read_text().splitlines()]
    return {json.loads(line)["user_id"] for line in lines}


def who_has_entered_is_exported(muster: Muster, folder: Path) -> None:
    """By the next export of the segment, which takes the difference from the last one."""
    to = ("--to", str(folder / "entered"), "--format", "jsonl", "--delta-from", "last")
    exported = muster("export", "buyers", "-t", TENANT, *to, "--json")
    assert exported.code == 0, exported.err
    assert (exported.json["version"], exported.json["delta"]["version"]) == (3, 2)
    assert users_in(folder / "entered") == {f"user-{n}" for n in range(600, 700) if n % 3}
    verified = muster("verify", str(folder / "entered" / "manifest.json"), "--json")
    assert (verified.code, verified.json["difference"]) == (0, None), verified.err


def members_of_a_receiver(folder: Path, broker: str) -> set[str]:
    """Members of the segment for a receiver that starts from the snapshot, or continues where it was."""
    script = [sys.executable, str(ROOT / "docs" / "follow_segments.py"), broker, str(ROOT / "schemas" / "avro")]
    store, files = folder / "members.sqlite", (folder / "out" / "manifest.json", folder / "receipt.json")
    done = subprocess.run([*script, str(store), *map(str, files)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(store)) as db:
        return {user for (user,) in db.execute("SELECT user FROM members")}


def members_of(muster: Muster, name: str, expected: int) -> Any:
    shown = muster("segments", "show", name, "-t", TENANT, "--json").json
    return shown["complete"] and shown["members"] == expected and shown


def test_a_segment_follows_events_profiles_and_audiences_and_agrees_with_the_archive(
    deployment: Settings, muster: Muster, tmp_path: Path
) -> None:
    muster("tenants", "create", TENANT)

    def members(name: str, expected: int) -> Any:
        return members_of(muster, name, expected)

    def publish(*users: str) -> None:
        file = tmp_path / "vip.csv"
        file.write_text("\n".join(["user_id", *users]) + "\n")
        assert muster("import", str(file), "-a", "vip", "-t", TENANT, "--wait").code == 0

    send(deployment, 300)
    publish("user-0", "nobody-knows-me")
    for name, rule in (("buyers", RULE), ("special", "in segment buyers or in audience vip")):
        made = muster("segments", "create", name, "--rule", rule, "-t", TENANT)
        assert made.code == 0, made.err
    until(lambda: members("buyers", 200), timeout_s=300)
    until(lambda: members("special", 201), timeout_s=300)
    send(deployment, 600)
    publish("user-0", "user-3", "user-6")
    until(lambda: members("buyers", 400), timeout_s=300)
    until(lambda: members("special", 403), timeout_s=300)
    for name, size in (("buyers", 400), ("special", 403)):
        checked = muster("segments", "check", name, "-t", TENANT, "--json")
        assert (checked.code, checked.json["equal"], checked.json["by_rule"]) == (0, True, size), checked.err
    assert muster("segments", "preview", RULE, "-t", TENANT, "--json").json["members"] == 400
    explained = muster("explain", "buyers", "user-500", "-t", TENANT, "--json").json
    assert (explained["member"], explained["groups"][0]["conditions"][0]["counted"]) == (True, 2)
    snapshot_is_a_version(muster, tmp_path, deployment.kafka_bootstrap)
    send(deployment, 700)
    until(lambda: members("buyers", 466), timeout_s=300)
    assert members_of_a_receiver(tmp_path, deployment.kafka_bootstrap) == {f"user-{n}" for n in range(700) if n % 3}
    who_has_entered_is_exported(muster, tmp_path)
    assert muster("segments", "delete", "special", "-t", TENANT).code == 0
    assert [s["segment"] for s in muster("segments", "list", "-t", TENANT, "--json").json] == ["buyers"]
