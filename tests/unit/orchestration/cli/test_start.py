"""A command loads only what it needs: `--help` or a list does not pay for slow imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from orchestration.cli.families import FAMILIES
from orchestration.cli.main import app
from orchestration.platform.settings import Secret
from tests.fakes.catalog import migrated

HEAVY = ("boto3", "botocore", "confluent_kafka", "duckdb", "faust", "numba", "numpy", "pyarrow", "pyiceberg")
PROBE = """
import sys
from orchestration.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write("loaded: " + " ".join(sorted(sys.modules)))
sys.exit(code)
"""


def loaded(*arguments: str, home: Path) -> set[str]:
    """Top-level modules that a command loads, in a separate process."""
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


@pytest.mark.parametrize("arguments", [["jobs", "list"], ["jobs", "list", "--json"], ["tenants", "list"]])
def test_a_list_from_the_catalog_loads_the_catalog_alone(arguments: list[str], tmp_path: Path) -> None:
    migrated(Secret(f"sqlite:///{tmp_path / 'catalog.db'}"))
    modules = loaded(*arguments, home=tmp_path)
    assert "sqlalchemy" in modules
    assert modules & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("arguments", "families"),
    [(["--help"], set()), (["tenants", "--help"], {"tenant_commands"}), (["sql", "--help"], {"lake_commands"})],
)
def test_a_command_loads_no_other(arguments: list[str], families: set[str], tmp_path: Path) -> None:
    modules = {f"orchestration.cli.{module}" for family in FAMILIES.values() for module in family.modules}
    assert all_loaded(*arguments, home=tmp_path) & modules == {f"orchestration.cli.{family}" for family in families}


def test_the_help_of_all_commands_says_what_that_of_each_says() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {name: (command.get_short_help_str(200), command.hidden) for name, command in commands.items()} == {
        name: (family.help, family.hidden) for name, family in FAMILIES.items()
    }
