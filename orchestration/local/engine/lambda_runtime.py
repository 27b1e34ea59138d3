"""Lambda as a pool of warm processes: one invocation at a time in each, killed at its time and memory limits.

A process serves all functions of one memory size, since all of them are in one image: what one function leaves behind
counts only against the next one of its size. On AWS each function has its own sandboxes.
"""

import importlib
import json
import logging
import select
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from orchestration.local.engine import frames, memory
from orchestration.local.engine.lambda_processes import FunctionProcess, FunctionProcesses
from orchestration.local.engine.tenant_slots import Tenants, TenantSlots, ThrottledError
from orchestration.workflow.resources import share_of

INIT_TIMEOUT_S: Final = 120.0
"""For importing the handler, which AWS does not count as run time either."""
OF_A_TENANT: Final = 0.75
"""The files of one tenant, however many and slow, leave a quarter of the concurrent calls to others."""
REST_S: Final = 180.0
"""After this long without a call a process ends: it has 25 to 80 MiB of its own, and a fork takes milliseconds."""
KEPT_PER_CALL: Final = 2
"""Processes per call that may run at once. With one, the two sizes of a burst of imports would end each other's
processes, and the next parser would load for a second or two each time."""
MEMORY_POLL_S: Final = 0.05
RESPONSE_MAX_BYTES: Final = 6 * 1024 * 1024 + 100
"""Lambda's limit for a synchronous response, to the byte."""

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
    """`payload` is JSON text: the handler's result, or AWS's error document if `failed`."""

    payload: str
    failed: bool


class LambdaWorker:
    """Client of one process."""

    def __init__(self, process: FunctionProcess, memory_mb: int) -> None:
        self.memory_mb = memory_mb
        self.called_s: float | None = None
        """When the last call began, on the monotonic clock; None before the first."""
        self._process = process
        self._connection = process.connection

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.alive

    def call_handler(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Load the handler and, if the request has an event, run it.

        Raises `TimeoutError`, and `EOFError` or `OSError` for a process that has ended, for example killed for its
        memory.
        """
        self._connection.settimeout(INIT_TIMEOUT_S)
        frames.send(self._connection, request)
        loaded = frames.receive(self._connection)
        if "load_error" in loaded:
            return {"error": loaded["load_error"]}
        if "event" not in request:
            return loaded
        self._await_answer(time.monotonic() + request["timeout_s"])
        return frames.receive(self._connection)

    def _await_answer(self, deadline: float) -> None:
        limit_bytes = self.memory_mb * 1024 * 1024
        while not select.select([self._connection], [], [], min(MEMORY_POLL_S, max(0, deadline - time.monotonic())))[0]:
            if time.monotonic() >= deadline:
                raise TimeoutError
            if (used := memory.used_bytes(self._process.pid)) > limit_bytes:
                log.warning("process %d uses %d of %d MB", self._process.pid, used >> 20, self.memory_mb)
                self._process.kill()

    def end(self) -> int:
        """Kill the process; returns its exit code, negative for a signal."""
        return self._process.end()


class LambdaPool:
    """Invokes functions, at most `calls` at once: other calls wait for their turn. Starts processes on demand.

    `shares`: see `TenantSlots`. `throttles`: other calls are refused instead, as at AWS.
    """

    def __init__(
        self,
        processes: FunctionProcesses,
        *,
        calls: int,
        shares: Mapping[str, float] | None = None,
        throttles: bool = False,
    ) -> None:
        self._processes = processes
        self._calls = calls
        self._throttles = throttles
        self._slots = TenantSlots(slots=calls, per_tenant=share_of(calls, OF_A_TENANT), shares=shares)
        self._tenants = Tenants()
        self._idle: list[LambdaWorker] = []
        self._busy = 0
        self._lock = threading.Lock()

    def warm(self, functions: Iterable[tuple[str, int]]) -> None:
        """Start a process for each memory size and import a handler's module, so that the first job need not wait."""
        for memory_mb, handler in {memory_mb: handler for handler, memory_mb in functions}.items():
            with self._slots.slot(""):
                worker = self._acquire(memory_mb)
                try:
                    worker.call_handler({"handler": handler, "request_id": "warm-up"})
                except (EOFError, OSError):
                    self._discard(worker)
                else:
                    self._release(worker)

    def invoke(self, call: LambdaCall) -> LambdaResult:
        """Run one invocation. Never raises for errors of the function.

        Raises `OSError` if no process can be started, `ThrottledError`.

        An exception has its class name as errorType; a timeout is Sandbox.Timedout, a process that ended or was killed
        for its memory Runtime.ExitError, a handler that cannot be loaded Runtime.ImportModuleError or -HandlerNotFound.
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
        if self._throttles:
            slot = self._slots.slot_at_once(call.function_name)
        else:
            slot = self._slots.slot(self._tenants.lookup(call.event), call.function_name)
        with slot:
            worker = self._acquire(call.memory_mb)
            worker.called_s = time.monotonic()
            try:
                reply = worker.call_handler(request)
            except TimeoutError:
                self._discard(worker)
                return _failure("Sandbox.Timedout", request_id, f"Task timed out after {call.timeout_s:.2f} seconds")
            except (EOFError, OSError):
                ending = _describe_exit(self._discard(worker))
                return _failure("Runtime.ExitError", request_id, f"Runtime exited with error: {ending}")
            self._release(worker)
        if "error" in reply:
            log.warning("%s failed: %s", call.function_name, reply["error"].get("errorMessage"))
            return LambdaResult(payload=json.dumps(reply["error"]), failed=True)
        if len(reply["payload"].encode()) > RESPONSE_MAX_BYTES:
            message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_MAX_BYTES} bytes)."
            document = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}
            return LambdaResult(payload=json.dumps(document), failed=True)
        return LambdaResult(payload=reply["payload"], failed=False)

    def run(self, stopping: threading.Event) -> None:
        """End processes that rest, until `stopping`."""
        while not stopping.wait(REST_S / 3):
            self.end(rested_s=REST_S)

    def end(self, *, rested_s: float = 0.0) -> None:
        """End the processes that are idle. With `rested_s`, only those whose last call began longer ago."""
        before_s = time.monotonic() - rested_s
        with self._lock:
            ending = [w for w in self._idle if not rested_s or (w.called_s is not None and w.called_s <= before_s)]
            self._idle = [worker for worker in self._idle if worker not in ending]
        for worker in ending:
            worker.end()

    def _acquire(self, memory_mb: int) -> LambdaWorker:
        with self._lock:
            self._busy += 1
            unwanted = [worker for worker in self._idle if not worker.alive]
            for worker in unwanted:
                self._idle.remove(worker)
            found = next((worker for worker in reversed(self._idle) if worker.memory_mb == memory_mb), None)
            if found is not None:
                self._idle.remove(found)
            elif self._busy + len(self._idle) > KEPT_PER_CALL * self._calls:
                unwanted.append(self._idle.pop(0))
        for worker in unwanted:
            worker.end()
        if found is not None:
            return found
        try:
            return LambdaWorker(self._processes.make(), memory_mb)
        except OSError:
            with self._lock:
                self._busy -= 1
            raise

    def _release(self, worker: LambdaWorker) -> None:
        with self._lock:
            self._busy -= 1
            self._idle.append(worker)

    def _discard(self, worker: LambdaWorker) -> int:
        with self._lock:
            self._busy -= 1
        return worker.end()


def _describe_exit(code: int) -> str:
    """In the words of Go, the language of Lambda's supervisor: `signal: killed`."""
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}" if code < 0 else f"exit status {code}"


def _failure(error_type: str, request_id: str, message: str) -> LambdaResult:
    log.warning("%s: %s", error_type, message)
    document = {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    return LambdaResult(payload=json.dumps(document), failed=True)


def install(pool: LambdaPool) -> None:
    """Make moto's Lambda run functions in the pool instead of in Docker."""
    function: Any = importlib.import_module("moto.awslambda.models").LambdaFunction
    refused: Any = importlib.import_module("moto.awslambda.exceptions").LambdaClientError

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
        try:
            result = pool.invoke(call)
        except ThrottledError as exc:
            throttled = refused("TooManyRequestsException", "Rate Exceeded.")
            throttled.code = HTTPStatus.TOO_MANY_REQUESTS
            raise throttled from exc
        return result.payload, result.failed, ""

    function._invoke_lambda = invoke  # noqa: SLF001 - the one place where moto would start a container
