"""Fixtures that start real parts. They use free ports and a temporary home, and check that no process is left.

`start_stack` starts a stack with chosen parts and settings and stops it at the end of the test.
Stacks that many tests share are fixtures of their folders (`TOGETHER`): a stack costs processor time even when
idle.
"""

import gc
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import boto3
import psutil
import pytest

from orchestration.catalog import migrate
from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.platform.settings import Secret, Settings
from tests import examples  # noqa: F401 - registers the profiles of Hypothesis
from tests.fakes.catalog import statements_compiled_once
from tests.holding.points import ON_PATH
from tests.servers.postgres import Postgres, database, delete_rows, postgres_server

pytest_plugins = ["tests.budgets", "tests.bytecode"]
StartStack = Callable[..., Settings]
SOURCES: Final = "customer"
"""A customer's bucket, whose objects are imported: Muster's own buckets are not allowed as sources."""
PARTS: Final = ("kafka", "s3", "catalog", "engine", "relay", "worker")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: modules and tests stay, and a fifth of the time goes into looking at them.

    Nor do later searches look at them, each of which would take most of a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last words of a failed test's stacks: later runs remove their homes."""
    report = yield
    if report.failed:
        used = [getattr(value, "settings", value) for value in getattr(item, "funcargs", {}).values()]
        for home in {settings.home for settings in used if isinstance(settings, Settings)}:
            for log in sorted((home / "logs").glob("*.log")):
                report.sections.append((f"{log.name} of {home}", "\n".join(processes.tail(log, 60))))
    return report


TOGETHER: Final = (
    "tests/integration/shared",
    "tests/integration/whole",
    "tests/e2e",
    "tests/engine",
    "tests/unit/orchestration/deploy",
)
"""Folders whose files share one stack, engine or synthesis. With several pytest processes, one runs all of a folder."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, hand out the files of a folder in `TOGETHER` together."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only where there are several processes

    class ByStack(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            shared = [folder for folder in TOGETHER if nodeid.startswith(f"{folder}/")]
            return shared[0] if shared else super()._split_scope(nodeid)

    return ByStack(config, log) if config.getoption("dist") == "loadfile" else None


LONGEST_NAME = 60
"""Maximum length of a parameter in a test name, in bytes."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Only short text may name a test: compressed bytes contain the time, and all processes must collect the same."""
    readable = not isinstance(val, bytes) or (len(val) <= LONGEST_NAME and val.isascii())
    return None if readable else argname


@pytest.fixture(autouse=True)
def _no_credentials_are_left() -> Iterator[None]:
    """Drop the credentials that boto3's default session caches, so that no test gets those of another's environment.

    A session that has found none is kept; a client in a new session takes twenty times as long to make.
    """
    _forget_credentials()
    yield
    _forget_credentials()


def _forget_credentials() -> None:
    session = boto3.DEFAULT_SESSION
    # Not `get_credentials()`, which would search for credentials.
    if session is not None and session._session._credentials is not None:  # type: ignore[attr-defined]
        boto3.DEFAULT_SESSION = None


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    with statements_compiled_once():
        yield


@pytest.fixture
def anyio_backend() -> str:
    """Kafka's clients and Faust run on asyncio alone."""
    return "asyncio"


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """`start_stack(parts=("kafka", "s3"), name="a", **settings)` starts a stack in its own home."""
    with stacks(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """Like `start_stack`, but the stack is stopped after the last test of the module."""
    with stacks(tmp_path_factory.mktemp("module-stack")) as start:
        yield start


@contextmanager
def stacks(folder: Path) -> Iterator[StartStack]:
    """Yield a function that starts stacks below a folder. They are stopped at the end."""
    with ExitStack() as started:

        def start(*, parts: Sequence[str] | None = ("kafka", "s3"), name: str = "home", **settings: object) -> Settings:
            home = folder / name
            parts = PARTS if parts is None else parts
            extra = {f"MUSTER_{field.upper()}": str(value) for field, value in settings.items()}
            started.callback(stop_and_check, home)
            return local_stack.up(home, parts=parts, free_ports=True, env=stack_environment(extra))

        yield start


def stack_environment(extra: dict[str, str]) -> dict[str, str]:
    """The environment without settings of the developer's own stack. Its processes can be held (`tests.holding`)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return inherited | {"PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{ON_PATH}"} | extra


def stop_and_check(home: Path) -> None:
    """Stop a stack. A process that outlives it fails the test."""
    local_stack.down(home)
    left = []
    for process in processes.marked(home.absolute()):
        with suppress(psutil.NoSuchProcess):
            left.append(process.cmdline())
    assert left == []


@pytest.fixture(scope="session")
def session_postgres() -> Iterator[Postgres]:
    """One PostgreSQL server per session. Tests use databases on it (`postgres_url`, `empty_postgres_catalog`)."""
    # Not below pytest's folder: any other pytest that starts revokes the server user's access to it.
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def postgres_url(session_postgres: Postgres) -> Iterator[Secret]:
    """An empty database, shared by the tests of a module."""
    with database(session_postgres) as url:
        yield url


@pytest.fixture
def empty_postgres_catalog(postgres_url: Secret) -> Iterator[Secret]:
    """The module's database, migrated, without rows. Migrating down and up takes thirty times as long."""
    migrate.upgrade(postgres_url)
    yield postgres_url
    delete_rows(postgres_url, keep="alembic_version")


def unavailable(what: str) -> NoReturn:
    """The machine lacks what a test needs: skip the test for a person, fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)
