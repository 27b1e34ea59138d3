"""Sessions on a Spark cluster through Spark Connect, and the translation of its errors.

The client (`pyspark-client`, the extra `spark`) is loaded when the first session opens. Muster starts no cluster.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from schemas.errors import FatalError, MusterError, RetriableError, UserError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession as SparkSession  # noqa: PLC0414  # for who runs queries

SETTINGS: Final[Mapping[str, str]] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
}
"""Of every session: what a query means must not depend on the cluster's defaults."""
UNKNOWN_TABLE: Final = (
    "TABLE_OR_VIEW_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "REQUIRES_SINGLE_PART_NAMESPACE",
    "CATALOG_NOT_FOUND",
)
UNREACHABLE: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED", "CANCELLED")
TEXT_MAX: Final = 300
PORT: Final = 15002
"""Of Spark Connect, where a remote names none."""
CONNECT_S: Final = 10.0
RETRIES: Final = 6
"""Of a call that a cluster leaves unanswered: less than a minute in all; by itself, the client tries for ten."""


@contextmanager
def spark_session(remote: str) -> Iterator["SparkSession"]:
    """A session of its own, which sees every table as it is now; it ends with the context.

    Raises `UserError` NO_SPARK_CLIENT, SPARK_VERSION; and as `spark_faults`.
    """
    try:
        import pyspark
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession
    except ImportError as exc:
        raise UserError(
            "NO_SPARK_CLIENT",
            "rules cannot be counted on Spark: its client is not installed here: pip install 'muster-server[spark]'",
        ) from exc
    _require_answer(remote)
    with spark_faults(remote):
        session = SparkSession.builder.remote(remote).create()
        try:
            session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES)])  # before the first call
            _check_version(remote, session.version, pyspark.__version__)
            for name, value in SETTINGS.items():
                session.conf.set(name, value)
            yield session
        finally:
            with suppress(Exception):  # the cluster ends sessions that nobody uses
                session.stop()


def _require_answer(remote: str) -> None:
    """Find a cluster that is away at once, and one that takes connections but says nothing within `CONNECT_S`.

    Raises `RetriableError` SPARK_UNAVAILABLE: before the 30 seconds of a count are over, which would blame the rule.
    """
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    where = address(remote)
    place = urlsplit(where)
    try:
        socket.create_connection((place.hostname or "", place.port or PORT), CONNECT_S).close()
    except (OSError, ValueError) as exc:
        raise _away(where, str(exc)) from exc
    with spark_faults(remote), closing(DefaultChannelBuilder(remote).toChannel()) as channel:
        ready = threading.Event()
        channel.subscribe(lambda state: ready.set() if state.name == "READY" else None, try_to_connect=True)
        if not ready.wait(CONNECT_S):
            raise _away(where, f"it takes the connection, but has said nothing for {CONNECT_S:g} s")


def _away(where: str, text: str) -> RetriableError:
    return RetriableError(
        "SPARK_UNAVAILABLE",
        f"no answer from Spark at {where}: {text}. Start its Connect server, or correct spark_remote; --engine duckdb "
        "asks DuckDB instead",
        where=where,
    )


def _check_version(remote: str, server: str, client: str) -> None:
    if server.split(".")[:2] != client.split(".")[:2]:
        raise UserError(
            "SPARK_VERSION",
            f"the cluster at {address(remote)} runs Spark {server}, the client here is of {client}, and both "
            "must be of one release: install pyspark-client of the cluster's",
            server=server,
            client=client,
        )


@contextmanager
def spark_faults(remote: str) -> Iterator[None]:
    """Translate errors of the client.

    `RetriableError` SPARK_UNAVAILABLE: the cluster does not answer, or a snapshot expired meanwhile. `FatalError`
    SPARK_TABLE_UNKNOWN: its catalog lacks a table. `FatalError` SPARK_FAILED: any other failure of a query.
    """
    try:
        yield
    except MusterError:
        raise
    except Exception as exc:
        if type(exc).__module__.partition(".")[0] not in {"pyspark", "grpc"}:
            raise
        raise _translated(exc, address(remote)) from exc


def _translated(exc: Exception, where: str) -> MusterError:
    text = " ".join(str(exc).split())[:TEXT_MAX]
    if any(f"[{name}" in text for name in UNKNOWN_TABLE):
        return FatalError(
            "SPARK_TABLE_UNKNOWN",
            f"the cluster at {where} does not know a table of the lake: {text}. Give its catalog (spark_catalog) "
            "the tables of Muster, as docs/deploy.md says",
            where=where,
        )
    if "Cannot find snapshot" in text:
        return RetriableError(
            "SPARK_UNAVAILABLE", f"a snapshot of the lake expired before {where} read it; ask again", where=where
        )
    if type(exc).__module__.startswith("grpc") or any(f"StatusCode.{name}" in str(exc) for name in UNREACHABLE):
        return _away(where, text)
    return FatalError("SPARK_FAILED", f"the cluster at {where} could not run the query: {text}", where=where)


def address(remote: str) -> str:
    """A remote without its parameters, among which a token can be."""
    return remote.partition(";")[0].rstrip("/")
