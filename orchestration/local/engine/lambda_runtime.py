"""Lambda as a pool of warm processes: one invocation at a time in each, killed at its timeout.

A process serves every function, since all of them live in one image and one module. What differs from AWS: memory is
not limited, and a function has no environment of its own.
"""

import contextlib
import importlib
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestration.local import processes
from orchestration.local.engine import frames

INIT_TIMEOUT_S: Final = 120.0
"""For importing the handler, which AWS does not count as run time either."""
MAX_WORKERS: Final = 8
EXIT_WAIT_S: Final = 5.0

log = logging.getLogger("muster.engine.lambda")


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaCall:
    """One invocation. `event` is JSON data."""

    function_name: str
    function_arn: str
    handler: str
    timeout_s: float
    memory_mb: int
    event: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaResult:
    """`payload` is JSON text: the handler's result, or AWS's error document where `failed`."""

    payload: str
    failed: bool


class LambdaWorker:
    """One process and the socket to it."""

    def __init__(self, spawner: processes.Spawner, env: Mapping[str, str], output: Path) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-m", "orchestration.local.engine.lambda_worker", str(theirs.fileno())]
            self._process: subprocess.Popen[bytes] = spawner.spawn(
                argv, env=env, output=output, pass_fds=(theirs.fileno(),)
            )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Load the handler and, where the request has an event, run it. Raises `EOFError`, `OSError`."""
        self._connection.settimeout(INIT_TIMEOUT_S)
        frames.send(self._connection, request)
        loaded = frames.receive(self._connection)
        if "load_error" in loaded:
            return {"error": loaded["load_error"]}
        if "event" not in request:
            return loaded
        self._connection.settimeout(request["timeout_s"])
        return frames.receive(self._connection)

    def end(self) -> int:
        """Kill the process; returns its exit code, negative for a signal."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.poll() is None:
                self._process.wait(0.05)  # it may just be ending: its own code says more than ours
        processes.signal_group(self._process.pid, signal.SIGKILL)
        self._connection.close()
        return self._process.wait(EXIT_WAIT_S)


class LambdaPool:
    """Invokes functions. Processes are started when they are needed, at most `MAX_WORKERS`; further calls wait."""

    def __init__(self, *, spawner: processes.Spawner, env: Mapping[str, str], output: Path) -> None:
        self._spawner = spawner
        self._env = env
        self._output = output
        self._slots = threading.BoundedSemaphore(MAX_WORKERS)
        self._idle: list[LambdaWorker] = []
        self._lock = threading.Lock()

    def warm(self, handler: str) -> None:
        """Start one process and import a handler's module, so that the first job need not wait for it."""
        with self._slots:
            worker = self._take()
            try:
                worker.ask({"handler": handler, "request_id": "warm-up"})
            except (EOFError, OSError):
                worker.end()
            else:
                self._give_back(worker)

    def invoke(self, call: LambdaCall) -> LambdaResult:
        """Run one invocation; never raises for what the function does.

        An exception has its class name as errorType; a timeout is Sandbox.Timedout, a process that ended
        Runtime.ExitError, a handler that cannot be imported Runtime.ImportModuleError.
        """
        request_id = str(uuid.uuid4())
        request = {
            "handler": call.handler,
            "event": call.event,
            "request_id": request_id,
            "function_name": call.function_name,
            "function_arn": call.function_arn,
            "memory_mb": call.memory_mb,
            "timeout_s": call.timeout_s,
        }
        with self._slots:
            worker = self._take()
            try:
                reply = worker.ask(request)
            except TimeoutError:
                worker.end()
                return _failure("Sandbox.Timedout", request_id, f"Task timed out after {call.timeout_s:.2f} seconds")
            except (EOFError, OSError):
                return _failure("Runtime.ExitError", request_id, f"Runtime exited with error: {_how(worker.end())}")
            self._give_back(worker)
        if "error" in reply:
            log.warning("%s failed: %s", call.function_name, reply["error"].get("errorMessage"))
            return LambdaResult(payload=json.dumps(reply["error"]), failed=True)
        return LambdaResult(payload=reply["payload"], failed=False)

    def _take(self) -> LambdaWorker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return LambdaWorker(self._spawner, self._env, self._output)

    def _give_back(self, worker: LambdaWorker) -> None:
        with self._lock:
            self._idle.append(worker)


def _how(code: int) -> str:
    return f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _failure(error_type: str, request_id: str, message: str) -> LambdaResult:
    log.warning("%s: %s", error_type, message)
    document = {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    return LambdaResult(payload=json.dumps(document), failed=True)


def install(pool: LambdaPool) -> None:
    """Let moto's Lambda run functions in the pool instead of in Docker."""
    function: Any = importlib.import_module("moto.awslambda.models").LambdaFunction

    def invoke(self: Any, event: Any = None) -> tuple[str, bool, str]:
        image = getattr(self, "image_config", None)
        command = getattr(image, "cmd", None)
        call = LambdaCall(
            function_name=self.function_name,
            function_arn=self.function_arn,
            handler=command[0] if command else self.handler,
            timeout_s=float(self.timeout or 3),
            memory_mb=int(self.memory_size or 128),
            event={} if event is None else event,
        )
        result = pool.invoke(call)
        return result.payload, result.failed, ""

    function._invoke_lambda = invoke  # noqa: SLF001 - the one place where moto would start a container
