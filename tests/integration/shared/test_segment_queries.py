"""Rules evaluated on the archive in the stack's lake, and cuts of a simulated worker."""

import io
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka.logon import librdkafka_config
from connectors.storage.writing import put_if_absent
from muster import transport
from orchestration.access.owner import ensure_owner_token
from orchestration.answers import counts
from orchestration.answers.conversation import answer_of
from orchestration.answers.counts import count_users
from orchestration.answers.reading import Reading
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.catalog.references import ref_of
from orchestration.catalog.segments import NewRule
from orchestration.cli.main import main
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import CountUsers, Question
from schemas.codec import CODEC
from schemas.columns import RowSchema
from schemas.counters import Counters
from schemas.ids import AudienceName, Partition, TenantName
from schemas.layout import cut_key, s3_uri
from schemas.partitioning import partition_of
from schemas.records import as_record
from schemas.row_digest import digest_rows
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import EVENTS, PROFILES, SEGMENT_ACTIVATIONS, SEGMENT_STATUS
from segmentation.rules.parser import parse_rule
from tests.fakes.asgi import AsgiClient, AsgiTransport
from tests.fakes.catalog import catalog_in
from tests.fakes.readers import FakeReaders
from tests.fakes.rules import new_rule
from tests.fakes.version_store import InMemoryVersionStore
from tests.integration.lake.archiving import Bucket, change, event, values
from tests.integration.lake.support import Parts, new_id, request, users

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
]
BUYERS, VIP = AudienceName("buyers"), AudienceName("vip")
P = 4
Rows = Sequence[dict[str, Any]]


class World:
    """A tenant with rows in the archive, in the partitions of their users."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.tenant = TenantName(f"t{new_id()}")
        self.bucket = Bucket(s3=context.s3, name=context.settings.lake_bucket)
        self.ends = {(topic, p): 0 for topic in (EVENTS, PROFILES) for p in range(P)}
        context.audiences.add_tenant(self.tenant, 1)

    def archive(self, topic: str, rows: Rows) -> None:
        ranges = []
        for p in range(P):
            first = self.ends[topic, p]
            mine = [r for r in rows if partition_of(r["user_id"], P) == p]
            placed = [{**r, "tenant": self.tenant, "offset": first + n} for n, r in enumerate(mine)]
            if placed:
                end = self.ends[topic, p] = first + len(placed)
                ranges.append(self.bucket.write(first, end, placed, topic=topic, partition=Partition(p)))
        self.context.archive.append(topic, ranges)

    def create(self, text: str, name: str = BUYERS) -> None:
        rule = new_rule(text)
        self.context.segments.create(
            self.tenant, AudienceName(name), rule, new_id=fresh_id(), author="ann", now_ms=now_ms()
        )
        for due in self.context.activations.unsent():
            self.context.activations.mark_sent(due, [0] * P, now_ms())


@pytest.fixture
def world(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    url = catalog_in(tmp_path)
    context = Context(stack.with_(catalog_url=url, home=tmp_path))
    context.__dict__["versions"] = InMemoryVersionStore()
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    with served(context) as asgi:
        monkeypatch.setattr(transport, "HttpTransport", lambda _: AsgiTransport(asgi))
        yield World(context)
    context.archive.close()
    context.database.close()


class ReadersHere(FakeReaders):
    """As `Readers`, but this process answers."""

    def __init__(self, context: Context) -> None:
        super().__init__({})
        self._reading = Reading(context=context)

    def ask(self, question: Question, cancellation: Cancellation) -> Any:
        cancellation.check()
        return json.loads(json.dumps(answer_of(self._reading, type(question).__name__, as_record(question))))

    ask_alone = ask


@contextmanager
def served(context: Context) -> Iterator[AsgiClient]:
    """The service of a context, in this process; commands use it as the owner of the home."""
    services = Services(context.settings)
    vars(services)["readers"] = ReadersHere(context)
    ensure_owner_token(services, context.settings.home)
    service = Service(services=services, hosts=frozenset({"127.0.0.1"}))
    asgi = AsgiClient(application(service))
    try:
        yield asgi
    finally:
        asgi.close()
        service.close()
        services.close()


def purchase(user: str, days_ago: float, identity: int, **properties: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    return event(0, user, event="purchase", occurred_at=at, identity=identity, properties=values(properties))


@pytest.fixture
def shop(world: World) -> World:
    """ann bought twice, bob once (recorded twice), cid long ago; dan is known without events."""
    world.archive(EVENTS, [purchase("ann", 1, 1, amount=120.0), purchase("ann", 2, 2, amount=80.0)])
    again = purchase("bob", 1, 3, amount=500.0)
    world.archive(EVENTS, [again, again, purchase("cid", 40, 4)])
    old, new = values({"age": 17.0}), values({"age": 30.0})
    world.archive(PROFILES, [change(0, "dan", attributes=old), change(0, "ann", attributes=old)])
    world.archive(PROFILES, [change(0, "ann", attributes=new)])
    return world


def answer(world: World, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "-t", world.tenant, "--json"]) == code
    return json.loads(capsys.readouterr().out)


DRAFTS = {
    "count(purchase, 30d) >= 2": 1,
    "count(purchase, 30d) = 1": 1,
    "count(purchase, 30d) <= 1": 3,
    "ever(purchase)": 3,
    "count(purchase where amount >= 100, 30d) >= 1": 2,
    "age < 18": 1,
    "age >= 18 or never(purchase)": 2,
    "in audience vip": 1,
    "sequence(purchase where amount >= 100 then not purchase within 12h, 30d)": 2,
    "sequence(purchase then purchase within 2d, 30d) and age >= 18": 1,
    "ever(purchase) and not in segment rich": 2,
    "sum(amount of purchase, 30d) >= 200": 2,
    "avg(amount of purchase) < 200 or max(amount of purchase, 30d) < 1": 1,
    "distinct(amount of purchase, 30d) <= 1": 3,
}


def test_a_draft_is_counted(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    vip = shop.context.audiences.ensure(shop.tenant, VIP, new_id=fresh_id(), now_ms=1)
    parts = Parts(shop.context.s3).write(ref_of(vip), new_id(), users("bob", "nobody-knows-me"))
    shop.context.versions.publish(request(ref_of(vip), parts, "1"))
    shop.create("count(purchase where amount > 400, 30d) >= 1 and in audience vip", "rich")
    assert {rule: answer(shop, capsys, "segments", "preview", rule)["members"] for rule in DRAFTS} == DRAFTS


def test_estimate_scales_the_count_of_one_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [f"user-{n}" for n in range(200)]
    world.archive(EVENTS, [purchase(user, 1, n) for n, user in enumerate(named)])
    world.archive(PROFILES, [change(0, user, attributes=values({"age": 30.0})) for user in named[:100]])
    chosen = zlib.crc32(world.tenant.encode()) % P
    buyers, adults = ([user for user in some if partition_of(user, P) == chosen] for some in (named, named[:100]))
    reading = Reading(context=world.context)

    def count(*, exact: bool) -> Any:
        rule = "ever(purchase) and age >= 18 and never(prchase)"
        asked = CountUsers(tenant=world.tenant, rule=rule, timezone=None, exact=exact, users=3, notes=False)
        return count_users(reading, asked)

    assert count(exact=False)["precision"] == "exact"  # so few rows are all counted
    monkeypatch.setattr(counts, "SMALL_ROWS", 10)
    found = count(exact=False)
    assert (found["precision"], found["members"], found["users"]) == ("estimate", P * len(adults), sorted(adults)[:3])
    assert found["interval"][0] <= 100 <= found["interval"][1]
    assert [group["members"] for group in found["groups"][:2]] == [P * len(buyers), P * len(adults)]
    assert found["unseen_events"] == ["prchase"]
    exact = count(exact=True)
    assert (exact["members"], exact["interval"]) == (100, [100, 100])


def test_members_without_history_are_reported_where_they_are_excluded(
    shop: World, capsys: pytest.CaptureFixture[str]
) -> None:
    vip = shop.context.audiences.ensure(shop.tenant, VIP, new_id=fresh_id(), now_ms=1)
    parts = Parts(shop.context.s3).write(ref_of(vip), new_id(), users("bob", *(f"stranger-{n}" for n in range(1_700))))
    shop.context.versions.publish(request(ref_of(vip), parts, "1"))
    outside = [{"audience": "vip", "version": 1, "users": 1_700}]
    note = "Note: 1,700 members of vip are outside (no event, no profile).\n"
    row = "outside        1,700 members of vip (no event, no profile)\n"

    found = answer(shop, capsys, "segments", "preview", "in audience vip")
    assert (found["members"], found["outside"]) == (1, outside)
    assert answer(shop, capsys, "segments", "preview", "ever(purchase)")["outside"] == []
    assert main(["segments", "preview", "in audience vip", "-t", shop.tenant]) == 0
    assert capsys.readouterr() == ("1 user\n", note)

    shop.create("in audience vip", "strict")
    assert main(["segments", "create", "buyers", "--rule", "in segment strict", "-t", shop.tenant]) == 0
    assert capsys.readouterr().err == note
    for one in shop.context.activations.unsent():
        shop.context.activations.mark_sent(one, [0] * P, now_ms())
    assert answer(shop, capsys, "segments", "show", "buyers")["outside"] == outside
    assert main(["segments", "show", "buyers", "-t", shop.tenant]) == 0
    assert row.replace(" " * 8, " " * 7, 1) in capsys.readouterr().out

    with Worker(shop, ["bob"]):
        assert main(["segments", "check", "buyers", "-t", shop.tenant]) == 0
    assert row in capsys.readouterr().out
    shop.ends = dict.fromkeys(shop.ends, 0)  # from before any user was known
    with Worker(shop, []):
        assert answer(shop, capsys, "segments", "check", "buyers")["outside"][0]["users"] == 1_701

    found = answer(shop, capsys, "explain", "buyers", "stranger-7")
    assert (found["member"], found["outside"], found["groups"]) == (False, ["vip"], [])
    assert main(["explain", "buyers", "stranger-7", "-t", shop.tenant]) == 0
    assert "outside: a member of vip without an event or a profile" in capsys.readouterr().out
    assert answer(shop, capsys, "explain", "buyers", "bob")["outside"] == []
    assert main(["explain", "buyers", "nobody", "-t", shop.tenant]) == 3
    assert capsys.readouterr().err.startswith("UNKNOWN_USER: ")


def test_edit_is_counted_with_the_segments_that_depend_on_it(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("never(purchase)", "buyers")
    shop.create("age >= 0 and not in segment buyers", "others")
    before = {
        name: answer(shop, capsys, "segments", "preview", f"in segment {name}")["members"]
        for name in ("buyers", "others")
    }
    edit = ("segments", "edit", "buyers", "--rule", "ever(purchase)", "--dry-run")
    own, depending = answer(shop, capsys, *edit)["changes"]
    bought = answer(shop, capsys, "segments", "preview", "ever(purchase)")["members"]
    assert (own["entering"], own["leaving"], own["staying"]) == (bought, before["buyers"], 0)
    assert depending["segment"] == "others"
    assert depending["leaving"] + depending["staying"] == before["others"]
    assert (
        depending["leaving"]
        == answer(shop, capsys, "segments", "preview", "ever(purchase) and age >= 0")["members"]
        > 0
    )
    assert main(["segments", "edit", "buyers", "--rule", "in segment others", "--dry-run", "-t", shop.tenant]) == 3
    assert capsys.readouterr().err.startswith("SEGMENT_CYCLE: ")


def test_members_known_only_by_an_audience_are_accounted_for(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    vip = shop.context.audiences.ensure(shop.tenant, VIP, new_id=fresh_id(), now_ms=1)
    parts = Parts(shop.context.s3).write(ref_of(vip), new_id(), users("bob", *(f"stranger-{n}" for n in range(1_700))))
    shop.context.versions.publish(request(ref_of(vip), parts, "1"))
    only_by = [{"audience": "vip", "version": 1, "users": 1_700}]
    rule = "rule 2: in audience vip"

    found = answer(shop, capsys, "segments", "preview", rule)
    assert (found["members"], found["outside"], found["known_only_by"]) == (1_701, [], only_by)
    none = answer(shop, capsys, "segments", "preview", f"{rule} and ever(purchase)")
    assert none["known_only_by"] == [{**only_by[0], "users": 0}]
    assert main(["segments", "preview", rule, "-t", shop.tenant]) == 0
    assert capsys.readouterr() == ("1,701 users; 1,700 known only by audience vip\n", "")

    assert main(["segments", "create", "buyers", "--rule", rule, "-t", shop.tenant]) == 0
    assert capsys.readouterr().err == "Note: 1,700 users are known only by audience vip (no event, no profile).\n"
    for one in shop.context.activations.unsent():
        shop.context.activations.mark_sent(one, [0] * P, now_ms())
    assert answer(shop, capsys, "segments", "show", "buyers")["known_only_by"] == only_by
    with Worker(shop, ["bob", *(f"stranger-{n}" for n in range(1_700))]):
        assert main(["segments", "check", "buyers", "-t", shop.tenant]) == 0
    assert "known only by  audience vip: 1,700 users (no event, no profile)\n" in capsys.readouterr().out

    found = answer(shop, capsys, "explain", "buyers", "stranger-7")
    assert (found["member"], found["outside"], found["known_only_by"]) == (True, [], ["vip"])
    assert main(["explain", "buyers", "stranger-7", "-t", shop.tenant]) == 0
    assert "known only by audience vip: no event and no profile\n" in capsys.readouterr().out
    assert answer(shop, capsys, "explain", "buyers", "bob")["known_only_by"] == []

    shop.create("in audience vip", "moved")
    upgrade = ["segments", "upgrade", "moved", "-t", shop.tenant]
    assert main(upgrade) == 3
    refused = capsys.readouterr().err
    assert "EDIT_WOULD_CHANGE" in refused
    assert "moved (1,700 would enter, 0 leave, 1 stay)" in refused
    assert main([*upgrade, "--approve", re.findall(r"--approve (\S+)", refused)[0]]) == 0
    assert capsys.readouterr().out == "segment moved is active, rule version 2\n"
    assert answer(shop, capsys, "segments", "show", "moved")["rule"] == "rule 2: in audience vip"


def test_unknown_names_are_reported(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "ever(purchase) or ever(purchse) or age >= 18 or height >= 2"
    found = answer(shop, capsys, "segments", "preview", rule)
    assert (found["members"], found["unseen_events"], found["unseen_attributes"]) == (3, ["purchse"], ["height"])
    assert main(["segments", "preview", "ever(purchse)", "-t", shop.tenant]) == 0
    said = capsys.readouterr()
    assert said.out == "0 users\n"
    assert said.err == "Note: no user has ever had the event 'purchse'.\n"
    assert main(["segments", "create", "typo", "--rule", "ever(purchse)", "-t", shop.tenant]) == 0
    assert capsys.readouterr().err == "Note: no user has ever had the event 'purchse'.\n"


def test_property_compared_as_an_attribute_gets_a_suggestion(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    note = (
        "Note: no user has ever had the attribute 'amount'.\n"
        "Note: amount is a property of events such as purchase. In place of `amount >= 10`, write "
        "`ever(purchase where amount >= 10)` or `count(purchase where amount >= 10, 30d) >= 1`.\n"
    )
    found = answer(shop, capsys, "segments", "preview", "amount >= 10")
    assert (found["members"], [one["events"] for one in found["suggestions"]]) == (0, [["purchase"]])
    [suggested] = found["suggestions"]
    assert answer(shop, capsys, "segments", "preview", suggested["instead"][0])["members"] > 0
    assert main(["segments", "create", "spenders", "--rule", "amount >= 10", "-t", shop.tenant]) == 0
    assert capsys.readouterr().err == note
    for one in shop.context.activations.unsent():
        shop.context.activations.mark_sent(one, [0] * P, now_ms())
    with Worker(shop, []):
        assert main(["segments", "check", "spenders", "-t", shop.tenant]) == 0
    assert capsys.readouterr().err == note
    json_rule = {"rule": 1, "all": [{"any": [{"type": "attribute", "name": "user_id", "in": ["ann", "bob"]}]}]}
    [by_id] = answer(shop, capsys, "segments", "preview", json.dumps(json_rule))["suggestions"]
    assert by_id["instead"] == ["in audience chosen-users"]


def test_comparison_with_an_unused_type_is_reported(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.archive(PROFILES, [change(0, user, attributes=values({"age": "30"})) for user in ("ann", "dan")])
    shop.archive(EVENTS, [purchase("ann", 1, 9, amount="120")])
    rule = 'age >= 25 and age is set and age != "x" and ever(purchase where amount > 1 and amount = true)'
    found = answer(shop, capsys, "segments", "preview", rule)
    amount = {"event": "purchase", "name": "amount", "compared_as": "boolean", "values": {"double": 4, "string": 1}}
    # the numbers are earlier values
    age = {"event": None, "name": "age", "compared_as": "double", "values": {"string": 2}}
    assert (found["members"], found["mistyped"]) == (0, [age, amount])
    assert main(["segments", "create", "grown", "--rule", rule, "-t", shop.tenant]) == 0
    said = capsys.readouterr().err
    assert "the rule compares age with a number, but all 2 values of age are text. `muster audiences configure" in said
    assert "none of the 5 values of amount of purchase has this type: 4 numbers, 1 text" in said


def test_empty_archive_has_no_members(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(world, capsys, "segments", "preview", "never(purchase) and not age >= 3")["members"] == 0
    assert main(["segments", "preview", "in audience vip", "-t", world.tenant]) == 3
    assert capsys.readouterr().err.startswith("UNKNOWN_AUDIENCE: ")


def test_explanation_of_a_member_shows_events_and_expiry(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("(count(purchase, 30d) >= 2 or never(purchase)) and age >= 18")
    found = answer(shop, capsys, "explain", "buyers", "ann")
    assert (found["member"], found["attributes"]) == (True, {"age": 30.0})
    assert found["partition"] == partition_of("ann", P)
    first, second = found["groups"]
    count, never = first["conditions"]
    assert (count["true"], count["counted"], never["true"], second["true"]) == (True, 2, False, True)
    assert [e["offset"] for e in count["events"]] == [0, 1]
    leaves = datetime.fromisoformat(count["events"][1]["occurred_at"]) + timedelta(days=30)
    assert datetime.fromisoformat(count["changes_at"]) == leaves
    assert second["conditions"][0]["value"] == 30.0
    later = (leaves + timedelta(seconds=1)).isoformat()
    assert answer(shop, capsys, "explain", "buyers", "ann", "--as-of", later)["member"] is False
    assert len(answer(shop, capsys, "explain", "buyers", "bob")["groups"][0]["conditions"][0]["events"]) == 1
    assert main(["explain", "buyers", "ann", "-t", shop.tenant]) == 0
    assert "yes count(purchase, 30d) >= 2   (2 counted, changes at " in capsys.readouterr().out
    assert main(["explain", "buyers", "eve", "-t", shop.tenant]) == 3
    assert capsys.readouterr().err.startswith("UNKNOWN_USER: ")
    assert main(["explain", "buyers", "ann", "--as-of", "2026-11-25", "-t", shop.tenant]) == 2


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("sum(amount of purchase, 30d) >= 200", {"ann": (True, 200.0, 2, 28.0), "bob": (True, 500.0, 1, 29.0)}),
        ("avg(amount of purchase) <= 100", {"ann": (True, 100.0, 2, None), "cid": (False, None, 0, None)}),
        ("sum(amount of purchase, 30d) = 80", {"ann": (False, 200.0, 2, None)}),
        ("min(amount of purchase, 30d) < 100", {"ann": (True, 80.0, 2, 28.0), "bob": (False, 500.0, 1, None)}),
        ("distinct(amount of purchase, 30d) >= 2", {"ann": (True, 2, 2, 28.0), "cid": (False, 0, 0, None)}),
    ],
)
def test_explanation_of_an_aggregate_has_its_value(
    shop: World, capsys: pytest.CaptureFixture[str], rule: str, found: dict[str, tuple[Any, ...]]
) -> None:
    shop.create(rule)

    def explained(user: str) -> tuple[Any, ...]:
        answer_ = answer(shop, capsys, "explain", "buyers", user)
        condition = answer_["groups"][0]["conditions"][0]
        changes, as_of = condition["changes_at"], datetime.fromisoformat(answer_["as_of"])
        days = None if changes is None else round((datetime.fromisoformat(changes) - as_of) / timedelta(days=1), 1)
        assert condition["counted"] == len(condition["events"])
        return answer_["member"], condition["value"], condition["counted"], days

    assert {user: explained(user) for user in found} == found
    assert main(["explain", "buyers", "ann", "-t", shop.tenant]) == 0
    assert re.search(r"\(value \d[\d.]*, 2 counted", capsys.readouterr().out)


def test_what_a_sum_leaves_out_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.archive(EVENTS, [purchase("ann", 1, n, amount=1.0) for n in range(1_001)])
    world.archive(EVENTS, [purchase("bob", 2, 0, amount=1e12), purchase("bob", 2, 1, amount=float("nan"))])
    world.create("sum(amount of purchase, 30d) = 1000 or avg(amount of purchase) = 1")
    assert answer(world, capsys, "segments", "show", "buyers")["bounded"] == [
        {"condition": "sum(amount of purchase, 30d) = 1000", "latest": 1000, "users": 1, "left_out": 1},
        {"condition": "avg(amount of purchase) = 1", "latest": 1000, "users": 1, "left_out": 1},
    ]
    assert main(["segments", "show", "buyers", "-t", world.tenant]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 user has more than 1,000 events in sum(amount of purchase, 30d) = 1000, whose latest 1,000 count" in shown
    assert "1 number too large for avg(amount of purchase) = 1" in shown


def test_explanation_of_a_sequence_shows_how_far_a_user_has_come(
    shop: World, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.create("sequence(purchase then not purchase within 36h same amount, 30d)")

    def steps(user: str) -> tuple[bool, list[tuple[Any, ...]], float | None]:
        found = answer(shop, capsys, "explain", "buyers", user)
        as_of, condition = datetime.fromisoformat(found["as_of"]), found["groups"][0]["conditions"][0]

        def days(text: str | None) -> float | None:
            return None if text is None else round((datetime.fromisoformat(text) - as_of) / timedelta(days=1), 1)

        of = [
            (days(step["reached_at"]), step["value"], days(step["waits_until"]), len(step["events"]), step["counted"])
            for step in condition["steps"]
        ]
        assert [step["step"] for step in condition["steps"]] == ["purchase", "not purchase within 1d12h"]
        return found["member"], of, days(condition["changes_at"])

    assert steps("ann") == (True, [(-1.0, 120.0, None, 2, 2), (-0.5, 80.0, 0.5, 2, 2)], 30.5)
    assert steps("bob") == (False, [(-1.0, 500.0, None, 1, 1), (None, None, 0.5, 1, 1)], 0.5)
    assert steps("cid") == (False, [(None, None, None, 0, 0), (None, None, None, 0, 0)], None)
    assert main(["explain", "buyers", "ann", "-t", shop.tenant]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\nyes sequence\(.*\)   \(changes at \S+\)\n    yes purchase   \(reached \S+, with 120", shown)
    assert re.search(r"yes not purchase within 1d12h   \(reached \S+, with 80.0, waits until \S+, 2 counted\)", shown)


class Worker:
    """Answers the next cut as a worker would: at these offsets, with these members."""

    def __init__(self, world: World, members: Sequence[str], asked_of: int = P, **given: Any) -> None:
        self._asked_of = asked_of
        self._world = world
        self._members = members
        self._given = given
        bootstrap = world.context.settings.kafka_bootstrap
        self._consumer = Consumer({**librdkafka_config(bootstrap), "group.id": "played"})
        self._producer = Producer({**librdkafka_config(bootstrap)})
        ends = [self._consumer.get_watermark_offsets(TopicPartition(SEGMENT_ACTIVATIONS, p))[1] for p in range(P)]
        self._consumer.assign([TopicPartition(SEGMENT_ACTIVATIONS, p, end) for p, end in enumerate(ends)])
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._consumer.close()

    def _run(self) -> None:
        asked: set[int] = set()
        while len(asked) < self._asked_of:
            for record in self._consumer.consume(1, 1.0):
                message = CODEC.decode(record.value() or b"")
                if isinstance(message, CutRequested) and message.tenant == self._world.tenant:
                    partition = record.partition()
                    assert partition is not None
                    asked.add(partition)
                    self._producer.produce(SEGMENT_STATUS, CODEC.encode(self._cut(message, Partition(partition))))
                    self._producer.flush(10)

    def _cut(self, asked: CutRequested, partition: Partition) -> SegmentCut:
        mine = sorted(user for user in self._members if partition_of(user, P) == partition)
        part = None
        if mine:
            out = io.BytesIO()
            pq.write_table(pa.table({"user_id": mine}), out)
            bucket, key = (
                self._world.context.settings.staging_bucket,
                cut_key(asked.cut_id, partition, "0" * 32),
            )
            part = s3_uri(bucket, key)
            put_if_absent(self._world.context.s3.client(), bucket, key, out.getvalue())
        values: Mapping[str, Any] = {
            "rule_version": 1,
            "at_us": asked.at_us,
            "events": self._world.ends[EVENTS, partition],
            "profiles": self._world.ends[PROFILES, partition],
            **self._given,
        }
        return SegmentCut(
            cut_id=asked.cut_id,
            tenant=asked.tenant,
            segment=asked.segment,
            partition=partition,
            partitions=P,
            activations=0,
            changes=0,
            generation=0,
            members=len(mine),
            digest=digest_rows(pa.table({"user_id": pa.array(mine, pa.string())}), RowSchema()),
            part=part,
            **values,
        )


def test_stream_that_matches_the_rule_passes(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("ever(purchase)")
    with Worker(shop, ["ann", "bob", "cid"]):
        found = answer(shop, capsys, "segments", "check", "buyers")
    assert (found["equal"], found["by_rule"], found["by_stream"]) == (True, 3, 3)
    with Worker(shop, ["ann", "bob", "cid"]):
        assert main(["segments", "check", "buyers", "-t", shop.tenant]) == 0
    assert "equal" in capsys.readouterr().out


def test_records_archived_after_a_cut_do_not_count(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("ever(purchase) and age is not set")
    ends = dict(shop.ends)
    shop.archive(EVENTS, [purchase("eve", 1, 9), purchase("bob", 1, 10)])
    shop.archive(PROFILES, [change(0, "bob", attributes=values({"age": 50.0}))])
    shop.ends = ends
    with Worker(shop, ["bob", "cid"]):
        assert answer(shop, capsys, "segments", "check", "buyers")["equal"]


def test_stream_with_other_members_fails_and_names_them(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("ever(purchase)")
    with Worker(shop, ["ann", "dan", "cid"]):
        found = answer(shop, capsys, "segments", "check", "buyers", code=7)
    assert (found["by_rule"], found["by_stream"]) == (3, 3)
    assert found["missing"] == {"users": 1, "some": ["bob"]}
    assert found["extra"] == {"users": 1, "some": ["dan"]}


def test_relay_checks_partitions_in_turn_and_counts_differences(shop: World) -> None:
    shop.create("ever(purchase)")
    buyers = ("ann", "bob", "cid")
    checks, lost = control_plane.segment_checks(shop.context, Counters()), partition_of("bob", P)
    for partition in range(lost + 1):
        with Worker(shop, [user for user in buyers if user != "bob"], asked_of=1):
            checks.tick()
        assert [one.value for one in checks.samples()] == [int(partition == lost)]
    with Worker(shop, buyers, asked_of=1):
        checks.tick()
    assert [one.value for one in checks.samples()] == [0]


@pytest.mark.parametrize(
    ("given", "code", "timeout"),
    [({"rule_version": 0}, "SEGMENT_NOT_READY", "120"), ({"events": 10**6}, "CUT_TIMEOUT", "10")],
    ids=["no-segment-there-yet", "not-archived-yet"],
)
def test_incomparable_cut_is_reported(
    shop: World, given: dict[str, Any], code: str, timeout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.create("ever(purchase)")
    with Worker(shop, [], **given):
        assert main(["segments", "check", "buyers", "--timeout", timeout, "-t", shop.tenant]) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")


def test_check_without_workers_ends(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("ever(purchase)")
    assert main(["segments", "check", "buyers", "--timeout", "1", "-t", shop.tenant]) == 1
    assert capsys.readouterr().err.startswith(
        "CUT_TIMEOUT: no answer from partitions 0, 1, 2, 3: are the segment workers"
    )


def test_a_paused_segment_is_not_checked(shop: World, capsys: pytest.CaptureFixture[str]) -> None:
    shop.create("ever(purchase)")
    shop.context.segments.pause(shop.tenant, BUYERS, now_ms=2)
    assert main(["segments", "check", "buyers", "-t", shop.tenant]) == 3
    assert capsys.readouterr().err.startswith("SEGMENT_PAUSED: ")


def test_rule_edited_during_a_check_needs_another(
    shop: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.create("ever(purchase)")
    files: Callable[..., Any] = shop.context.archive.files

    def edits(*given: Any, **named: Any) -> Any:
        rule = NewRule(text="x", timezone=None, rule=parse_rule("never(purchase)"))
        shop.context.segments.edit(shop.tenant, BUYERS, rule, author="bob", now_ms=5)
        return files(*given, **named)

    monkeypatch.setattr(shop.context.archive, "files", edits)
    with Worker(shop, ["ann", "bob", "cid"]):
        assert main(["segments", "check", "buyers", "-t", shop.tenant]) == 1
    assert capsys.readouterr().err.startswith("SEGMENT_CHANGED: ")
