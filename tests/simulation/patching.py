"""The replaced outside of the product: clients of servers, clocks, and files that child processes would parse.

All decisions stay the product's. This list names everything that is replaced, and why.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from unittest.mock import patch

from connectors.publishing import importer
from connectors.publishing.chunking import Chunker
from connectors.verification.verifier import verify_rows
from orchestration.composition import control_plane
from orchestration.control import worker_groups
from tests.simulation.building import build_parts, build_version, compare, overlap_with, part_rows
from tests.simulation.catalog import required
from tests.simulation.log import Backlog, Consumer, Producer
from tests.simulation.parsing import SimulatedFile

if TYPE_CHECKING:
    from tests.simulation.deployment import Deployment
    from tests.simulation.world import World

CHUNK_ROWS = 2


class InlinePool:
    """A thread pool that runs tasks inline: the kernel cannot schedule threads of the system."""

    def __init__(self, _threads: int, **_: object) -> None:
        pass

    def __enter__(self) -> "InlinePool":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, call: Callable[..., Any], items: Any) -> Iterator[Any]:
        return map(call, items)


class Idle:
    """Replaces a part that has no effect on the outcome of an import."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def update(self, **_: object) -> None:
        pass

    def finish(self, **_: object) -> None:
        pass

    def end_unit(self, **_: object) -> None:
        pass

    def tick(self, *_: object) -> None:
        pass

    def announce(self) -> None:
        pass


D = TypeVar("D", bound="Deployment")


class Holder(Generic[D]):
    """Holds the world that the patches refer to."""

    def __init__(self) -> None:
        self.world: D | None = None

    @property
    def now(self) -> D:
        assert self.world is not None
        return self.world


@contextmanager
def patched(holder: "Holder[World]") -> Iterator[None]:
    """Run the product on simulated servers until the end of the block. One history at a time."""

    def monotonic() -> float:
        return holder.now.kernel.now_us / 1e6

    def urandom(size: int) -> bytes:
        return holder.now.kernel.random.randbytes(size)

    def time_ns() -> int:
        return holder.now.kernel.now_us * 1000 + holder.now.kernel.process.skew_ms * 1_000_000

    @contextmanager
    def open_parsed(source: Any, *_: Any) -> Iterator[SimulatedFile]:
        yield SimulatedFile(source, holder.now.s3)

    def verify_file(source: Any, spec: Any, *, partitions: int, rejects: Any, **_: Any) -> Any:
        return verify_rows(SimulatedFile(source, holder.now.s3), spec, partitions=partitions, rejects=rejects)

    clock: Any = SimpleNamespace(monotonic=monotonic, time_ns=time_ns, sleep=time.sleep)
    replaced: dict[str, Any] = {
        # time and randomness
        "orchestration.platform.clock.time": clock,
        "orchestration.platform.clock.os": SimpleNamespace(urandom=urandom),
        "streams.materialiser.time": clock,
        "streams.keeping.time": clock,
        "streams.merges.time": clock,
        "orchestration.control.topic_fold.POLL_S": 0.2,
        "streams.materialiser._TICK_S": 5.0,
        "streams.materialiser._REPORT_S": 1e9,
        "connectors.lake.optimistic.random": SimpleNamespace(uniform=lambda a, b: (a + b) / 2),
        # a process has its context from its world; child processes parse nothing
        "orchestration.entrypoints.handlers.process_context": lambda: holder.now.context,
        "orchestration.entrypoints.handlers.PARSERS": SimpleNamespace(prepare=lambda: None),
        "orchestration.kinds.verify.verify_side_by_side": verify_file,
        "orchestration.kinds.verify.upload_to": lambda *_: lambda _path: None,
        "orchestration.kinds.send.open_rows": open_parsed,
        "orchestration.kinds.send.publish_import": partial(importer.publish_import, clock=monotonic),
        "connectors.publishing.importer.Chunker": partial(Chunker, max_rows=CHUNK_ROWS),
        # Kafka
        "orchestration.kinds.send.KafkaTopicLog": lambda _, topic, **__: Producer(holder.now.broker, topic),
        "orchestration.control.gc.jobs.KafkaTopicLog": lambda _, topic, **__: Producer(holder.now.broker, topic),
        "orchestration.kinds.send.KafkaBacklog": lambda _, topic, __, *, group: Backlog(
            holder.now.broker, topic, group
        ),
        "orchestration.control.topic_fold.GroupConsumer": lambda _, *of: Consumer(holder.now.broker, *of),
        # the lake: tables, and DuckDB
        "connectors.lake.commit.read_history": lambda state: state.history,
        "connectors.lake.commit.stage_version": lambda _, transaction, change: transaction.stage(change),
        "connectors.lake.store.require_table": required,
        "connectors.lake.store.parts_of": lambda table, _, info: table.metadata.parts[info.version],
        "connectors.lake.part_checks.read_part": lambda _, part, schema: part_rows(holder.now.store, part, schema),
        "connectors.lake.part_checks.ThreadPoolExecutor": InlinePool,
        "orchestration.kinds.build.build_version": lambda *args, **_: build_version(holder.now.store, *args, **_),
        "orchestration.kinds.parts.build_parts": lambda *args, **_: build_parts(holder.now.store, *args, **_),
        "connectors.lake.build.overlap_with": lambda *args, **_: overlap_with(holder.now.store, *args, **_),
        "connectors.lake.build.compare": lambda *args, **_: compare(holder.now.store, *args, **_),
        # reports for people: one that is not written, or a mail that is not sent, decides nothing
        "orchestration.kinds.records.StageReport": Idle,
        "orchestration.notifications.notices.Notices.write_for_job": lambda *_: [],
        "orchestration.notifications.notices.Notices.courier": lambda _: SimpleNamespace(deliver_at_once=Idle),
        # parts of the control plane that imports do not need
    }
    for name in ("StreamLag", "WorkerAbsence", "Schedules", "ExportReconciler", "ExpiredVersions", "JobEvents"):
        replaced[f"{control_plane.__name__}.{name}"] = Idle
    replaced[f"{worker_groups.__name__}.WorkerGroup"] = lambda *_, name, **__: holder.now.group_view(name)
    with ExitStack() as stack:
        for target, value in replaced.items():
            stack.enter_context(patch(target, value))
        yield
