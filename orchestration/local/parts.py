"""The parts of the stack as data: what each needs, how it starts, when it is ready, how it stops."""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.kafka import topics
from connectors.kafka.worker_group import broker_answers, group_members
from orchestration.local import seaweedfs
from orchestration.local.answering import API_HEALTH_PATH, HEALTH_PATH, responds, storage_registered
from orchestration.local.counts import first_counts
from orchestration.local.home import Home
from orchestration.local.kafka import broker, users
from orchestration.local.ports import LOOPBACK, Ports, accepts
from orchestration.local.processes import HOME_MARK, plain_environment
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP

WORKER: Final = "worker"
SEGMENT_WORKER: Final = "segment-worker"
NOT_INHERITED: Final = ("AWS_", "MUSTER_", "JAVA_", "JDK_", "_JAVA", "KAFKA_")
"""Prefixes of variables in the user's shell that would change the behaviour of a part."""
FEW_HEAPS: Final = {"MALLOC_ARENA_MAX": "2"}
"""By default glibc has eight heaps for each processor, of which every one keeps what its threads have freed."""
RESTART_BACKOFF_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the 1st, 2nd, ... start of a part that keeps ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a part may use."""

    home: Home
    settings: Settings
    ports: Ports


def _nothing(context: Context) -> None:
    del context


def _always(context: Context) -> bool:
    del context
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part. A part without `command` is a step: ready once `set_up` has returned.

    `prepare` runs before each start; `answers` is polled while the process lives; `set_up` runs once it answers and
    must be idempotent. All three may block and may raise `MusterError`. `health_check` is called before each start and
    returns a check of the running process, which returns why it must be restarted, or None; without one, only the end
    of the process is watched for.
    """

    name: str
    needs: tuple[str, ...] = ()
    prepare: Callable[[Context], None] = _nothing
    command: Callable[[Context], list[str]] | None = None
    directory: Callable[[Context], Path | None] = lambda _: None
    knows_settings: bool = True
    """Whether it gets our settings, including secrets. A third-party server has its configuration in its own files."""
    speaks_aws: bool = False
    answers: Callable[[Context], bool] = _always
    set_up: Callable[[Context], None] = _nothing
    health_check: Callable[[Context], Callable[[], str | None]] | None = None
    ports: Callable[[Ports], tuple[int, ...]] = lambda _: ()
    poll_every_s: float = 0.05
    """Pause between two readiness checks."""
    min_uptime_s: float = 0.0
    """How long the process must have lived before it counts as ready, for parts that answer nothing."""
    ready_timeout_s: float = 90.0
    stop_timeout_s: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    """Signal at the supervisor's death; broker and S3 server get a chance to close their files."""


def environment(context: Context, part: "Part") -> dict[str, str]:
    """Environment of a part: the settings, if it knows them, and the mark of the home.

    A third-party server gets only what it needs to find programs and files, and no secret. No part inherits AWS_*
    variables of the user's shell.
    """
    if not part.knows_settings:
        return {**plain_environment(), HOME_MARK: str(context.home.path)}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)},
        **context.settings.with_(part=part.name).environment(),
        HOME_MARK: str(context.home.path),
        "PYTHONUNBUFFERED": "1",
        **FEW_HEAPS,
        "NO_PROXY": f"{LOOPBACK},localhost",
        **(aws_environment(context.settings) if part.speaks_aws else {}),
    }


def aws_environment(settings: Settings) -> dict[str, str]:
    """AWS SDK variables for a part that uses the engine: its keys. S3 has its own, in the settings.

    Without a local engine the SDK uses AWS with the role's credentials, which are left alone.
    """
    if not settings.engine_url:
        return {"AWS_DEFAULT_REGION": settings.aws_region, "AWS_REGION": settings.aws_region}
    keys = settings.engine_keys()
    return {
        "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": settings.aws_region,
        "AWS_REGION": settings.aws_region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def all_parts(settings: Settings) -> tuple[Part, ...]:
    """Every part, in the order of starting; they stop in reverse order."""
    workers = tuple(_worker(number) for number in range(1, settings.workers + 1))
    evaluators = tuple(_segment_worker(number) for number in range(1, settings.segment_workers + 1))
    return (S3, KAFKA, CATALOG, ENGINE, RELAY, API, FEEDER, *workers, *evaluators)


def select(parts: tuple[Part, ...], names: Iterable[str] | None) -> tuple[Part, ...]:
    """The named parts in their order; `worker` selects all workers, `segment-worker` all segment workers.

    Raises `UserError` UNKNOWN_PART.
    """
    if names is None:
        return parts
    wanted = set(names)
    chosen = tuple(part for part in parts if {part.name, part.name.rpartition("-")[0]} & wanted)
    if unknown := sorted(wanted - {p.name for p in chosen} - {WORKER, SEGMENT_WORKER}):
        known = ", ".join(p.name for p in parts)
        raise UserError("UNKNOWN_PART", f"unknown parts: {', '.join(unknown)}; known parts: {known}", names=unknown)
    return chosen


def _s3_answers(context: Context) -> bool:
    ports = context.ports
    return accepts(ports.s3) and storage_registered(ports) and seaweedfs.gateway_answers(context.settings)


def _migrate(context: Context) -> None:
    from orchestration.catalog.engine import Database
    from orchestration.catalog.migrate import upgrade
    from orchestration.catalog.scaling import ScalingStore

    upgrade(context.settings.catalog_url)
    database = Database(context.settings.catalog_url)
    ScalingStore(database).begin(first_counts(context.settings))
    database.close()


def _set_up_kafka(context: Context) -> None:
    topics.ensure_topics(context.settings)
    users.ensure_rules(context.settings.kafka_bootstrap)


def _python(module: str) -> Callable[[Context], list[str]]:
    return lambda _: [sys.executable, "-m", module]


S3: Final = Part(
    name="s3",
    knows_settings=False,
    prepare=lambda c: seaweedfs.prepare(c.home.s3, c.settings),
    command=lambda c: seaweedfs.command(c.ports),
    directory=lambda c: c.home.s3,
    answers=_s3_answers,
    health_check=lambda c: seaweedfs.index_watch(c.home.log_file("s3"), c.home.s3),
    set_up=lambda c: seaweedfs.ensure_buckets(c.settings),
    ports=lambda p: (
        p.s3,
        p.s3_grpc,
        p.s3_master,
        p.s3_master_grpc,
        p.s3_volume,
        p.s3_volume_grpc,
        p.s3_filer,
        p.s3_filer_grpc,
    ),
    # On SIGTERM it waits 15 s for gRPC streams to itself before it closes anything; acknowledged writes are on disk, so
    # a longer wait would gain nothing.
    stop_timeout_s=1.0,
    death_signal=signal.SIGTERM,
)
KAFKA: Final = Part(
    name="kafka",
    knows_settings=False,
    prepare=lambda c: broker.prepare(c.home.kafka, c.ports),
    command=lambda c: broker.command(c.home.kafka),
    directory=lambda c: c.home.kafka,
    # A client that polls a closed port costs more CPU than the broker's start.
    answers=lambda c: accepts(c.ports.kafka) and broker_answers(c.settings.kafka_bootstrap),
    set_up=_set_up_kafka,
    ports=lambda p: (p.kafka, p.kafka_controller),
    stop_timeout_s=30.0,
    death_signal=signal.SIGTERM,
)
CATALOG: Final = Part(name="catalog", set_up=_migrate)
ENGINE: Final = Part(
    name="engine",
    command=_python("orchestration.local.engine.server"),
    speaks_aws=True,
    answers=lambda c: responds(c.settings.engine_url + HEALTH_PATH),
    ports=lambda p: (p.engine,),
    stop_timeout_s=15.0,
)
RELAY: Final = Part(
    name="relay",
    needs=("kafka", "s3", "catalog", "engine"),
    command=_python("orchestration.entrypoints.control_plane"),
    speaks_aws=True,
    min_uptime_s=1.0,
)


API: Final = Part(
    name="api",
    needs=("catalog",),
    command=_python("orchestration.entrypoints.service"),
    answers=lambda c: responds(c.settings.api_url + API_HEALTH_PATH),
    ports=lambda p: (p.api,),
    stop_timeout_s=15.0,  # it answers what it has begun, for at most 10 s
)


FEEDER: Final = Part(
    name="feeder",
    needs=("kafka", "s3", "catalog"),
    command=_python("orchestration.entrypoints.feeder"),
    min_uptime_s=1.0,
    stop_timeout_s=30.0,  # a receiver may take 20 s to answer
)


def _worker(number: int) -> Part:
    return _member(WORKER, number, "orchestration.entrypoints.worker", WORKER_GROUP)


def _segment_worker(number: int) -> Part:
    return _member(SEGMENT_WORKER, number, "orchestration.entrypoints.segment_worker", SEGMENT_WORKER_GROUP)


def _member(kind: str, number: int, module: str, group: str) -> Part:
    return Part(
        name=f"{kind}-{number}",
        needs=("kafka", "s3", "catalog"),
        command=lambda _: [sys.executable, "-m", module, str(number)],
        answers=lambda c: group_members(c.settings.kafka_bootstrap, group) >= 1,
        poll_every_s=0.25,  # each check is a new client, which logs on
        min_uptime_s=1.0,
        stop_timeout_s=30.0,
    )
