"""How a process ends that has threads in native code."""

import logging
import os
import sys
from typing import NoReturn


def end(code: int) -> NoReturn:
    """End the process at once. What still runs in a thread is safe to cut off, and waiting for it is not wanted.

    An interpreter that shuts down under a daemon thread in librdkafka or Arrow may end by SIGSEGV instead.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
