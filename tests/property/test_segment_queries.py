"""Random rules over random archive files find the same users as a naive evaluation.

Records are in two partitions and in files of a few offsets, some of them with a list of their users; some come twice,
some are after the requested position. Profiles change again and again, values are unset, profiles deleted.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lake import segment_queries
from connectors.lake.activity_relations import Activity, EndOffsets
from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.segment_queries import MembersChange, Question, SegmentQueries
from schemas.activity import EVENT_ROWS, PROFILE_ROWS
from schemas.errors import UserError
from schemas.ids import Partition, TenantName
from schemas.layout import ArchiveKey
from schemas.partitioning import partitions_of
from schemas.topics import EVENTS, PROFILES
from segmentation.archiving import archive_content
from segmentation.rules.nodes import Ever, Never, Rule, Seen
from segmentation.rules.parser import parse_rule
from segmentation.rules.references import names
from tests.examples import examples
from tests.integration.lake.support import limits
from tests.naive_rules import TYPES, World, is_asked, is_in, is_true
from tests.property.rule_cases import NAMES, NOW, rules, widened
from tests.property.test_rules import USERS, worlds

ACME = TenantName("acme")
P = 2
RECEIVED = datetime(2026, 11, 25, tzinfo=UTC)
Row = dict[str, Any]
STALE = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([1.0, "old", True, None]), max_size=3)
"""Earlier values of a profile."""


def place_of(user: str) -> int:
    return USERS.index(user) % P


def entries(named: Mapping[str, Any]) -> list[tuple[str, Row]]:
    return [(name, {} if value is None else {TYPES[type(value)]: value}) for name, value in named.items()]


def event_rows(world: World) -> list[Row]:
    identities = {key: n for n, key in enumerate({event.id for event in world.events})}
    return [
        {"user_id": e.user, "event": e.name, "occurred_at": e.occurred_at, "event_id": e.id}
        | {"identity": identities[e.id], "properties": entries(e.properties)}
        for e in world.events
    ]


def profile_rows(world: World, stale: Mapping[str, Mapping[str, Any]], *, deleted: bool) -> list[Row]:
    """Each profile as several changes: earlier values, their end (by a deletion, or value by value), its values."""
    rows: list[Row] = []
    for user, values in world.profiles.items():
        before = stale.get(user, {})
        end: Row = {"deleted": True, "attributes": []} if deleted else {"attributes": entries(dict.fromkeys(before))}
        changes = [{"attributes": entries(before)}, end]
        changes += [{"attributes": entries({name: value})} for name, value in values.items()]
        rows += [{"user_id": user, "deleted": False, **change} for change in changes]
    return rows


def shown(value: Any) -> str:
    """Comparable also for NaN, any time zone object, and the two equal zeros, of which DuckDB may return either."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return repr(value + 0.0 if isinstance(value, float) else value)


class Files:
    """Files in a folder, listed as by the archive."""

    def __init__(self, folder: Path, with_users: Sequence[bool] | None = None) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        self.with_users = itertools.cycle([False] if with_users is None else with_users)

    def write(self, topic: str, rows: Sequence[Row], each: int) -> tuple[list[ArchivedFile], dict[Partition, int]]:
        """Write rows at the offsets of their partitions, `each` per file; returns the files and the partition ends."""
        files: list[ArchivedFile] = []
        ends: dict[Partition, int] = {}
        for partition in map(Partition, range(P)):
            mine = [row for row in rows if place_of(row["user_id"]) == partition]
            for first in range(0, len(mine), each):
                some = [{**row, "offset": first + n} for n, row in enumerate(mine[first : first + each])]
                files.append(self.written(topic, partition, some))
            ends[partition] = len(mine)
        return files, ends

    def written(self, topic: str, partition: Partition, rows: list[Row]) -> ArchivedFile:
        schema = EVENT_ROWS if topic == EVENTS else PROFILE_ROWS
        whole = [{"tenant": ACME, "received_at": RECEIVED, **row} for row in rows]
        content = archive_content(topic, partition, pa.Table.from_pylist(whole, schema=schema))
        path = self.folder / f"{next(self.numbers)}.parquet"
        path.write_bytes(content)
        key = ArchiveKey(
            topic=topic,
            tenant=ACME,
            partition=partition,
            first_offset=rows[0]["offset"],
            end_offset=rows[-1]["offset"] + 1,
            content_hash="0" * 32,
        )
        users: Path | None = None
        if next(self.with_users):
            users = self.folder / f"{path.stem}-users.parquet"
            names = sorted({row["user_id"] for row in rows})
            pq.write_table(pa.table({"user_id": pa.array(names, pa.string())}), users)
        uri = None if users is None else str(users)
        return ArchivedFile(uri=str(path), key=key, rows=len(rows), bytes=len(content), users=uri)


@pytest.fixture(scope="module")
def queries() -> Iterator[SegmentQueries]:
    with TemporaryDirectory() as folder:
        yield SegmentQueries(None, limits(Path(folder)))


def test_rule_beyond_the_memory_is_refused_and_a_smaller_one_is_not(tmp_path: Path) -> None:
    rows = [{"user_id": f"u{n}", "offset": n, "deleted": False, "attributes": []} for n in range(2000)]
    profiles = [Files(tmp_path).written(PROFILES, Partition(0), rows)]
    tight = SegmentQueries(None, replace(limits(tmp_path), memory_bytes=32 * 2**20))
    activity = Activity(events=[], profiles=profiles)

    def count(attributes: int) -> int:
        rule = parse_rule(" and ".join(f"not (a{n} is set)" for n in range(attributes)))
        return tight.count(Question(rule=rule, activity=activity, segments={}, audiences={}), NOW)

    assert count(1) == 2000
    with pytest.raises(UserError, match="32 MiB of memory") as caught:
        count(200)
    assert caught.value.code == "RULE_TOO_BIG"


def test_each_partition_is_compared_with_its_own_members_who_are_not_known(
    queries: SegmentQueries, tmp_path: Path
) -> None:
    users = pa.array([f"u{n}" for n in range(20)])
    audience = tmp_path / "vip.parquet"
    pq.write_table(pa.table({"user_id": users}), audience)
    rule, inner = parse_rule("rule 2: in segment vips and never(refund)"), parse_rule("rule 2: in audience vip")
    questions, parts = [], []
    for partition in map(Partition, range(P)):
        ends = EndOffsets(ends={partition: 0})
        activity = Activity(events=[], profiles=[], events_below=ends, profiles_below=ends)
        question = Question(rule=rule, activity=activity, segments={"vips": inner}, audiences={"vip": [str(audience)]})
        mine = users.filter(pa.array(partitions_of(users, P)[0] == partition))
        parts.append(str(tmp_path / f"{partition}.parquet"))
        pq.write_table(pa.table({"user_id": mine}), parts[-1])
        questions.append((question, NOW))
        assert queries.compare(questions[-1:], parts[-1:], 9, P).equal
    assert queries.compare(questions, parts, 9, P).equal


@pytest.mark.parametrize("rule", ["age >= 18", "age >= 18 or age is set", 'age >= 18 and age != "x"'])
@pytest.mark.parametrize("latest", [[("age", {})], [("age", {"string": "x"})], None], ids=["unset", "text", "deleted"])
def test_unset_or_retyped_value_does_not_count(
    queries: SegmentQueries, tmp_path: Path, rule: str, latest: list[Any] | None
) -> None:
    before = {"user_id": "ann", "deleted": False, "attributes": [("age", {"double": 30.0})]}
    after = {"user_id": "ann", "deleted": latest is None, "attributes": latest or []}
    profiles = [Files(tmp_path).written(PROFILES, Partition(0), [before | {"offset": 0}, after | {"offset": 1}])]
    activity = Activity(events=[], profiles=profiles)
    text_is_set = "is set" in rule and latest == [("age", {"string": "x"})]
    question = Question(rule=parse_rule(rule), activity=activity, segments={}, audiences={})
    assert queries.count(question, NOW) == text_is_set


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("at in last 7d or at >= 5", 3),
        ("at >= 2026-10-25T00:00:00Z or at in last 7d", 2),
        ("at between 2026-10-20 and 2026-12-31 or at between 5 and 9", 3),
        ("anniversary(at) = today or at = 7", 1),
        ("at < today + 7d and at in (7, 8)", 0),
    ],
)
def test_attribute_is_read_in_every_type_that_a_rule_compares_it_with(
    queries: SegmentQueries, tmp_path: Path, rule: str, found: int
) -> None:
    values: list[Row] = [{"double": 7.0}, {"date": NOW.date()}, {"timestamp": NOW}]
    rows = [
        {"user_id": f"u{n}", "offset": n, "deleted": False, "attributes": [("at", value)]}
        for n, value in enumerate(values)
    ]
    activity = Activity(events=[], profiles=[Files(tmp_path).written(PROFILES, Partition(0), rows)])
    question = Question(rule=parse_rule(rule, timezone="UTC"), activity=activity, segments={}, audiences={})
    assert queries.count(question, NOW) == found


@examples(25)
@given(
    data=st.data(),
    rule=rules() | widened(),
    inner=rules() | widened(),
    world=worlds(),
    each=st.integers(1, 9),
    deleted=st.booleans(),
)
def test_archive_users_match_a_naive_evaluation(
    queries: SegmentQueries, data: st.DataObject, rule: Rule, inner: Rule, world: World, each: int, *, deleted: bool
) -> None:
    stale = data.draw(st.dictionaries(st.sampled_from(USERS), STALE, max_size=3))
    events, profiles = event_rows(world), profile_rows(world, stale, deleted=deleted)
    known = {row["user_id"] for row in (*events, *profiles)}
    with TemporaryDirectory() as folder:
        files = Files(Path(folder), data.draw(st.lists(st.booleans(), min_size=1, max_size=5)))
        # After the requested position: rows that must not count.
        _, event_ends = files.write(EVENTS, events, each)
        _, profile_ends = files.write(PROFILES, profiles, each)
        later = [{**row, "identity": 99, "properties": []} for row in events]
        undone = [{"user_id": user, "deleted": True, "attributes": []} for user in USERS]
        event_files, _ = files.write(EVENTS, events + later, each)
        profile_files, _ = files.write(PROFILES, profiles + undone, each)
        activity = Activity(
            events=event_files,
            profiles=profile_files,
            events_below=EndOffsets(ends=event_ends),
            profiles_below=EndOffsets(ends=profile_ends),
        )
        if names(inner).segments:
            inner = parse_rule("ever(nothing)")
        in_inner = {user for user in USERS if is_in(inner, user, NOW, world, known=user in known)}
        members = {(kind, name, user) for kind, name, user in world.members if kind == "audience"}
        audiences = {}
        for name in {*names(rule).audiences, *names(inner).audiences}:
            audience = Path(folder) / f"{name}.parquet"
            of = sorted(user for kind, other, user in members if other == name)
            pq.write_table(pa.table({"user_id": pa.array(of, pa.string())}), audience)
            audiences[name] = [str(audience)]
        segments = dict.fromkeys(names(rule).segments, inner)
        seen = World(
            events=world.events,
            profiles=world.profiles,
            members=members | {("segment", name, user) for name in segments for user in in_inner},
        )
        question = Question(rule=rule, activity=activity, segments=segments, audiences=audiences)
        considered = {user for user in USERS if is_asked(rule, user, seen, known=user in known)}
        expected = sorted(user for user in considered if is_in(rule, user, NOW, seen))
        assert queries.count(question, NOW) == len(expected)
        together_rows = data.draw(st.sampled_from([0, 1000]))
        with patch.object(segment_queries, "TOGETHER_ROWS", together_rows):
            counts = queries.breakdown(question, NOW, 3)
        assert (counts.members, counts.users) == (len(expected), expected[:3])
        moment = NOW + timedelta(seconds=data.draw(st.sampled_from([1, 3600, 86_400, 2_592_000])))
        in_inner_then = {user for user in USERS if is_in(inner, user, moment, world, known=user in known)}
        then = replace(seen, members=members | {("segment", name, user) for name in segments for user in in_inner_then})
        matched = [
            user
            for user in USERS
            if is_asked(rule, user, then, known=user in known) and is_in(rule, user, moment, then)
        ]
        with patch.object(segment_queries, "TOGETHER_ROWS", together_rows):
            assert queries.counts(question, [NOW, moment]) == [len(expected), len(matched)]
        assert queries.strangers(question) == {
            name: sum(("audience", name, user) in members and user not in known for user in expected)
            for name in audiences
        }
        true = [[user for user in considered if is_true(c, user, NOW, rule.timezone, seen)] for c in rule.conditions]
        assert list(counts.conditions) == [len(users) for users in true]
        part = Path(folder) / "part.parquet"
        pq.write_table(pa.table({"user_id": pa.array(expected, pa.string())}), part)
        compared = queries.compare([(question, NOW)], [str(part)], 9)
        assert compared.equal, compared
        together = replace(question, segments={**segments, "outer": rule})
        one = data.draw(st.sampled_from(USERS))
        inside = {*(["outer"] if one in expected else []), *(segments if one in in_inner else [])}
        assert set(queries.segments_containing(together, NOW, one)) == inside
        last = parse_rule("rule 2: in segment outer")
        edit = replace(together, rule=inner, segments={**together.segments, "last": last})
        with patch.object(segment_queries, "TOGETHER_ROWS", together_rows):
            changes = queries.edit(edit, "outer", NOW, 2)
        before = set(expected)
        entering, leaving = sorted(in_inner - before), sorted(before - in_inner)
        assert changes == dict.fromkeys(
            ("outer", "last"),
            MembersChange(
                entering=len(entering),
                leaving=len(leaving),
                staying=len(in_inner & before),
                entering_users=entering[:2],
                leaving_users=leaving[:2],
            ),
        )
        for user in USERS:
            explained = queries.explain(question, NOW, user)
            assert (explained is not None) == (user in considered)
            if explained is None:
                continue
            assert explained.member == (user in expected)
            assert list(explained.conditions) == [is_true(c, user, NOW, rule.timezone, seen) for c in rule.conditions]
            for condition, counted in explained.events.items():
                if isinstance(condition, Ever | Never | Seen):
                    asked = Ever(events=condition.events)
                    assert bool(counted) == is_true(asked, user, NOW, None, seen)
            profile = world.profiles.get(user, {})
            named = {name: profile.get(name) for name in names(rule).attributes}
            assert {name: shown(value) for name, value in explained.values.items()} == {
                name: shown(value) for name, value in named.items()
            }


ENDS = st.dictionaries(st.integers(0, P - 1).map(Partition), st.integers(0, 12), max_size=P)
SEEN = st.lists(st.sampled_from(USERS), max_size=16)


@examples(25)
@given(
    users=st.tuples(SEEN, SEEN),
    ends=st.none() | st.tuples(ENDS, ENDS),
    each=st.integers(1, 6),
    with_users=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_known_users_are_complete_with_and_without_user_lists(
    queries: SegmentQueries,
    users: tuple[list[str], list[str]],
    ends: tuple[dict[Partition, int], dict[Partition, int]] | None,
    each: int,
    with_users: list[bool],
) -> None:
    events: list[Row] = [
        {"user_id": u, "event": "e", "occurred_at": NOW, "event_id": None, "identity": n, "properties": []}
        for n, u in enumerate(users[0])
    ]
    profiles: list[Row] = [{"user_id": user, "deleted": False, "attributes": []} for user in users[1]]
    known = set()
    for rows, below in zip((events, profiles), ends or (None, None), strict=True):
        for partition in range(P):
            mine = [row["user_id"] for row in rows if place_of(row["user_id"]) == partition]
            known.update(mine if below is None else mine[: below.get(Partition(partition), 0)])
    with TemporaryDirectory() as folder:
        files = Files(Path(folder), with_users)
        activity = Activity(
            events=files.write(EVENTS, events, each)[0],
            profiles=files.write(PROFILES, profiles, each)[0],
            events_below=None if ends is None else EndOffsets(ends=ends[0]),
            profiles_below=None if ends is None else EndOffsets(ends=ends[1]),
        )
        # An audience has unknown users too; its known members are queried in another way.
        audience = Path(folder) / "all.parquet"
        pq.write_table(pa.table({"user_id": pa.array(USERS, pa.string())}), audience)
        part = Path(folder) / "part.parquet"
        pq.write_table(pa.table({"user_id": pa.array(sorted(known), pa.string())}), part)
        for rule in ("never(nothing)", "in audience all"):
            question = Question(
                rule=parse_rule(rule), activity=activity, segments={}, audiences={"all": [str(audience)]}
            )
            compared = queries.compare([(question, NOW)], [str(part)], 9)
            assert compared.equal, compared
            assert queries.count(question, NOW) == len(known)
        for text in ("in audience all", "in audience all and never(nothing)", "never(nothing) or in audience all"):
            wide = replace(question, rule=parse_rule(f"rule 2: {text}"))
            assert queries.count(wide, NOW) == len(USERS)
            assert queries.breakdown(wide, NOW, 9).members == len(USERS)
