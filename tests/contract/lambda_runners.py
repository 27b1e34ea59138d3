"""Two ways to run a Lambda function: our local runtime, and awslambdaric under AWS's emulator."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from orchestration.local import processes
from orchestration.local.engine import memory
from orchestration.local.engine.lambda_processes import FunctionProcesses
from orchestration.local.engine.lambda_runtime import LambdaCall, LambdaPool
from orchestration.local.ports import accepts
from tests.servers.lambda_emulator import emulator
from tests.servers.ports import free_ports
from tests.waiting import until

ARN = "arn:aws:lambda:us-east-1:012345678912:function:muster-Contract"
NAME = "muster-Contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller of a function gets: its result, or an error document."""

    result: Any = None
    error: dict[str, Any] | None = None


class Runner(Protocol):
    """Invokes one function, in one sandbox per concurrent call."""

    def invoke(self, event: Any) -> Answer:
        """Wait for the answer."""


@contextmanager
def function_processes(warm: str, env: Mapping[str, str], folder: Path) -> Iterator[FunctionProcesses]:
    """Function processes, stopped at the end."""
    made = FunctionProcesses(processes.Spawner(), env=env, output=folder / "lambda.log", warm=warm)
    try:
        yield made
    finally:
        made.stop()


class LocalRunner:
    """The runtime of the engine."""

    def __init__(self, functions: FunctionProcesses, handler: str, *, timeout_s: int, memory_mb: int) -> None:
        self.pool = LambdaPool(functions, calls=8)
        self._call = LambdaCall(
            function_name=NAME, function_arn=ARN, handler=handler, timeout_s=timeout_s, memory_mb=memory_mb, event=None
        )

    def invoke(self, event: Any) -> Answer:
        call = LambdaCall(**{name: getattr(self._call, name) for name in LambdaCall.__slots__} | {"event": event})
        result = self.pool.invoke(call)
        document = json.loads(result.payload)
        return Answer(error=document) if result.failed else Answer(result=document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.pool.end()


def invoke(port: int, event: Any) -> Answer:
    """The answer of an emulator at a local port, in the form that Lambda gives it."""
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    try:
        with urlopen(Request(url, data=json.dumps(event).encode()), timeout=60) as response:
            status, body = response.status, response.read().decode()
    except HTTPError as exc:
        status, body = exc.code, exc.read().decode()
    if body.startswith("Task timed out"):  # the emulator gives no error document; Lambda does
        message = f"RequestId: unknown Error: {body}"
        return Answer(error={"errorType": "Sandbox.Timedout", "errorMessage": message})
    document = json.loads(body)
    # The emulator answers 200 if the handler raised; Lambda sets a header.
    failed = status != 200 or (isinstance(document, dict) and {"errorType", "errorMessage"} <= document.keys())
    return Answer(error=document) if failed else Answer(result=document)


class Sandbox:
    """One emulator with its runtime. It enforces no memory limit, so the test kills as Lambda's kernel would."""

    def __init__(self, handler: str, *, timeout_s: int, memory_mb: int, folder: Path, env: Mapping[str, str]) -> None:
        self._port, runtime_port = free_ports(2)
        limits = {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb)}
        argv = [
            str(emulator()),
            *("--log-level", "error"),
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
            *(sys.executable, "-m", "awslambdaric", handler),
        ]
        self._process: subprocess.Popen[bytes] = processes.spawn(
            argv, env={**env, **limits, "AWS_LAMBDA_FUNCTION_NAME": NAME}, output=folder / f"rie-{self._port}.log"
        )
        self._ended = threading.Event()
        self._limit_bytes = memory_mb << 20
        threading.Thread(target=self._limit_memory, daemon=True).start()
        until(lambda: accepts(self._port), "an answer of the emulator")

    def _limit_memory(self) -> None:
        while not self._ended.wait(0.05):
            for pid in list(memory.descendants(self._process.pid))[1:]:  # without the emulator itself
                if memory.used_bytes(pid) > self._limit_bytes:
                    os.kill(pid, 9)

    def invoke(self, event: Any) -> Answer:
        return invoke(self._port, event)

    def end(self) -> None:
        self._ended.set()
        processes.stop(self._process, timeout_s=5)


class EmulatorRunner:
    """Lambda starts a sandbox for each call that finds none idle; an emulator is one sandbox."""

    def __init__(self, handler: str, *, timeout_s: int, memory_mb: int, folder: Path, env: Mapping[str, str]) -> None:
        self._start = partial(Sandbox, handler, timeout_s=timeout_s, memory_mb=memory_mb, folder=folder, env=env)
        self._idle: list[Sandbox] = []
        self._all: list[Sandbox] = []

    def invoke(self, event: Any) -> Answer:
        try:
            sandbox = self._idle.pop()
        except IndexError:
            sandbox = self._start()
            self._all.append(sandbox)
        answer = sandbox.invoke(event)
        self._idle.append(sandbox)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for sandbox in self._all:
            sandbox.end()
