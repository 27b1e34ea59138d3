"""Ends a process that has threads in native code."""

import logging
import os
import sys
from typing import NoReturn

from orchestration.platform.tracing import flush_spans


def end(code: int) -> NoReturn:
    """End the process at once, without waiting for its threads; they must be safe to cut off.

    An interpreter that shuts down under a daemon thread in librdkafka or Arrow may end with SIGSEGV instead. And it
    takes half a second to free what a task has loaded.
    """
    flush_spans()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
