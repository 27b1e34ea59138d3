"""The whole import protocol on simulated parts, in random histories.

Real: the fold of the workers, the table of job states, completion, the rules of publishing (in-memory version store).
Simulated: log, staging, importers, control plane, clock. Faults: duplicated and lost chunks, zombies of older attempts
that keep sending, workers that crash back to what is durable, lost and repeated announcements, publishers that fall
asleep before the commit or die after it, cancels at any step, competing imports, rollbacks.

In every history: a visible version is exactly the members that its import says, a job that was cancelled, failed or
superseded has no version, versions only grow, and every job can be brought to an end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from schemas.arrow import arrow_schema
from schemas.columns import ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, Seq, TenantName, Version
from schemas.messages import (
    ImportAborted,
    ImportEnded,
    ImportMessage,
    JobState,
    PartitionMaterialised,
    ProgressMessage,
    UserChunk,
)
from schemas.partitioning import partition_of
from schemas.row_digest import digest_rows
from segmentation.completion import Broken, Complete, completion
from segmentation.jobs import FINAL, JOB_LIFE_CYCLE
from segmentation.life_cycle import Change
from segmentation.progress import Drop, GroupKey, Keep, Merge, Progress, Report, step
from segmentation.versions import (
    AlreadyPublished,
    AudienceRef,
    BaseMoved,
    MembershipCounts,
    Part,
    Published,
    PublishOutcome,
    PublishRequest,
    SupersededBy,
)
from tests.examples import examples
from tests.fakes.version_store import InMemoryVersionStore

SCHEMA = RowSchema()
PARTITIONS = 2
CHUNK_ROWS = 2
AUDIENCE = AudienceRef(
    tenant=TenantName("acme"), audience=AudienceName("vip"), audience_id=JobId("01m87b5fjxy5p23eqzcwh67tr0")
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
USERS = tuple(f"u{number}" for number in range(8))
HOME = {user: partition_of(user, PARTITIONS) for user in USERS}


def digest_of(users: Sequence[str]) -> Digest:
    return _digest_of(tuple(users))


@cache
def _digest_of(users: tuple[str, ...]) -> Digest:
    return digest_rows(pa.record_batch([pa.array(users, pa.string())], schema=arrow_schema(SCHEMA)), SCHEMA)


@dataclass
class SimulatedJob:
    job_id: JobId
    file: tuple[str, ...]
    mode: ImportMode
    order_key: str
    state: JobState = "IMPORTING"
    attempt: Attempt = field(default=Attempt(0))
    announced: list[ProgressMessage] = field(default_factory=list)
    built: tuple[Version | None, tuple[Part, ...], MembershipCounts] | None = None

    @property
    def verified(self) -> list[Digest]:
        return [digest_of([u for u in self.file if HOME[u] == p]) for p in range(PARTITIONS)]

    def move(self, wanted: JobState) -> bool:
        if JOB_LIFE_CYCLE.change(self.state, wanted) is Change.APPLIED:
            self.state = wanted
            return True
        return False


@dataclass
class Worker:
    """Owner of one partition: its memory, and what was durable at its last acknowledgement."""

    offset: int = 0
    groups: dict[GroupKey, Progress] = field(default_factory=dict)


def chunks_of(job: SimulatedJob, attempt: Attempt, partition: int) -> list[tuple[UserChunk, list[str]]]:
    users = [u for u in job.file if HOME[u] == partition]
    pieces = [users[i : i + CHUNK_ROWS] for i in range(0, len(users), CHUNK_ROWS)]
    return [
        (
            UserChunk(
                import_id=job.job_id,
                attempt=attempt,
                partition=Partition(partition),
                seq=Seq(seq),
                count=len(piece),
                digest=digest_of(piece),
                rows="\n".join(piece).encode(),
            ),
            piece,
        )
        for seq, piece in enumerate(pieces)
    ]


class ImportProtocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[SimulatedJob] = []
        self.logs: list[list[ImportMessage]] = [[] for _ in range(PARTITIONS)]
        self.importers: list[Iterator[None]] = []
        self.workers = [Worker() for _ in range(PARTITIONS)]
        self.staged: dict[GroupKey, dict[Seq, tuple[Digest, tuple[str, ...]]]] = {}
        self.dropped: set[GroupKey] = set()
        self.finished: dict[GroupKey, PartitionMaterialised] = {}
        self.intents: dict[GroupKey, ImportEnded] = {}
        self.progress_topic: list[ProgressMessage] = []
        self.members_of_part: dict[str, frozenset[str]] = {}
        self.expected: dict[int, frozenset[str]] = {}
        self.sleeping: list[tuple[SimulatedJob, PublishRequest]] = []
        self.store = InMemoryVersionStore()
        self.clock = 0
        self.losses = 0
        self.cancels = 0
        self.markers_lost = 0

    # --- jobs --------------------------------------------------------------------------------------------------------

    @rule(
        file=st.lists(st.sampled_from(USERS), max_size=9),
        mode=st.sampled_from(["replace", "replace", "append", "remove"]),
    )
    @precondition(lambda self: len(self.jobs) < 5)
    def upload(self, file: list[str], mode: ImportMode) -> None:
        self.clock += 1
        job_id = JobId(f"01m87b5fjxy5p23eqzcwh6{len(self.jobs):04d}")
        job = SimulatedJob(job_id=job_id, file=tuple(file), mode=mode, order_key=f"{self.clock:04d}")
        self.jobs.append(job)
        self.begin(job)

    @rule(data=st.data())
    @precondition(lambda self: any(j.state == "IMPORTING" and j.attempt < 4 for j in self.jobs))
    def start_attempt(self, data: st.DataObject) -> None:
        self.begin(data.draw(st.sampled_from([j for j in self.jobs if j.state == "IMPORTING" and j.attempt < 4])))

    def begin(self, job: SimulatedJob) -> None:
        job.attempt = Attempt(job.attempt + 1)
        self.importers.append(self.import_attempt(job, job.attempt))

    def import_attempt(self, job: SimulatedJob, attempt: Attempt) -> Iterator[None]:
        """Chunks of all partitions, the fence, then the end markers; a zombie falls asleep after its fence check."""
        sent = {p: chunks_of(job, attempt, p) for p in range(PARTITIONS)}
        for p, chunks in sent.items():
            for chunk, _ in chunks:
                self.logs[p].append(chunk)
                yield
        if job.state != "IMPORTING" or job.attempt != attempt:
            return
        yield
        for p, chunks in sent.items():
            total = Digest.total(SCHEMA.schema_id, (c.digest for c, _ in chunks))
            self.logs[p].append(
                ImportEnded(
                    tenant=AUDIENCE.tenant,
                    audience=AUDIENCE.audience,
                    import_id=job.job_id,
                    attempt=attempt,
                    partition=Partition(p),
                    partitions=PARTITIONS,
                    columns=SCHEMA,
                    data_prefix="s3://lake/data/",
                    chunks=len(chunks),
                    records=total.count,
                    digest=total,
                )
            )
            yield
        if job.attempt == attempt:
            job.move("AWAITING")

    @rule(data=st.data(), steps=st.sampled_from([1, 3, 50]))
    @precondition(lambda self: bool(self.importers))
    def send(self, data: st.DataObject, steps: int) -> None:
        importer = data.draw(st.sampled_from(self.importers))
        for _ in range(steps):
            if next(importer, "done") == "done":
                self.importers.remove(importer)
                return

    @rule(data=st.data())
    @precondition(lambda self: any(self.logs))
    def a_message_is_appended_twice(self, data: st.DataObject) -> None:
        log = data.draw(st.sampled_from([log for log in self.logs if log]))
        log.append(data.draw(st.sampled_from(log)))

    @rule(data=st.data())
    @precondition(lambda self: self.losses < 2)
    def the_broker_loses_a_message(self, data: st.DataObject) -> None:
        unread = [(p, i) for p, log in enumerate(self.logs) for i in range(self.workers[p].offset, len(log))]
        if not unread:
            return
        p, index = data.draw(st.sampled_from(unread))
        self.markers_lost += isinstance(self.logs[p][index], ImportEnded)
        del self.logs[p][index]
        self.losses += 1

    @rule(data=st.data())
    @precondition(lambda self: self.cancels < 2 and any(j.state in JOB_LIFE_CYCLE.cancellable for j in self.jobs))
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([j for j in self.jobs if j.state in JOB_LIFE_CYCLE.cancellable]))
        assert job.move("CANCELLED")
        self.cancels += 1
        for p, log in enumerate(self.logs):
            log.append(
                ImportAborted(import_id=job.job_id, attempt=job.attempt, partition=Partition(p), reason="CANCELLED")
            )

    # --- workers -----------------------------------------------------------------------------------------------------

    @rule(p=st.integers(0, PARTITIONS - 1), records=st.sampled_from([1, 3, 50]), acknowledge=st.booleans())
    def consume(self, p: int, records: int, acknowledge: bool) -> None:  # noqa: FBT001
        self.read_on(p, records, acknowledge=acknowledge)

    def read_on(self, p: int, records: int, *, acknowledge: bool) -> None:
        """Read on from the acknowledged offset with what memory and staging have; perhaps die before acknowledging."""
        worker = self.workers[p]
        for offset in range(worker.offset, min(worker.offset + records, len(self.logs[p]))):
            message = self.logs[p][offset]
            key = GroupKey.of(message)
            state = worker.groups.get(key) or self.resume(key)
            worker.groups[key], effect = step(state, message)
            match effect:
                case Keep():
                    assert isinstance(message, UserChunk)
                    users = tuple(message.rows.decode().split("\n"))
                    self.staged.setdefault(key, {})[message.seq] = (message.digest, users)
                case Merge(marker=marker):
                    self.intents[key] = marker
                case Report(failure=failure):
                    self.progress_topic.append(failure)
                case Drop():
                    self.dropped.add(key)
                    self.staged.pop(key, None)
                    self.intents.pop(key, None)
                case _:
                    if isinstance(message, ImportEnded) and key in self.finished:
                        self.progress_topic.append(self.finished[key])
            if acknowledge:
                worker.offset = offset + 1
        if not acknowledge:
            worker.groups.clear()

    def resume(self, key: GroupKey) -> Progress:
        staged = [(seq, digest) for seq, (digest, _) in self.staged.get(key, {}).items()]
        return Progress.resume(key, staged=staged, finished=key in self.finished, aborted=key in self.dropped)

    @rule(p=st.integers(0, PARTITIONS - 1))
    def crash_a_worker(self, p: int) -> None:
        self.workers[p].groups.clear()

    @rule(data=st.data(), announce=st.booleans())
    @precondition(lambda self: bool(self.intents))
    def merge(self, data: st.DataObject, announce: bool) -> None:  # noqa: FBT001
        self.merge_group(data.draw(st.sampled_from(sorted(self.intents))), announce=announce)

    def merge_group(self, key: GroupKey, *, announce: bool) -> None:
        """The part and its result become durable; the announcement may be lost, then the intent stays."""
        marker = self.intents[key]
        users = sorted({user for _, users in self.staged.get(key, {}).values() for user in users})
        uri = f"s3://lake/data/{key.import_id}-{key.attempt}-{key.partition}-{'-'.join(users)}"
        self.members_of_part[uri] = frozenset(users)
        self.finished[key] = PartitionMaterialised(
            import_id=key.import_id,
            attempt=key.attempt,
            partition=key.partition,
            partitions=PARTITIONS,
            chunks=marker.chunks,
            records=marker.records,
            digest=marker.digest,
            distinct=len(users),
            distinct_digest=digest_of(users),
            part=uri if users else None,
            part_bytes=1,
        )
        if announce:
            self.progress_topic.append(self.finished[key])
            del self.intents[key]

    # --- control plane and publisher ---------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: any(self.logs))
    def the_stream_catches_up(self) -> None:
        """The usual case: everything sent is taken, merged and relayed."""
        for p in range(PARTITIONS):
            self.read_on(p, len(self.logs[p]) + 1, acknowledge=True)
        for key in list(self.intents):
            self.merge_group(key, announce=True)
        for message in self.progress_topic:
            self.note(message)

    @rule(commit=st.booleans())
    @precondition(lambda self: any(j.state not in FINAL for j in self.jobs))
    def all_goes_well_for_a_while(self, commit: bool) -> None:  # noqa: FBT001
        """Every importer finishes, the stream catches up, the workflow advances, perhaps up to the commits."""
        for importer in self.importers:
            list(importer)
        self.importers.clear()
        self.the_stream_catches_up()
        for job in self.jobs:
            self.turn(job)
        while commit and self.sleeping:
            self.wake(0, answer_lost=False)

    @rule(data=st.data())
    @precondition(lambda self: bool(self.progress_topic))
    def relay(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.progress_topic))
        self.note(message)

    def note(self, message: ProgressMessage) -> None:
        job = next(j for j in self.jobs if j.job_id == message.import_id)
        kept = [m for m in job.announced if (m.attempt, m.partition) == (message.attempt, message.partition)]
        if not kept:
            job.announced.append(message)
        elif isinstance(message, PartitionMaterialised):
            job.announced[job.announced.index(kept[0])] = message

    @rule(data=st.data())
    @precondition(lambda self: any(j.state in {"AWAITING", "BUILDING", "PUBLISHING"} for j in self.jobs))
    def advance(self, data: st.DataObject) -> None:
        """One turn of the workflow: retry, build, or begin to publish (and fall asleep there)."""
        job = data.draw(st.sampled_from([j for j in self.jobs if j.state in {"AWAITING", "BUILDING", "PUBLISHING"}]))
        self.turn(job)

    def turn(self, job: SimulatedJob) -> None:
        found = completion(job.attempt, job.verified, job.announced)
        if isinstance(found, Broken) and job.state == "AWAITING":
            job.move("IMPORTING")
        if not isinstance(found, Complete):
            return
        if job.mode != "replace" and job.state in {"AWAITING", "BUILDING"}:
            job.move("BUILDING")
            job.built = self.build(job, found)
            job.move("PUBLISHING")
        elif job.state == "AWAITING":
            job.move("PUBLISHING")
        if job.state == "PUBLISHING":
            self.sleeping.append((job, self.request(job, found)))

    def build(self, job: SimulatedJob, found: Complete) -> tuple[Version | None, tuple[Part, ...], MembershipCounts]:
        current = self.store.current(AUDIENCE)
        base = self.members(current.version) if current else frozenset()
        incoming = frozenset(u for m in found.partitions if m.part for u in self.members_of_part[m.part])
        after = base | incoming if job.mode == "append" else base - incoming
        parts = []
        for p in range(PARTITIONS):
            users = sorted(u for u in after if HOME[u] == p)
            uri = f"s3://lake/data/built-{job.job_id}-{p}-{'-'.join(users)}"
            self.members_of_part[uri] = frozenset(users)
            if users:
                parts.append(Part(uri=uri, rows=len(users), bytes=1, digest=digest_of(users), partition=Partition(p)))
        counts = MembershipCounts(
            base=len(base),
            added=len(after - base),
            removed=len(base - after),
            kept=len(base & after),
            members=len(after),
            base_version=current.version if current else None,
        )
        return counts.base_version, tuple(parts), counts

    def request(self, job: SimulatedJob, found: Complete) -> PublishRequest:
        base, parts, counts = job.built or (None, None, None)
        if parts is None:
            parts = tuple(
                Part(uri=m.part, rows=m.distinct, bytes=1, digest=m.distinct_digest, partition=m.partition)
                for m in found.partitions
                if m.part is not None
            )
        return PublishRequest(
            audience=AUDIENCE,
            import_id=job.job_id,
            attempt=found.attempt,
            mode=job.mode,
            order_key=job.order_key,
            parts=parts,
            partitions=PARTITIONS,
            row_schema=SCHEMA,
            base_version=base,
            counts=counts,
            max_shrink_percent=None,
            published_at=NOW,
        )

    @rule(data=st.data(), answer_lost=st.booleans())
    @precondition(lambda self: bool(self.sleeping))
    def wake_a_publisher(self, data: st.DataObject, answer_lost: bool) -> None:  # noqa: FBT001
        self.wake(data.draw(st.integers(0, len(self.sleeping) - 1)), answer_lost=answer_lost)

    def wake(self, index: int, *, answer_lost: bool) -> None:
        job, request = self.sleeping.pop(index)
        before = self.store.current(AUDIENCE)
        base = self.members(before.version) if before else frozenset()
        outcome = self.store.publish(request)
        if isinstance(outcome, Published):
            file = frozenset(job.file)
            wanted = {"replace": file, "append": base | file, "remove": base - file}
            self.expected[outcome.version] = wanted[job.mode]
        if not answer_lost:
            self.settle(job, outcome)

    @staticmethod
    def settle(job: SimulatedJob, outcome: PublishOutcome) -> None:
        match outcome:
            case Published() | AlreadyPublished():
                job.move("READY")
            case SupersededBy():
                job.move("SUPERSEDED")
            case BaseMoved():
                job.move("BUILDING")

    @rule(data=st.data())
    @precondition(lambda self: bool(self.store.versions(AUDIENCE)))
    def roll_back(self, data: st.DataObject) -> None:
        self.clock += 1
        to = data.draw(st.sampled_from([v.version for v in self.store.versions(AUDIENCE)]))
        operation = JobId(f"01m87b5fjxy5p23eqzcwj6{self.clock:04d}")
        outcome = self.store.rollback(AUDIENCE, to, operation_id=operation, order_key=f"{self.clock:04d}", at=NOW)
        assert isinstance(outcome, Published)
        self.expected[outcome.version] = self.expected[to]

    # --- what must hold ----------------------------------------------------------------------------------------------

    def members(self, version: Version) -> frozenset[str]:
        files = self.store.files(AUDIENCE, version)
        members = [user for part in files for user in self.members_of_part[part.uri]]
        assert len(members) == len(set(members)), "a member is in two files"
        return frozenset(members)

    @invariant()
    def every_version_equals_its_import(self) -> None:
        for info in self.store.versions(AUDIENCE):
            assert self.members(info.version) == self.expected[info.version]
            assert info.members == len(self.expected[info.version])
            assert info.digest == digest_of(sorted(self.expected[info.version]))

    @invariant()
    def versions_are_numbered_without_gaps_and_an_import_has_at_most_one(self) -> None:
        versions = self.store.versions(AUDIENCE)
        assert [v.version for v in versions] == list(range(1, len(versions) + 1))
        imports = [v.import_id for v in versions]
        assert len(imports) == len(set(imports))

    @invariant()
    def a_replace_is_newer_than_everything_before_it(self) -> None:
        versions = self.store.versions(AUDIENCE)
        for index, info in enumerate(versions):
            if info.mode == "replace":
                assert all(earlier.order_key < info.order_key for earlier in versions[:index])

    @invariant()
    def a_job_that_ended_otherwise_has_no_version(self) -> None:
        published = {v.import_id for v in self.store.versions(AUDIENCE)}
        assert not published & {j.job_id for j in self.jobs if j.state in {"CANCELLED", "SUPERSEDED", "FAILED"}}
        assert {j.job_id for j in self.jobs if j.state == "READY"} <= published

    def teardown(self) -> None:
        """Once the faults are over, every job comes to its end."""
        for _ in range(6):
            for job in self.jobs:
                if job.state == "IMPORTING":
                    job.attempt = Attempt(job.attempt + 1)
                    list(self.import_attempt(job, job.attempt))
            self.the_stream_catches_up()
            for job in self.jobs:
                self.turn(job)
            while self.sleeping:
                self.wake(0, answer_lost=False)
        waiting = [j for j in self.jobs if j.state not in FINAL]
        assert len(waiting) <= self.markers_lost
        for job in waiting:  # a partition without its end marker is never announced: the sweeper ends the job by age
            assert job.state == "AWAITING"
            assert job.move("FAILED")
        self.a_job_that_ended_otherwise_has_no_version()
        self.every_version_equals_its_import()


@pytest.mark.timeout(300)
def test_no_history_mixes_loses_or_duplicates_members() -> None:
    run_state_machine_as_test(
        ImportProtocol,
        settings=examples(120, stateful_step_count=40),
    )
