"""Readers behind the service: answers over HTTP, and deaths of readers and their servers."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka.logon import librdkafka_config
from connectors.sources.rejects import REJECT_SCHEMA
from muster import Access, ApiError, Client
from orchestration.answers.confining import SLACK_BYTES
from orchestration.catalog.operations import OperationStore
from orchestration.catalog.records import NewJob
from orchestration.catalog.references import ref_of
from orchestration.cli.segment_members import MEMBERS
from orchestration.composition.context import Context
from orchestration.local.home import Home
from orchestration.local.status import read_status
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret, Settings
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import CountUsers
from orchestration.readers.starting import readers_of
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.errors import RetriableError
from schemas.ids import AudienceName, Partition, TenantName
from schemas.import_spec import ImportSpec
from schemas.layout import rejects_key
from schemas.messages import DeadLetter
from schemas.partitioning import partition_of
from schemas.topics import DEAD_LETTERS, EVENTS, IMPORTS, PROFILES
from tests.conftest import StartStack
from tests.fakes.rules import new_rule
from tests.faults.waiting import until
from tests.integration.lake.archiving import Bucket, change, event, values
from tests.integration.lake.support import Parts, new_id, request
from tests.integration.lake.test_sql import CALLS, ELSEWHERE, STATEMENTS, TABLE_FUNCTIONS, TABLES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
P = 8
ACME, BETA = TenantName("acme"), TenantName("beta")
AGE = RowSchema(columns=(Column(name="age", type="long"),))
NEVER_ENDS = "select count(*) from range(1000000000) a, range(1000000000) b"


def archive(context: Context, tenant: TenantName, topic: str, rows: list[dict[str, Any]], first: int = 0) -> None:
    bucket = Bucket(s3=context.s3, name=context.settings.lake_bucket)
    ranges = []
    for p in range(P):
        mine = [row for row in rows if partition_of(row["user_id"], P) == p]
        placed = [{**row, "tenant": tenant, "offset": first + n} for n, row in enumerate(mine)]
        ranges.append(bucket.write(first, first + 1000, placed, topic=topic, partition=Partition(p)))
    context.archive.append(topic, ranges)


def purchase(user: str, identity: int, **properties: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=1)
    return event(0, user, event="purchase", occurred_at=at, identity=identity, properties=values(properties))


def publish(context: Context, tenant: TenantName, name: str, rows: list[dict[str, Any]], order: str = "1") -> None:
    audience = context.audiences.ensure(tenant, AudienceName(name), new_id=fresh_id(), now_ms=now_ms())
    parts = Parts(context.s3).write(ref_of(audience), new_id(), rows, AGE)
    context.versions.publish(request(ref_of(audience), parts, order, row_schema=AGE))


class Shop:
    """Two tenants behind a running service: acme with ann, bob and cid; beta with zoe alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = Context(settings)
        for tenant in (ACME, BETA):
            self.context.audiences.add_tenant(tenant, 1)
        archive(
            self.context,
            ACME,
            EVENTS,
            [purchase("ann", 1, amount=120.0), purchase("ann", 2, amount=80.0), purchase("bob", 3), purchase("cid", 4)],
        )
        archive(self.context, ACME, PROFILES, [change(0, "ann", attributes=values({"age": 30.0}))])
        archive(self.context, BETA, EVENTS, [event(0, "zoe", event="secret-event", identity=9)], first=1000)
        first = [("ann", 30), ("bob", 40), ("dan", 50)]
        publish(self.context, ACME, "vip", [{"user_id": user, "age": age} for user, age in first])
        publish(self.context, ACME, "vip", [{"user_id": "ann", "age": 31}, {"user_id": "cid", "age": 1}], "2")
        publish(self.context, BETA, "hidden", [{"user_id": "zoe", "age": 1}])
        rule = "count(purchase, 30d) >= 2 and age >= 18"
        self.context.segments.create(
            ACME,
            AudienceName("buyers"),
            new_rule(rule),
            new_id=fresh_id(),
            author="ann",
            now_ms=now_ms(),
        )
        self.owner = self.client(self.token)

    @property
    def token(self) -> str:
        return (self.settings.home / "api" / "token").read_text().strip()

    def client(self, token: str) -> Client:
        return Client(Access(url=self.settings.api_url, token=token))

    def of(self, tenant: str, role: str) -> Client:
        """A client with one role in one tenant."""
        name = f"{tenant}-{role}-{fresh_id()[-6:]}"
        made = self.owner.create_principal(name, kind="service")
        grants = self.owner.grants(tenant)
        roles = {one["principal"]: one["roles"] for one in grants["items"]}
        self.owner.replace_grants(tenant, {**roles, made["principal"]: [role]}, etag=grants["etag"])
        token = self.owner.create_service_token(tenant, made["principal"], name, [role])
        return self.client(token["secret"])

    def readers(self) -> list[psutil.Process]:
        servers = [one for one in self.api.children() if "orchestration.answers.server" in command(one)]
        return [child for server in servers for child in server.children() if command(child)]

    @property
    def api(self) -> psutil.Process:
        """The process of the service."""
        (api,) = [part for part in read_status(Home(path=self.settings.home)).parts if part.name == "api"]
        assert api.pid is not None
        return psutil.Process(api.pid)


def ended(process: psutil.Process) -> bool:
    """Whether a process was waited for. One with threads can be a zombie and still end."""
    return not process.is_running()


def command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


@pytest.fixture(scope="module")
def shop(start_module_stack: StartStack) -> Iterator[Shop]:
    made = Shop(start_module_stack(parts=("catalog", "kafka", "s3", "api"), partitions=P))
    yield made
    made.owner.close()
    made.context.close()


def test_rule_is_counted_with_its_parts_and_unknown_names(shop: Shop) -> None:
    rule = "(count(purchase, 30d) >= 2 or ever(purchse)) and age >= 18"
    found = shop.owner.count("acme", rule, users=5, notes=True)
    both = {"members": 1, "interval": [1, 1]}
    assert {name: found[name] for name in ("precision", "members", "interval", "users", "unseen_events")} == {
        "precision": "exact",
        **both,
        "users": ["ann"],
        "unseen_events": ["purchse"],
    }
    first, second = found["groups"]
    assert [(c["condition"], c["members"]) for c in first["conditions"]] == [
        ("count(purchase, 30d) >= 2", 1),
        ("ever(purchse)", 0),
    ]
    assert [(c["condition"], c["members"]) for c in second["conditions"]] == [("age >= 18", 1)]
    negated = shop.owner.count("acme", "not count(purchase, 30d) >= 2")
    assert (negated["members"], negated["groups"][0]["members"], negated["groups"][0]["conditions"][0]["members"]) == (
        2,
        2,
        1,
    )


def test_largest_rule_is_counted_and_deep_json_refused(shop: Shop) -> None:
    rule = " or ".join(f"count(purchase where amount >= {n}, 30d) >= 1" for n in range(500))
    found = shop.owner.count("acme", rule)
    assert (found["members"], [one["members"] for one in found["groups"][0]["conditions"][119:122]]) == (1, [1, 1, 0])
    deep = '{"all": ' + "[" * 50_000 + "]" * 50_000 + "}"
    assert refused(shop.owner.count, "acme", deep) == "BAD_RULE"
    assert refused(shop.owner.count, "acme", "ever(" + "(" * 50_000) == "BAD_RULE"


def test_queries_return_typed_columns_within_their_limits(shop: Shop) -> None:
    found = shop.owner.query("acme", "select user_id, age from audience('vip') order by 1")
    assert found == {
        "columns": [{"name": "user_id", "type": "VARCHAR"}, {"name": "age", "type": "BIGINT"}],
        "rows": [["ann", 31], ["cid", 1]],
        "truncated": False,
    }
    named = shop.owner.query(
        "acme", "select age from audience($a) where user_id = $u", parameters={"a": "vip", "u": "ann"}
    )
    assert named["rows"] == [[31]]
    [entry] = shop.owner.audit("acme", limit=1)
    assert (entry["action"], entry["arguments"]["parameters"], "ann" in str(entry["arguments"])) == (
        "sql",
        ["a", "u"],
        False,
    )
    assert shop.owner.query("acme", "select * from range(5)", rows=3)["truncated"]
    large = shop.owner.query("acme", "select repeat('x', 100000) from range(1000)")
    assert (large["truncated"], len(large["rows"])) == (True, 41)
    assert refused(shop.owner.query, "acme", NEVER_ENDS, timeout_s=0.5) == "SQL_TIMEOUT"


def test_events_profiles_and_live_members_are_queried_together(shop: Shop) -> None:
    text = """
        select user_id, count(*), sum(properties['amount'].double), any_value(attributes['age'].double),
            any_value(as_of) > now() - interval 1 minute and any_value(as_of) <= now()
        from segment('buyers') join events('purchase', since => '30d') using (user_id) join profiles() using (user_id)
        group by all
    """
    assert shop.owner.query("acme", text)["rows"] == [["ann", 2, 200.0, 30.0, True]]
    with shop.owner.stream_query("acme", MEMBERS, parameters={"segment": "buyers", "after": "an"}) as (_, members):
        assert list(members) == [["ann"]]
    with shop.owner.stream_query("acme", MEMBERS, parameters={"segment": "buyers", "after": "ann"}) as (_, members):
        assert list(members) == []
    assert shop.owner.query("acme", "select count(*) from events('purchase', until => '2d')")["rows"] == [[0]]
    segments = shop.context.segments
    for name, rule in (("inner", "in audience vip and ever(purchase)"), ("outer", "in segment inner and age >= 30")):
        made = new_rule(rule)
        segments.create(ACME, AudienceName(name), made, new_id=fresh_id(), author="ann", now_ms=now_ms())
    try:
        both = "select 1 as n, user_id from segment('inner') union all select 2, user_id from segment('outer')"
        found = shop.owner.query("acme", f"from ({both}) order by all")["rows"]
        assert found == [[1, "ann"], [1, "cid"], [2, "ann"]]
    finally:
        for name in ("outer", "inner"):
            segments.delete(ACME, AudienceName(name), now_ms=now_ms())
    assert refused(shop.owner.query, "acme", "from segment('gone')") == "UNKNOWN_SEGMENT"


def test_a_query_of_any_length_is_streamed(shop: Shop) -> None:
    long = "select range as n, repeat('x', $width::int) as xs from range(20000)"
    with shop.owner.stream_query("acme", long, parameters={"width": "1000"}) as (columns, rows):
        assert [one["name"] for one in columns] == ["n", "xs"]
        assert [row[0] for row in rows] == list(range(20_000))  # 20 MB
    with pytest.raises(ApiError, match="BAD_SQL"), shop.owner.stream_query("acme", "selec 1"):
        pass


def refusal(call: Any, *given: Any, **named: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*given, **named)
    assert "zoe" not in str(caught.value)
    return caught.value


def refused(call: Any, *given: Any, **named: Any) -> str:
    return refusal(call, *given, **named).code


def test_user_lookup_shows_profile_and_events(shop: Shop) -> None:
    found = shop.owner.user("acme", "ann")
    assert (found["attributes"], found["audiences"], found["segments"]) == ({"age": 30.0}, ["vip"], ["buyers"])
    assert shop.owner.user("acme", "bob")["segments"] == []
    assert [(e["event"], e["count"]) for e in found["events"]] == [("purchase", 2)]
    assert {e["properties"]["amount"] for e in found["latest"]} == {120.0, 80.0}
    explained = shop.owner.explain("acme", "buyers", "ann")
    assert (explained["member"], [group["true"] for group in explained["groups"]]) == (True, [True, True])
    for stranger in ("zoe", "a\0b", "\u202eann", "/" * 191, "__proto__", "ann' OR 1=1 --"):
        assert refused(shop.owner.user, "acme", stranger) == "UNKNOWN_USER"
        assert refused(shop.owner.explain, "acme", "buyers", stranger) == "UNKNOWN_USER"
    assert refused(shop.owner.user, "acme", "\ud800") == "INVALID_REQUEST"


def test_names_are_limited_to_the_tenant(shop: Shop) -> None:
    assert shop.owner.names("acme") == {
        "events": [{"event": "purchase", "properties": [{"name": "amount", "types": ["double"]}]}],
        "attributes": [{"name": "age", "types": ["double"]}],
        "audiences": ["vip"],
        "segments": ["buyers"],
        "complete": True,
    }
    assert [one["event"] for one in shop.owner.names("beta")["events"]] == ["secret-event"]


def test_data_of_another_tenant_cannot_be_queried(shop: Shop) -> None:
    with shop.of("acme", "analyst") as ann:
        assert refused(ann.count, "acme", "in audience hidden") == "UNKNOWN_AUDIENCE"
        assert refused(ann.count, "beta", "ever(a)") == "UNKNOWN_TENANT"
        foreign = [refusal(ann.query, "acme", f"from audience('hidden', tenant => '{one}')") for one in (BETA, "gone")]
        assert str(foreign[0]).replace("beta", "gone") == str(foreign[1])
        assert foreign[0].code == "UNKNOWN_TENANT"
        assert refused(ann.query, "acme", "from audience('hidden')") == "UNKNOWN_AUDIENCE"
        for call in ("events('secret-event', {})", "events({})", "profiles({})", "segment('buyers', {})"):
            texts = [f"from {call.format('tenant => ' + repr(one))}" for one in ("beta", "gone")]
            there = [refusal(ann.query, "acme", text) for text in texts]
            assert str(there[0]).replace("beta", "gone") == str(there[1])
            assert there[0].code == "UNKNOWN_TENANT"
        assert ann.query("acme", "select count(*) from events('secret-event')")["rows"] == [[0]]
        assert refused(ann.query, "acme", f"from rejects('{fresh_id()}')") == "UNKNOWN_JOB"
        assert ann.query("acme", "select count(*) from audience('vip', tenant => 'acme')")["rows"] == [[2]]
    assert shop.owner.query("acme", "select user_id from audience('hidden', tenant => 'beta')")["rows"] == [["zoe"]]
    with shop.of("acme", "viewer") as bob:
        counted = bob.count("acme", "ever(purchase)")
        assert (counted["precision"], counted["rounded_to"]) == ("rounded", 10)
        assert refused(bob.count, "acme", "ever(purchase)", users=1) == "FORBIDDEN"
        assert refused(bob.query, "acme", "select 1") == "FORBIDDEN"
    secret = "select user_id from events('secret-event', tenant => 'beta')"
    assert shop.owner.query("acme", secret)["rows"] == [["zoe"]]


def test_harmful_query_is_refused_by_the_service(shop: Shop) -> None:
    """Some of each kind, for each takes a reader; all of them are refused in lake/test_sql.py."""
    for text in (
        *STATEMENTS[::12],
        *(f"select * from {name}" for name in (*TABLE_FUNCTIONS[::12], *TABLES[::12], *CALLS[::12])),
    ):
        assert refused(shop.owner.query, "acme", text) in {"BAD_SQL", "BAD_NAME", "BAD_JOB_ID", "INVALID_REQUEST"}, text
    for text in ELSEWHERE[::12]:
        assert refused(shop.owner.query, "acme", text) == "BAD_SQL", text


@contextmanager
def running(shop: Shop, ask: Callable[[Client], Any]) -> Iterator["Future[Any]"]:
    """A question of its own client, in a thread."""
    with ThreadPoolExecutor(1) as pool, shop.client(shop.token) as own:
        yield pool.submit(ask, own)


def code_of(question: "Future[Any]") -> str:
    error = question.exception(60)
    assert isinstance(error, ApiError)
    return error.code


def finished(shop: Shop, begun: Any) -> Any:
    """The operation of the owner in acme once it has ended."""
    assert begun["state"] == "running"
    store = OperationStore(shop.context.database)
    until(lambda: store.get(ACME, begun["operation"]).state != "running", "the operation has ended")
    return shop.owner.operation("acme", begun["operation"])


def test_versions_are_compared_by_an_operation_of_the_caller(shop: Shop) -> None:
    begun = shop.owner.begin_difference("acme", "vip", 1, 2, sample=5)
    found = finished(shop, begun)["result"]
    assert {kind: found[kind] for kind in ("added", "removed", "changed", "kept")} == {
        "added": 1,
        "removed": 2,
        "changed": 1,
        "kept": 0,
    }
    assert found["sample"] == {"added": ["cid"], "removed": ["bob", "dan"], "changed": ["ann"]}
    with shop.of("acme", "admin") as other:
        assert refused(other.operation, "acme", begun["operation"]) == "UNKNOWN_OPERATION"
    wrong = finished(shop, shop.owner.begin_difference("acme", "vip", 1, 9))
    assert (wrong["state"], wrong["error"]["code"]) == ("failed", "NO_SUCH_VERSION")


def test_segment_unknown_to_workers_cannot_be_checked(shop: Shop) -> None:
    found = finished(shop, shop.owner.begin_segment_check("acme", "buyers", timeout_s=1))
    assert (found["state"], found["error"]["code"]) == ("failed", "SEGMENT_NOT_READY")
    assert shop.owner.segment_coverage("acme", "buyers") == {
        "behind": 0,
        "outside": [],
        "known_only_by": [],
        "bounded": [],
        "trouble": None,
    }


def test_tenant_file_is_inspected_before_its_import(shop: Shop) -> None:
    inbox = shop.settings.inbox_bucket
    for key in ("acme/vip/people.csv", "beta/hidden/secret.csv"):
        shop.context.objects.put(inbox, key, b"user_id,age\nann,31\n,7\nzed,9\n")
    source = f"s3://{inbox}/acme/vip/people.csv"
    inspected = finished(shop, shop.owner.begin_inspection("acme", source))["result"]
    assert (inspected["rows"], [one["name"] for one in inspected["columns"]]) == (3, ["user_id", "age"])
    begun = shop.owner.begin_dry_run("acme", "vip", source=source, spec={"max_reject_share": 0.5})
    tried = finished(shop, begun)["result"]
    assert (tried["accepted"], tried["rejected_by_code"], tried["membership"]["added"]) == (2, {"id_empty": 1}, 1)
    lake = shop.settings.lake_bucket
    foreign = [f"s3://{inbox}/beta/hidden/secret.csv", f"s3://{inbox}/acme/../beta/x.csv", f"s3://{lake}/x.csv"]
    assert [refused(shop.owner.begin_inspection, "acme", uri) for uri in foreign] == ["BAD_SOURCE"] * 3
    assert refused(shop.owner.begin_dry_run, "acme", "vip", source=foreign[0]) == "BAD_SOURCE"


def test_rejected_rows_are_listed_in_file_order_by_code_and_page(shop: Shop) -> None:
    rows = [
        {"ordinal": n, "line": n + 2, "code": "id_empty" if n % 2 else "bad_value", "reason": "x"} for n in range(7)
    ]
    job = with_rejects(shop.context, ACME, rows)
    found = shop.owner.rejects("acme", job)
    assert (found["rejected"], found["items"]) == (7, [])
    assert [row["ordinal"] for row in shop.owner.rejected_rows("acme", job)] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["ordinal"] for row in shop.owner.rejected_rows("acme", job, code="id_empty", page=2)] == [1, 3, 5]
    assert refused(list, shop.owner.rejected_rows("beta", job)) == "UNKNOWN_JOB"
    assert shop.owner.query("acme", f"select count(*) from rejects('{job}')")["rows"] == [[7]]
    with shop.of("beta", "analyst") as stranger:
        assert refused(stranger.query, "beta", f"select * from rejects('{job}')") == "UNKNOWN_JOB"


def with_rejects(context: Context, tenant: TenantName, rows: list[dict[str, Any]]) -> str:
    """A job whose rejects are these."""
    job = fresh_id()
    audience = context.audiences.get(tenant, AudienceName("vip"))
    context.jobs.register(
        NewJob(
            job_id=job,
            tenant=tenant,
            audience=audience.name,
            audience_id=audience.audience_id,
            mode="replace",
            partitions=P,
            spec=ImportSpec(),
            source={"bucket": "inbox", "key": "a.csv", "size": 1},
            small=True,
            order_key="1",
            dedupe_key=job,
            execution=None,
            retry_of=None,
            created_at_ms=now_ms(),
        )
    )
    context.jobs.put(job, evidence={"rows": 9, "rejected": len(rows), "rejected_by_code": {}})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([{"raw": "", **row} for row in rows], schema=REJECT_SCHEMA), sink)
    context.objects.put(context.settings.lake_bucket, rejects_key(tenant, job), sink.getvalue().to_pybytes())
    return job


def test_a_feed_needs_a_topic_that_can_take_it(shop: Shop) -> None:
    admin = AdminClient(librdkafka_config(shop.settings.kafka_bootstrap))
    kept = NewTopic("acme.kept", 2, 1, config={"cleanup.policy": "compact"})
    for made in admin.create_topics([NewTopic("acme.plain", 2, 1), kept]).values():
        made.result(30)
    refusals: tuple[tuple[str, Literal["changes", "state"], str], ...] = (
        ("kafka://acme.gone", "changes", "topic acme.gone: it does not exist"),
        ("kafka://acme.gone", "state", "topic acme.gone: it does not exist"),
        ("kafka://acme.plain", "state", "topic acme.plain has cleanup.policy=delete"),
    )
    for to, shape, said in refusals:
        refused = refusal(shop.owner.create_feed, "acme", "crm", segment="buyers", to=to, shape=shape)
        assert refused.code == "DESTINATION_NOT_WRITABLE"
        assert said in str(refused)
    assert not list(shop.owner.feeds("acme"))
    taken: tuple[tuple[str, Literal["changes", "state"]], ...] = (("plain", "changes"), ("kept", "state"))
    for name, shape in taken:
        _, etag = shop.owner.create_feed("acme", name, segment="buyers", to=f"kafka://acme.{name}", shape=shape)
        shop.owner.delete_feed("acme", name, etag=etag)


def test_dead_letters_lag_and_workers_require_a_deployment_operator(shop: Shop) -> None:
    bootstrap = shop.settings.kafka_bootstrap
    producer = Producer(librdkafka_config(bootstrap))
    for partition in (3, 4):
        letter = DeadLetter(
            topic=IMPORTS,
            partition=Partition(partition),
            offset=7,
            key=None,
            value=b"no message",
            reason="undecodable",
            failed_at_us=1,
        )
        producer.produce(DEAD_LETTERS, CODEC.encode(letter))
    assert producer.flush(30) == 0
    found, _ = shop.owner.dead_letters()["items"]
    assert (found["topic"], found["partition"], found["bytes"]) == (IMPORTS, 3, 10)
    assert refused(shop.owner.replay_dead_letters, [99]) == "NO_SUCH_DEAD_LETTER"
    assert shop.owner.replay_dead_letters([found["dead_letter"]]) == {"sent": 1, "already": 0, "more": False}
    assert shop.owner.replay_dead_letters([found["dead_letter"]]) == {"sent": 0, "already": 1, "more": False}
    assert shop.owner.dead_letter(found["dead_letter"])["value_text"] == "no message"
    behind = {(one["topic"], one["partition"]): one["lag"] for one in shop.owner.lag()["items"]}
    assert (behind[IMPORTS, 3], behind[IMPORTS, 4]) == (1, 0)
    assert shop.owner.workers() == {"items": [], "waiting": None, "scaled": []}
    with shop.of("acme", "admin") as ann:
        for ask in (ann.dead_letters, ann.lag, ann.workers):
            assert refused(ask) == "FORBIDDEN"


@contextmanager
def frozen_store(shop: Shop) -> Iterator[None]:
    """The object store accepts connections and says nothing."""
    (s3,) = [part for part in read_status(Home(path=shop.settings.home)).parts if part.name == "s3"]
    assert s3.pid is not None
    store = psutil.Process(s3.pid)
    frozen = [store, *store.children(recursive=True)]
    for one in frozen:
        one.suspend()
    try:
        yield
    finally:
        for one in frozen:
            one.resume()
        until(lambda: _counts(shop), "counts are answered again")


def test_hanging_object_store_blocks_only_its_questions(shop: Shop) -> None:
    until(lambda: _counts(shop), "a reader runs")
    with frozen_store(shop), running(shop, lambda own: hanging(own, 1)) as first:
        until(lambda: busy(shop), "the question is asked")
        assert shop.owner.health()["status"] == "ok"
        assert [one["segment"] for one in shop.owner.segments("acme")] == ["buyers"]
        with running(shop, lambda own: hanging(own, 2)) as second:
            assert code_of(first) == "SUPERSEDED"  # its reader is killed, since the object store does not answer
            for reader in shop.readers():
                reader.kill()
            assert code_of(second) == "READER_DIED"


def hanging(own: Client, revision: int) -> Any:
    return own.count("acme", "ever(purchase)", editor="builder", revision=revision)


def busy(shop: Shop) -> bool:
    """Whether a reader waits for the object store."""
    port = int(shop.settings.s3_endpoint.rpartition(":")[2])
    return any(c.raddr[1:] == (port,) for reader in shop.readers() for c in reader.net_connections())


def test_reader_without_a_catalog_reports_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, catalog_url=Secret("sqlite:////nowhere/catalog.db"), s3_access_key="x")
    readers = readers_of(settings)
    question = CountUsers(tenant=ACME, rule="ever(a)", timezone=None, exact=True, users=0, notes=False)
    with Cancellation() as cancellation, pytest.raises(RetriableError, match="CATALOG_UNAVAILABLE"):
        readers.ask(question, cancellation)
    readers.close()


def _counts(shop: Shop) -> bool:
    try:
        return bool(shop.owner.count("acme", "ever(purchase)")["members"] == 3)
    except ApiError as exc:
        if exc.kind != "retriable":
            raise
        return False


def test_dead_idle_reader_is_replaced(shop: Shop) -> None:
    shop.owner.count("acme", "ever(purchase)")
    before = shop.readers()
    for reader in before:
        reader.kill()
    until(lambda: all(map(ended, before)), "both have ended")
    assert shop.owner.count("acme", "ever(purchase)")["members"] == 3


def test_second_query_of_a_tenant_is_refused_while_one_runs(shop: Shop) -> None:
    with running(shop, lambda own: own.query("acme", NEVER_ENDS, timeout_s=50)) as first:
        until(lambda: bool(queries_of(shop)), "the query runs")
        assert refused(shop.owner.query, "acme", "select 1") == "QUERY_RUNNING"
        assert shop.owner.query("beta", "select 1")["rows"] == [[1]]
        for child in queries_of(shop):
            child.kill()
        assert code_of(first) == "SQL_CRASHED"
    assert shop.owner.query("acme", "select 1")["rows"] == [[1]]


def queries_of(shop: Shop) -> list[psutil.Process]:
    servers = [one for one in shop.api.children() if "connectors.lake.sql_server" in command(one)]
    return [child for server in servers for child in server.children()]


@pytest.mark.parametrize("path", ["queries", "query-streams"])
def test_disconnected_client_ends_its_query(shop: Shop, path: str) -> None:
    token = shop.token
    body = b'{"sql": "%s"}' % NEVER_ENDS.encode()
    head = f"POST /v1/tenants/acme/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    port = int(shop.settings.api_url.rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: bool(queries_of(shop)), "the query runs")
    until(lambda: not queries_of(shop), "the query was ended")
    assert shop.owner.query("acme", "select 1")["rows"] == [[1]]


def test_readers_hold_only_required_secrets_and_cannot_start_programs(shop: Shop) -> None:
    shop.owner.count("acme", "ever(purchase)")
    for reader in shop.readers():
        environment = reader.environ()
        assert not [name for name in environment if name.startswith(("MUSTER_", "AWS_"))]
        assert "NoNewPrivs:\t1" in Path(f"/proc/{reader.pid}/status").read_text()
        assert reader.nice() == psutil.Process().nice() + 5
        assert reader.memory_info().data < SLACK_BYTES, "address space that is only reserved counts against the limit"
        most = 2 * shop.settings.api_reader_memory_bytes + SLACK_BYTES
        assert reader.rlimit(psutil.RLIMIT_DATA) == (most, most)
    loaded = Path(f"/proc/{shop.api.pid}/maps").read_text()
    assert not [name for name in ("duckdb", "pyarrow", "numpy", "rdkafka", "llvmlite") if name in loaded]


def test_readers_end_with_the_service(shop: Shop) -> None:
    before = shop.readers()
    shop.api.kill()
    until(lambda: all(map(ended, before)), "readers end")
    until(lambda: _answers(shop), "the supervisor has started it again")
    assert shop.owner.count("acme", "ever(purchase)")["members"] == 3


def _answers(shop: Shop) -> bool:
    try:
        return bool(shop.owner.health())
    except ApiError:
        return False
