"""docs/querying.md: every block runs here; the ones for Athena and Trino as far as possible without these engines."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import duckdb
import pandas as pd
import pytest
import sqlglot
import typer.main
from pyiceberg.utils.config import Config
from sqlglot import exp

from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.duck import extension_path
from muster import Client
from orchestration.access.policy import Action
from orchestration.cli.main import app
from orchestration.console.pages.connections import snippets_of
from orchestration.operations.connecting import Names, snippet
from orchestration.platform.settings import Secret, Settings
from schemas.columns import ColumnType
from schemas.manifest import Manifest
from schemas.sql_text import literal
from tests.integration.lake.support import BUCKET, limits
from tests.servers.querying import ANSWER, BORN, DOCUMENT, SCHEMA, SEEN, Block, Place, arrange, blocks, counted

BLOCKS: Final = blocks()
RUN_BY_DUCKDB: Final = "duckdb"
IN_PYTHON: Final = ("pandas", "pyiceberg", "symlink", "glue")
PARSED: Final = ("athena", "trino")
ELSEWHERE: Final = ("console", "spark")
"""`console` below, `spark` below and, with Spark itself, in tests/integration/test_spark.py."""
ATHENA: Final[Mapping[ColumnType, str]] = {
    "string": "STRING", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP",
}  # fmt: skip


def of(*engines: str, language: str = "") -> list[Any]:
    found = [block for block in BLOCKS if block.engine in engines and language in block.text]
    return [pytest.param(block, id=f"line {block.line}") for block in found]


@pytest.fixture(scope="module")
def place(s3: S3Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("querying")
    url = f"sqlite:///{folder / 'catalog.db'}"
    store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(folder))
    yield arrange(folder, s3, store, url)
    store.close()


@pytest.fixture
def here(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The examples, with the paths that an analyst next to the exports would use."""
    monkeypatch.chdir(place.folder)
    return place


def test_every_documented_block_runs() -> None:
    known = {RUN_BY_DUCKDB, *IN_PYTHON, *PARSED, *ELSEWHERE}
    assert {block.engine for block in BLOCKS} == known
    fences = re.findall(r"^ *(?:```|~~~)", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(BLOCKS)


def test_every_placeholder_is_explained_and_used(place: Place) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    code = "".join(block.text for block in BLOCKS)
    for word in place.words:
        assert f"`{word}`" in text
        assert word in code


@pytest.mark.parametrize("block", of(RUN_BY_DUCKDB))
def test_duckdb(here: Place, block: Block, tmp_path: Path) -> None:
    with duckdb.connect(config={"extension_directory": str(tmp_path), "autoinstall_known_extensions": False}) as db:
        for name in ("httpfs", "avro", "iceberg"):  # same as `INSTALL name`, without a network
            db.execute(f"INSTALL {literal(str(extension_path(name)))}")
        assert counted(db.execute(here.filled(block.text)).fetchall()) == ANSWER


@pytest.mark.parametrize("block", of("pandas", "pyiceberg"))
def test_python(here: Place, block: Block) -> None:
    names: dict[str, Any] = {}
    exec(compile(here.filled(block.text), f"querying.md:{block.line}", "exec"), names)
    result: pd.DataFrame = names["result"].sort_values("country")
    assert counted(result.itertuples(index=False)) == ANSWER
    if isinstance(names.get("members"), pd.DataFrame):
        of_ann, of_bob = (names["members"].set_index("user_id").loc[id_] for id_ in ("ann", "bob"))
        assert sorted(names["members"]["user_id"]) == ["007", "ann", "bob", "c,y\n"]
        assert (of_ann["spend"], of_ann["opted_in"], pd.isna(of_ann["age"])) == (0.1 + 0.2, True, True)
        assert pd.Timestamp(of_ann["born"]).date() == BORN
        assert of_ann["seen"].to_pydatetime() == SEEN
        assert all(pd.isna(of_bob[name]) for name in ("opted_in", "born", "seen"))


@pytest.mark.parametrize("block", of("symlink"))
def test_the_list_of_files_for_athena(here: Place, block: Block, s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> None:
    _as_analyst(monkeypatch, s3)
    exec(compile(here.filled(block.text), f"querying.md:{block.line}", "exec"), {})
    place = _location(BLOCKS, "vip_v3")
    listed = s3.client().get_object(Bucket="exports", Key=f"{place}files.txt")["Body"].read().decode().split("\n")
    manifest = Manifest.parse(s3.client().get_object(Bucket="exports", Key="vip/manifest.json")["Body"].read())
    assert listed == [f"s3://exports/vip/{file.key}" for file in manifest.files]


def _snippet(kind: str, **given: Any) -> str:
    """As `muster connect` and the console show it."""
    settings = Settings(home=Path("home"), **{"s3_endpoint": "", **given})
    return snippet(settings, kind, Names(keys_file="muster.keys", tenant="acme", audience="vip"))


@pytest.mark.parametrize("text", [*(block.text for block in BLOCKS if block.engine == "glue"), _snippet("athena")])
def test_glue_registration_is_repeatable(here: Place, text: str, s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> None:
    def audience(*_: Any, **__: Any) -> Any:
        return {"table": {"metadata": here.words["TABLE_METADATA"]}}

    monkeypatch.setattr(Client, "audience", audience)
    monkeypatch.setenv("MUSTER_TOKEN", "mst_token")
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  # slow

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        _as_analyst(monkeypatch, s3)
        monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", f"http://{host}:{port}")
        monkeypatch.setenv("PYICEBERG_CATALOG__GLUE__S3__ENDPOINT", s3.endpoint)
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # pyiceberg had read it on import
        for _ in range(2):
            names: dict[str, Any] = {}
            exec(compile(here.filled(text), "glue", "exec"), names)
            table = names["glue"].load_table("muster_acme.vip")
            assert table.metadata_location == here.words["TABLE_METADATA"]
            assert table.snapshot_by_name("v3").snapshot_id == int(here.words["SNAPSHOT_ID"])
    finally:
        server.stop()


@pytest.mark.parametrize("block", of("athena"))
def test_athena(here: Place, block: Block) -> None:
    [statement] = sqlglot.parse(here.filled(block.text), read="athena")
    assert statement is not None
    if isinstance(statement, exp.Create):
        columns = {c.name: c.kind.sql("hive") for c in statement.find_all(exp.ColumnDef) if c.kind is not None}
        is_csv = "OpenCSVSerde" in block.text
        wanted = {"user_id": "STRING"} | {c.name: "STRING" if is_csv else ATHENA[c.type] for c in SCHEMA.columns}
        assert columns == wanted
        assert ("'skip.header.line.count'" in block.text) == is_csv
        assert urlsplit(_location([block], statement.this.this.name)).path != ""
    else:
        _check_select(statement, here)


@pytest.mark.parametrize("block", of("trino"))
def test_trino(here: Place, block: Block) -> None:
    if block.text.lstrip().lower().startswith("select"):
        [statement] = sqlglot.parse(here.filled(block.text), read="trino")
        assert statement is not None
        _check_select(statement, here)
    else:
        properties = dict(line.split("=", 1) for line in here.filled(block.text).splitlines())
        assert properties["iceberg.jdbc-catalog.catalog-name"] == "muster"
        assert properties["iceberg.security"] == "read_only"


def test_trino_snippet_has_the_documented_properties() -> None:
    url = Secret("postgresql+psycopg://muster:hush@db/muster")
    text = _snippet("trino", s3_endpoint="http://S3_ENDPOINT", catalog_url=url)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    documented = next(block.text for block in BLOCKS if block.engine == "trino" and "=" in block.text.split()[0])
    named, written = (dict(line.split("=", 1) for line in found) for found in (lines, documented.splitlines()))
    logon = {"iceberg.jdbc-catalog.connection-user", "iceberg.jdbc-catalog.connection-password"}
    assert named.keys() - written.keys() == logon
    differing = {name for name in written if named[name] != written[name]}
    assert differing == {"iceberg.jdbc-catalog.connection-url", "s3.aws-access-key", "s3.aws-secret-key"}
    [query] = [line.removeprefix("# ") for line in text.splitlines() if "SELECT" in line]
    assert sqlglot.parse_one(query, read="trino").find(exp.Table) == exp.to_table(
        'muster."acme"."vip"', dialect="trino"
    )


def test_export_snippet_reads_the_files_of_the_manifest(here: Place) -> None:
    [text] = [
        one.text for one in snippets_of("http://api", "acme", frozenset({Action.RUN_JOBS})) if one.tool == "files"
    ]
    asked = shlex.split(text.partition("\n")[2])
    assert asked[:2] == ["duckdb", "-c"]
    with duckdb.connect() as db:
        assert db.execute(asked[2].replace("vip/", "exports/vip/")).fetchall() == [(4,)]


@pytest.mark.parametrize("block", of("spark"))
def test_spark_snippet_is_well_formed(here: Place, block: Block) -> None:
    if block.text.lstrip().startswith("SELECT"):
        [statement] = sqlglot.parse(here.filled(block.text), read="spark")
        assert statement is not None
        _check_select(statement, here)
    else:
        compile(here.filled(block.text), f"querying.md:{block.line}", "exec")


@pytest.mark.parametrize("block", of("console"))
def test_commands(block: Block) -> None:
    for line in block.text.splitlines():
        command: Any = typer.main.get_command(app)
        words = line.removeprefix("$ muster ").split()
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def _as_analyst(monkeypatch: pytest.MonkeyPatch, s3: S3Access) -> None:
    """The environment of a user who has configured AWS's tools."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3.region)


def _check_select(statement: exp.Expr, here: Place) -> None:
    """Check that only existing columns are named, and version 3 by its tag or its snapshot."""
    aliases = {alias.alias for alias in statement.find_all(exp.Alias)}
    assert {column.name for column in statement.find_all(exp.Column)} <= {"user_id", *SCHEMA.names, *aliases}
    for version in statement.find_all(exp.Version):
        assert version.expression.name in {"v3", here.words["SNAPSHOT_ID"]}


def _location(found: list[Block], table: str) -> str:
    [text] = [block.text for block in found if f"TABLE {table} (" in block.text]
    place = re.search(r"LOCATION 's3://exports/([^']+)'", text)
    assert place is not None
    return place[1]
