"""One warm Lambda sandbox: a fork of `lambda_fork_server`, or `python -m orchestration.local.engine.lambda_worker FD`.

Invocations arrive over the socket FD, one at a time, and are handled by the code that runs in AWS's image: awslambdaric
with our socket in place of Lambda's runtime API, so results, error documents and the context are its own. A process
serves every function of its memory size; the environment of a function is set before each invocation. Standard output
goes to the engine's Lambda log.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

from orchestration.local.engine import frames

Handler = Callable[[Any, Any], Any]


class SocketRuntime:
    """Replaces awslambdaric's client of the runtime API: responses go to the engine."""

    marshaller = LambdaMarshaller()

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def post_invocation_result(
        self, invoke_id: str, result: str | bytes, content_type: str, invocation_id: str | None = None
    ) -> None:
        """The handler's result as JSON text."""
        del invoke_id, content_type, invocation_id
        frames.send(self._connection, {"payload": result if isinstance(result, str) else result.decode()})

    def post_invocation_error(
        self, invoke_id: str, error: str, xray_fault: str, invocation_id: str | None = None
    ) -> None:
        """AWS's error document: {errorMessage, errorType, requestId, stackTrace}."""
        del invoke_id, xray_fault, invocation_id
        frames.send(self._connection, {"error": json.loads(error)})


def load(handler: str) -> Handler | dict[str, Any]:
    """The function that `package.module.function` names, or the error document of a failed start."""
    try:
        found: Handler = bootstrap._get_handler(handler)  # noqa: SLF001 - what awslambdaric itself starts with
    except FaultException as exc:
        return dict(bootstrap.make_error(exc.msg, exc.exception_type, exc.trace))
    except Exception:  # noqa: BLE001 - whatever a module raises when imported
        return dict(bootstrap.build_fault_result(sys.exc_info(), None))
    return found


def function_environment(request: Mapping[str, Any]) -> dict[str, str]:
    """The variables that Lambda sets for a function, as far as they mean something here."""
    return {
        "_HANDLER": request["handler"],
        "AWS_LAMBDA_FUNCTION_NAME": request["function_name"],
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(request["memory_mb"]),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{request['function_name']}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{os.getpid()}",
    }


def serve(connection: socket.socket) -> None:
    """Answer until the engine closes the socket."""
    runtime = SocketRuntime(connection)
    log = bootstrap.StandardLogSink()
    loaded: dict[str, Handler] = {}
    while True:
        try:
            request = frames.receive(connection)
        except EOFError:
            return
        name = request["handler"]
        if name not in loaded:
            found = load(name)
            if isinstance(found, dict):
                bootstrap.log_error(found, log)
                frames.send(connection, {"load_error": found})
                continue
            loaded[name] = found
        frames.send(connection, {"loaded": name})
        if "event" not in request:
            continue
        os.environ |= function_environment(request)
        bootstrap.handle_event_request(
            lambda_runtime_client=runtime,
            request_handler=loaded[name],
            invoke_id=request["request_id"],
            event_body=json.dumps(request["event"]),
            content_type="application/json",
            client_context_json=None,
            cognito_identity_json=None,
            invoked_function_arn=request["function_arn"],
            epoch_deadline_time_in_ms=int((time.time() + request["timeout_s"]) * 1000),
            tenant_id=None,
            log_sink=log,
        )


def main() -> None:
    """Entry point."""
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
