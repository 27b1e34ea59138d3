"""Parts of the stack as containers: `serve PART` runs one in the foreground, `health PART` checks one.

The container runtime is the supervisor here: it restarts parts, and orders them by their health. Addresses and
credentials come from the settings, which name the other containers; `MUSTER_LISTEN_HOST` opens the ports to them.

`serve setup` deploys: catalog schema, topics, buckets, the default tenant. It runs to completion before the parts that
need it, and changes nothing that already exists.
"""

import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from orchestration.local import seaweedfs
from orchestration.local.home import Home
from orchestration.local.parts import API_HEALTH_PATH, HEALTH_PATH, aws_environment
from orchestration.local.ports import LOOPBACK, Ports
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from schemas.errors import MusterError, UserError
from schemas.ids import DEFAULT_TENANT
from schemas.kafka_address import KafkaAddress
from schemas.topics import RELAY_GROUP, SEGMENT_WORKER_GROUP, WORKER_GROUP

HEALTH_TIMEOUT_S: Final = 5.0
FAILED: Final = 1

Part = Callable[[Settings], int]
Check = Callable[[Settings], bool]


def setup(settings: Settings) -> int:
    """Bring catalog, topics and buckets to what this release declares. Idempotent.

    At AWS the stack creates the buckets: they are only checked. Raises `UserError` NO_SUCH_BUCKET, ACCESS_DENIED.
    """
    from connectors.kafka.topics import ensure_topics  # noqa: PLC0415
    from orchestration.catalog.migrate import upgrade  # noqa: PLC0415 - each part loads what it needs
    from orchestration.context import Context  # noqa: PLC0415
    from orchestration.local.kafka.users import ensure_rules  # noqa: PLC0415
    from orchestration.platform.clock import now_ms  # noqa: PLC0415

    upgrade(settings.catalog_url)
    ensure_topics(settings)
    if (
        settings.engine_url and KafkaAddress.parse(settings.kafka_bootstrap).with_logon
    ):  # at AWS the cluster has its own
        ensure_rules(settings.kafka_bootstrap)
    context = Context(settings)
    if settings.s3_endpoint:
        seaweedfs.ensure_buckets(settings)
    else:
        for bucket in (settings.inbox_bucket, settings.staging_bucket, settings.lake_bucket):
            next(iter(context.objects.list(bucket)), None)
    context.audiences.add_tenant(DEFAULT_TENANT, now_ms())
    return 0


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
    """Run the workflow interpreter, with its Lambda functions and tasks as processes.

    Raises `UserError` ENGINE_MISSING in the image of the product.
    """
    if find_spec("moto") is None:
        raise UserError("ENGINE_MISSING", "moto is not installed; install the extra: pip install 'muster[local]'")
    home = _home(settings)
    for log in ("lambda", "tasks"):
        path = home.log_file(log)
        if not path.is_symlink():
            path.symlink_to("/dev/stdout")  # their output belongs in the log of the container
    return _module(settings, "orchestration.local.engine.server")


def relay(settings: Settings) -> int:
    """Run the control plane: progress, answers to the workflow, events, garbage collection."""
    return _module(settings, "orchestration.control")


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


def s3_works(settings: Settings) -> bool:
    """Whether gateway and storage respond."""
    ports = _s3_ports(settings)
    return _responds(f"http://{LOOPBACK}:{ports.s3}/healthz") and seaweedfs.storage_registered(ports)


def engine_works(settings: Settings) -> bool:
    """Whether the workflow is registered and requests are served."""
    port = urlsplit(settings.engine_url).port  # None: the engine is AWS, not a part of the stack
    return port is None or _responds(f"http://{LOOPBACK}:{port}{HEALTH_PATH}")


def relay_works(settings: Settings) -> bool:
    """Whether the control plane of this container reads the progress topic."""
    return _is_group_member(settings, RELAY_GROUP)


def api_works(settings: Settings) -> bool:
    """Whether the service and the catalog answer."""
    return _responds(f"http://{LOOPBACK}:{urlsplit(settings.api_url).port}{API_HEALTH_PATH}")


def worker_works(settings: Settings) -> bool:
    """Whether the worker of this container is a member of its group: the broker has heard from it recently."""
    return _is_group_member(settings, WORKER_GROUP)


def segment_worker_works(settings: Settings) -> bool:
    """As `worker_works`, for a segment worker."""
    return _is_group_member(settings, SEGMENT_WORKER_GROUP)


def _responds(url: str) -> bool:
    try:
        with urlopen(url, timeout=HEALTH_TIMEOUT_S) as response:  # noqa: S310 - a loopback address of our own
            return bool(response.status == 200)
    except (URLError, OSError, ValueError):
        return False


def _is_group_member(settings: Settings, group: str) -> bool:
    from connectors.kafka.worker_group import member_hosts  # noqa: PLC0415 - loads librdkafka

    own = own_addresses(Path("/proc/net/fib_trie").read_text(encoding="ascii"))
    return bool(own & member_hosts(settings.kafka_bootstrap, group))


def own_addresses(fib_trie: str) -> frozenset[str]:
    """Addresses of this machine as Linux lists them: the line before "/32 host LOCAL" names one."""
    lines = fib_trie.splitlines()
    return frozenset(
        before.split()[-1]
        for before, line in itertools.pairwise(lines)
        if line.strip() == "/32 host LOCAL" and not before.split()[-1].startswith("127.")
    )


PARTS: Final[Mapping[str, Part]] = {
    "setup": setup,
    "s3": s3,
    "engine": engine,
    "relay": relay,
    "api": api,
    "worker": worker,
    "segment-worker": segment_worker,
}
CHECKS: Final[Mapping[str, Check]] = {
    "s3": s3_works,
    "engine": engine_works,
    "relay": relay_works,
    "api": api_works,
    "worker": worker_works,
    "segment-worker": segment_worker_works,
}


def run(command: str, part: str, settings: Settings) -> int:
    """Serve a part, or check it. Raises `UserError` UNKNOWN_PART, and what the part raises before it runs."""
    known = {"serve": PARTS, "health": CHECKS}[command]
    if part not in known:
        raise UserError("UNKNOWN_PART", f"{command} has no part {part}; use {', '.join(known)}", part=part)
    if command == "health":
        return 0 if CHECKS[part](settings) else FAILED
    return PARTS[part](settings)


def main(arguments: Sequence[str]) -> int:
    """`serve PART` or `health PART`. Errors go to the container's log as a line of JSON."""
    if len(arguments) != 2 or arguments[0] not in {"serve", "health"}:
        sys.stderr.write(f"usage: serve {'|'.join(PARTS)}, or health {'|'.join(CHECKS)}\n")
        return FAILED
    try:
        settings = Settings.load()
        configure(settings)
        return run(arguments[0], arguments[1], settings)
    except MusterError as exc:
        sys.stderr.write(f"{json.dumps(exc.as_record(), default=str)}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
