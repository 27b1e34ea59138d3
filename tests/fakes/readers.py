"""Readers without processes: plausible answers, which carry the canary of the tenant that they belong to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectors.lake.sql_tree import AudienceCall
from orchestration.readers import questions as q
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.turns import Turns
from schemas.ids import AudienceName, TenantName

AT = "2026-11-28T09:00:00+00:00"


class FakeReaders:
    """As `Readers`, but whoever asks is answered at once. `asked`: all questions."""

    def __init__(self, marks: Mapping[TenantName, str]) -> None:
        self.turns = Turns()
        self.asked: list[q.Question] = []
        self._marks = marks

    def ask(self, question: q.Question, cancellation: Cancellation) -> Any:
        cancellation.check()
        self.asked.append(question)
        mark = self._marks[question.tenant]  # type: ignore[attr-defined]  # every question here has one
        match question:
            case q.CountUsers():
                count = {"members": 3, "interval": [1, 9]}
                condition = {"condition": f"ever({mark})", **count}
                return {
                    "precision": "estimate",
                    **count,
                    "groups": [{"negated": False, **count, "conditions": [condition]}],
                    "users": [mark] if question.users else None,
                    "as_of": AT,
                    "unseen_events": [mark],
                    "unseen_attributes": [],
                    "paused": [],
                    "mistyped": None,
                    "outside": None,
                }
            case q.ListNames():
                names = {"audiences": [mark], "segments": [], "complete": True}
                return {"events": [], "attributes": [{"name": mark, "types": ["string"]}], **names}
            case q.LookUpUser():
                return {
                    "user": question.user,
                    "known": True,
                    "partition": 1,
                    "attributes": {mark: 1},
                    "events": [],
                    "latest": [],
                    "audiences": [mark],
                    "as_of": AT,
                }
            case q.ExplainUser():
                return {
                    "tenant": question.tenant,
                    "segment": question.segment,
                    "rule_version": 1,
                    "user": question.user,
                    "member": False,
                    "outside": [],
                    "as_of": AT,
                    "partition": 1,
                    "archived_to": {},
                    "paused": [],
                    "groups": [],
                    "attributes": {mark: 1},
                }
            case q.ReadRejects():
                row = {"number": 1, "ordinal": 1, "line": 1, "byte_offset": 1, "column": mark, "code": "id_empty"}
                return [{**row, "reason": "x", "raw": mark}]
            case _:
                raise AssertionError(question)

    @contextmanager
    def hold(self, cancellation: Cancellation) -> Iterator[None]:
        cancellation.check()
        yield

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeSql:
    """As `SqlRunner`: `FROM name` reads an audience of the tenant, `FROM tenant.name` one of another."""

    def __init__(self, marks: Mapping[TenantName, str]) -> None:
        self._marks = marks

    def run(self, text: str, meaning: Any, cancellation: Cancellation, *, rows: int, timeout_s: float) -> Any:
        cancellation.check()
        assert rows
        assert timeout_s
        tenant, _, name = text.removeprefix("FROM ").rpartition(".")
        found = meaning(AudienceCall(audience=AudienceName(name), version=None, tenant=tenant or None))  # type: ignore[arg-type]
        columns = [{"name": "user_id", "type": "VARCHAR"}]
        return {"columns": columns, "rows": [[self._marks[found.tenant]]], "truncated": False}
