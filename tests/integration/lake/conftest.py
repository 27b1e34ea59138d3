"""One S3 server for the lake's tests; tests that use it are integration tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.lake.archive import ActivityArchive
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from orchestration.composition.context import Context
from orchestration.entrypoints import export_handlers
from orchestration.platform.settings import Secret, Settings
from tests.fakes.catalog import catalog_in, without_fsync
from tests.fakes.workflow import InMemoryWorkflow
from tests.integration.lake.archiving import Bucket
from tests.integration.lake.export_steps import Exports
from tests.integration.lake.support import BUCKET, limits, object_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "s3" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="package", autouse=True)
def _no_fsync() -> Iterator[None]:
    with without_fsync():
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Access]:
    with object_server(tmp_path_factory.mktemp("weed")) as access:
        yield access


@pytest.fixture
def catalog_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def store(s3: S3Access, catalog_url: str, tmp_path: Path) -> Iterator[IcebergVersionStore]:
    store = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    yield store
    store.close()


@pytest.fixture
def bucket(s3: S3Access) -> Iterator[Bucket]:
    with Bucket.new(s3) as bucket:
        yield bucket


@pytest.fixture
def archive(bucket: Bucket, catalog_url: str) -> Iterator[ActivityArchive]:
    archive = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
    yield archive
    archive.close()


@pytest.fixture
def context(bucket: Bucket, catalog_url: str, tmp_path: Path) -> Iterator[Context]:
    """Context of a deployment with a lake and nothing else."""
    context = Context(
        Settings(
            home=tmp_path,
            catalog_url=Secret(catalog_url),
            s3_endpoint=bucket.s3.endpoint,
            s3_access_key=bucket.s3.access_key,
            s3_secret_key=Secret(bucket.s3.secret_key),
            lake_bucket=bucket.name,
        )
    )
    yield context
    context.archive.close()


@pytest.fixture
def exports(s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exports]:
    """Exports step by step, in a catalog of their own."""
    url = catalog_in(tmp_path)
    settings = Settings(
        home=tmp_path,
        catalog_url=url,
        s3_endpoint=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=Secret(s3.secret_key),
        lake_bucket=BUCKET,
        duckdb_memory_bytes=256 * 2**20,
    )
    context, workflow = Context(settings), InMemoryWorkflow()
    vars(context)["workflow"] = workflow
    monkeypatch.setattr(export_handlers, "process_context", lambda: context)
    yield Exports(context, workflow)
    context.database.close()
