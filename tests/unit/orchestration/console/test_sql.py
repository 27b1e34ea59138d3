"""The page for SQL: limits are said, errors keep their place, and a file without its last rows is none."""

import csv
import html
import io
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestration.console.csv_download import CsvDownload
from orchestration.console.pages.sql import ROWS
from orchestration.records.questions import Column, QueryResult
from schemas.errors import UserError
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import FakeSql
from tests.fakes.tenants import BETA, JOB, VIP, World, id_of
from tests.unit.orchestration.console.test_segments import send, text_of

SQL = "/console/tenants/acme/sql"
COLUMNS = [{"name": "a, b", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}]


def run(client: AsgiClient, world: World, sql: str) -> Answer:
    return send(client, world, f"{SQL}/run", urlencode({"sql": sql}))


def test_editor_lists_readable_tables_without_running_anything(client: AsgiClient, world: World) -> None:
    shown = client.get(SQL, token=world.tokens["acme-analyst"].text.reveal(), query={"sql": ["SELECT '<b>'"]})
    text = html.unescape(shown.body.decode())
    assert "SELECT '&lt;b&gt;'" in shown.body.decode().replace("&#39;", "'")
    rejects, activity = f"rejects('{id_of('acme', JOB)}')", ("events(since => '30d')", "profiles()")
    for call in (f"audience('{VIP}')", "audience('quiet')", "segment('buyers')", rejects, *activity):
        assert f'data-insert="{call}"' in text
    assert f"at most {ROWS:,} rows" in text
    assert world.services.audit.search() == []


def test_result_marks_truncation_and_distinguishes_null_from_empty(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def answer(
        _: FakeSql, __: str, text: str, *___: Any, parameters: dict[str, str], rows: int, timeout_s: float
    ) -> Any:
        asked.append((text, rows, timeout_s, parameters))
        found: list[list[Any]] = [[None, 1], ["", True], ["<i>", 2.5]]
        columns = [Column(**one) for one in COLUMNS]
        return QueryResult(columns=columns, rows=found, truncated=len(asked) == 1)

    monkeypatch.setattr(FakeSql, "run", answer)
    cut = run(client, world, "SELECT 1,\r\n  2")
    assert "The first 3 rows; there are more. " in text_of(cut)
    assert "Download all rows as CSV" in text_of(cut)
    assert "a, b VARCHAR n BIGINT NULL 1 true <i> 2.5" in text_of(cut)
    assert asked == [("SELECT 1,\n  2", ROWS, 50.0, {})]
    assert " 3 rows " in text_of(run(client, world, "SELECT 2"))
    assert [entry.action for entry in world.services.audit.search()] == ["sql", "sql"]


def test_error_appears_in_the_page_with_its_caret(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = run(client, world, f"FROM {BETA}.{VIP}")
    assert (foreign.status, "Unknown tenant" in text_of(foreign)) == (200, True)
    for sql in (" \n", "x" * 100_001):
        assert "BAD_SQL" in text_of(run(client, world, sql))
    said = "syntax error\n\nLINE 1: SELEC 1\n        ^"

    def refuse(*_: Any, **__: Any) -> Any:
        raise UserError("BAD_SQL", said)

    monkeypatch.setattr(FakeSql, "run", refuse)
    assert said in html.unescape(run(client, world, "SELEC 1").body.decode())


def test_downloaded_result_equals_command_line_output(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(_: Any, __: str, ___: Any, ____: Any, put: Any, **_____: Any) -> None:
        put({"columns": COLUMNS})
        put({"rows": [["x", 1], [None, 2]]})
        put({"rows": [['"y"\n', 3]]})

    monkeypatch.setattr(FakeSql, "stream", stream)
    answer = send(client, world, f"{SQL}/csv", "sql=SELECT+1")
    assert answer.body == b'"a, b",n\nx,1\n,2\n"""y""\n",3\n'
    assert answer.headers["content-disposition"] == 'attachment; filename="query.csv"'


def test_incomplete_download_is_aborted(client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: Any, __: str, ___: Any, ____: Any, put: Any, **_____: Any) -> None:
        put({"columns": COLUMNS})
        raise UserError("SQL_TIMEOUT", "too long")

    sent: list[Any] = []
    begin = CsvDownload.__call__

    async def watched(self: CsvDownload, scope: Any, receive: Any, send_: Any) -> None:
        async def keep(message: Any) -> None:
            sent.append(message)
            await send_(message)

        await begin(self, scope, receive, keep)

    monkeypatch.setattr(FakeSql, "stream", breaks)
    monkeypatch.setattr(CsvDownload, "__call__", watched)
    assert send(client, world, f"{SQL}/csv", "sql=SELECT+1").body == b'"a, b",n\n'
    assert [message.get("more_body") for message in sent] == [None, True]


def test_spreadsheet_formulas_are_escaped_and_numbers_kept(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(_: object, text: str, meaning: object, cancellation: object, put: Any, **__: Any) -> None:
        types = {"=a": "VARCHAR", "n": "BIGINT", "d": "DECIMAL(18,2)", "f": "DOUBLE", "l": "VARCHAR[]"}
        put({"columns": [{"name": name, "type": type_} for name, type_ in types.items()]})
        put({"rows": [["=1+1", -1, "-1.50", -0.5, "[-1]"], ["@x", None, None, None, None], ["+1", 2, "3", 4.0, "-"]]})
        put({"rows": [["\tx", 0, "0", 0.0, ""], ["a=b", 0, "0", 0.0, ""], ["a\rb", 0, "0", 0.0, ""]]})

    monkeypatch.setattr(FakeSql, "stream", stream)
    rows = list(csv.reader(io.StringIO(send(client, world, f"{SQL}/csv", "sql=SELECT+1").body.decode(), newline="")))
    assert rows[:4] == [
        ["'=a", "n", "d", "f", "l"],
        ["'=1+1", "-1", "-1.50", "-0.5", "[-1]"],
        ["'@x", "", "", "", ""],
        ["'+1", "2", "3", "4.0", "'-"],
    ]
    assert [row[0] for row in rows[4:]] == ["'\tx", "a=b", "a\rb"]


def test_result_with_ids_is_saved_as_an_audience(client: AsgiClient, world: World) -> None:
    def run_as(caller: str) -> str:
        return send(client, world, f"{SQL}/run", urlencode({"sql": f"FROM {VIP}"}), caller).body.decode()

    assert "sql/build" not in run_as("acme-analyst")
    assert "sql/build" in run_as("acme-engineer")
    form = urlencode({"key": "k", "sql": "SELECT 1,\r\n 2", "audience": VIP, "mode": "append"})
    answer = send(client, world, f"{SQL}/build", form, "acme-engineer")
    (event,) = world.workflow.started
    request = json.loads(event)["import"]
    assert (request["sql"], request["overrides"]) == ("SELECT 1,\n 2", {"mode": "append"})
    assert answer.headers["location"] == f"/console/tenants/acme/jobs/{request['job_id']}?started=1"
    for given, status in (({"mode": "merge"}, 422), ({"audience": "../x"}, 422), ({"sql": ""}, 422)):
        wrong = urlencode({"key": str(given), "sql": "SELECT 1", "audience": VIP, **given})
        assert send(client, world, f"{SQL}/build", wrong, "acme-engineer").status == status
