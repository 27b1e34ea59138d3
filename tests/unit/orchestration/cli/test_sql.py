"""`muster sql` and `muster segments members`: what they ask, and how they print or keep the rows."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from orchestration.cli import remote
from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main

COLUMNS = [{"name": "user_id", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}]
ROWS: list[list[Any]] = [["ann", 1], ["b\x1b[2J", None]]


class Service:
    """Answers every query with the same rows. `asked`: the queries, with what was given beside them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @contextmanager
    def stream_query(self, _: str, sql: str, **given: Any) -> Iterator[tuple[Sequence[Any], Iterator[Any]]]:
        self.asked.append((sql, given))
        yield COLUMNS, iter(ROWS)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    service = Service()
    monkeypatch.setattr(remote, "service", lambda: nullcontext(service))
    monkeypatch.setattr(remote, "resolve_tenant", lambda *_: "acme")
    return service.asked


def test_parameters_are_sent_beside_the_query(
    asked: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", "select $a, $b", "--param", "a=x=y", "--param", "b=", "--timeout", "9"]) == 0
    assert asked == [("select $a, $b", {"parameters": {"a": "x=y", "b": ""}, "timeout_s": 9.0})]
    for given, said in ((["a"], "is not NAME=VALUE"), (["1a=x"], "is not NAME=VALUE"), (["a=1", "a=2"], "given twice")):
        options = [part for one in given for part in ("--param", one)]
        assert main(["sql", "select 1", *options]) == ExitCode.USAGE
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "user_id,n\nann,1\nb\\x1b[2J,\n"),
        (["--csv"], "user_id,n\nann,1\nb\x1b[2J,\n"),
        (["--format", "csv"], "user_id,n\nann,1\nb\x1b[2J,\n"),
        (["--format", "jsonl"], '{"user_id": "ann", "n": 1}\n{"user_id": "b\\u001b[2J", "n": null}\n'),
    ],
)
@pytest.mark.usefixtures("asked")
def test_rows_are_printed_in_each_form(options: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "select 1", *options]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.usefixtures("asked")
def test_a_table_is_limited_and_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "select 1", "--format", "table", "--limit", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["user_id", "n", "ann", "1"]
    assert "The first 1 rows; --limit shows more" in said.err
    for options in (["--format", "json"], ["--json"], ["--json", "--format", "json"]):
        assert main(["sql", "select 1", *options]) == 0
        assert json.loads(capsys.readouterr().out) == [{"user_id": user, "n": n} for user, n in ROWS]


@pytest.mark.parametrize("command", [["sql", "select 1"], ["segments", "members", "buyers"]])
def test_a_file_is_written_once_and_replaced_on_request(
    command: list[str], asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "rows.jsonl"
    assert main([*command, "--to", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"to": str(target), "rows": 2, "bytes": target.stat().st_size}
    assert [json.loads(line)["user_id"] for line in target.read_text().splitlines()] == ["ann", "b\x1b[2J"]
    assert main([*command, "--to", str(target)]) == ExitCode.USER_ERROR
    assert "DESTINATION_EXISTS" in capsys.readouterr().err
    assert len(asked) == 1, "refused before the query runs"
    assert main([*command, "--to", str(target), "--overwrite"]) == 0
    assert main([*command, "--to", str(tmp_path / "rows.xlsx")]) == ExitCode.USAGE


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "options",
    [["--csv", "--format", "jsonl"], ["--json", "--format", "csv"], ["--csv", "--to", "a.csv"], ["--format", "xml"]],
)
def test_contradictory_forms_are_refused(options: list[str]) -> None:
    assert main(["sql", "select 1", *options]) == ExitCode.USAGE


def test_members_are_listed_page_by_page(
    asked: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segments", "members", "buyers", "--limit", "2", "--after", "aa"]) == 0
    [(sql, given)] = asked
    assert sql.endswith("order by user_id limit 2")
    assert given == {"parameters": {"segment": "buyers", "after": "aa"}}
    assert "--after b\\x1b[2J lists the next ones; --to FILE writes all." in capsys.readouterr().err
    assert main(["segments", "members", "buyers", "--limit", "3"]) == 0
    assert "lists the next" not in capsys.readouterr().err
