"""The process of a reader, a fork of `orchestration.answers.server`.

1. in: settings without secrets that it does not need. It is confined before it loads DuckDB, which starts threads.
2. out: `ready`, once everything is loaded.
3. in: a question with its number; out: its answer or error. A second thread listens meanwhile: for `stop`, and for the
   end of the service, with which this process ends.
"""

import os
import socket
import threading
from typing import Final

from orchestration.answers.confining import confine, limit_memory
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.readers.frames import frames_of

NICENESS: Final = 5
"""The service itself answers first."""


def serve(control_fd: int) -> int:
    """Answer until the service ends."""
    control = socket.socket(fileno=control_fd)
    frames = frames_of(control)
    order = next(frames, None)
    if order is None:
        return 0
    os.nice(NICENESS)
    settings = Settings.of_environment(order["settings"])
    configure(settings)
    (settings.home / "tmp").mkdir(parents=True, exist_ok=True)
    limit_memory(settings)
    if order["resident"]:
        confine(settings)
    from orchestration.answers.conversation import Conversation  # noqa: PLC0415  # it loads DuckDB

    conversation = Conversation(control, settings)
    threading.Thread(target=conversation.listen, args=(frames,), name="listener", daemon=True).start()
    conversation.answer_all(load=order["resident"])
    return 0
