"""Functions of the Lambda contract; they run in their own processes."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOADED = str(time.time_ns())


def warm() -> None:
    """Preload nothing: these functions need only their own module."""


def echo(event: Any, context: Any) -> Any:
    return event


def describe(event: Any, context: Any) -> Any:
    return {
        "request_id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "environment": {name: os.environ.get(name) for name in event["names"]},
        "process": [os.getpid(), LOADED],
    }


def refuse(event: Any, context: Any) -> Any:
    raise ValueError("the file has no rows: é")


def sleep(event: Any, context: Any) -> Any:
    time.sleep(event["seconds"])
    return "slept"


def leave(event: Any, context: Any) -> Any:
    os._exit(7)


def leave_a_child(event: Any, context: Any) -> Any:
    """Exit without waiting for a child, whose process id is then in a file."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(event["pid"]).write_text(str(child.pid))
    os._exit(7)


def query(event: Any, context: Any) -> Any:
    """Query a private database with several threads; also reports if DuckDB was loaded before the call."""
    loaded = "duckdb" in sys.modules
    import duckdb  # noqa: PLC0415  # not needed by the others

    with duckdb.connect(config={"threads": 4}) as database:
        answer = database.execute("SELECT sum(number)::INTEGER FROM range(10) AS t(number)").fetchall()
    return {"answer": answer, "loaded_before": loaded}


def kill_itself(event: Any, context: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def return_unserialisable(event: Any, context: Any) -> Any:
    return object()


def return_too_much(event: Any, context: Any) -> Any:
    return "x" * event["characters"]


def take_memory(event: Any, context: Any) -> Any:
    """Touch `megabytes`, in this process or in a child, and hold them for `seconds`."""
    if event.get("in_child"):
        source = f"import time; taken = bytearray({event['megabytes']} << 20); time.sleep({event['seconds']})"
        # In its own session, out of reach of signals to the function's group.
        return subprocess.run([sys.executable, "-c", source], check=False, start_new_session=True).returncode
    taken = bytearray(event["megabytes"] << 20)
    Path(event["started"]).touch()
    time.sleep(event["seconds"])
    return len(taken)


def reserve_address_space(event: Any, context: Any) -> Any:
    """Map `megabytes` without touching them, as numba and Arrow do."""
    import mmap  # noqa: PLC0415

    with mmap.mmap(-1, event["megabytes"] << 20) as reserved:
        time.sleep(event["seconds"])
        return len(reserved)


def call_another(event: Any, context: Any) -> Any:
    """Call the handler named in the event with an empty event; without a name, return the process' peak in MB."""
    if "handler" not in event:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) // 1024
    module, name = event["handler"].rsplit(".", 1)
    return getattr(importlib.import_module(module), name)({}, context)
