"""`python -m orchestration.entrypoints.service`: the service with its console, until SIGTERM."""

import logging
import signal
import sys
import threading
from typing import Final

from orchestration.access.console_host import console_host
from orchestration.access.oidc.provider import Provider
from orchestration.access.oidc.settings import OidcSettings
from orchestration.access.owner import ensure_owner_token
from orchestration.api.server import hosts_of, server
from orchestration.api.service import Service
from orchestration.api.site import Site
from orchestration.composition.service import Services
from orchestration.console.application import application
from orchestration.console.assets import assets
from orchestration.platform.logs import configure
from orchestration.platform.metrics import forget_metrics, serve_metrics
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import flush_spans, start_tracing
from schemas.errors import MusterError

METRICS_OFFSET = 99
"""Above `metrics_port`; workers have lower ones."""
DAY_S: Final = 24 * 3600.0
_log = logging.getLogger("muster.api")


def main() -> int:
    """Exit code 1 if the service cannot run; the supervisor starts it again."""
    settings = Settings.load()
    configure(settings)
    start_tracing(settings.otlp_endpoint, "api")
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
    assets()  # what was not installed is said at once, not at the first page
    services = Services(settings)
    stop = threading.Event()
    if settings.engine_url:  # not at AWS, where nobody can read a file of the task
        _log.info("the owner token is in %s", ensure_owner_token(services, settings.home))
        threading.Thread(target=_renew, args=(services, settings, stop), daemon=True).start()
    on_loopback = settings.engine_url and not settings.api_public_url
    oidc = OidcSettings.of(settings)
    service = Service(
        services=services,
        hosts=hosts_of(settings),
        site=Site.of(settings, console_host(settings.home) if on_loopback else None),
        provider=None if oidc is None else Provider(oidc),
    )
    serve_metrics(settings, "api", settings.metrics_port + METRICS_OFFSET, service.samples)
    services.readers.prepare()
    try:
        server(settings, application(service), stopping=service.streams.stop).run()
    finally:
        stop.set()
        service.close()
        services.close()
        flush_spans()
        forget_metrics(settings, "api")


def _renew(services: Services, settings: Settings, stop: threading.Event, every_s: float = DAY_S) -> None:
    """Replace the owner token in time, for a service that is not started again for months."""
    while not stop.wait(every_s):
        try:
            ensure_owner_token(services, settings.home)
        except MusterError as exc:
            _log.warning("the owner token is not renewed: %s", exc)


if __name__ == "__main__":
    sys.exit(main())
