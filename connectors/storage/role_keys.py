"""Gives DuckDB the credentials of a role, which expire after some hours, and renews them while queries run.

A DuckDB secret belongs to a transaction: a running query opens every file with the secret that it began with. The
settings of the S3 extension are read again for each file, so the keys are set there. botocore fetches new ones ten to
fifteen minutes before the old ones expire, and reading a file takes less than that.
"""

import logging
import threading
from typing import Final
from weakref import WeakKeyDictionary

import boto3
import duckdb
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from connectors.storage.access import S3Access
from schemas.sql_text import literal

RENEW_EVERY_S: Final = 60.0
_log = logging.getLogger(__name__)


def use_role(connection: duckdb.DuckDBPyConnection, s3: S3Access) -> None:
    """Let a connection reach `s3` with AWS's credential chain for as long as it is open.

    Without any credentials its requests are anonymous.
    """
    _set(connection, s3_region=s3.region)
    if s3.endpoint:
        _set(connection, s3_endpoint=s3.host, s3_url_style="path", s3_use_ssl=str(s3.secure).lower())
    found = boto3.Session().get_credentials()
    if found is None:
        return
    keys = found.get_frozen_credentials()
    _set_keys(connection, keys)
    if isinstance(found, RefreshableCredentials):
        _RENEWAL.follow(connection, found, keys)


class _Renewal:
    """One thread for all connections of the process, as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followed: WeakKeyDictionary[duckdb.DuckDBPyConnection, tuple[Credentials, ReadOnlyCredentials]] = (
            WeakKeyDictionary()
        )
        self._thread: threading.Thread | None = None

    def follow(
        self, connection: duckdb.DuckDBPyConnection, credentials: Credentials, keys: ReadOnlyCredentials
    ) -> None:
        """Keep the keys of a connection equal to those of its credentials."""
        with self._lock:
            self._followed[connection] = credentials, keys
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keys of DuckDB", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(RENEW_EVERY_S)
            with self._lock:
                followed = list(self._followed.items())
                if not followed:
                    self._thread = None
                    return
            while followed:  # each connection is kept alive only while its keys are renewed
                self._renew(*followed.pop())

    def _renew(self, connection: duckdb.DuckDBPyConnection, current: tuple[Credentials, ReadOnlyCredentials]) -> None:
        credentials, keys = current
        try:
            now = credentials.get_frozen_credentials()
            if now == keys:
                connection.cursor().close()  # raises if the connection is closed
                return
            with connection.cursor() as cursor:
                _set_keys(cursor, now)
        except (BotoCoreError, ClientError, RuntimeError) as exc:  # the last two: refused, or given expired ones
            _log.warning("the credentials of the role cannot be renewed now: %s", exc)
        except duckdb.Error:  # the connection is closed
            with self._lock:
                self._followed.pop(connection, None)
        else:
            with self._lock:
                self._followed[connection] = credentials, now


def _set_keys(connection: duckdb.DuckDBPyConnection, keys: ReadOnlyCredentials) -> None:
    _set(
        connection,
        s3_access_key_id=keys.access_key or "",
        s3_secret_access_key=keys.secret_key or "",
        s3_session_token=keys.token or "",
    )


def _set(connection: duckdb.DuckDBPyConnection, **settings: str) -> None:
    connection.execute("; ".join(f"SET GLOBAL {name} = {literal(value)}" for name, value in settings.items()))


_RENEWAL: Final = _Renewal()
