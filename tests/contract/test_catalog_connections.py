"""Connections to PostgreSQL: encrypted if the URL asks for it, and closed between the calls of a function."""

import json
import os
import shutil
import socketserver
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.lake.catalog import LakeCatalog
from connectors.storage.access import S3Access
from orchestration.catalog import migrate
from orchestration.catalog.engine import Database
from orchestration.entrypoints import container_secrets, handlers
from orchestration.platform.settings import Secret, Settings
from schemas.errors import RetriableError
from schemas.ids import AudienceName, JobId, TenantName
from segmentation.versions import AudienceRef
from tests.servers.certificates import make_certificate
from tests.servers.moto_aws import client, environment, moto_server
from tests.servers.postgres import Postgres
from tests.waiting import until

pytestmark = pytest.mark.containers
NOBODY = AudienceRef(audience_id=JobId("0" * 26), tenant=TenantName("acme"), audience=AudienceName("vip"))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that speaks TLS, and requires the password of its user `muster`."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder))
        data = Path(folder) / "pg"
        for file, name in zip(make_certificate(Path(folder)), ("server.crt", "server.key"), strict=True):
            shutil.copy(file, data / name)
            os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
            (data / name).chmod(0o600)
        for name, more in ("postgresql.conf", "ssl = on\n"), ("pg_hba.conf", "host all muster all scram-sha-256\n"):
            (data / name).write_text(more + (data / name).read_text())
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def url(server: Postgres) -> Secret:
    """The URL as built from an RDS secret, with a password that must be encoded."""
    admin = sa.create_engine(server.url.reveal())
    with admin.begin() as connection:
        connection.exec_driver_sql("CREATE USER muster PASSWORD 'p@ss:/?#&%% +'")
        connection.exec_driver_sql("CREATE SCHEMA AUTHORIZATION muster")
    admin.dispose()
    url = Secret(
        f"postgresql+psycopg://muster:p%40ss%3A%2F%3F%23%26%25%20%2B@127.0.0.1:{server.port}/postgres?sslmode=require"
    )
    migrate.upgrade(url)
    return url


def connections(server: Postgres) -> list[bool]:
    """For each connection of `muster`: whether it is encrypted."""
    engine = sa.create_engine(server.url.reveal(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        sql = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'muster'"
        return [encrypted for (encrypted,) in connection.exec_driver_sql(sql)]


def await_no_connection(server: Postgres) -> None:
    """The server lists a connection until its process has ended, a moment after the client has closed it."""
    until(lambda: not connections(server), "no connection of muster")


def test_connections_of_catalog_and_lake_are_encrypted(server: Postgres, url: Secret) -> None:
    database = Database(url)
    lake = LakeCatalog(catalog_url=url.reveal(), s3=S3Access(endpoint="http://127.0.0.1:9", region="r"), bucket="lake")
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
        lake.ensure_namespace("one")
        assert connections(server) == [True, True]
    database.close()
    lake.close()
    await_no_connection(server)


def test_connections_that_are_not_needed_are_closed_after_a_while(server: Postgres, url: Secret) -> None:
    database = Database(url, idle_s=0.5)
    with database.read() as one, database.write(), database.read():
        assert len(connections(server)) == 3
        database.version()
        until(lambda: len(connections(server)) == 4, "a connection that watches for commits")
        time.sleep(1.2)  # those in use are left alone
        assert one.exec_driver_sql("SELECT 1").scalar() == 1
    until(lambda: len(connections(server)) == 1, "only the connection that watches for commits")
    with database.read() as again:
        assert again.exec_driver_sql("SELECT 1").scalar() == 1
        assert database.version() is not None
    until(lambda: len(connections(server)) == 1, "only the connection that watches for commits")
    database.close()
    await_no_connection(server)


def test_unencrypted_server_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain = Postgres(Path(folder))
        plain.start()
        database = Database(Secret(f"{plain.url.reveal()}?sslmode=require"))
        with pytest.raises(RetriableError, match="does not support SSL"), database.read():
            pass
        plain.stop()


def test_server_that_is_starting_is_an_outage() -> None:
    """So answers a database that has been paused, until it can be used; the service then answers 503."""
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"

    class Starting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(int.from_bytes(self.rfile.read(4), "big") - 4)
            self.wfile.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    with socketserver.TCPServer(("127.0.0.1", 0), Starting) as starting:
        threading.Thread(target=starting.serve_forever, daemon=True).start()
        port = starting.server_address[1]
        database = Database(Secret(f"postgresql+psycopg://muster:x@127.0.0.1:{port}/postgres?sslmode=disable"))
        with pytest.raises(RetriableError, match=r"CATALOG_UNAVAILABLE: .*is starting up"), database.read():
            pass
        starting.shutdown()


def test_changed_password_is_not_an_outage(url: Secret) -> None:
    database = Database(Secret(url.reveal().replace("p%40ss", "old")))
    with pytest.raises(RetriableError, match=r"CATALOG_REFUSED: .*password authentication failed"), database.read():
        pass


def test_function_reloads_a_changed_password_for_the_next_call(
    server: Postgres, url: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moto_server() as endpoint:
        kept = {"username": "muster", "host": "127.0.0.1", "port": server.port, "dbname": "postgres"}
        secrets = client("secretsmanager", endpoint)
        old, new = (
            json.dumps({**kept, "password": password}) for password in ("old", sa.make_url(url.reveal()).password)
        )
        arn = secrets.create_secret(Name="catalog", SecretString=old)["ARN"]
        names = {
            "MUSTER_HOME": str(tmp_path),
            "MUSTER_SECRETS": json.dumps({"CATALOG_URL": arn}),
            "MUSTER_CATALOG_URL": "",
        }
        for name, value in {**environment(endpoint), **names}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(handlers, "configure", lambda _: None)
        container_secrets.provide(os.environ)
        handlers.forget_context()

        @handlers.errors_by_name
        def reads(_: handlers.Event, __: object) -> dict[str, object]:
            return {"live": list(handlers.process_context().jobs.live())}

        with pytest.raises(Exception, match="CATALOG_REFUSED"):
            reads({}, None)  # nothing has changed
        secrets.put_secret_value(SecretId=arn, SecretString=new)
        with pytest.raises(Exception, match="CATALOG_REFUSED"):
            reads({}, None)
        assert reads({}, None) == {"live": []}
        handlers.forget_context()


def test_function_holds_no_connection_between_calls(
    server: Postgres, url: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, catalog_url=url, s3_endpoint="http://127.0.0.1:9", s3_secret_key=Secret("x"))
    monkeypatch.setattr(Settings, "load", lambda: settings)
    monkeypatch.setattr(handlers, "configure", lambda _: None)
    handlers.forget_context()
    during = []

    @handlers.errors_by_name
    def reads(_: handlers.Event, __: object) -> dict[str, object]:
        context = handlers.process_context()
        context.audiences.add_tenant(TenantName("acme"), int(datetime.now(UTC).timestamp()))
        context.versions.current(NOBODY)
        during.append(connections(server))
        return {}

    @handlers.errors_by_name
    def fails(_: handlers.Event, __: object) -> dict[str, object]:
        reads({}, None)
        handlers.process_context().jobs.live()
        raise RetriableError("CATALOG_UNAVAILABLE", "in the middle")

    for _ in range(2):
        reads({}, None)
        await_no_connection(server)
    with suppress(Exception):
        fails({}, None)
    await_no_connection(server)
    handlers.forget_context()
    assert during == [[True, True]] * 3
