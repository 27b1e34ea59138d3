"""The prompt of `muster sql`, with what a terminal would send."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from muster.client import Client
from muster.errors import ApiError
from orchestration.cli.main import main
from orchestration.cli.sql_prompt import Names, ask_for_queries

CARET = "syntax error\n\nLINE 1: selec 1\n        ^"


class Service:
    """Answers queries. `asked`: all of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextmanager
    def stream_query(self, tenant: str, sql: str, *, timeout_s: float) -> Iterator[tuple[Sequence[Any], Iterator[Any]]]:
        assert (tenant, timeout_s) == ("acme", 9)
        self.asked.append(sql)
        if sql.startswith("selec "):
            raise ApiError("BAD_SQL", CARET, kind="user")
        if "slow" in sql:
            raise KeyboardInterrupt
        yield [{"name": "n", "type": "BIGINT"}], iter([[1]])


def typed(text: str, home: Path) -> Service:
    """The service after someone has typed this."""
    service, env = Service(), {"XDG_STATE_HOME": str(home)}
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(text)
        ask_for_queries(cast(Client, service), "acme", limit=5, timeout_s=9, env=env)
    return service


@pytest.fixture(autouse=True)
def _no_access(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names are requested in the background; here, no service answers."""
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def test_queries_are_sent_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = typed("select 1\r as n;\r\r;\rselec 1;\rslow;\rselect 2;\rexit\rnever;\r", tmp_path).asked
    assert asked == ["select 1\n as n;", "selec 1;", "slow;", "select 2;"]
    said = capsys.readouterr()
    assert said.out == "n\n1\nn\n1\n"
    assert f"BAD_SQL: {CARET}\n" in said.err
    assert "Cancelled.\n" in said.err


def test_ctrl_d_leaves_and_the_history_is_private(tmp_path: Path) -> None:
    assert typed("select 1;\r\x04", tmp_path).asked == ["select 1;"]
    file = tmp_path / "muster" / "sql_history"
    assert "+select 1;" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert typed("\x1b[A\r\x04", tmp_path).asked == ["select 1;"]  # the arrow up


def test_keywords_and_names_are_completed() -> None:
    class Own:
        def audiences(self, tenant: str) -> list[Any]:
            return [{"audience": f"{tenant}-vip"}, {"audience": "other"}]

        def names(self, _: str) -> Any:
            events = [{"event": "it's"}, {"event": "order"}]
            return {"attributes": [{"name": "country"}], "segments": ["buyers"], "events": events}

    @contextmanager
    def connect() -> Iterator[Own]:
        yield Own()

    names = Names()
    names.load("acme", connect)

    def completed(text: str) -> list[str]:
        return [one.text for one in names.get_completions(Document(text), CompleteEvent())]

    assert completed("select * from audience('AC") == ["acme-vip')"]
    assert completed("select * from segment('b") == ["buyers')"]
    assert completed("from audience('other') join events('") == ["it''s')", "order')"]
    assert completed("sel") == ["select"]
    assert completed("select cou") == ["count(", "country"]
    assert completed("select ") == []


def test_query_is_required_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql"]) == 2
    assert "give a query, or - to read it from stdin" in " ".join(capsys.readouterr().err.split())
