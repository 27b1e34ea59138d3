"""Checks that the deployment is there before a command starts, so that nobody waits for retries of a missing stack."""

import socket
from typing import Final, Literal
from urllib.parse import urlsplit

from orchestration.platform.settings import Settings
from schemas.errors import RetriableError
from schemas.kafka_address import hosts

Service = Literal["object store", "workflow engine", "Kafka"]
CONNECT_TIMEOUT_S: Final = 2.0
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def require_catalog(settings: Settings) -> None:
    """Raises `RetriableError` STACK_NOT_RUNNING if the catalog is a SQLite file that does not exist."""
    url = settings.catalog_url.reveal()
    if url.startswith("sqlite:///") and not _exists(url.removeprefix("sqlite:///")):
        raise _not_running(settings, f"there is no catalog in {settings.home}")


def require_services(settings: Settings, *services: Service) -> None:
    """Raises `RetriableError` STACK_NOT_RUNNING if nothing listens at the loopback address of a service.

    Other addresses are not checked: their clients know better how long to try.
    """
    require_catalog(settings)
    addresses: dict[Service, str] = {
        "object store": settings.s3_endpoint,
        "workflow engine": settings.engine_url,
        "Kafka": f"//{hosts(settings.kafka_bootstrap)[0]}",
    }
    for service in services:
        parts = urlsplit(addresses[service])
        if parts.hostname in _LOCAL and parts.port is not None and not _listens(parts.hostname or "", parts.port):
            raise _not_running(settings, f"{service} does not answer at {parts.hostname}:{parts.port}")


def _not_running(settings: Settings, why: str) -> RetriableError:
    return RetriableError(
        "STACK_NOT_RUNNING",
        f"{why}; start the stack with `muster up`, or set MUSTER_HOME to the home of the running one",
        home=str(settings.home),
    )


def _exists(path: str) -> bool:
    from pathlib import Path  # commands that do not need it start faster

    return Path(path.partition("?")[0]).exists()


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
