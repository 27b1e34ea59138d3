"""The engine process: `python -m orchestration.local.engine.server`.

1. set the mark of the process and moto's own settings;
2. patch moto: Lambda in a pool of processes, ECS tasks as processes or as containers (those left from an earlier engine
   are ended first), rules that start state machines;
3. start the HTTP server: the AWS API, the S3 webhook, a health page;
4. register the workflow, warm the Lambda processes, compare the inbox with what is known;
   where counts of workers follow the work, start the timers;
5. on SIGTERM: tasks get SIGTERM, then everything ends. Executions are in memory; jobs are in the catalog.
"""

import argparse
import hmac
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from orchestration.local.answering import HEALTH_PATH
from orchestration.local.engine import (
    ecs_placement,
    ecs_services,
    ecs_tasks,
    eventbridge,
    inbox,
    lambda_runtime,
    signatures,
    stepfunctions_patches,
    timers,
)
from orchestration.local.engine.deploy import deploy
from orchestration.local.engine.lambda_processes import FunctionProcesses
from orchestration.local.engine.moto_parts import imported_lightly
from orchestration.local.engine.s3_events import object_created
from orchestration.local.engine.task_containers import DockerLauncher, remove_containers
from orchestration.local.engine.task_launch import Launcher, ProcessLauncher
from orchestration.local.home import Home
from orchestration.local.ports import LOOPBACK
from orchestration.local.processes import Spawner
from orchestration.local.seaweedfs import WEBHOOK_PATH, webhook_token
from orchestration.operations.scaling import limits_of
from orchestration.platform.logs import configure
from orchestration.platform.settings import THROTTLE, EngineKeys, Settings
from orchestration.workflow.resources import PREFIX, function_specs
from schemas.errors import UserError

TASK_MODULE: Final = "orchestration.entrypoints.container"
FUNCTIONS_WARM: Final = "orchestration.entrypoints.warm"
STOP_TIMEOUT_S: Final = 5.0
BODY_MAX_BYTES: Final = 16 * 1024 * 1024
MOTO_PAGES: Final = "/moto-api"
HOSTS_KEPT: Final = 256

log = logging.getLogger("muster.engine")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class FrontDoor:
    """WSGI application: two pages of our own, and moto's AWS API for requests signed by the stack.

    Requests from web pages are refused (see `signatures`), and moto's own pages, which can reset it, are closed.
    """

    def __init__(self, application: WsgiApp, token: str, *, keys: EngineKeys, hosts: frozenset[str]) -> None:
        self.ready = threading.Event()
        self.bridge: inbox.InboxBridge | None = None
        self._application = application
        self._token = token
        self._keys = keys
        self._hosts = hosts

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path = environ.get("PATH_INFO", "")
        if why := signatures.from_a_page(environ, self._hosts):
            return _denied(start_response, why)
        if path == HEALTH_PATH:
            return _plain(start_response, "200 OK" if self.ready.is_set() else "503 Service Unavailable")
        if path == WEBHOOK_PATH:
            return _plain(start_response, self._webhook(environ))
        if path.startswith(MOTO_PAGES):
            return _plain(start_response, "404 Not Found")
        return self._api(environ, start_response)

    def _api(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = _body(environ)
        if body is None:
            return _plain(start_response, "413 Content Too Large")
        if why := signatures.unsigned(environ, body, self._keys, datetime.now(UTC)):
            return _denied(start_response, why)
        return self._application({**environ, "wsgi.input": io.BytesIO(body)}, start_response)

    def _webhook(self, environ: dict[str, Any]) -> str:
        """If an event cannot be taken now, the next sweep of the inbox finds its object."""
        given = environ.get("HTTP_AUTHORIZATION", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return "403 Forbidden"
        if self.bridge is None or not self.ready.is_set():
            return "503 Service Unavailable"
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            event = object_created(json.loads(environ["wsgi.input"].read(min(length, BODY_MAX_BYTES))))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
            log.warning("webhook message not understood: %s", exc)
            return "400 Bad Request"
        if event is not None:
            try:
                self.bridge.offer(event)
            except Exception:
                log.exception("event received, but no execution started: %s/%s", event.bucket, event.key)
                return "500 Internal Server Error"
        return "200 OK"


def _body(environ: Mapping[str, Any]) -> bytes | None:
    """The body of a request. None if it is too large, or its length is not given."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return None
    if environ.get("HTTP_TRANSFER_ENCODING") or not 0 <= length <= BODY_MAX_BYTES:
        return None
    return bytes(environ["wsgi.input"].read(length))


def _denied(start_response: StartResponse, why: str) -> Iterable[bytes]:
    """An AWS-style response, so that SDKs raise AccessDeniedException."""
    content = json.dumps({"__type": "AccessDeniedException", "message": why}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(content)))]
    start_response("403 Forbidden", headers)
    return [content]


def _plain(start_response: StartResponse, status: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


def serve(settings: Settings, *, task_module: str = TASK_MODULE) -> None:
    """Run until SIGTERM. ECS tasks that are processes are `python -m <task_module> COMMAND...`, as in the image.

    Raises `UserError` BAD_SETTINGS without a secret to sign requests with.
    """
    if not settings.s3_secret_key:
        raise UserError(
            "BAD_SETTINGS",
            "setting s3_secret_key is not set: the engine's own key is derived from it",
            name="s3_secret_key",
        )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    home = Home(path=settings.home)
    port = urlsplit(settings.engine_url).port or 0
    os.environ |= {"MOTO_PORT": str(port), "MOTO_ACCOUNT_ID": settings.account_id}  # step 1
    spawner = Spawner()
    env = dict(os.environ)
    functions = function_specs()
    pool = lambda_runtime.LambdaPool(
        FunctionProcesses(spawner, env=env, output=home.log_file("lambda"), warm=FUNCTIONS_WARM),
        calls=settings.function_calls,
        shares={PREFIX + one.name: one.share for one in functions if one.share is not None},
        throttles=settings.engine_overload == THROTTLE,
    )
    remove_containers(home)
    # Another module, which only the command line of this process can name, has other commands.
    rules = ecs_tasks.TASK_RULES if task_module == TASK_MODULE else None
    tasks = ecs_tasks.TaskRunner(
        _launcher(settings, home, spawner, env, task_module), rules, limit=settings.engine_tasks
    )
    door = _front_door(settings, home, pool, tasks, port)  # steps 2 and 3
    deploy(settings, functions=functions)  # step 4
    home.engine.mkdir(parents=True, exist_ok=True)
    door.bridge = inbox.InboxBridge(
        inbox.InboxJournal(home.engine / "inbox.db"),
        put=lambda event: eventbridge.put_object_created(settings, event),
        is_registered=eventbridge.registered,
        listing=lambda: inbox.listing(settings),
    )
    threading.Thread(target=door.bridge.run, args=(stopping,), name="inbox", daemon=True).start()
    if not limits_of(settings).fixed:
        calls = timers.Timers(
            partial(timers.stored_timers, settings), lambda timer: timers.call_function(settings, timer)
        )
        threading.Thread(target=calls.run, args=(stopping,), name="timers", daemon=True).start()
    door.ready.set()
    threading.Thread(target=pool.run, args=(stopping,), name="functions", daemon=True).start()
    if functions:  # not earlier: the broker needs the processor while it starts
        sizes = [(f.handler, f.memory_mb) for f in functions]
        threading.Thread(target=pool.warm, args=(sizes,), name="warm-up", daemon=True).start()
    log.info("ready on port %d", port)
    stopping.wait()
    tasks.stop_all(STOP_TIMEOUT_S)  # step 5
    remove_containers(home)
    # Lambda processes are tied to this one; waiting threads of executions would only delay the end.
    os._exit(0)


def _launcher(settings: Settings, home: Home, spawner: Spawner, env: Mapping[str, str], task_module: str) -> Launcher:
    output = home.log_file("tasks")
    if settings.task_runner == "docker":
        return DockerLauncher(spawner=spawner, env=env, home=home, output=output)
    return ProcessLauncher(spawner=spawner, argv=[sys.executable, "-m", task_module], env=env, output=output)


def _front_door(
    settings: Settings, home: Home, pool: lambda_runtime.LambdaPool, tasks: ecs_tasks.TaskRunner, port: int
) -> FrontDoor:
    from werkzeug.serving import make_server

    with imported_lightly():
        from moto.core.config import default_user_config
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )

        lambda_runtime.install(pool)
        ecs_placement.install()
        ecs_services.install(home)
        ecs_tasks.install(tasks)
        stepfunctions_patches.install(settings, port=port, tasks=tasks)
        eventbridge.install()
    default_user_config["stepfunctions"]["execute_state_machine"] = True
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # It dumps the whole state machine at each failed state; the history of the execution is clearer.
    logging.getLogger("moto.stepfunctions.parser").setLevel(logging.CRITICAL)
    services = DomainDispatcherApplication(create_backend_app)
    # It lists a folder and tries 200 patterns for each request, one request after the other.
    services.get_backend_for_host = lru_cache(HOSTS_KEPT)(services.get_backend_for_host)  # type: ignore[method-assign]
    door = FrontDoor(
        services,
        webhook_token(settings),
        keys=settings.engine_keys(),
        hosts=frozenset({LOOPBACK, "localhost", urlsplit(settings.engine_url).hostname or LOOPBACK}),
    )
    server = make_server(settings.listen_host, port, door, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return door


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.local.engine.server")
    parser.add_argument(
        "--task-module", default=TASK_MODULE, help="module that the process of an ECS task runs (default: %(default)s)"
    )
    task_module = parser.parse_args().task_module
    settings = Settings.load()
    configure(settings)
    serve(settings, task_module=task_module)


if __name__ == "__main__":
    main()
