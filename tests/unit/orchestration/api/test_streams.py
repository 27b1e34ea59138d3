"""Event streams: present states, what changes, and when a stream ends."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestration.access.sessions import begin_session
from orchestration.access.topics import Topic
from orchestration.api.application import application
from orchestration.api.server import MAX_CONNECTIONS
from orchestration.api.service import Service
from orchestration.api.streams.board import KEPT, Board
from orchestration.api.streams.watcher import Pace, Watcher
from orchestration.catalog.records import JobError
from orchestration.catalog.samples import GroupState, TopicSample
from orchestration.platform.budget import Budget
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName, JobId
from schemas.topics import IMPORTS, WORKER_GROUP
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, AT_MS, BETA, CANARY, DOWNLOAD, EXPORT, FAILED_JOB, JOB, World, id_of
from tests.unit.orchestration.api.streamed import Event, received

EVENTS = "/v1/tenants/acme/events"
FAST = Pace(poll_s=0.01, alive_s=60, check_s=60)


@contextmanager
def streaming(world: World, pace: Pace = FAST) -> Iterator[tuple[Service, AsgiClient]]:
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}), budget=Budget(burst=10**6), pace=pace)
    with closing(AsgiClient(application(service))) as client:
        yield service, client
    service.close()


@dataclass(slots=True)
class Script:
    """Acts after `ready`, once; leaves when `enough` is true of the events after it."""

    act: Callable[[], object]
    enough: Callable[[list[Event]], bool]
    acted: bool = False
    after: list[Event] = field(default_factory=list)

    def __call__(self, body: bytes) -> bool:
        events = received(body)
        names = [name for name, _ in events]
        if "ready" not in names:
            return False
        if not self.acted:
            self.acted = True
            self.act()
        self.after = events[names.index("ready") + 1 :]
        return self.enough(self.after)


def listen(client: AsgiClient, world: World, script: Script, caller: str = "acme-admin", **query: Any) -> Answer:
    return client.get(EVENTS, token=world.tokens[caller].text.reveal(), query=query, until=script)


def nothing() -> None:
    pass


def fail(world: World, number: int = JOB, tenant: str = ACME) -> None:
    error = JobError(kind="user", code="EMPTY_FILE", message="no rows", detail={})
    world.services.jobs.fail(id_of(tenant, number), error, now_ms=now_ms())


def states(events: list[Event], kind: str) -> dict[str, Any]:
    return {data["id"]: data["value"] for name, data in events if name == kind}


def test_stream_starts_with_the_complete_state(world: World) -> None:
    with streaming(world) as (_, client):
        answer = listen(client, world, Script(nothing, lambda _: True))
    events = received(answer.body)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-accel-buffering"] == "no"
    retry = re.match(rb"retry: (\d+)\n\n", answer.body)
    assert retry
    assert 2000 <= int(retry[1]) < 4000
    assert states(events, "job").keys() == {id_of(ACME, number) for number in (JOB, FAILED_JOB, EXPORT, DOWNLOAD)}
    assert sorted(value["audience"] for value in states(events, "audience").values()) == ["quiet", "vip"]
    assert [value["segment"] for value in states(events, "segment").values()] == ["buyers"]
    assert [value["name"] for value in states(events, "schedule").values()] == ["nightly"]
    assert events[-1][0] == "ready"
    assert events[-1][1]["as_of"].endswith("Z")


def test_stream_items_match_list_items(world: World) -> None:
    with streaming(world) as (_, client):
        events = received(listen(client, world, Script(nothing, lambda _: True)).body)
        token = world.tokens["acme-admin"].text.reveal()
        for kind, id_ in (("job", "job"), ("audience", "audience_id"), ("segment", "segment_id")):
            for item in client.get(f"/v1/tenants/acme/{kind}s", token=token).json["items"]:
                shown = states(events, kind)[item.get(id_) or item["export"]]
                assert item.keys() ^ shown.keys() <= {"stages", "lag_s"}
                assert {name: value for name, value in item.items() if name != "lag_s"}.items() <= shown.items()


def test_change_sends_the_whole_state_of_the_changed_item_only(world: World) -> None:
    script = Script(lambda: fail(world), bool)
    with streaming(world) as (_, client):
        listen(client, world, script)
    ((name, data),) = script.after
    assert (name, data["kind"], data["id"]) == ("job", "job", id_of(ACME, JOB))
    assert (data["value"]["state"], data["value"]["error"]["code"]) == ("FAILED", "EMPTY_FILE")


def test_a_job_in_progress_shows_its_stages_until_it_ends(world: World) -> None:
    script = Script(lambda: fail(world), bool)
    with streaming(world) as (_, client):
        before = received(listen(client, world, script, kind="job").body)
    first = states(before[:4], "job")[id_of(ACME, JOB)]
    assert [stage["name"] for stage in first["stages"]] == ["verify", "import", "materialise", "publish"]
    assert script.after[0][1]["value"]["stages"] is None


def test_job_progress_is_read_and_sent_only_when_it_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, views = world.services.job_progress, list[object]()
    known = type(progress).view

    def counted(*given: Any, **named: Any) -> Any:
        views.append(given[1])
        return known(*given, **named)

    def report(done: int) -> None:
        record = {"done": done, "total": 9, "unit": "bytes", "rows": 1, "started_at_ms": 0}
        progress.progress.put_stage(id_of(ACME, JOB), "verify", record, now_ms=done)

    def enough(after: list[Event]) -> bool:
        if len(after) == 1:
            report(2)
        if len(after) == 2:  # a commit that is of no job
            world.services.audiences.ensure(ACME, AudienceName("new"), new_id=id_of(ACME, 60), now_ms=1)
        return len(after) == 3

    monkeypatch.setattr(type(progress), "view", counted)
    script = Script(lambda: report(1), enough)
    with streaming(world) as (_, client):
        client.get(EVENTS, token=world.tokens["acme-admin"].text.reveal(), until=script)
    done = [data["value"]["stages"][0]["done"] for name, data in script.after if name == "job"]
    assert done == [1, 2]
    assert views == [id_of(ACME, JOB)] * 3


def test_deleted_item_is_sent_as_gone(world: World) -> None:
    (schedule,) = world.services.schedules.all(ACME)
    script = Script(lambda: world.services.schedules.delete(schedule), bool)
    with streaming(world) as (_, client):
        listen(client, world, script, kind="schedule")
    assert script.after == [("schedule", {"kind": "schedule", "id": schedule.schedule_id, "value": None})]


def test_end_of_a_job_beyond_the_newest_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.access.topics.NEWEST_JOBS", 1)
    script = Script(lambda: fail(world), bool)
    with streaming(world) as (_, client):
        events = received(listen(client, world, script, kind="job").body)
    assert states(events[:2], "job").keys() == {id_of(ACME, JOB), id_of(ACME, EXPORT)}
    assert states(script.after, "job")[id_of(ACME, JOB)]["state"] == "FAILED"


def test_job_stream_contains_details(world: World) -> None:
    def progress() -> None:
        record = {"done": 1, "total": 2, "unit": "bytes", "rows": 1, "started_at_ms": 0}
        world.services.job_progress.progress.put_stage(id_of(ACME, JOB), "verify", record, now_ms=1000)

    script = Script(progress, bool)
    with streaming(world) as (_, client):
        listen(client, world, script, job=id_of(ACME, JOB))
        token = world.tokens["acme-admin"].text.reveal()
        detail = client.get(f"/v1/tenants/acme/jobs/{id_of(ACME, JOB)}", token=token).json
    ((_, data),) = script.after
    assert data["value"] == detail
    assert data["value"]["stages"][0]["done"] == 1


def test_deployment_stream_contains_workers_lag_and_jobs_of_all_tenants(world: World) -> None:
    def sample() -> None:
        at_ms = AT_MS + 20_000
        new = TopicSample(at_ms=at_ms, group=WORKER_GROUP, topic=IMPORTS, members=0, lag=9, acknowledged=20, sent=9)
        state = GroupState(group=WORKER_GROUP, at_ms=at_ms, workers=[], lag={IMPORTS: [9]})
        world.services.samples.put([new], [state], now_ms=AT_MS)

    script = Script(sample, lambda after: len(after) == 2)
    with streaming(world) as (_, client):
        token = world.tokens["deployment-operator"].text.reveal()
        before = received(client.get("/v1/events", token=token, until=script).body)
    worker, lag = f"{WORKER_GROUP}/node-7/worker-1/812", f"{WORKER_GROUP}/{IMPORTS}"
    assert states(before, "job").keys() >= {id_of(ACME, JOB), id_of(BETA, JOB), id_of(BETA, EXPORT)}
    first = before[: [name for name, _ in before].index("ready")]
    assert states(first, "worker").keys() == {worker}
    was = states(first, "lag")[lag]
    assert (was["members"], was["lag"], was["acknowledged_per_s"], was["partitions"][0]) == (1, 3, 2.0, 3)
    after = {data["id"]: data["value"] for _, data in script.after}
    assert after[worker] is None
    assert (after[lag]["members"], after[lag]["lag"], after[lag]["acknowledged_per_s"]) == (0, 9, 0.0)
    assert after[lag]["as_of"] != was["as_of"]


def test_deployment_stream_can_be_limited_to_kinds(world: World) -> None:
    with streaming(world) as (_, client):
        token = world.tokens["deployment-operator"].text.reveal()
        body = client.get("/v1/events", token=token, query={"kind": "lag"}, until=Script(nothing, lambda _: True)).body
    assert [name for name, _ in received(body)] == ["lag", "ready"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"job": id_of(BETA, JOB)}, "UNKNOWN_JOB"),
        ({"job": "x"}, "BAD_JOB_ID"),
        ({"job": id_of(ACME, JOB), "kind": "job"}, "TWO_FILTERS"),
        ({"kind": "user"}, "INVALID_REQUEST"),
    ],
)
def test_invalid_stream_filters_are_refused(world: World, query: dict[str, str], code: str) -> None:
    with streaming(world) as (_, client):
        assert listen(client, world, Script(nothing, bool), **query).json["code"] == code


def test_deployment_operator_sees_only_jobs(world: World) -> None:
    with streaming(world) as (_, client):
        events = received(listen(client, world, Script(nothing, lambda _: True), "deployment-operator").body)
        refused = listen(client, world, Script(nothing, bool), "deployment-operator", kind="audience")
    assert {name for name, _ in events} == {"job", "ready"}
    assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN")


def test_changes_of_another_tenant_are_not_sent(world: World) -> None:
    def change() -> None:
        fail(world, tenant=BETA)
        world.services.audiences.ensure(BETA, AudienceName("new"), new_id=id_of(BETA, 60), now_ms=1)
        fail(world)

    with streaming(world) as (_, client):
        answer = listen(client, world, Script(change, bool))
    assert CANARY not in answer.body.decode()
    assert not [number for number in range(70) if id_of(BETA, number) in answer.body.decode()]


def test_a_revoked_token_ends_the_stream(world: World) -> None:
    def revoke() -> None:
        world.services.tokens.revoke(world.tokens["acme-admin"].token_id, now_ms=1)

    script = Script(revoke, lambda _: False)
    with streaming(world, Pace(poll_s=0.01, check_s=0.05)) as (_, client):
        listen(client, world, script)
    ((name, data),) = script.after
    assert (name, data["code"], data["status"]) == ("end", "TOKEN_REVOKED", 401)


def test_a_lost_role_ends_the_stream(world: World) -> None:
    script = Script(
        lambda: world.services.principals.replace_grants(ACME, {}, now_ms=1, check=lambda *_: None), lambda _: False
    )
    with streaming(world, Pace(poll_s=0.01, check_s=0.05)) as (_, client):
        listen(client, world, script)
    assert [(name, data["code"]) for name, data in script.after] == [("end", "UNKNOWN_TENANT")]


def test_reduced_role_ends_the_stream(world: World) -> None:
    admin = world.principals["deployment-admin"]
    script = Script(
        lambda: world.services.principals.replace_grants("", {admin: {"operator"}}, now_ms=1, check=lambda *_: None),
        lambda _: False,
    )
    world.tokens["both"] = world.add_token("deployment-admin", {("", "admin"), ("", "operator")}, 1000)
    with streaming(world, Pace(poll_s=0.01, check_s=0.05)) as (_, client):
        listen(client, world, script, "both")
    assert [(name, data["code"]) for name, data in script.after] == [("end", "RIGHTS_CHANGED")]


def test_logout_ends_streams_of_the_session(world: World) -> None:
    owner = world.caller("acme-viewer").principal
    cookie = begin_session(world.services, owner, token_id=None, request_id=id_of(ACME, 99))
    (session,) = world.services.sessions.of(JobId(owner.principal), now_ms=now_ms(), limit=9)
    script = Script(lambda: world.services.sessions.revoke(JobId(session.session), now_ms=1), lambda _: False)
    with streaming(world, Pace(poll_s=0.01, check_s=0.05)) as (_, client):
        client.get(EVENTS, headers={"Cookie": f"muster-18480={cookie.reveal()}"}, until=script)
    assert [(name, data["code"]) for name, data in script.after] == [("end", "SESSION_ENDED")]


@pytest.mark.parametrize("outage_s", [0.0, 60.0])
def test_uncheckable_rights_eventually_end_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch, outage_s: float
) -> None:
    known, failed = type(world.services.tokens).credentials, list[float]()

    def away() -> None:
        def down(*given: Any) -> Any:
            if failed and time.monotonic() - failed[0] > outage_s:
                return known(*given)
            failed.append(time.monotonic())
            raise RetriableError("CATALOG_UNAVAILABLE", "down")

        monkeypatch.setattr(type(world.services.tokens), "credentials", down)

    script = Script(away, lambda after: len(failed) == 1 and sum(name == "alive" for name, _ in after) > 5)
    with streaming(world, Pace(poll_s=0.01, alive_s=0.05, check_s=0.05)) as (_, client):
        listen(client, world, script)
    ended = [data["code"] for name, data in script.after if name == "end"]
    assert ended == (["CATALOG_UNAVAILABLE"] if outage_s else [])


def test_shutdown_ends_all_streams(world: World) -> None:
    with streaming(world) as (service, client):
        script = Script(service.streams.stop, lambda _: False)
        assert listen(client, world, script).status == 200
    assert script.after == []


def test_idle_stream_sends_heartbeats_with_the_time(world: World) -> None:
    script = Script(nothing, bool)
    with streaming(world, Pace(poll_s=0.01, alive_s=0.05)) as (_, client):
        answer = listen(client, world, script)
    assert [name for name, _ in script.after] == ["alive"]
    ready = next(data for name, data in received(answer.body) if name == "ready")
    assert script.after[0][1]["as_of"] >= ready["as_of"]


def test_catalog_outage_pauses_the_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    known = type(world.services).version

    def away() -> None:
        def down(_: object) -> object:
            raise RetriableError("CATALOG_UNAVAILABLE", "down")

        monkeypatch.setattr(type(world.services), "version", down)
        fail(world)

    def enough(after: list[Event]) -> bool:
        said = [data["as_of"] for name, data in after if name == "alive"]
        if len(said) >= 3:  # a look that had begun before the outage may still count
            assert said[1] == said[2]
            monkeypatch.setattr(type(world.services), "version", known)
        return any(name == "job" for name, _ in after)

    script = Script(away, enough)
    with streaming(world, Pace(poll_s=0.01, alive_s=0.05)) as (_, client):
        listen(client, world, script)
    assert [name for name, _ in script.after][:3] == ["alive"] * 3


def test_change_read_too_late_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timed-out call continues in its thread; its late result is dropped."""
    with streaming(world) as (service, client):
        known, lost = service.streams._calls.run, list[object]()

        async def late(call: Callable[[], Any]) -> Any:
            found = await known(call)
            if (
                script.acted
                and not lost
                and isinstance(found, dict)
                and any(b"FAILED" in one for one in found.values())
            ):
                lost.append(found)
                raise RetriableError("CALL_TIMEOUT", "too late")
            return found

        monkeypatch.setattr(service.streams._calls, "run", late)
        script = Script(lambda: fail(world), bool)
        listen(client, world, script, kind="job")
    assert lost
    assert states(script.after, "job")[id_of(ACME, JOB)]["state"] == "FAILED"


def test_unrenderable_state_does_not_block_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        def fault(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("orchestration.catalog.records.Audience.shown", property(fault))
        fail(world)

    script = Script(broken, bool)
    with streaming(world) as (_, client):
        listen(client, world, script)
    assert [name for name, _ in script.after] == ["job"]


def test_single_read_serves_all_listeners(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    readings, page = list[int](), type(world.services.schedules).page

    def counted(*given: Any, **named: Any) -> Any:
        readings.append(1)
        return page(*given, **named)

    monkeypatch.setattr(type(world.services.schedules), "page", counted)
    topic = frozenset({Topic(tenant=ACME, kind="schedule")})

    async def many() -> None:
        watcher = Watcher(world.services, FAST)
        with ExitStack() as stack:
            all_ = [stack.enter_context(watcher.subscribed(id_of(ACME, n), topic)) for n in range(50)]
            for one in all_:
                one.wake.clear()
            for one in all_:
                await one.wake.wait()
            assert all(one.take(watcher.revision) for one in all_)
        watcher.close()
        assert not watcher._watched
        assert watcher._task is None

    asyncio.run(many())
    assert len(readings) == 1


def test_principal_has_at_most_ten_streams(world: World) -> None:
    async def many() -> None:
        watcher, topic = Watcher(world.services, Pace()), frozenset({Topic(tenant=ACME, kind="schedule")})
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(watcher.subscribed(id_of(ACME, 1), topic))
            with pytest.raises(UserError, match="10 streams"), watcher.subscribed(id_of(ACME, 1), topic):
                pass
            stack.enter_context(watcher.subscribed(id_of(ACME, 2), topic))
            assert [sample.value for sample in watcher.samples()] == [11]
        with watcher.subscribed(id_of(ACME, 1), topic):
            assert [sample.value for sample in watcher.samples()] == [1]
        watcher.close()

    asyncio.run(many())


def test_stream_beyond_the_limit_is_429(world: World) -> None:
    with streaming(world, Pace(per_principal=0)) as (_, client):
        answer = listen(client, world, Script(nothing, bool))
    assert (answer.status, answer.json["code"]) == (429, "TOO_MANY_STREAMS")
    assert int(answer.headers["retry-after"]) > 0


def test_streams_leave_connections_to_requests(world: World) -> None:
    assert Pace().most < MAX_CONNECTIONS - 100
    with streaming(world, Pace(most=0)) as (_, client):
        answer = listen(client, world, Script(nothing, bool))
    assert (answer.status, answer.json["code"]) == (503, "BUSY")
    assert int(answer.headers["retry-after"]) > 0


def test_slow_client_gets_only_the_latest_state() -> None:
    board = Board("job", whole=False)
    for revision in range(1, 1001):
        board.update({"a": b"%d" % revision, "b": b"x"}, revision)
    assert board.since(2) == [b"1000"]
    assert board.present() == [b"x", b"1000"]
    assert board.since(1000) == []


def test_item_recreated_after_deletion_is_sent() -> None:
    board = Board("schedule", whole=True)
    board.update({"a": b"1"}, 1)
    assert board.update({}, 2)
    assert not board.update({}, 3)
    assert board.present() == []
    assert b'"value":null' in board.since(1)[0]
    board.update({"a": b"1"}, 4)
    assert board.present() == board.since(2) == [b"1"]


@pytest.mark.parametrize("whole", [True, False])
def test_board_drops_the_oldest_and_informs_late_listeners(whole: bool) -> None:  # noqa: FBT001
    board = Board("job", whole=whole)
    for revision in range(1, KEPT + 11):
        board.update({str(revision): b"x"}, revision)
    assert len(board._entries) == KEPT
    with pytest.raises(RetriableError, match="fell behind") as late:
        board.since(1)
    assert late.value.code == "STREAM_TOO_SLOW"
    assert len(board.since(KEPT)) == (11 if whole else 10)
    assert len(board.present()) == (1 if whole else KEPT)
