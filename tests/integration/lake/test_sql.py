"""`muster sql`: resolved names and refused queries."""

import dataclasses
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import duckdb
import pytest

from connectors.confinement import child_environment
from connectors.lake.sql import Resolved, TableQuery, query, write
from connectors.lake.sql_child import _checked, _make_views
from connectors.lake.sql_tree import AudienceCall, Call, EventsCall, ProfilesCall, RejectsCall, SegmentCall, moment_of
from connectors.storage.access import S3Access
from connectors.storage.duck import connect, extension_path
from orchestration.console.pages.differences import KINDS, Kind, sql_of
from schemas.columns import Column, RowSchema
from schemas.errors import RetriableError, UserError
from schemas.sql_text import literal
from tests.integration.lake.support import Parts, audience, limits, new_id
from tests.unit.children import queries, running

AGE = RowSchema(columns=(Column(name="age", type="long"),))
Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def run(s3: S3Access, tmp_path: Path, calls: list[Call]) -> Run:
    """Runs a query where every audience is {ann 30, bob 40, cy null}, and all rejects are one file."""
    rows: list[dict[str, Any]] = [{"user_id": "ann", "age": 30}, {"user_id": "bob", "age": 40}, {"user_id": "cy"}]
    uris = [part.uri for part in Parts(s3).write(audience(), new_id(), rows, AGE) if part.rows]

    def resolve(call: Call) -> Resolved:
        calls.append(call)
        if isinstance(call, RejectsCall):
            return Resolved(files=uris[:1], schema=None)
        if not isinstance(call, AudienceCall):
            return Resolved(files=uris, schema=AGE)
        return Resolved(files=[] if call.audience == "nobody" else uris, schema=AGE)

    def go(text: str, timeout_s: float = 60, **parameters: str) -> list[tuple[Any, ...]]:
        own = limits(tmp_path)
        with query(text, resolve, s3=s3, limits=own, timeout_s=timeout_s, parameters=parameters) as answer:
            return list(answer.rows)

    return go


def test_an_audience_is_a_table(run: Run, calls: list[Any]) -> None:
    assert run("select count(*), sum(age) from audience('vip')") == [(3, 70)]
    assert calls == [AudienceCall(audience="vip", version=None, tenant=None)]  # type: ignore[arg-type]


def test_a_parameter_is_a_text_and_never_sql(run: Run, calls: list[Any]) -> None:
    text = "select user_id, $said from audience($name) where age >= $age and user_id < $user order by 1 limit $n"
    said = "' || (select 1); drop table x --\"\\ \u6771"
    assert run(text, said=said, name="vip", age="30", user="z", n="1") == [("ann", said)]
    assert calls == [AudienceCall(audience="vip", version=None, tenant=None)]  # type: ignore[arg-type]
    assert run("select '$a', $a, upper($a), $a::int + 1", a="1") == [("$a", "1", "1", 2)]


@pytest.mark.parametrize(
    ("text", "parameters", "said"),
    [
        ("select $a", {}, "$a has no value: give one with --param a=VALUE"),
        ("select 1", {"a": "1"}, "the query has no parameter $a"),
        ("select $a", {"a": "x\0y"}, "the value of $a must not contain the character NUL"),
        ("select ?", {}, "parameters have names: write $name instead of ? or $1"),
        ("from audience($a)", {"a": "../x"}, "BAD_NAME"),
        ("select * from audience('vip') where age > $a", {"a": "old"}, "Could not convert string 'old'"),
    ],
)
def test_parameters_without_a_place_or_a_value_are_refused(
    run: Run, text: str, parameters: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError) as error:
        run(text, **parameters)
    assert said in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_differences_are_queries(run: Run, calls: list[Any], kind: Kind) -> None:
    assert run(sql_of("vip", kind, 1, 2)) == []
    assert {call.version for call in calls} == {1, 2}


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


def test_rejects_of_a_job_are_queryable(run: Run, calls: list[Any]) -> None:
    job = "01kav9ft7c60rk4csm6mv3ee1s"
    assert run(f"select count(*) > 0 from rejects('{job}')") == [(True,)]
    assert calls == [RejectsCall(job=job)]  # type: ignore[arg-type]


def test_events_profiles_and_segments_are_tables(run: Run, calls: list[Any]) -> None:
    run(
        "select 1 from segment('buyers') s join EVENTS('it''s', since => '30d', until => '2026-12-01') using (user_id) "
        "where user_id in (select user_id from profiles(tenant => 'acme')) "
        "and exists (select 1 from events() where events.user_id = s.user_id) "
        "and user_id in (select user_id from Segment('buyers'))"
    )
    assert calls == [
        SegmentCall(segment="buyers", tenant=None),  # type: ignore[arg-type]
        EventsCall(event="it's", since="30d", until="2026-12-01", tenant=None),
        ProfilesCall(tenant="acme"),  # type: ignore[arg-type]
        EventsCall(event=None, since=None, until=None, tenant=None),
    ]


def test_tables_behind_a_call_are_filled_once_and_cannot_be_named(s3: S3Access, tmp_path: Path) -> None:
    first = TableQuery(name="_muster_segment a", sql="SELECT CAST(? AS VARCHAR) AS user_id", parameters=["it's"])
    second = TableQuery(name="_muster_segment b", sql='FROM "_muster_segment a" WHERE ?', parameters=[True])
    found = Resolved(files=[], sql='FROM "_muster_segment b"', tables=[first, second])
    text = "select user_id from segment('a') union all select user_id from segment('b') order by 1"
    with query(text, lambda _: found, s3=s3, limits=limits(tmp_path), timeout_s=60) as answer:
        assert list(answer.rows) == [("it's",), ("it's",)]
    for text in ('from "_muster_segment a"', "from (with \"_muster_segment a\" as (select 1) select 1), segment('a')"):
        with (
            pytest.raises(UserError, match=r"reserved|does not exist"),
            query(text, lambda _: found, s3=s3, limits=limits(tmp_path), timeout_s=60) as answer,
        ):
            list(answer.rows)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-12-01", 0),
        ("2026-12-01T09:00", 9 * 3600),
        ("2026-12-01T09:00+09:00", 0),
        ("2026-12-01 00:00:01.5Z", 1.5),
        ("1d12h", -36 * 3600),
        ("90s", -90),
    ],
)
def test_times_in_a_query_are_in_utc_or_before_now(text: str, seconds: float) -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    assert moment_of(text, now) == now + timedelta(seconds=seconds)


def test_months_are_not_minutes() -> None:
    with pytest.raises(UserError, match="BAD_SQL: '3M': expected minutes as a small m"):
        moment_of("3M", datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select * exclude (age) from audience('vip') order by all limit 1", [("ann",)]),
        ("select user_id from audience('vip') qualify row_number() over (order by user_id desc) = 1", [("cy",)]),
        ("select count(*) filter (where age is null), median(age) from audience('vip')", [(1, 35.0)]),
        ("with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select sum(n) from r", [(15,)]),
        ("select age > 35 as old, list(user_id) from audience('vip') where age is not null group by all order by old",
         [(False, "['ann']"), (True, "['bob']")]),
        ("select '_muster_0' as name", [("_muster_0",)]),
        ("select sum(age) over (), upper(user_id), [7][1], {'a': age}.a, user_id like 'a%' from audience('b') limit 1",
         [(70, "ANN", 7, 30, True)]),
        ("select year(date '2026-01-02'), interval 1 day = to_days(1), if(true, 1, 2), ('e').upper(), list_sum([1, 2])",
         [(2026, True, 1, "E", 3)]),
        ("select 'it''s', \"weird\"\"name\" from (select 1 as \"weird\"\"name\")", [("it's", 1)]),
        ("select user_id from audience('a') except select user_id from audience('b') where user_id = 'ann' order by 1",
         [("bob",), ("cy",)]),
    ],
)  # fmt: skip
def test_query_keeps_its_meaning_after_rewriting_calls(run: Run, text: str, rows: list[Any]) -> None:
    assert run(text) == rows


def test_an_empty_audience_has_columns_and_no_rows(run: Run) -> None:
    assert run("select user_id, age from audience('nobody')") == []


def test_row_generating_functions_are_allowed(run: Run) -> None:
    assert run("select sum(r) from range(4) as t(r)") == [(6,)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("selec 1", "syntax error"),
        ("select nope from audience('vip')", "nope"),
        ("select cast(user_id as int) from audience('vip')", "Could not convert"),
        ("select * from '/etc/passwd'", "table /etc/passwd does not exist"),
        ("select * from audience('../x')", "not allowed"),
        ("select * from rejects('x')", "not the id of a job"),
        ("select pg_read_file('/etc/passwd')", "does not exist"),
        ("select read_text('/etc/passwd')", "function read_text does not exist"),
        ("select getenv('HOME')", "does not exist"),
        ("select ?", "parameters"),
    ],
)
def test_invalid_query_is_a_user_error(run: Run, text: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        run(text)
    assert fault.lower() in str(caught.value).lower()
    assert caught.value.code in {"BAD_SQL", "BAD_NAME", "BAD_JOB_ID"}


@pytest.mark.parametrize(
    ("text", "said", "line", "at"),
    [
        ("select 'é日本',\n  agee from audience('vip')", 'column "agee" not found', 2, "agee"),
        ("from audience('vip') v join audience('vip') w using (user_id) where w.agee > 3", '"agee"', 1, "w.agee"),
        ("with a as (from audience('vip')) select '日本', foo(age) from a", "foo does not exist", 1, "foo"),
        ("select user_id + 1 from audience('vip')", "No function matches", 1, "+"),  # lists fifty candidates
        ("select\n\ncast(user_id as int) from audience('vip')", "Could not convert", 3, "cast"),
        ("select 'é' selec 1", "syntax error", 1, "1"),
    ],
)
def test_error_shows_its_position_in_the_original_query(run: Run, text: str, said: str, line: int, at: str) -> None:
    with pytest.raises(UserError) as caught:
        run(text)
    message, _, marked = str(caught.value).rpartition("\n\n")
    shown, caret = marked.split("\n")
    assert said in message
    assert shown.startswith(f"LINE {line}: ")
    before = shown[: shown.rindex(at)]
    assert len(caret) - 1 == sum(2 if east_asian_width(c) in "WF" else 1 for c in before)
    assert caret.endswith("^")


STATEMENTS = [
    "", "select 1; select 2", "drop table x", "create table x as select 1", "create macro f(a) as a", "begin", "use x",
    "copy (select 1) to '/tmp/x'", "insert into x values (1)", "attach '/tmp/x.db'", "detach memory", "vacuum",
    "set memory_limit = '100GB'", "reset all", "install httpfs", "load httpfs", "pragma version", "checkpoint",
    "call pragma_version()", "export database '/tmp/x'", "import database '/tmp/x'", "prepare x as select 1",
    "create secret (type s3)", "explain analyze select 1", "from (execute x)",
    "with x as (insert into t values (1) returning *) select * from x",
]  # fmt: skip
TABLE_FUNCTIONS = [
    "read_csv('/etc/passwd')", "read_csv_auto('/etc/passwd')", "read_text('/etc/passwd')", "read_text(['/etc/passwd'])",
    "read_blob('/etc/passwd')", "read_json('/etc/passwd')", "read_json_objects('/x')", "read_ndjson('/x')",
    "read_parquet('s3://lake/ready')", "parquet_scan('s3://lake/ready')", "parquet_metadata('s3://lake/x')",
    "parquet_schema('s3://lake/x')", "parquet_kv_metadata('s3://lake/x')", "parquet_file_metadata('/x')",
    "sniff_csv('/etc/passwd')", "glob('/*')", "iceberg_scan('/x')", "delta_scan('/x')", "sqlite_scan('/x', 'y')",
    "postgres_scan('host=x', 'a', 'b')", "arrow_scan(1, 2, 3)", "pandas_scan(1)", "seq_scan('x')",
    "query('select 1')", "query_table('x')", "main.query('select 1')", "system.main.duckdb_secrets()",
    "duckdb_secrets()", "which_secret('s3://lake/x', 's3')", "duckdb_settings()", "duckdb_extensions()",
    "duckdb_logs()", "duckdb_temporary_files()", "duckdb_functions()", "pragma_storage_info('x')",
    "json_execute_serialized_sql(json_serialize_sql('select 1'))", "checkpoint()", "enable_logging()",
    "test_all_types()", "repeat_row(1, num_rows => 100000000000)", "main.audience('x')", "x.audience('x')",
]  # fmt: skip
TABLES = [
    "'/etc/passwd'", "'/etc/hosts.csv'", "'/proc/self/environ'", "'file:///etc/passwd'", "'https://127.0.0.1/x.csv'",
    "'s3://other/x.parquet'", "'hf://datasets/x/y.csv'", "\"/tmp/*/*.parquet\"", "pg_settings",
    "pg_catalog.pg_settings", "system.pg_catalog.pg_settings", "information_schema.tables", "duckdb_views",
    "duckdb_logs", "sqlite_master", "pragma_database_list", "resolve", "temp.main._muster_0", "_muster_0",
]  # fmt: skip
ELSEWHERE = [
    "select (from read_text('/etc/passwd') select content)",
    "select [x for x in (select list(content) from read_text('/etc/passwd'))]",
    "from (values (1)) t(a), lateral (from read_text('/etc/passwd'))",
    "select 1 where exists (from glob('/*'))",
    "from (select 1) order by (select content from read_text('/etc/passwd'))",
    "select 1 limit (select count(*) from glob('/*'))",
    "with recursive t as (select 1 a union all (select content from read_text('/etc/passwd'))) from t",
    "select sum(1) over (partition by (select content from read_text('/etc/passwd')))",
    "from range((select count(*) from glob('/*')))",
    "from unnest((select list(content) from read_text('/etc/passwd')))",
    "from audience('vip') unpivot (a for b in (age)) semi join glob('/*') using (file)",
    "with a as (from '/etc/passwd') select 1",
    "(select 1) union all (from pg_settings)",
    "summarize pg_settings",
    "from (summarize pg_catalog.pg_settings)",
    "describe '/etc/passwd'",
    "show tables",
    "from (show databases)",
    "select current_setting('s3_secret_access_key')",
    "select main.current_setting('temp_directory')",
    "select 1 where Current_Setting('x') = ''",
    "select write_log('x')",
    "select json_serialize_plan('select * from temp.main._muster_0')",
    "select Json_Serialize_SQL('select 1')",
    "select main.json_deserialize_sql('{}')",
    "select ('select 1').json_serialize_plan()",
    "select json_serialize_plan(q) over () from (select 'select 1' as q)",
    "select list_transform(['select 1'], q -> json_serialize_plan(q))",
    "select current_query()",
    "select getvariable('x')",
    "select stats(user_id) from audience('vip')",
    "select sleep_ms(100000)",
    "select finalize(x) from (select 1 as x)",
    "from audience('vip') order by version()",
    "from audience('vip') group by nextval('x')",
    "from (from audience('vip') pivot (count(*) for user_id in ('a') group by txid_current()))",
    "from (with pg_settings as (select 1) select 1), pg_settings",
    "with duckdb_views as (select 1) from duckdb_views",
    "with recursive t as (select 1 a union all select a + 1 from other.t) from t",
    "from (with file as (select 1) select 1), file",
    "with s3 as (select 1) from s3",
    "with HTTP as (select 1) from http",
    "with _muster_0 as (select 1) from _muster_0",
    "select _muster_0 from audience('vip')",
    "select age as _Muster_x from audience('vip')",
    "from audience('vip') as _muster_0",
    "from audience('vip') as v(_muster_0)",
    "from audience('vip') join audience('b') using (_muster_0)",
    "select _muster_0.age from audience('vip')",
    "select struct_pack(_muster_0 := 1)",
    'from (with "s3://lake/x.parquet" as (select 1) select 1), "s3://lake/x.parquet"',
    'from (with "/etc/passwd" as (select 1) select 1), "/etc/passwd"',
    'from (with "x.csv" as (select 1) select 1), "x.csv"',
]
CALLS = [
    "audience()", "audience('a', 'b')", "audience('a', size => 3)", "audience('a', version => 1, version => 2)",
    "audience('a' || 'b')", "audience(7)", "audience('a', version => '1')", "audience('a', version => true)",
    "audience(null)", "audience(name => 'a')", "audience('a', version => (select 1))", "audience(user_id)",
    "audience('x''; drop table y; --')", "audience('a', tenant => 'x/y')", "audience('a') with ordinality",
    "rejects()", "rejects('01kav9ft7c60rk4csm6mv3ee1s', version => 1)", "rejects('../../etc/passwd')",
    "segment()", "segment('a', 'b')", "segment(7)", "segment('a', version => 1)", "segment('../x')",
    "segment('a', tenant => 'x/y')", "segment('a') with ordinality", "segment('a', as_of => '2026-12-01')",
    "events('a', 'b')", "events(7)", "events('')", f"events('{'a' * 256}')", "events(event => 'a')",
    "events('a', since => 30)", "events('a', since => '30x')", "events('a', since => '')", "events(since => now())",
    "events('a', since => '9999999999d')", "events('a', until => '2026-13-01')", "events(tenant => '../x')",
    "events('a', since => '1d', since => '2d')", "events('a', since => (select '1d'))", "main.events('a')",
    "profiles('a')", "profiles(version => 1)", "profiles(tenant => 7)", "profiles() with ordinality",
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [*STATEMENTS, *(f"select * from {name}" for name in (*TABLE_FUNCTIONS, *TABLES, *CALLS)), *ELSEWHERE],
)
def test_query_reads_only_data_by_calls_and_generated_rows(text: str) -> None:
    with duckdb.connect() as connection, pytest.raises(UserError) as caught:
        _checked(connection, text)
    assert caught.value.code in {"BAD_SQL", "BAD_NAME", "BAD_JOB_ID"}


@pytest.mark.parametrize(
    "text",
    ["from read_parquet('s3://lake/ready')", "from read_csv('/etc/passwd')", "from 'https://127.0.0.1/x.csv'",
     "copy (select 1) to '/tmp/muster-was-here'", "attach '/tmp/muster-was-here.db'", "install httpfs",
     "set enable_external_access = true", "set allowed_paths = ['/etc/passwd']", "from glob('/*')"],
)  # fmt: skip
def test_query_past_the_parser_reads_only_audience_files(s3: S3Access, tmp_path: Path, text: str) -> None:
    with connect(limits(tmp_path), s3) as connection:
        _make_views(connection, ["_muster_0"], [{"files": [], "schema": None, "sql": None, "tables": []}])
        with pytest.raises(duckdb.Error, match=r"disabled by configuration|locked|Cannot access"):
            connection.execute(text).fetchall()


def test_query_sees_no_credentials_of_the_environment(
    s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "from-the-environment")
    assert not any(name.startswith("AWS_") for name in child_environment())
    with duckdb.connect() as connection:  # why: DuckDB takes these names for settings, which a query could read
        connection.execute(f"LOAD {literal(str(extension_path('httpfs')))}")
        [found] = connection.execute("SELECT current_setting('s3_secret_access_key')").fetchall()
    assert found == ("from-the-environment",)


def test_recursive_expressions_with_keys_are_allowed(run: Run) -> None:
    text = (
        "with recursive t(a) using key (a) as ("
        "select 1 union select a + 1 from t where a < 3 and a + 1 not in (from recurring.t)) from t"
    )
    assert sorted(run(text)) == [(1,), (2,), (3,)]


def test_a_query_can_be_described(run: Run) -> None:
    assert [row[:2] for row in run("describe from audience('vip')")] == [("user_id", "VARCHAR"), ("age", "BIGINT")]


def test_too_deeply_nested_query_is_a_user_error(run: Run) -> None:
    with pytest.raises(UserError, match="nested too deeply"):
        run("select * from (" * 400 + "select 1" + ")" * 400)


def test_long_query_is_interrupted(run: Run) -> None:
    with pytest.raises(UserError, match=r"longer than 0\.2 s") as caught:
        run("select count(*) from range(10000000000) a where a.range * 7 % 3 = 1", timeout_s=0.2)
    assert caught.value.code == "SQL_TIMEOUT"


@pytest.mark.parametrize(
    "text",
    ["select levenshtein(repeat('a', 200000), repeat('b', 200000))",
     "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r"],
)  # fmt: skip
def test_uninterruptible_function_is_ended(run: Run, text: str) -> None:
    with pytest.raises(UserError) as caught:
        run(text, timeout_s=0.2)
    assert caught.value.code == "SQL_TIMEOUT"


@pytest.mark.parametrize(
    "text",
    ["select len(range(200000000))", "select length(repeat('x', 2000000000))",
     "select list_transform(range(200000000), x -> x::varchar)", "select format('{:1000000000}', 1)",
     "select repeat('x', 100000000) from range(100)"],
)  # fmt: skip
def test_memory_uncounted_by_duckdb_is_bounded(run: Run, text: str) -> None:
    with pytest.raises(UserError) as caught:
        run(text)
    assert caught.value.code == "SQL_TOO_BIG"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGSEGV, "SQL_CRASHED"), (signal.SIGABRT, "SQL_CRASHED")])
def test_duckdb_crash_is_attributed_to_the_query(s3: S3Access, tmp_path: Path, sent: signal.Signals, code: str) -> None:
    def crash(_: object) -> Resolved:
        [child] = queries()
        child.send_signal(sent)
        return Resolved(files=[], schema=AGE)

    with (
        pytest.raises(UserError, match=sent.name) as caught,
        query("from audience('vip')", crash, s3=s3, limits=limits(tmp_path), timeout_s=60) as answer,
    ):
        list(answer.rows)
    assert caught.value.code == code
    assert (queries(), list((tmp_path / "duckdb").iterdir())) == ([], [])


def test_query_without_its_server_is_retriable(s3: S3Access, tmp_path: Path) -> None:
    nothing = Resolved(files=[], schema=AGE)

    def run() -> None:
        with query("select 1", lambda _: nothing, s3=s3, limits=limits(tmp_path), timeout_s=60) as answer:
            list(answer.rows)

    run()
    [server] = running("connectors.lake.sql_server")
    server.suspend()  # it answers nothing before it dies
    threading.Timer(0.1, server.kill).start()
    with pytest.raises(RetriableError) as caught:
        run()
    assert caught.value.code == "SQL_KILLED"
    run()


def test_abandoned_query_leaves_no_process_or_file(s3: S3Access, tmp_path: Path) -> None:
    nothing = Resolved(files=[], schema=AGE)
    text = "select range from range(100000000)"
    with query(text, lambda _: nothing, s3=s3, limits=limits(tmp_path), timeout_s=60) as answer:
        assert next(answer.rows) == (0,)
        assert len(queries()) == 1
    assert (queries(), list((tmp_path / "duckdb").iterdir())) == ([], [])


def test_query_beyond_its_memory_uses_the_disk(s3: S3Access, tmp_path: Path) -> None:
    text = "select count(*) from (select row_number() over (order by range * 7919 % 6000000) from range(6000000))"
    assert _run_in_64_mib(s3, tmp_path, text) == [(6_000_000,)]


def test_query_without_disk_space_is_a_user_error(s3: S3Access, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _run_in_64_mib(s3, tmp_path, "select len(list(range || repeat('x', 40))) from range(6000000)")
    assert caught.value.code == "SQL_TOO_BIG"


def _run_in_64_mib(s3: S3Access, directory: Path, text: str) -> list[tuple[Any, ...]]:
    nothing = Resolved(files=[], schema=AGE)
    small = dataclasses.replace(limits(directory), memory_bytes=64 * 2**20)
    with query(text, lambda _: nothing, s3=s3, limits=small, timeout_s=60) as answer:
        return list(answer.rows)


Write = Callable[..., tuple[list[tuple[str, str]], list[tuple[Any, ...]]]]


@pytest.fixture
def written(s3: S3Access, tmp_path: Path) -> Write:
    """Writes the result of a query over an audience {ann 30, bob 40, cy null}: its columns and rows."""
    rows: list[dict[str, Any]] = [{"user_id": "ann", "age": 30}, {"user_id": "bob", "age": 40}, {"user_id": "cy"}]
    uris = [part.uri for part in Parts(s3).write(audience(), new_id(), rows, AGE) if part.rows]

    def go(text: str, **given: Any) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
        options = {"s3": s3, "limits": limits(tmp_path), "timeout_s": 60, "most_bytes": 2**30, **given}
        with write(text, lambda _: Resolved(files=uris, schema=AGE), **options) as found:
            table = duckdb.sql(f"SELECT * FROM read_parquet('{found.file}') ORDER BY ALL").fetchall()
            assert len(table) == found.rows
            return [(one.name, one.type) for one in found.columns], table

    return go


def test_result_becomes_a_file_with_types_of_audiences(written: Write) -> None:
    text = (
        "with a as (from audience('vip')) select user_id, sum(age) as total, user_id = 'ann' as first, "
        "date '2026-12-01' as day, timestamptz '2026-12-01 09:00:00+00' as seen, 1.5::float as f "
        "from a group by all -- end"
    )
    columns, rows = written(text)
    assert columns == [
        ("total", "long"), ("first", "boolean"), ("day", "date"), ("seen", "timestamp"), ("f", "double"),
    ]  # fmt: skip
    assert [row[:3] for row in rows] == [("ann", 30, True), ("bob", 40, False), ("cy", None, False)]
    assert written("select NULL::varchar as user_id union all select 'ann' union all select 'ann'")[1] == [
        ("ann",), ("ann",), (None,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("select age from audience('vip')", "no column user_id"),
        ("select 1 as user_id", "user_id::varchar"),
        ("select user_id, 1 as \"a b\" from audience('vip')", "a b"),
        ("select User_Id from audience('vip')", None),
        ("select user_id, user_id as USER_ID from audience('vip')", "two columns user_id"),
        ("select user_id, age * 1.5::decimal(3, 1) as x from audience('vip')", "x::double as x"),
        ("select user_id, now()::timestamp as x from audience('vip')", "timezone('UTC', x)"),
        ("select user_id, [age] as x from audience('vip')", "x::varchar as x"),
        ("select user_id, 170141183460469231731687303715884105727 as x from audience('vip')", "out of range"),
        ("select 'a' as user_id; select 'b' as user_id", "2 statements"),
        ("copy (select 'a' as user_id) to '/tmp/x'", "SELECT"),
        ("insert into x values ('a')", "SELECT"),
        ("select content as user_id from read_text('/etc/passwd')", "read_text"),
        ("select user_id, cast(user_id as int) as x from audience('vip')", "Could not convert"),
    ],
)
def test_result_that_is_no_audience_is_a_user_error(written: Write, text: str, fault: str | None) -> None:
    if fault is None:
        assert len(written(text)[1]) == 3
        return
    with pytest.raises(UserError) as caught:
        written(text)
    assert caught.value.code == ("BAD_COLUMN" if fault == "a b" else "BAD_SQL")
    assert fault.lower() in str(caught.value).lower()


def test_result_is_bounded_in_bytes_time_and_memory(written: Write, tmp_path: Path) -> None:
    endless = "select uuid()::varchar as user_id from range(10000000000)"
    for given, code in (({"most_bytes": 2**20}, "SQL_TOO_BIG"), ({"timeout_s": 1}, "SQL_TIMEOUT")):
        with pytest.raises(UserError) as caught:
            written(endless, **given)
        assert caught.value.code == code
    small = dataclasses.replace(limits(tmp_path), memory_bytes=64 * 2**20)
    many = "select range::varchar as user_id from range(2000000) order by hash(range)"
    assert len(written(many, limits=small)[1]) == 2_000_000
    assert list((tmp_path / "duckdb").iterdir()) == []
