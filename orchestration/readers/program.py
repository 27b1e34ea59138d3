"""The process of a reader.

1. in: settings without secrets that it does not need. It loads compiled code, which may still be compiled and cached;
   then it is confined, and then it loads what starts threads.
2. out: `ready`, once everything is loaded.
3. in: a question with its number; out: its answer or error. A second thread listens meanwhile: for `stop`, and for the
   end of the service, with which this process ends.
"""

import logging
import os
import socket
import threading
from typing import Final

from connectors.confinement import die_with_parent
from connectors.without_pandas import hide_pandas
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.readers.confining import confine, limit_memory
from orchestration.readers.frames import frames_of

NICENESS: Final = 5
"""The service itself answers first."""


def main(control_fd: int, parent_pid: int) -> None:
    """Answer until the service ends."""
    die_with_parent(parent_pid)
    os.nice(NICENESS)
    control = socket.socket(fileno=control_fd)
    frames = frames_of(control)
    order = next(frames, None)
    if order is None:
        return
    settings = Settings.of_environment(order["settings"])
    configure(settings)
    logging.getLogger("pyiceberg").setLevel(logging.WARNING)  # it logs each table that it loads
    (settings.home / "tmp").mkdir(parents=True, exist_ok=True)
    limit_memory(settings)
    hide_pandas()
    if order["resident"]:
        load_compiled()
        confine(settings)
    from orchestration.readers.conversation import Conversation  # noqa: PLC0415  # it loads what starts threads

    conversation = Conversation(control, settings)
    threading.Thread(target=conversation.listen, args=(frames,), name="listener", daemon=True).start()
    conversation.answer_all(load=order["resident"])


def load_compiled() -> None:
    """Load the compiled functions that answers use: a confined process can neither compile nor cache them."""
    from schemas.partitioning import partition_of  # noqa: PLC0415  # after pandas is hidden

    partition_of("user", 2)
