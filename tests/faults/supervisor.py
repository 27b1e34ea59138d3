"""The embedded stack with a proxy in front of its servers: the real supervisor, given other parts.

`python -m tests.faults.supervisor`, started by `tests.faults.stack`. `FAULTS` in its environment is JSON, with the
ports of the proxy:
`{"ports": {"kafka", "s3", "engine"[, "catalog"]}, "postgres": {"command", "port", "url"} | null}`.
Servers listen where they always do; clients get the ports of the proxy.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from orchestration.local import parts, seaweedfs, supervisor
from orchestration.local.kafka.broker import LISTENER
from orchestration.local.parts import Context, Part
from orchestration.local.ports import LOOPBACK, accepts, kafka_address
from orchestration.platform.settings import Settings

VARIABLE: Final = "FAULTS"
TASKS: Final = "tests.faults.task"
STEADY_S: Final = 3.0
"""Parts die often here, and on purpose, so the supervisor must not back off."""


def proxied(settings: Settings) -> tuple[Part, ...]:
    """All parts, behind the proxy. PostgreSQL is a part of its own if it is the catalog."""
    wiring: dict[str, Any] = json.loads(os.environ[VARIABLE])
    ports, database = wiring["ports"], wiring["postgres"]
    through = client_environment(ports, database)
    changed: list[Part] = []
    for part in parts.all_parts(settings):
        match part.name:
            case "kafka":
                listeners = f"advertised.listeners={LISTENER}://{LOOPBACK}:{ports['kafka']}"
                changed.append(_command(part, {}, ["--override", listeners]))
            case "s3":
                engine = f"http://{LOOPBACK}:{ports['engine']}"
                changed.append(replace(part, prepare=_tells_of_uploads_at(engine)))
            case "catalog" if database is not None:
                changed.append(_postgres(database["command"], database["port"]))
                changed.append(replace(part, needs=("postgres",)))
            case "engine":  # listens at its configured address, and passes the others on to tasks and functions
                own = {name: value for name, value in through.items() if name != "MUSTER_ENGINE_URL"}
                changed.append(_command(replace(part, needs=("catalog",)), own, ["--task-module", TASKS]))
            case _ if part.command is not None:
                changed.append(_command(part, through, []))
            case _:
                changed.append(part)
    return tuple(changed)


def client_environment(ports: dict[str, int], database: dict[str, Any] | None) -> dict[str, str]:
    """Settings of clients that connect through the proxy."""
    through = {
        "MUSTER_KAFKA_BOOTSTRAP": kafka_address(f"{LOOPBACK}:{ports['kafka']}"),
        "MUSTER_S3_ENDPOINT": f"http://{LOOPBACK}:{ports['s3']}",
        "MUSTER_ENGINE_URL": f"http://{LOOPBACK}:{ports['engine']}",
    }
    if database is not None:
        through["MUSTER_CATALOG_URL"] = database["url"].replace(f":{database['port']}/", f":{ports['catalog']}/")
    return through


def _command(part: Part, environment: dict[str, str], options: list[str]) -> Part:
    """The same process with other variables and more options."""
    command = part.command
    assert command is not None
    variables = [f"{name}={value}" for name, value in environment.items()]
    prefix = ["/usr/bin/env", *variables] if variables else []
    return replace(part, command=lambda context: [*prefix, *command(context), *options])


def _tells_of_uploads_at(engine: str) -> Callable[[Context], None]:
    return lambda context: seaweedfs.prepare(context.home.s3, context.settings.with_(engine_url=engine))


def _postgres(command: list[str], port: int) -> Part:
    return Part(name="postgres", command=lambda _: command, answers=lambda _: accepts(port), stop_timeout_s=5.0)


if __name__ == "__main__":
    supervisor.all_parts = proxied  # type: ignore[attr-defined]
    supervisor.STEADY_S = STEADY_S  # type: ignore[misc]
    sys.argv[0] = supervisor.__file__
    supervisor.main()
