"""Overlap: each user is counted in one combination, whose query finds exactly the users that were counted."""

import html
import re
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest

from orchestration.console.pages.overlap import MOST, combination_sql, counting_sql
from orchestration.records.questions import Column, QueryResult
from tests.fakes.asgi import AsgiClient
from tests.fakes.readers import FakeSql
from tests.fakes.tenants import VIP, World
from tests.unit.orchestration.console.test_segments import send, text_of

OVERLAP = "/console/tenants/acme/overlap"
CALLS = [f"audience('{VIP}')", "segment('buyers')"]
LETTERS = "abcd"


@pytest.fixture(scope="module")
def sets() -> duckdb.DuckDBPyConnection:
    """Four sets with a user of its own in every combination, but two in that of the first two."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE members (name VARCHAR, user_id VARCHAR)")
    users = ["".join(letters) for letters in product(*(("", letter) for letter in LETTERS))] + ["ab2"]
    for user, letter in product(users, LETTERS):
        if letter in user:
            connection.execute("INSERT INTO members VALUES (?, ?)", [letter, user])
    connection.execute("CREATE MACRO audience(n) AS TABLE SELECT user_id FROM members WHERE name = n")
    return connection


@pytest.mark.parametrize("number", range(2, MOST + 1))
def test_each_user_is_in_one_combination_whose_query_finds_them(sets: duckdb.DuckDBPyConnection, number: int) -> None:
    letters = LETTERS[:number]
    calls = [f"audience('{letter}')" for letter in letters]
    counted = sets.execute(counting_sql(calls)).fetchall()
    assert len(counted) == 2**number - 1
    everybody = []
    for *inside, users in counted:
        found = [user for (user,) in sets.execute(combination_sql(calls, inside)).fetchall()]
        assert len(found) == users
        for user in found:
            assert [letter in user for letter in letters] == inside
        everybody += found
    assert len(everybody) == len({*everybody})
    [(all_,)] = sets.execute(
        "SELECT count(DISTINCT user_id) FROM members WHERE list_contains(?, name)", [list(letters)]
    ).fetchall()
    assert len(everybody) == all_


def test_page_counts_two_to_four_sets_that_exist(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-analyst"].text.reveal()

    def page(*chosen: str) -> str:
        return html.unescape(client.get(OVERLAP, token=token, query={"of": list(chosen)}).body.decode())

    for chosen, counts, warns in (([], 0, 0), (CALLS[:1], 0, 1), (CALLS, 1, 0), ([CALLS[0], "audience('gone')"], 0, 1)):
        shown = page(*chosen)
        assert (shown.count("/overlap/counts?"), shown.count('class="notice waiting" role="alert"')) == (
            counts,
            warns,
        ), chosen
    assert re.findall(r'value="([^"]+)" checked', page(*CALLS)) == CALLS
    assert "audience('quiet')" not in page(), "nothing is published"
    assert world.services.audit.search() == []
    assert send(client, world, OVERLAP, caller="acme-operator").status == 403


def test_combinations_are_shown_largest_first_and_can_be_saved(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(_: FakeSql, __: str, text: str, *___: Any, **____: Any) -> Any:
        asked.append(text)
        columns = [Column(name=name, type="") for name in ("in_0", "in_1", "users")]
        return QueryResult(columns=columns, rows=[[True, False, 1500], [True, True, 20]], truncated=False)

    monkeypatch.setattr(FakeSql, "run", answer)

    def counts(*calls: str, caller: str) -> Any:
        token = world.tokens[caller].text.reveal()
        return client.get(f"{OVERLAP}/counts", token=token, query={"of": list(calls)})

    shown = counts(*CALLS, caller="acme-analyst")
    assert asked == [counting_sql(CALLS)]
    assert "1,520 users in at least one of them" in text_of(shown)
    assert f"{CALLS[0]} 1,520 {CALLS[1]} 20" in text_of(shown)
    assert re.findall(r'<progress value="([\d.]+)"', shown.body.decode())[0] == "1.0"
    assert "Save as audience" not in text_of(shown)
    paths = re.findall(r'href="([^"]+/sql\?[^"]+)"', html.unescape(shown.body.decode()))
    assert [parse_qs(urlsplit(path).query)["sql"] for path in paths] == [
        [combination_sql(CALLS, inside)] for inside in ([True, False], [True, True])
    ]
    assert "BAD_SQL" in text_of(counts("audience('x') --", *CALLS[:1], caller="acme-analyst")), "only names that exist"
    assert len(asked) == 1
    assert counts(*CALLS, caller="acme-operator").status == 403
    assert [entry.action for entry in world.services.audit.search()] == ["sql"]
