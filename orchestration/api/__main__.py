"""`python -m orchestration.api`: the service, until SIGTERM."""

import logging
import signal
import sys

from orchestration.access.oidc.provider import Provider
from orchestration.access.oidc.settings import OidcSettings
from orchestration.access.owner import ensure_owner_token
from orchestration.access.stores import Stores
from orchestration.api.application import application
from orchestration.api.server import hosts_of, server
from orchestration.api.service import Service
from orchestration.api.site import Site
from orchestration.platform.logs import configure
from orchestration.platform.metrics import forget_metrics, serve_metrics
from orchestration.platform.settings import Settings
from schemas.errors import MusterError

METRICS_OFFSET = 99
"""Above `metrics_port`; workers have lower ones."""
_log = logging.getLogger("orchestration.api")


def main() -> int:
    """Exit code 1 if the service cannot run; the supervisor starts it again."""
    settings = Settings.load()
    configure(settings)
    try:
        run(settings)
    except MusterError as exc:  # the traceback of a foreseen error helps nobody
        _log.critical("the service stops: %s", exc)
        return 1
    return 0


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UserError`, and `RetriableError` CATALOG_UNAVAILABLE."""
    # uvicorn raises the signals again that it has handled, once it is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    stores = Stores.of(settings)
    if settings.engine_url:  # not at AWS, where nobody can read a file of the task
        _log.info("the owner token is in %s", ensure_owner_token(stores, settings.home))
    oidc = OidcSettings.of(settings)
    service = Service(
        stores=stores,
        hosts=hosts_of(settings),
        site=Site.of(settings),
        provider=None if oidc is None else Provider(oidc),
    )
    serve_metrics(settings, "api", settings.metrics_port + METRICS_OFFSET, service.samples)
    try:
        server(settings, application(service), stopping=service.streams.stop).run()
    finally:
        service.close()
        stores.database.close()
        forget_metrics(settings, "api")


if __name__ == "__main__":
    sys.exit(main())
