"""The service of a world on a free port, in a thread of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.api.application import application
from orchestration.api.server import server
from orchestration.api.service import Service
from tests.fakes.tenants import World
from tests.faults.waiting import until
from tests.servers.ports import free_port


@contextmanager
def serving(world: World) -> Iterator[str]:
    """Yield its address."""
    url = f"http://127.0.0.1:{free_port()}"
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}))
    made = server(world.settings.with_(api_url=url), application(service))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        until(lambda: made.started, "the server has started")
        yield url
    finally:
        made.should_exit = True
        thread.join(20)
        service.calls.close()
