"""Fixtures that start real parts: one broker and one S3 server a session, whole stacks on demand.

`stack`        settings of a running Kafka and S3 (topics and buckets made), shared by all tests of the session:
               use ids, tenants and keys of your own.
`start_stack`  starts a stack of its own with chosen parts and settings, stopped at the end of the test.
Both use free ports and a temporary home, and check that no process is left.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from connectors.sources.standby import STANDBY
from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.local.kafka.topics import ensure_topics
from orchestration.settings import Settings

StartStack = Callable[..., Settings]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kafka docker` puts the broker of `stack` into a container."""
    parser.addoption("--kafka", choices=("embedded", "docker"), default="embedded", help="where `stack` has its broker")


LONGEST_NAME = 60
"""Of a parameter in the name of a test, in bytes."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Only short text may name a test: compressed bytes hold the time, and all processes must collect the same."""
    readable = not isinstance(val, bytes) or (len(val) <= LONGEST_NAME and val.isascii())
    return None if readable else argname


@pytest.fixture(autouse=True)
def _no_parser_waits() -> Iterator[None]:
    """A handler that a test calls in this process keeps a parser waiting for the next file: not for the next test."""
    yield
    STANDBY.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Kafka and S3 for the whole session."""
    home = tmp_path_factory.mktemp("stack") / "home"
    extra = {"MUSTER_PARTITIONS": "4"}
    with ExitStack() as servers:
        with_parts = ["kafka", "s3"]
        if request.config.getoption("--kafka") == "docker":
            from tests.servers.kafka import kafka_cluster  # noqa: PLC0415 - only where Docker is asked for

            with_parts.remove("kafka")
            extra["MUSTER_KAFKA_BOOTSTRAP"] = servers.enter_context(kafka_cluster(1)).bootstrap
        servers.callback(stop_and_check, home)
        settings = local_stack.up(home, parts=with_parts, free_ports=True, env=stack_environment(extra))
        ensure_topics(settings)
        yield settings


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """`start_stack(parts=("kafka", "s3"), name="a", **settings)` starts a stack in a home of its own."""
    yield from _stacks(tmp_path)


@pytest.fixture(scope="module")
def start_module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """As `start_stack`; the stack is stopped after the last test of the module."""
    yield from _stacks(tmp_path_factory.mktemp("module-stack"))


def _stacks(folder: Path) -> Iterator[StartStack]:
    homes: list[Path] = []

    def start(*, parts: Sequence[str] | None = ("kafka", "s3"), name: str = "home", **settings: object) -> Settings:
        home = folder / name
        homes.append(home)
        extra = {f"MUSTER_{field.upper()}": str(value) for field, value in settings.items()}
        return local_stack.up(home, parts=parts, free_ports=True, env=stack_environment(extra))

    try:
        yield start
    finally:
        for home in homes:
            stop_and_check(home)


def stack_environment(extra: dict[str, str]) -> dict[str, str]:
    """The environment without settings of the developer's own stack; the processes find the tests' modules."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return inherited | {"PYTHONPATH": str(Path(__file__).parents[1])} | extra


def stop_and_check(home: Path) -> None:
    """Stop a stack; a process that outlives it fails the test."""
    local_stack.down(home)
    left = [process.cmdline() for process in processes.marked(home.absolute())]
    assert left == []


def unavailable(what: str) -> NoReturn:
    """The machine lacks what a test needs: a person may do without the test, CI may not."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)
