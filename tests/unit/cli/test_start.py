"""A command loads what it needs and no more: what is slow to import is not paid for by `--help` or by a list."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.platform.settings import Secret
from tests.fakes.catalog import migrated

HEAVY = ("boto3", "botocore", "confluent_kafka", "duckdb", "faust", "numba", "numpy", "pyarrow", "pyiceberg")
PROBE = """
import sys
from orchestration.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write("loaded: " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
"""


def loaded(*arguments: str, home: Path) -> set[str]:
    """The top-level modules that a command has loaded, in a process of its own."""
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
