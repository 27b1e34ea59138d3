"""A command loads only what it needs: `--help` or a list does not pay for slow imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from orchestration.cli.families import FAMILIES
from orchestration.cli.main import app
from tests.fakes.catalog import catalog_in
from tests.fakes.tenants import ACME, JOB, id_of, make_world
from tests.servers.api import serving

HEAVY = ("boto3", "botocore", "confluent_kafka", "duckdb", "faust", "numba", "numpy", "pyarrow", "pyiceberg")
PROBE = """
import sys
from orchestration.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write("loaded: " + " ".join(sorted(sys.modules)))
sys.exit(code)
"""


IN_TENANT = (
    "jobs list",
    "audiences list",
    "audiences show vip",
    "audiences create gold --column age:long",
    "audiences configure gold --mode append",
    "audiences diff vip 1 2",
    "inspect s3://crm/acme/vip.csv",
    "import s3://crm/acme/vip.csv -a vip --dry-run",
    "export vip --to s3://crm/acme/out",
    "explain buyers ann",
    "segments create loyal --rule ever(buy)",
    "segments edit loyal --rule never(buy)",
    "segments preview ever(buy)",
    "segments show loyal",
    "segments snapshot loyal",
    "tenants configure acme --notify-email a@b.example",
)
IN_THE_DEPLOYMENT = (
    "audit --since 7d",
    "dead-letters list",
    "dead-letters replay --all",
    "dead-letters show 17",
    "notifications list",
    "notifications resend --given-up",
)
"""Commands that know the service alone, for callers with a right in one tenant, and in the deployment."""
PROBE_OF_MANY = """
import json, sys
from orchestration.cli.main import main
for command in sys.argv[1:]:
    code = main([*(word.replace("\N{NO-BREAK SPACE}", " ") for word in command.split(" ")), "--json"])
    sys.stderr.write(f"ended {json.dumps([command, code, sorted(sys.modules)])}\\n")
"""


def loaded(*arguments: str, home: Path) -> set[str]:
    """Top-level modules that a command loads in a separate process."""
    return {name.partition(".")[0] for name in all_loaded(*arguments, home=home)}


def all_loaded(*arguments: str, home: Path) -> set[str]:
    """All modules that a command loads."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        env={**os.environ, "MUSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("loaded: ")[2].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["import", "--help"], ["audiences", "--help"], ["jobs", "list", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert loaded(*arguments, home=tmp_path) & {*HEAVY, "sqlalchemy", "fastavro"} == set()


def test_audited_command_loads_only_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_WEBHOOK_SECRET", "x" * 32)
    catalog_in(tmp_path)
    modules = loaded("notifications", "key", "--to", str(tmp_path / "key"), home=tmp_path)
    assert "sqlalchemy" in modules
    assert modules & set(HEAVY) == set()


@pytest.mark.slow("twenty commands, one after the other")
def test_service_command_loads_little_beyond_the_client(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    job = id_of(ACME, JOB)
    of_jobs = (f"jobs show {job}", f"receipt {job[:25]}", f"rejects {job}", "sql FROM\N{NO-BREAK SPACE}vip")
    with serving(world) as url:
        for caller, commands in (("acme-admin", (*of_jobs, *IN_TENANT)), ("deployment-admin", IN_THE_DEPLOYMENT)):
            access = {"MUSTER_API_URL": url, "MUSTER_TOKEN": world.tokens[caller].text.reveal()}
            done = subprocess.run(
                [sys.executable, "-c", PROBE_OF_MANY, *commands],
                env={**os.environ, **access, "MUSTER_HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            ended = [json.loads(line[6:]) for line in done.stderr.splitlines() if line.startswith("ended ")]
            assert [(command, code) for command, code, _ in ended] == [(command, 0) for command in commands], (
                done.stderr
            )
            for command, _, names in ended:
                modules = {name.partition(".")[0] for name in names}
                assert "importlib.metadata" not in names, command
                assert modules & {*HEAVY, "sqlalchemy", "fastavro", "pydantic", "fastapi"} == set(), command
    world.services.database.close()


@pytest.mark.parametrize(
    ("arguments", "families"),
    [(["--help"], set()), (["tenants", "--help"], {"tenant_commands"}), (["sql", "--help"], {"sql_commands"})],
)
def test_command_loads_no_other_command(arguments: list[str], families: set[str], tmp_path: Path) -> None:
    modules = {f"orchestration.cli.{module}" for family in FAMILIES.values() for module in family.modules}
    assert all_loaded(*arguments, home=tmp_path) & modules == {f"orchestration.cli.{family}" for family in families}


def test_combined_help_matches_each_commands_help() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {name: (command.get_short_help_str(200), command.hidden) for name, command in commands.items()} == {
        name: (family.help, family.hidden) for name, family in FAMILIES.items()
    }
