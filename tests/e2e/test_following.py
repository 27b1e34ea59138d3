"""A receiver starts from a snapshot of a segment and follows its changes, with the sample of the documentation."""

import csv
import gzip
import json
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

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
    pytest.mark.faults("a receiver is started and killed fifteen times while events keep coming"),
]
TENANT = "followed"
RULE = "count(visit, 30d) >= 2 and age >= 25"
USERS = [f"user-{n}" for n in range(3_000)]


class Visitors(threading.Thread):
    """Sends visits, and ages that change back and forth, until stopped; then knows the members of the segment."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._producer = Producer({**librdkafka_config(settings.kafka_bootstrap), "partitioner": "murmur2_random"})
        self._dice = random.Random(7)
        self._visits = dict.fromkeys(USERS, 0)
        self._ages: dict[str, int] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.05):
            for user in self._dice.sample(USERS, 40):
                visit = {"user_id": user, "event": "visit", "occurred_at": datetime.now(UTC).isoformat()}
                self._send(EVENTS, user, visit)
                self._visits[user] += 1
                self._ages[user] = self._dice.choice([17, 30])
                self._send(PROFILES, user, {"user_id": user, "attributes": {"age": self._ages[user]}})

    def _send(self, topic: str, user: str, record: Mapping[str, object]) -> None:
        self._producer.produce(topic, json.dumps({**record, "tenant": TENANT}), key=user)
        self._producer.poll(0)

    def stop(self) -> set[str]:
        """Stop sending; returns all users who are members by the rule."""
        self._stopped.set()
        self.join()
        assert self._producer.flush(30) == 0
        return {user for user, visits in self._visits.items() if visits >= 2 and self._ages[user] >= 25}


def kept(store: Path) -> set[str]:
    """Members stored by a receiver."""
    with sqlite3.connect(store) as db:
        rows = db.execute("SELECT tenant, segment, user FROM members").fetchall()
    assert {row[:2] for row in rows} <= {(TENANT, "regulars")}
    return {row[2] for row in rows}


def rows_of(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_repeatedly_killed_receiver_recovers_the_members_from_a_snapshot(
    deployment: Settings, muster: Muster, tmp_path: Path
) -> None:
    assert muster("tenants", "create", TENANT).code == 0
    visitors = Visitors(deployment)
    visitors.start()
    try:
        for name, rule in (("regulars", RULE), ("visitors", "count(visit, 30d) >= 1")):
            assert muster("segments", "create", name, "--rule", rule, "-t", TENANT).code == 0

        def members() -> int:
            return int(muster("segments", "show", "regulars", "-t", TENANT, "--json").json["members"] or 0)

        until(lambda: members() > 200, timeout_s=300)
        made = muster("segments", "snapshot", "regulars", "-t", TENANT, "--wait", "--json")
        assert made.code == 0, made.err
        receipt = tmp_path / "receipt.json"
        receipt.write_text(muster("receipt", made.json["job"], "--json").out)
        exported = muster(
            *("export", "regulars-snapshot", "-t", TENANT, "--to", tmp_path / "out"),
            *("--format", "csv", "--compression", "gzip"),
        )
        assert exported.code == 0, exported.err
        store, manifest = tmp_path / "members.sqlite", tmp_path / "out" / "manifest.json"
        script = [sys.executable, str(ROOT / "docs" / "follow_segments.py"), deployment.kafka_bootstrap]
        command = [*script, str(ROOT / "schemas" / "avro"), str(store), str(manifest), str(receipt)]
        dice, rounds, killed, longest_s = random.Random(11), 0, 0, 2.5
        while rounds < 15 or killed <= 5:
            rounds += 1
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as receiver:
                try:
                    assert receiver.wait(timeout=dice.uniform(0.05, longest_s)) == 0
                    longest_s *= 0.8  # it finished earlier, so kill earlier next time
                except subprocess.TimeoutExpired:
                    receiver.kill()
                    killed += 1
    finally:
        expected = visitors.stop()
    until(lambda: members() == len(expected), timeout_s=300)
    checked = muster("segments", "check", "regulars", "-t", TENANT, "--json")
    assert (checked.code, checked.json["equal"], checked.json["by_rule"]) == (0, True, len(expected)), checked.err
    last = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (last.returncode, last.stderr) == (0, "")
    assert kept(store) == expected
    began_with = {row["user_id"] for file in manifest.parent.glob("**/*.csv.gz") for row in rows_of(file)}
    assert len(began_with) == json.loads(manifest.read_text())["members"] > 0
    assert began_with - expected, "no user left"
    assert expected - began_with, "no user entered"
    assert muster("segments", "delete", "visitors", "-t", TENANT).code == 0
