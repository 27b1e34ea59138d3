"""Lambda functions and the ECS task of the engine's conformance tests; they run in their own processes."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from tests.contract.lambda_handlers import kill_itself, leave, return_unserialisable, sleep

# the engine finds them here by name, like the ones below
__all__ = ["kill_itself", "leave", "return_unserialisable", "sleep"]


def echo(event: Any, context: Any) -> Any:
    return {"event": event, "function": context.function_name, "pid": os.getpid()}


def refuse(event: Any, context: Any) -> Any:
    raise UserError("EMPTY_FILE", "the file has no rows", rows=0)


def fail_first_times(event: Any, context: Any) -> Any:
    """Raise ConnectionError until called `failures` times; counts in a file."""
    counter = Path(event["counter"])
    calls = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (calls + 1))
    if calls < event["failures"]:
        raise ConnectionError("not yet")
    return calls + 1


class NotYetError(Exception):
    """Raised until there were enough calls."""


def count_up(event: Any, context: Any) -> Any:
    """Fail four times; counts in a file."""
    file = Path(event["file"])
    calls = len(file.read_text()) + 1 if file.exists() else 1
    file.write_text("x" * calls)
    if calls < 5:
        raise NotYetError(str(calls))
    return calls


def hold(event: Any, context: Any) -> Any:
    """Run until the test takes the file away."""
    file = Path(event["file"])
    file.touch()
    while file.exists():
        time.sleep(0.05)


def long_text(event: Any, context: Any) -> Any:
    return "x" * event["characters"]


def keep_token(event: Any, context: Any) -> Any:
    """Write the task token to a file for the test; `answer_first` answers before the state waits."""
    if event.get("answer_first"):
        _step_functions(event["engine"]).send_task_success(taskToken=event["token"], output='{"early": true}')
    Path(event["file"]).write_text(event["token"])
    return "ignored"


def _step_functions(url: str) -> Any:
    import boto3  # noqa: PLC0415  # a third of a second for every task, and only one function needs it

    return boto3.client("stepfunctions", endpoint_url=url)


def exit_first_times(counter: str, failures: str) -> None:
    """Exit with 3 until started `failures` times; counts in a file."""
    file = Path(counter)
    runs = len(file.read_text()) if file.exists() else 0
    file.write_text("x" * (runs + 1))
    sys.exit(3 if runs < int(failures) else 0)


def wait_for_term(file: str, *, ends: bool) -> None:
    """Write the pid, and on SIGTERM a word; then end with 0 if `ends`, or stay."""

    def on_term(*_: object) -> None:
        Path(f"{file}.term").write_text("got it")
        if ends:
            sys.exit(0)

    signal.signal(signal.SIGTERM, on_term)
    Path(file).write_text(str(os.getpid()))
    while True:
        time.sleep(300)


def task_main() -> None:
    """`exit N` ends with N, `sleep FILE` writes its pid and waits, `variable NAME FILE` writes a variable.

    `tidy FILE` exits on SIGTERM, `stubborn FILE` does not, `exit_when FILE` exits once the file exists. `fill MIB` uses
    memory.
    """
    command, *arguments = sys.argv[1:]
    if command == "exit":
        sys.exit(int(arguments[0]))
    if command == "sleep":
        Path(arguments[0]).write_text(str(os.getpid()))
        time.sleep(300)
    if command == "variable":
        Path(arguments[1]).write_text(os.environ[arguments[0]])
    if command == "fill":
        bytes(bytearray(b"x") * (int(arguments[0]) << 20))
    if command == "exit_first_times":
        exit_first_times(*arguments)
    if command in {"tidy", "stubborn"}:
        wait_for_term(arguments[0], ends=command == "tidy")
    if command == "exit_when":
        while not Path(arguments[0]).exists():
            time.sleep(0.05)


if __name__ == "__main__":
    task_main()
