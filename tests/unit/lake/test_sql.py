"""`muster sql`: what it resolves, and what it refuses."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.lake.access import S3Access
from connectors.lake.sql import AudienceCall, RejectsCall, Resolved, query
from schemas.columns import Column, RowSchema
from schemas.errors import UserError
from tests.unit.lake.support import Parts, audience, limits, new_id

AGE = RowSchema(columns=(Column(name="age", type="long"),))
Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def calls() -> list[AudienceCall | RejectsCall]:
    return []


@pytest.fixture
def run(s3: S3Access, tmp_path: Path, calls: list[AudienceCall | RejectsCall]) -> Run:
    """Runs a query where every audience is {ann 30, bob 40, cy null}, every rejects the same file."""
    rows: list[dict[str, Any]] = [{"user_id": "ann", "age": 30}, {"user_id": "bob", "age": 40}, {"user_id": "cy"}]
    uris = [part.uri for part in Parts(s3).write(audience(), new_id(), rows, AGE) if part.rows]

    def resolve(call: AudienceCall | RejectsCall) -> Resolved:
        calls.append(call)
        if isinstance(call, RejectsCall):
            return Resolved(files=uris[:1], schema=None)
        return Resolved(files=[] if call.audience == "nobody" else uris, schema=AGE)

    def go(text: str, timeout_s: float = 60) -> list[tuple[Any, ...]]:
        with query(text, resolve, s3=s3, limits=limits(tmp_path), timeout_s=timeout_s) as connection:
            return connection.fetchall()

    return go


def test_an_audience_is_a_table(run: Run, calls: list[Any]) -> None:
    assert run("select count(*), sum(age) from audience('vip')") == [(3, 70)]
    assert calls == [AudienceCall(audience="vip", version=None, tenant=None)]  # type: ignore[arg-type]


def test_version_and_tenant_are_named_arguments(run: Run, calls: list[Any]) -> None:
    assert run("FROM audience('vip', version => 3, tenant := 'acme') SELECT count(*)") == [(3,)]
    assert calls == [AudienceCall(audience="vip", version=3, tenant="acme")]  # type: ignore[arg-type]


def test_audiences_are_joined_aliased_and_used_in_subqueries(run: Run, calls: list[Any]) -> None:
    assert run(
        "with a as (select * from audience('one')) "
        "select a.user_id, v.years from a join AUDIENCE('two') as v(id, years) on a.user_id = v.id "
        "where exists (select 1 from audience('one') where audience.user_id = a.user_id) and v.years > 30"
    ) == [("bob", 40)]
    assert [call.audience for call in calls] == ["one", "two"]


def test_rejects_of_a_job_are_a_table(run: Run, calls: list[Any]) -> None:
    job = "01kav9ft7c60rk4csm6mv3ee1s"
    assert run(f"select count(*) > 0 from rejects('{job}')") == [(True,)]
    assert calls == [RejectsCall(job=job)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select * exclude (age) from audience('vip') order by all limit 1", [("ann",)]),
        ("select user_id from audience('vip') qualify row_number() over (order by user_id desc) = 1", [("cy",)]),
        ("select count(*) filter (where age is null), median(age) from audience('vip')", [(1, 35.0)]),
        ("with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select sum(n) from r", [(15,)]),
        ("select age > 35 as old, list(user_id) from audience('vip') where age is not null group by all order by old",
         [(False, ["ann"]), (True, ["bob"])]),
        ("select 'it''s', \"weird\"\"name\" from (select 1 as \"weird\"\"name\")", [("it's", 1)]),
        ("select user_id from audience('a') except select user_id from audience('b') where user_id = 'ann' order by 1",
         [("bob",), ("cy",)]),
    ],
)  # fmt: skip
def test_a_query_means_what_it_says_after_the_calls_were_replaced(run: Run, text: str, rows: list[Any]) -> None:
    assert run(text) == rows


def test_an_empty_audience_has_columns_and_no_rows(run: Run) -> None:
    assert run("select user_id, age from audience('nobody')") == []


def test_functions_that_make_rows_of_nothing_are_allowed(run: Run) -> None:
    assert run("select sum(r) from range(4) as t(r)") == [(6,)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("selec 1", "syntax error"),
        ("", "0 statements"),
        ("select 1; select 2", "2 statements"),
        ("drop table x", "Only SELECT"),
        ("copy (select 1) to '/tmp/x'", "Only SELECT"),
        ("insert into x values (1)", "Only SELECT"),
        ("attach '/tmp/x.db'", "Only SELECT"),
        ("set memory_limit = '100GB'", "Only SELECT"),
        ("install httpfs", "Only SELECT"),
        ("pragma version", "Only SELECT"),
        ("select * from read_csv('/etc/passwd')", "table function read_csv"),
        ("select * from read_text('/etc/passwd')", "table function read_text"),
        ("select * from read_parquet('s3://lake/ready')", "table function read_parquet"),
        ("select * from parquet_scan('s3://lake/ready')", "table function parquet_scan"),
        ("select (select content from read_blob('/etc/passwd'))", "table function read_blob"),
        ("select * from glob('/*')", "table function glob"),
        ("select * from duckdb_secrets()", "table function duckdb_secrets"),
        ("select * from query('select 1')", "table function query"),
        ("select * from main.audience('x')", "table function audience"),
        ("select * from '/etc/passwd'", "does not exist"),
        ("select * from 's3://lake/ready'", "does not exist"),
        ("select * from 'http://127.0.0.1/x.parquet'", "cannot access"),
        ("select * from 's3://lake/x.parquet'", "cannot access"),
        ("select * from resolve", "does not exist"),
        ("select nope from audience('vip')", "nope"),
        ("select cast(user_id as int) from audience('vip')", "Could not convert"),
        ("select * from audience()", "is called as"),
        ("select * from audience('a', 'b')", "is called as"),
        ("select * from audience('a', size => 3)", "is called as"),
        ("select * from audience('a', version => 1, version => 2)", "is called as"),
        ("select * from audience('a' || 'b')", "takes a constant"),
        ("select * from audience(7)", "takes a constant"),
        ("select * from audience('a', version => '1')", "takes a constant"),
        ("select * from audience('a', version => true)", "takes a constant"),
        ("select * from audience(null)", "takes a constant"),
        ("select * from audience('../x')", "not allowed"),
        ("select * from audience('x''; drop table y; --')", "not allowed"),
        ("select * from audience('a', tenant => 'x/y')", "not allowed"),
        ("select * from rejects('x')", "not a job id"),
        ("select * from rejects('01kav9ft7c60rk4csm6mv3ee1s', version => 1)", "is called as"),
    ],
)
def test_anything_else_is_a_user_error(run: Run, text: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        run(text)
    assert fault.lower() in str(caught.value).lower()
    assert caught.value.code in {"BAD_SQL", "BAD_NAME", "BAD_JOB_ID"}


@pytest.mark.parametrize("text", ["from read_parquet('s3://lake/ready')", "from read_csv('/etc/passwd')"])
def test_even_past_the_parser_only_the_files_of_the_audience_can_be_read(
    s3: S3Access, tmp_path: Path, text: str
) -> None:
    nothing = Resolved(files=[], schema=AGE)
    with (
        pytest.raises(UserError, match="disabled by configuration"),
        query("select 1", lambda _: nothing, s3=s3, limits=limits(tmp_path), timeout_s=60) as connection,
    ):
        connection.execute(text)


def test_a_query_that_runs_too_long_is_interrupted(run: Run) -> None:
    with pytest.raises(UserError, match=r"longer than 0\.2 s") as caught:
        run("select count(*) from range(10000000000) a where a.range * 7 % 3 = 1", timeout_s=0.2)
    assert caught.value.code == "SQL_TIMEOUT"


def test_a_query_larger_than_its_memory_uses_the_disk(s3: S3Access, tmp_path: Path) -> None:
    text = "select count(*) from (select row_number() over (order by range * 7919 % 6000000) from range(6000000))"
    assert _run_in_64_mib(s3, tmp_path, text) == [(6_000_000,)]


def test_a_query_that_cannot_use_the_disk_is_a_user_error(s3: S3Access, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _run_in_64_mib(s3, tmp_path, "select len(list(range || repeat('x', 40))) from range(6000000)")
    assert caught.value.code == "SQL_TOO_BIG"


def _run_in_64_mib(s3: S3Access, directory: Path, text: str) -> list[tuple[Any, ...]]:
    nothing = Resolved(files=[], schema=AGE)
    small = dataclasses.replace(limits(directory), memory_bytes=64 * 2**20)
    with query(text, lambda _: nothing, s3=s3, limits=small, timeout_s=60) as connection:
        return connection.fetchall()
