"""Readers without processes: plausible answers, which carry the canary of the tenant that they belong to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from connectors.lake.sql_tree import AudienceCall, Call, EventsCall, ProfilesCall, RejectsCall, SegmentCall
from orchestration.readers import questions as q
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.turns import Turns
from orchestration.records.questions import Column, QueryResult
from schemas.ids import AudienceName, JobId, TenantName
from schemas.records import as_record

AT = "2026-11-28T09:00:00+00:00"


def _count(asked: q.CountUsers, mark: str) -> Any:
    members = {"members": 3, "interval": [1, 9]}
    return {
        "precision": "exact" if asked.exact else "estimate",
        **members,
        "groups": [{"negated": False, **members, "conditions": [{"condition": f"ever({mark})", **members}]}],
        "users": [mark] if asked.users else None,
        "as_of": AT,
        "unseen_events": [mark] if mark else [],
        "unseen_attributes": [],
        "suggestions": [],
        "paused": [],
        "mistyped": None,
        "outside": None,
        "known_only_by": None,
    }


def _explanation(asked: q.ExplainUser, mark: str) -> Any:
    found = {"tenant": asked.tenant, "segment": asked.segment, "rule_version": 1, "user": asked.user, "member": False}
    rest = {"partition": 1, "archived_to": {}, "paused": [], "groups": [], "attributes": {mark: 1}}
    return {**found, "outside": [], "known_only_by": [], "as_of": AT, **rest}


def _edit_preview(asked: q.PreviewEdit, mark: str) -> Any:
    change = {"segment": asked.segment, "entering": 3, "leaving": 1, "staying": 2}
    users = {"entering_users": [mark], "leaving_users": [mark]} if mark else {"entering_users": [], "leaving_users": []}
    about = {"rule_version": 1, "rule": asked.rule, "timezone": asked.timezone, "same": False, "as_of": AT}
    other = {"segment": "depending", "entering": 1, "leaving": 0, "staying": 1}
    return {
        **about,
        "changes": [{**change, **users}, {**other, "entering_users": [], "leaving_users": []}],
        "paused": [],
    }


def _user(asked: q.LookUpUser, mark: str) -> Any:
    found = {"user": asked.user, "known": True, "partition": 1, "attributes": {mark: 1}}
    return {**found, "events": [], "latest": [], "audiences": [mark], "segments": [mark], "as_of": AT}


def dead_letter(number: int, **given: Any) -> dict[str, Any]:
    """A letter as `answers.dead_letters` describes it."""
    record = {
        "dead_letter": number,
        "topic": "muster.events",
        "partition": 3,
        "offset": 4711 + number,
        "bytes": 90,
        "code": "undecodable",
        "reason": "undecodable: no JSON",
        "failed_at": f"2026-11-24T00:00:{number % 60:02}.000Z",
        "starts_with": b"{}".hex(),
        "state": "open",
        "state_at": None,
        "state_by": None,
        "sent_offset": None,
        "refused_as": None,
        "replay_of": None,
    }
    return {**record, **given}


def _rejects(_: q.ReadRejects, mark: str) -> Any:
    place = {"number": 1, "file": None, "ordinal": 1, "line": 1, "byte_offset": 1, "column": mark}
    return {"kept": 2, "rows": [{**place, "code": "id_empty", "reason": "x", "raw": mark}]}


def _files(_: q.ReadFiles, mark: str) -> Any:
    counts = {"rows": 2, "accepted": 1, "rejected": 1, "digest": None}
    return {"rows": [{"number": 1, "file": mark, "version_id": None, "etag": "x", "bytes": 9, **counts}]}


ANSWERS: Final[Mapping[type[q.Question], Callable[[Any, str], Any]]] = {
    q.CountUsers: _count,
    q.PreviewEdit: _edit_preview,
    q.ForecastSegment: lambda asked, _: {
        "segment": asked.segment,
        "rule_version": 1,
        "as_of": AT,
        "points": [{"in_s": one, "at": AT, "members": 2340 - one, "interval": [0, 1]} for one in asked.in_s],
        "paused": [],
    },
    q.ListNames: lambda _, mark: {
        "events": [],
        "attributes": [{"name": mark, "types": ["string"]}],
        "audiences": [mark],
        "segments": [],
        "complete": True,
    },
    q.LookUpUser: _user,
    q.ExplainUser: _explanation,
    q.ReadFiles: _files,
    q.ReadRejects: _rejects,
    q.MeasureSegment: lambda _, mark: {
        "behind": None,
        "outside": [{"audience": mark, "version": 1, "users": 1}] if mark else [],
        "known_only_by": [],
        "bounded": [],
        "trouble": None,
    },
    q.CompareVersions: lambda _, mark: {"audience": mark, "sample": {}},
    q.WriteFile: lambda _, mark: {"audience": mark},
    q.CheckSegment: lambda _, mark: {"segment": mark},
    q.InspectObject: lambda _, mark: {"columns": mark, "fault": None, "command": "muster import"},
    q.TryImport: lambda _, mark: {"mode": mark, "problems": []},
    q.CheckFeedTopic: lambda *_: {},
    q.ListWorkers: lambda *_: {"items": [], "waiting": None, "scaled": []},
    q.ReadLag: lambda *_: {"items": [], "as_of": AT},
    q.ListDeadLetters: lambda *_: {"items": [], "more": False},
    q.ReadDeadLetter: lambda asked, _: dead_letter(
        asked.number, key=None, key_text=None, value="e30=", value_text="{}"
    ),
    q.SelectDeadLetters: lambda asked, _: {"topic_id": "t", "numbers": list(asked.numbers or ()), "more": False},
    q.ReplayDeadLetters: lambda asked, _: {
        "sent": [{"dead_letter": one, "topic": "t", "partition": 0, "offset": one + 100} for one in asked.numbers],
        "failed": None,
    },
}


class FakeReaders:
    """Like `Readers`, but every question is answered immediately. `asked`: all questions."""

    def __init__(self, marks: Mapping[str, str]) -> None:
        self.turns = Turns()
        self.asked: list[q.Question] = []
        self._marks = marks

    def ask(self, question: q.Question, cancellation: Cancellation) -> Any:
        cancellation.check()
        self.asked.append(question)
        return ANSWERS[type(question)](question, self._marks.get(getattr(question, "tenant", ""), ""))

    @contextmanager
    def hold(self, _tenant: str, cancellation: Cancellation) -> Iterator[None]:
        cancellation.check()
        yield

    ask_alone = ask

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeSql:
    """As `SqlRunner`: `FROM name`, `FROM tenant.name` read an audience, `REJECTS id` those of a job.

    So do `SEGMENT tenant.name`, `EVENTS tenant.name` and `PROFILES tenant.`.
    """

    def __init__(self, marks: Mapping[str, str]) -> None:
        self._marks = marks

    def run(
        self,
        asks: str,
        text: str,
        meaning: Any,
        cancellation: Cancellation,
        *,
        parameters: Mapping[str, str],
        rows: int,
        timeout_s: float,
    ) -> QueryResult:
        assert asks
        assert not parameters
        cancellation.check()
        assert rows
        assert timeout_s
        found = meaning(_call(text))
        columns = [Column(name="user_id", type="VARCHAR")]
        return QueryResult(columns=columns, rows=[[self._marks[found.tenant]]], truncated=False)

    def stream(
        self,
        text: str,
        meaning: Any,
        cancellation: Cancellation,
        put: Any,
        *,
        parameters: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        found = self.run("-", text, meaning, cancellation, parameters=parameters, rows=1, timeout_s=timeout_s)
        put({"columns": [as_record(one) for one in found.columns]})
        put({"rows": found.rows})


def _call(text: str) -> Call:
    word, _, named = text.partition(" ")
    text, _, name = named.rpartition(".")
    tenant = TenantName(text) if text else None
    match word:
        case "REJECTS":
            return RejectsCall(job=JobId(named))
        case "SEGMENT":
            return SegmentCall(segment=AudienceName(name), tenant=tenant)
        case "EVENTS":
            return EventsCall(event=name, since="30d", until=None, tenant=tenant)
        case "PROFILES":
            return ProfilesCall(tenant=tenant)
    return AudienceCall(audience=AudienceName(name), version=None, tenant=tenant)
