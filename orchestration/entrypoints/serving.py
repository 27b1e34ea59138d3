"""Parts of the stack as containers: `serve PART` runs one in the foreground (`health PART` checks it).

The container runtime is the supervisor here: it restarts parts, and orders them by their health. Only the engine brings
the supervisor of the embedded stack, for the parts whose counts follow the work. Addresses and credentials come from
the settings, which name the other containers; `MUSTER_LISTEN_HOST` opens the ports to them.

`serve setup` deploys: catalog schema, topics, buckets, the default tenant. It runs to completion before the parts that
need it, and changes nothing that already exists.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from orchestration.local import seaweedfs
from orchestration.local.home import Home
from orchestration.local.parts import aws_environment
from orchestration.local.ports import Ports
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import DEFAULT_TENANT
from schemas.kafka_address import KafkaAddress
from segmentation.scaling import Scaled

log = logging.getLogger(__name__)

FAILED: Final = 1
START_WAIT_S: Final = 180.0
"""Servers listen before they do what they are asked: on a machine under load, a minute before."""
RETRY_PAUSE_S: Final = 0.5
OF_THE_ENGINE: Final = ("catalog", "engine", *Scaled)
"""Parts in the container of the engine, which sets the counts of the scaled ones. `catalog` begins these counts."""
READY_WITHIN_S: Final = 600.0
"""For a part in the container of the engine. Nobody waits for its first failure here, as `muster up` does."""
FUNCTIONS_AND_TASKS: Final = ("lambda", "tasks")

Part = Callable[[Settings], int]


def setup(settings: Settings) -> int:
    """Bring catalog, topics and buckets to what this release declares. Idempotent; waits for servers that only start.

    At AWS the stack creates the buckets: they are only checked. Raises `UserError` NO_SUCH_BUCKET, ACCESS_DENIED, and
    the `RetriableError` of a server that is unavailable for `START_WAIT_S`.
    """
    from connectors.kafka.topics import ensure_topics  # noqa: PLC0415
    from orchestration.catalog.migrate import upgrade  # noqa: PLC0415 - each part loads what it needs
    from orchestration.composition.context import Context  # noqa: PLC0415
    from orchestration.local.kafka.users import ensure_rules  # noqa: PLC0415
    from orchestration.platform.clock import now_ms  # noqa: PLC0415

    deadline = time.monotonic() + START_WAIT_S
    persist(lambda: upgrade(settings.catalog_url), deadline)
    persist(lambda: ensure_topics(settings), deadline)
    if (
        settings.engine_url and KafkaAddress.parse(settings.kafka_bootstrap).with_logon
    ):  # at AWS the cluster has its own
        persist(lambda: ensure_rules(settings.kafka_bootstrap), deadline)
    context = Context(settings)
    if settings.s3_endpoint:
        persist(lambda: seaweedfs.ensure_buckets(settings), deadline)
    else:
        for bucket in (settings.inbox_bucket, settings.staging_bucket, settings.lake_bucket):
            next(iter(context.objects.list(bucket)), None)
    context.audiences.add_tenant(DEFAULT_TENANT, now_ms())
    return 0


def persist(step: Callable[[], None], deadline: float) -> None:
    """Run a step again while it raises `RetriableError`, until `deadline` of the monotonic clock; then raises it."""
    while True:
        try:
            return step()
        except RetriableError as exc:
            if time.monotonic() > deadline:
                raise
            log.warning("tried again: %s", exc)
            time.sleep(RETRY_PAUSE_S)


def s3(settings: Settings) -> int:
    """Become the S3 server."""
    home = _home(settings)
    seaweedfs.prepare(home.s3, settings)
    argv = seaweedfs.command(_s3_ports(settings), listen_host=settings.listen_host)
    os.chdir(home.s3)
    # SeaweedFS would create an administrator from the credentials in AWS_*.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MUSTER_"))}
    os.execve(argv[0], argv, env)  # noqa: S606  # no shell


def engine(settings: Settings) -> int:
    """Run the workflow interpreter, and control plane and workers as it wants them; all are processes.

    Raises `UserError` ENGINE_MISSING in the image of the product.
    """
    from orchestration.local.parts import all_parts, select  # noqa: PLC0415
    from orchestration.local.supervisor import supervise  # noqa: PLC0415

    if find_spec("moto") is None:
        raise UserError("ENGINE_MISSING", "moto is not installed; use the image of the stack, muster-stack")
    home = _home(settings)
    parts = [replace(part, ready_timeout_s=READY_WITHIN_S) for part in select(all_parts(settings), OF_THE_ENGINE)]
    for name in (*FUNCTIONS_AND_TASKS, *(part.name for part in parts)):
        path = home.log_file(name)
        if not path.is_symlink():
            path.symlink_to("/dev/stdout")  # their output belongs in the log of the container
    ports = Ports(engine=urlsplit(settings.engine_url).port or Ports().engine)
    return supervise(home, settings, parts, ports)


def relay(settings: Settings) -> int:
    """Run the control plane: progress, answers to the workflow, events, garbage collection."""
    return _module(settings, "orchestration.entrypoints.control_plane")


def feeder(settings: Settings) -> int:
    """Run the process that delivers feeds."""
    return _module(settings, "orchestration.entrypoints.feeder")


def api(settings: Settings) -> int:
    """Run the service."""
    return _module(settings, "orchestration.entrypoints.service")


def worker(settings: Settings) -> int:
    """Run a materialiser."""
    return _module(settings, "orchestration.entrypoints.worker")


def segment_worker(settings: Settings) -> int:
    """Run a segment worker."""
    return _module(settings, "orchestration.entrypoints.segment_worker")


def _module(settings: Settings, name: str) -> int:
    _home(settings)
    env = {**os.environ, **aws_environment(settings)}
    os.execve(sys.executable, [sys.executable, "-m", name], env)  # noqa: S606  # no shell


def _home(settings: Settings) -> Home:
    home = Home(path=settings.home)
    home.make()
    return home


def _s3_ports(settings: Settings) -> Ports:
    return Ports(s3=urlsplit(settings.s3_endpoint).port or Ports().s3)


PARTS: Final[Mapping[str, Part]] = {
    "setup": setup,
    "s3": s3,
    "engine": engine,
    "relay": relay,
    "feeder": feeder,
    "api": api,
    "worker": worker,
    "segment-worker": segment_worker,
}


def run(part: str, settings: Settings) -> int:
    """Serve a part. Raises `UserError` UNKNOWN_PART, and what the part raises before it runs."""
    if part not in PARTS:
        raise UserError("UNKNOWN_PART", f"serve has no part {part}; use {', '.join(PARTS)}", part=part)
    return PARTS[part](settings)


def main(arguments: Sequence[str]) -> int:
    """`PART`. Errors go to the container's log as a line of JSON."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: serve {'|'.join(PARTS)}\n")
        return FAILED
    try:
        settings = Settings.load()
        configure(settings)
        return run(arguments[0], settings)
    except MusterError as exc:
        sys.stderr.write(f"{json.dumps(exc.as_record(), default=str)}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
