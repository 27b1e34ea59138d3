"""A PostgreSQL server of our own on a free port, for tests: Debian's binaries and a temporary data directory."""

import os
import pwd
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from orchestration.platform.settings import Secret
from tests.servers.ports import free_port

USER = "postgres"


class Postgres:
    """A server with its data. `stop` is a crash: no checkpoint, every connection gone; `start` recovers.

    `options`: further ones of the server, such as `max_connections=50`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        binaries = _binaries()
        data = folder / "pg"
        data.mkdir(parents=True)
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam(USER)
            as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            os.chown(data, account.pw_uid, account.pw_gid)
            for parent in data.parents:  # pytest makes its folders readable by their owner only
                if parent.stat().st_uid == 0 and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._port = free_port()
        run = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-N"]
        subprocess.run(run, check=True, capture_output=True, cwd="/")
        self._log = data / "log"
        given = ("listen_addresses=127.0.0.1", "unix_socket_directories=''", "fsync=off", *options)
        self._options = " ".join((f"-p {self._port}", *(f"-c {one}" for one in given)))
        self._control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
        self.foreground = [*as_user, str(binaries / "postgres"), "-D", str(data), *shlex.split(self._options)]
        """Command line, for tests that start the server themselves."""

    @property
    def port(self) -> int:
        """Port on loopback."""
        return self._port

    @property
    def url(self) -> Secret:
        """SQLAlchemy URL; the same after every start."""
        return Secret(f"postgresql+psycopg://{USER}@127.0.0.1:{self._port}/postgres")

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        self._run("-l", str(self._log), "-o", self._options, "start")

    def stop(self) -> None:
        """Stop, and wait until it is gone."""
        self._run("-m", "immediate", "stop")

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._control, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgres_server(folder: Path, *options: str) -> Iterator[Postgres]:
    """A running server below `folder`. Fails, never skips, if no server is installed."""
    server = Postgres(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def database(server: Postgres) -> Iterator[Secret]:
    """A new database; yields its SQLAlchemy URL. Dropped at the end, even while clients are connected."""
    name = f"test-{uuid.uuid4().hex}"
    _administer(server.url, f'CREATE DATABASE "{name}"')
    try:
        yield Secret(server.url.reveal().removesuffix("/postgres") + f"/{name}")
    finally:
        _administer(server.url, f'DROP DATABASE "{name}" WITH (FORCE)')


def delete_rows(url: Secret, *, keep: str) -> None:
    """Empty every table but one, without triggers and foreign key checks."""
    engine = sa.create_engine(url.reveal(), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")
        for table in sa.inspect(connection).get_table_names():
            if table != keep:
                connection.exec_driver_sql(f'DELETE FROM "{table}"')


def _administer(url: Secret, statement: str) -> None:
    engine = sa.create_engine(url.reveal(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def installed() -> bool:
    """True if this machine has a server."""
    return bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))) or shutil.which("initdb") is not None


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).parent
    raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
