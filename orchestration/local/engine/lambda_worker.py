"""One warm Lambda sandbox: `python -m orchestration.local.engine.lambda_worker FD`.

Answers invocations that come over the socket FD, one at a time, as AWS's runtime for Python does: the handler gets
(event, context), its result is sent as JSON, an exception as {errorMessage, errorType, requestId, stackTrace}.
Standard output goes to the engine's Lambda log.
"""

import importlib
import json
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestration.local.engine import frames

Handler = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaContext:
    """The part of AWS's context object that means something here."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    deadline: float = field(repr=False)
    """On this process's monotonic clock, in seconds."""
    function_version: str = "$LATEST"

    @property
    def log_group_name(self) -> str:
        """As AWS names it."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is killed."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def load(handler: str) -> Handler:
    """The function that `package.module.function` or `package.module:function` names. Raises as the import does."""
    module, _, function = handler.replace(":", ".").rpartition(".")
    found: Handler = getattr(importlib.import_module(module), function)
    return found


def answer(handler: Handler, event: Any, context: LambdaContext) -> dict[str, Any]:
    """Run one invocation: {"payload": JSON text} or {"error": AWS's error document}."""
    try:
        result = handler(event, context)
    except Exception as exc:  # noqa: BLE001 - this is where AWS's runtime catches it too
        traceback.print_exc()
        return {"error": error_document(exc, context.aws_request_id)}
    try:
        return {"payload": json.dumps(result)}
    except (TypeError, ValueError) as exc:
        message = f"Unable to marshal response: {exc}"
        return {"error": {"errorMessage": message, "errorType": "Runtime.MarshalError", "stackTrace": []}}


def error_document(exc: BaseException, request_id: str) -> dict[str, Any]:
    """What awslambdaric sends for an exception; Step Functions matches on `errorType`."""
    return {
        "errorMessage": str(exc),
        "errorType": type(exc).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_list(traceback.extract_tb(exc.__traceback__)),
    }


def serve(connection: socket.socket) -> None:
    """Answer until the engine closes the socket."""
    loaded: dict[str, Handler] = {}
    while True:
        try:
            request = frames.receive(connection)
        except EOFError:
            return
        name = request["handler"]
        if name not in loaded:
            try:
                loaded[name] = load(name)
            except Exception as exc:  # noqa: BLE001 - whatever a module raises when imported
                traceback.print_exc()
                document = error_document(exc, request["request_id"]) | {"errorType": "Runtime.ImportModuleError"}
                frames.send(connection, {"load_error": document})
                continue
        frames.send(connection, {"loaded": name})
        if "event" not in request:
            continue
        context = LambdaContext(
            function_name=request["function_name"],
            invoked_function_arn=request["function_arn"],
            memory_limit_in_mb=request["memory_mb"],
            aws_request_id=request["request_id"],
            deadline=time.monotonic() + request["timeout_s"],
        )
        frames.send(connection, answer(loaded[name], request["event"], context))


def main() -> None:
    """Entry point."""
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
