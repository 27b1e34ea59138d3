"""Parts of the relay that go round in a thread of their own, whatever befalls them."""

import logging
import threading
from collections.abc import Callable

from schemas.errors import MusterError, RetriableError

_log = logging.getLogger(__name__)


def go_round(
    look: Callable[[], object], *, name: str, every_s: float, stop: threading.Event, at_once: bool = False
) -> None:
    """Call `look` every so often, in a thread called `name`, until `stop` is set.

    What it raises is logged under the name, and it is called again. `at_once`: the first call does not wait.
    """

    def run() -> None:
        wait_s = 0.0 if at_once else every_s
        while not stop.wait(wait_s):
            wait_s = every_s
            try:
                look()
            except RetriableError as exc:
                _log.warning("%s: %s", name, exc)
            except MusterError as exc:
                _log.error("%s: %s", name, exc)
            except Exception:  # noqa: BLE001  # a thread that ends would end without a word
                _log.exception("%s", name)

    threading.Thread(target=run, name=name, daemon=True).start()
