"""One embedded stack behind a proxy, for many faulted imports."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.lake.store import IcebergVersionStore
from orchestration.composition.context import Context
from orchestration.local import stack as local_stack
from orchestration.local.home import Home, initialise
from orchestration.local.kafka import users
from orchestration.local.ports import Ports
from orchestration.platform.settings import Settings
from tests.conftest import stack_environment, stop_and_check
from tests.faults.proxy import Link, Proxy
from tests.faults.supervisor import VARIABLE
from tests.faults.task import FOLDER
from tests.integration.whole_imports import TENANT
from tests.servers.postgres import Postgres, installed

PARTS: Final = ("s3", "kafka", "catalog", "engine", "relay", "worker")
SETTINGS: Final = {
    "MUSTER_PARTITIONS": "4",
    "MUSTER_WORKERS": "2",
    "MUSTER_WORKER_SESSION_TIMEOUT_S": "6",
    "MUSTER_LAMBDA_FILE_BYTES": str(96 * 1024),  # smaller files go through functions, larger ones through tasks
    "MUSTER_SMALL_FILE_BYTES": str(1024 * 1024),  # both lanes are used
    "MUSTER_WEBHOOK_PRIVATE_TARGETS": "127.0.0.1",
    "MUSTER_WEBHOOK_SECRET": "a secret of this stack alone",
}
UNITS: Final = {
    "MUSTER_UNIT_BYTES": str(40 * 1024),  # a file is two units or so, and a version a group for each partition
    "MUSTER_LAMBDA_FILE_BYTES": str(32 * 1024),  # units of files are tasks, groups of partitions go through functions
}
START_TIMEOUT_S: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultedStack:
    """`context` bypasses the proxy, except for Kafka, whose clients connect where the broker sends them."""

    context: Context
    links: dict[str, Link]
    logs: Path

    @property
    def settings(self) -> Settings:
        """Settings of the stack, with the servers' own addresses."""
        return self.context.settings

    @property
    def has_postgres(self) -> bool:
        """True if the catalog is a server that can die, not an SQLite file."""
        return "catalog" in self.links

    def pid(self, part: str) -> int | None:
        """The process id of a part. None while it is down."""
        found = local_stack.status(self.settings).part(part)
        return None if found is None else found.pid

    def ready(self) -> bool:
        """True if every part is up."""
        return bool(local_stack.status(self.settings).ready)


@contextmanager
def faulted_stack(folder: Path, *, segments: bool = False, units: bool = False) -> Iterator[FaultedStack]:
    """Start a stack in `folder`, with or without segment workers and feeds, and stop it at the end.

    `units`: with settings that cut even small files into units. The catalog is PostgreSQL where it is installed.
    """
    home = Home(path=(folder / "home").absolute())
    env = stack_environment(SETTINGS | (UNITS if units else {}))
    with ExitStack() as started:
        database: dict[str, Any] | None = None
        parts = [*PARTS, *(("segment-worker", "feeder") if segments else ())]
        if installed():
            parts.append("postgres")
            server = Postgres(folder / "database")
            database = {"command": server.foreground, "port": server.port, "url": server.url.reveal()}
            env["MUSTER_CATALOG_URL"] = database["url"]
        home.make()
        users.ensure_passwords(home.kafka)
        settings = initialise(home, env, free_ports=True, broker=True)
        ports = Ports.load(home.ports_file, settings)
        links = [
            Link(name="kafka", protocol="kafka", target=ports.kafka),
            Link(name="s3", protocol="http", target=ports.s3),
            Link(name="engine", protocol="http", target=ports.engine),
        ]
        if database is not None:
            links.append(Link(name="catalog", protocol="postgres", target=database["port"]))
        (home.path / FOLDER).mkdir(exist_ok=True)
        started.enter_context(Proxy(*links))
        wiring = {"ports": {link.name: link.port for link in links}, "postgres": database}
        with home.log_file("supervisor").open("ab") as output:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.supervisor", "--parts", ",".join(parts)],
                env={**env, **settings.environment(), VARIABLE: json.dumps(wiring)},
                cwd=home.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.callback(supervisor.wait, 60)
        started.callback(stop_and_check, home.path)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not local_stack.status(settings).running:
            assert supervisor.poll() is None, home.log_file("supervisor").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the supervisor does not begin"
            time.sleep(0.05)
        local_stack.up(settings, env=env, timeout_s=START_TIMEOUT_S)
        context = Context(settings)
        context.audiences.add_tenant(TENANT, now_ms=1)
        try:
            yield FaultedStack(context=context, links={link.name: link for link in links}, logs=home.logs)
        finally:
            context.database.close()
            context.archive.close()
            lake = context.versions
            assert isinstance(lake, IcebergVersionStore)
            lake.close()
